//! Reads whole hash maps and arrays by `BPF_MAP_LOOKUP_BATCH`: thousands of entries per system call, where
//! walking keys takes two calls for each.

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
