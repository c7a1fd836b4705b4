//! Reads whole hash maps by `BPF_MAP_LOOKUP_BATCH`: thousands of entries per system call, where
//! walking keys takes two calls for each.

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Pod, maps::MapData};
use aya_obj::generated::{bpf_attr, bpf_cmd};

const FIRST_BATCH: usize = 4096;
/// A hash map hands out whole buckets; this is far above any bucket's length.
const LARGEST_BATCH: usize = 1 << 20;

/// Calls `visit` with every entry of a hash map. Entries that come or go meanwhile may be missed or
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
        // SAFETY: a union of integers.
        let mut attributes: bpf_attr = unsafe { mem::zeroed() };
        // SAFETY: `batch` is the variant this command reads.
        let batch = unsafe { &mut attributes.batch };
        batch.in_batch = if started { cursor.as_ptr() as u64 } else { 0 };
        batch.out_batch = next.as_mut_ptr() as u64;
        batch.keys = keys.as_mut_ptr() as u64;
        batch.values = values.as_mut_ptr() as u64;
        batch.count = size as u32;
        batch.map_fd = map.fd().as_fd().as_raw_fd() as u32;
        // SAFETY: every pointer names memory of the length the kernel is told.
        let failed = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                bpf_cmd::BPF_MAP_LOOKUP_BATCH as libc::c_long,
                &raw mut attributes,
                size_of::<bpf_attr>(),
            )
        } < 0;
        let error = io::Error::last_os_error();
        let done = failed && error.raw_os_error() == Some(libc::ENOENT);
        if failed && !done {
            if error.raw_os_error() == Some(libc::ENOSPC) && size < LARGEST_BATCH {
                size *= 2;
                continue;
            }
            return Err(error);
        }
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
