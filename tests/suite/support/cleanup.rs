//! What must not outlive the run: processes and directories, registered by their owners.
//!
//! Owners clean up in `Drop`. Ctrl-C runs no `Drop`, so a thread waits for the signal, ends every registered process
//! by its pid, removes every registered directory and leaves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static PROCESSES: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static DIRECTORIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static MOUNTS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Remembers a process to end when the run is interrupted.
pub fn watch_process(pid: u32) {
    PROCESSES.lock().unwrap().insert(pid as i32);
}

/// The process has ended.
pub fn forget_process(pid: u32) {
    PROCESSES.lock().unwrap().remove(&(pid as i32));
}

/// Remembers a directory to remove when the run is interrupted.
pub fn watch_directory(path: &Path) {
    DIRECTORIES.lock().unwrap().insert(path.to_path_buf());
}

/// The directory is gone.
pub fn forget_directory(path: &Path) {
    DIRECTORIES.lock().unwrap().remove(path);
}

/// Remembers a mounted file system to unmount when the run is interrupted.
pub fn watch_mount(path: &Path) {
    MOUNTS.lock().unwrap().insert(path.to_path_buf());
}

/// It is unmounted.
pub fn forget_mount(path: &Path) {
    MOUNTS.lock().unwrap().remove(path);
}

/// Starts the thread that cleans up after Ctrl-C and SIGTERM.
pub fn install() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for pid in PROCESSES.lock().unwrap().iter() {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGQUIT);
            }
            // PostgreSQL needs a moment to end its children before its directory goes away.
            std::thread::sleep(std::time::Duration::from_millis(500));
            for pid in PROCESSES.lock().unwrap().iter() {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            for path in MOUNTS.lock().unwrap().iter() {
                super::mount::unmount(path);
            }
            for path in DIRECTORIES.lock().unwrap().iter() {
                let _ = std::fs::remove_dir_all(path);
            }
            std::process::exit(128 + signal);
        }
    });
}
