//! Barman's lock files: `flock(2)` on a file that holds the pid of its last owner (catalog reference §8).
//!
//! The file is created with mode 600, its content is the pid and a newline, and it is never removed on release, so
//! that both tools exclude each other on one catalog.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{PathContext, PathError};

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("lock file \"{}\" is held by another process", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file may not be opened by this user.
    #[error("Permission denied, unable to access '{}'", path.display())]
    Permission {
        /// The lock file.
        path: PathBuf,
    },
    /// Anything else.
    #[error(transparent)]
    Io(#[from] PathError),
}

/// A lock that is held until dropped.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn try_acquire(path: &Path) -> Result<LockFile, LockError> {
        Self::take(path, File::try_lock)
    }

    /// Takes the lock without waiting, together with others who share it. Nobody can then take it for himself.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it for itself.
    pub fn try_acquire_shared(path: &Path) -> Result<LockFile, LockError> {
        Self::take(path, File::try_lock_shared)
    }

    /// Takes the lock, waiting for as long as another process holds it.
    ///
    /// # Errors
    /// The lock file cannot be opened or locked.
    pub fn acquire(path: &Path) -> Result<LockFile, LockError> {
        Self::take(path, |file| file.lock().map_err(TryLockError::Error))
    }

    fn take(path: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<LockFile, LockError> {
        loop {
            let file = open(path)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Busy {
                        path: path.to_path_buf(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(PathError::new("lock", path, error).into()),
            }
            // Lock files are removed by whoever cleans the directory: a lock on a file that has lost its name excludes
            // nobody.
            if named(&file, path)? {
                return Self::sign(file, path);
            }
        }
    }

    /// Shares the lock without leaving a trace: no file is created, and none is written. `None` when there is no lock file, which
    /// nobody can hold.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it for itself.
    pub fn look(path: &Path) -> Result<Option<LockFile>, LockError> {
        Self::share(path, File::try_lock_shared)
    }

    /// As [`LockFile::look`], waiting for as long as another process holds the lock for itself.
    ///
    /// # Errors
    /// The lock file cannot be opened or locked.
    pub fn look_patiently(path: &Path) -> Result<Option<LockFile>, LockError> {
        Self::share(path, |file| file.lock_shared().map_err(TryLockError::Error))
    }

    fn share(
        path: &Path,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<LockFile>, LockError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PathError::new("open", path, error).into()),
        };
        let path = path.to_path_buf();
        match lock(&file) {
            Ok(()) => Ok(Some(LockFile { file, path })),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy { path }),
            Err(TryLockError::Error(error)) => Err(PathError::new("lock", &path, error).into()),
        }
    }

    /// Whether somebody holds the lock. Its owner may be unknown: on a full disk he could not write his pid.
    ///
    /// # Errors
    /// The lock file exists but cannot be opened.
    pub fn is_held(path: &Path) -> Result<bool, LockError> {
        match Self::look(path) {
            Ok(_) => Ok(false),
            Err(LockError::Busy { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The pid of the process that holds the lock, or `None` when nobody does.
    ///
    /// # Errors
    /// The lock file exists but cannot be read.
    pub fn owner(path: &Path) -> Result<Option<u32>, LockError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PathError::new("open", path, error).into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).at("read", path)?;
                Ok(text.trim().parse().ok())
            }
            Err(TryLockError::Error(error)) => Err(PathError::new("lock", path, error).into()),
        }
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn sign(mut file: File, path: &Path) -> Result<LockFile, LockError> {
        let text = format!("{}\n", std::process::id());
        // Over the old content first: on a full disk its block is all there is.
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64))
            .at("write", path);
        match written {
            // It excludes others without a pid, too, and whoever wants to make room must get his lock.
            Err(error) if error.is_lack_of_room() => log::warn!("{error}: the lock is held all the same"),
            written => written?,
        }
        Ok(LockFile {
            file,
            path: path.to_path_buf(),
        })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            log::warn!("cannot release lock file \"{}\": {error}", self.path.display());
        }
    }
}

/// Whether `path` still is the name of the open file.
fn named(file: &File, path: &Path) -> Result<bool, LockError> {
    let held = file.metadata().at("examine", path)?;
    match std::fs::metadata(path) {
        Ok(current) => Ok((held.dev(), held.ino()) == (current.dev(), current.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PathError::new("examine", path, error).into()),
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => LockError::Permission {
                path: path.to_path_buf(),
            },
            _ => PathError::new("open", path, error).into(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn second_owner_is_refused_and_first_is_named() {
        let path = std::env::temp_dir().join(format!(".barkeep-lock-test-{}", std::process::id()));
        let held = LockFile::try_acquire(&path).unwrap();
        assert!(matches!(
            LockFile::try_acquire(&path),
            Err(LockError::Busy { .. })
        ));
        assert_eq!(LockFile::owner(&path).unwrap(), Some(std::process::id()));
        drop(held);
        assert_eq!(LockFile::owner(&path).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_full_disk_does_not_keep_a_lock_from_excluding() {
        let path = std::env::temp_dir().join(format!(".barkeep-lock-full-{}", std::process::id()));
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let held = LockFile::acquire(&path).unwrap();
        assert!(matches!(
            LockFile::try_acquire(&path),
            Err(LockError::Busy { .. })
        ));
        assert!(LockFile::is_held(&path).unwrap());
        drop(held);
        std::fs::remove_file(&path).unwrap();
        assert!(!LockFile::is_held(&path).unwrap());
    }

    #[test]
    fn readers_share_a_lock_that_no_owner_can_take() {
        let path = std::env::temp_dir().join(format!(".barkeep-lock-shared-{}", std::process::id()));
        let one = LockFile::try_acquire_shared(&path).unwrap();
        let two = LockFile::try_acquire_shared(&path).unwrap();
        assert!(matches!(
            LockFile::try_acquire(&path),
            Err(LockError::Busy { .. })
        ));
        drop((one, two));
        let owner = LockFile::try_acquire(&path).unwrap();
        assert!(matches!(
            LockFile::try_acquire_shared(&path),
            Err(LockError::Busy { .. })
        ));
        drop(owner);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_waiter_does_not_end_up_with_a_removed_file() {
        let path = std::env::temp_dir().join(format!(".barkeep-lock-removed-{}", std::process::id()));
        let first = LockFile::try_acquire(&path).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| LockFile::acquire(&path).unwrap());
            // Whether the waiter opened the file before or after this, it must own the named one in the end.
            std::fs::remove_file(&path).unwrap();
            drop(first);
            let second = waiter.join().unwrap();
            assert!(named(&second.file, &path).unwrap());
        });
        std::fs::remove_file(&path).unwrap();
    }
}
