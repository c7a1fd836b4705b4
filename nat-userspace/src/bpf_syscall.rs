//! The few bpf(2) commands that aya has no method for.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

/// An attribute structure with every field zero.
pub fn attributes() -> bpf_attr {
    // SAFETY: a union of integers.
    unsafe { std::mem::zeroed() }
}

/// Runs a command; answers what the kernel does.
///
/// # Safety
///
/// Every pointer and length in `attributes` describes memory that lives through the call.
///
/// # Errors
///
/// What the kernel says.
pub unsafe fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the structure is as long as said; the rest is the caller's.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw mut *attributes,
            size_of::<bpf_attr>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

/// Takes the program of a pinned link off its interface, now: removing the pin alone leaves that to
/// the kernel's own time.
///
/// # Errors
///
/// What the kernel says.
pub fn detach_pinned_link(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut get = attributes();
    get.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path lives through the call.
    let descriptor = unsafe { bpf(bpf_cmd::BPF_OBJ_GET, &mut get)? };
    // SAFETY: the kernel has just made it for us.
    let link = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let mut detach = attributes();
    detach.link_detach.link_fd = link.as_raw_fd() as u32;
    // SAFETY: no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut detach)? };
    Ok(())
}
