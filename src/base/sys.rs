//! System calls that no safe crate offers. The only unsafe code besides the libpq binding lives here; each block says
//! why it is sound.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

unsafe extern "C" {
    // Both are thin wrappers of glibc and musl on 64-bit Linux, where off_t and size_t are 64 bits wide.
    fn sync_file_range(fd: c_int, offset: i64, length: i64, flags: c_uint) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
    fn mincore(address: *mut c_void, length: usize, pages: *mut u8) -> c_int;
    fn sysconf(name: c_int) -> c_long;
}

const SYNC_FILE_RANGE_WRITE: c_uint = 2;
const MAP_SHARED: c_int = 1;
const PROT_NONE: c_int = 0;
const SC_PAGESIZE: c_int = 30;

/// `struct fsxattr` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct FsXattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// `FS_XFLAG_COWEXTSIZE`: `copy_extent_size` counts.
const HAS_COPY_EXTENT_SIZE: u32 = 0x0001_0000;

mod request {
    #![allow(missing_docs)] // the macros' functions
    nix::ioctl_write_int!(ficlone, 0x94, 9);
    nix::ioctl_read!(fsgetxattr, b'X', 31, super::FsXattr);
    nix::ioctl_write_ptr!(fssetxattr, b'X', 32, super::FsXattr);
}

/// Starts writing a range of a file to disk without waiting (`sync_file_range`), so that a later fsync has little left
/// to do. A length of zero means to the end. Only a hint: file systems without it say so, and nothing is lost.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the descriptor is open for the duration of the call, and no memory is passed.
    let _ = unsafe { sync_file_range(file.as_raw_fd(), offset, length, SYNC_FILE_RANGE_WRITE) };
}

/// Makes `target` share all blocks of `source` (`FICLONE`).
///
/// # Errors
/// The file system cannot (`EOPNOTSUPP`, `EXDEV`, `EINVAL`…); `target` is then unchanged.
pub fn reflink(source: &File, target: &File) -> io::Result<()> {
    // SAFETY: both descriptors are open for the duration of the call; the argument is a descriptor, not memory.
    unsafe { request::ficlone(target.as_raw_fd(), source.as_raw_fd().unsigned_abs().into()) }?;
    Ok(())
}

/// Sets how much room a file that shares its blocks gets for each place that is written (`FS_IOC_FSSETXATTR`). XFS reserves
/// 128 KiB for every changed page by itself, and gives it back half an hour later. Only a hint: file systems without it
/// say so, and nothing is lost.
pub fn reserve_for_copies(file: &File, bytes: u32) {
    let mut attributes = FsXattr::default();
    // SAFETY: the descriptor is open for the duration of the call; the kernel fills exactly one struct of this layout.
    if unsafe { request::fsgetxattr(file.as_raw_fd(), &raw mut attributes) }.is_err() {
        return;
    }
    attributes.flags |= HAS_COPY_EXTENT_SIZE;
    attributes.copy_extent_size = bytes;
    // SAFETY: as above; the kernel reads the struct.
    let _ = unsafe { request::fssetxattr(file.as_raw_fd(), &raw const attributes) };
}

/// For each `window` bytes of the first `length` bytes of a file, whether the page cache holds any of it (`mincore`).
/// Everything counts as cached when that cannot be told.
#[must_use]
pub fn cached_windows(file: &File, length: u64, window: usize) -> Vec<bool> {
    let Ok(length) = usize::try_from(length) else {
        return Vec::new();
    };
    let windows = length.div_ceil(window.max(1));
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: sysconf reads a constant of the system.
    let page = usize::try_from(unsafe { sysconf(SC_PAGESIZE) })
        .unwrap_or(4096)
        .max(512);
    // SAFETY: a fresh mapping chosen by the kernel, without access rights: it is never read or written, so a file that is
    // truncated meanwhile cannot raise SIGBUS.
    let address = unsafe {
        mmap(
            std::ptr::null_mut(),
            length,
            PROT_NONE,
            MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address as isize == -1 {
        return vec![true; windows];
    }
    let mut pages = vec![0_u8; length.div_ceil(page)];
    // SAFETY: the mapping is `length` bytes long and `pages` holds one byte for each of its pages.
    let asked = unsafe { mincore(address, length, pages.as_mut_ptr()) };
    // SAFETY: exactly the mapping made above, which nothing refers to.
    unsafe { munmap(address, length) };
    if asked != 0 {
        return vec![true; windows];
    }
    pages
        .chunks((window / page).max(1))
        .map(|chunk| chunk.iter().any(|page| page & 1 == 1))
        .collect()
}

/// Makes the program that `command` will run get `signal` when the thread that starts it ends, however that happens: also
/// when this process is killed.
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let arm = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // Had the parent ended before, no signal would come any more.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::Interrupted))
        }
    };
    // SAFETY: between fork and exec only `prctl` and `getppid` are called: both are system calls and nothing else, no memory
    // is allocated and no lock is taken.
    unsafe { command.pre_exec(arm) };
}

/// Sets `HOME` for this process and its children: ssh and libpq look for the user's files there.
///
/// Only for the start of the program, before it has a second thread.
pub fn set_home(home: &Path) {
    // SAFETY: the environment is not thread-safe; this runs while the program has one thread.
    unsafe { std::env::set_var("HOME", home) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_just_written_is_cached() {
        let path = std::env::temp_dir().join(format!(".barkeep-cached-{}", std::process::id()));
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(cached_windows(&file, 100_000, 65_536), [true, true]);
        assert!(cached_windows(&file, 0, 65_536).is_empty());
        start_writeback(&file, 0, 0);
        std::fs::remove_file(&path).unwrap();
    }
}
