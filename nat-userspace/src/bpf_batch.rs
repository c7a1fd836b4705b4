//! Reads and writes many entries of a map per system call (`BPF_MAP_LOOKUP_BATCH` and its like), where one by
//! one they take a call or two each.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Pod, maps::MapData};
use aya_obj::generated::{bpf_attr__bindgen_ty_3, bpf_cmd};

use crate::bpf_syscall;

const FIRST_BATCH: usize = 4096;
/// A hash map hands out whole buckets; this is far above any bucket's length.
const LARGEST_BATCH: usize = 1 << 20;

/// Sets entries: `values` are those of `keys`, in their order.
///
/// # Errors
///
/// What the kernel says; some may be set by then.
pub fn update<K: Pod, V: Pod>(map: &MapData, keys: &[K], values: &[V]) -> io::Result<()> {
    debug_assert_eq!(keys.len(), values.len());
    change(map, bpf_cmd::BPF_MAP_UPDATE_BATCH, keys, |first| {
        values
            .get(first..)
            .map_or(std::ptr::null(), |rest| rest.as_ptr().cast())
    })
}

/// Removes entries. One that is not there is no error.
///
/// # Errors
///
/// What the kernel says; some may be gone by then.
pub fn delete<K: Pod>(map: &MapData, keys: &[K]) -> io::Result<()> {
    let nothing = |_: usize| std::ptr::null();
    let mut rest = keys;
    loop {
        let (done, answer) = change_some(map, bpf_cmd::BPF_MAP_DELETE_BATCH, rest, nothing(0));
        match answer {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                rest = rest.get(done + 1..).unwrap_or_default();
            }
            Err(error) => return Err(error),
        }
    }
}

fn change<K: Pod>(
    map: &MapData,
    command: bpf_cmd,
    keys: &[K],
    values_from: impl Fn(usize) -> *const u8,
) -> io::Result<()> {
    let mut first = 0;
    while first < keys.len() {
        let rest = keys.get(first..).unwrap_or_default();
        let (done, answer) = change_some(map, command, rest, values_from(first));
        match answer {
            Ok(()) => return Ok(()),
            // Before 6.15: two CPUs at one bucket.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => first += done,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many entries were changed, and why no more were.
fn change_some<K: Pod>(
    map: &MapData,
    command: bpf_cmd,
    keys: &[K],
    values: *const u8,
) -> (usize, io::Result<()>) {
    if keys.is_empty() {
        return (0, Ok(()));
    }
    let mut attributes = bpf_syscall::attributes();
    attributes.batch = bpf_attr__bindgen_ty_3 {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values as u64,
        count: keys.len() as u32,
        map_fd: map.fd().as_fd().as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: keys and values are as many as the kernel is told, and of the map's sizes.
    let answer = unsafe { bpf_syscall::bpf(command, &mut attributes) };
    // SAFETY: the kernel wrote the count back.
    let done = unsafe { attributes.batch.count } as usize;
    (done, answer.map(drop))
}

/// Calls `visit` with every entry of a hash map or an array. Entries that come or go meanwhile may be missed or
/// seen; no entry that stays is missed.
///
/// # Errors
///
/// What the kernel says.
pub fn for_each<K: Pod, V: Pod>(map: &MapData, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
    let mut size = FIRST_BATCH;
    // The kernel's cursor: a bucket number, or a key for other maps.
    let mut cursor = [0u8; 64];
    let mut started = false;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(size);
        let mut values: Vec<V> = Vec::with_capacity(size);
        let mut next = [0u8; 64];
        let mut attributes = bpf_syscall::attributes();
        attributes.batch = bpf_attr__bindgen_ty_3 {
            in_batch: if started { cursor.as_ptr() as u64 } else { 0 },
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: size as u32,
            map_fd: map.fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: every pointer names memory of the length the kernel is told.
        let answer = unsafe { bpf_syscall::bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        let done = match answer {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && size < LARGEST_BATCH => {
                size *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel wrote the count back.
        let count = (unsafe { attributes.batch.count } as usize).min(size);
        // SAFETY: the kernel filled that many elements of plain data.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        for (key, value) in keys.iter().zip(&values) {
            visit(key, value);
        }
        if done {
            return Ok(());
        }
        cursor = next;
        started = true;
    }
}
