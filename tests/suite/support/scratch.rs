//! Temporary directories that every account of the tests can reach, and free ports.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::cleanup;
use super::process::Account;

/// Free bytes that make memory worth its use.
const ENOUGH: u64 = 2 << 30;

/// A directory of one test, removed with everything in it when this value goes away.
///
/// Set `BARKEEP_TEST_KEEP=1` to keep it for a look.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates a directory with mode 755. The path is short: a unix socket's path has 107 bytes.
    pub fn new(label: &str) -> Scratch {
        Scratch::below(Path::new("/tmp"), label)
    }

    /// A directory in memory where there is room, for trials that copy whole catalogs and prove nothing about disks.
    pub fn in_memory(label: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let roomy = nix::sys::statvfs::statvfs(memory)
            .is_ok_and(|room| room.blocks_available().saturating_mul(room.fragment_size()) >= ENOUGH);
        Scratch::below(if roomy { memory } else { Path::new("/tmp") }, label)
    }

    fn below(parent: &Path, label: &str) -> Scratch {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("bk-{}-{serial}-{label}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        cleanup::watch_directory(&path);
        Scratch { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a directory below, owned by `owner`.
    pub fn directory(&self, name: &str, owner: &Account) -> PathBuf {
        let path = self.join(name);
        make_directory(&path, owner);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("BARKEEP_TEST_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        cleanup::forget_directory(&self.path);
    }
}

/// Creates one directory, mode 755, owned by `owner`.
pub fn make_directory(path: &Path, owner: &Account) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    owner.own(path);
}

/// Writes a file owned by `owner` with the given mode.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>, mode: u32, owner: &Account) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    owner.own(path);
}

/// A loopback port that nobody uses at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
