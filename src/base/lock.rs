//! Barman's lock files: `flock(2)` on a file that holds the pid of its last owner (catalog reference §8).
//!
//! The file is created with mode 600, its content is the pid and a newline, and it is never removed on release, so
//! that both tools exclude each other on one catalog.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
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
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Self::sign(file, path),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy {
                path: path.to_path_buf(),
            }),
            Err(TryLockError::Error(error)) => Err(PathError::new("lock", path, error).into()),
        }
    }

    /// Takes the lock, waiting for as long as another process holds it.
    ///
    /// # Errors
    /// The lock file cannot be opened or locked.
    pub fn acquire(path: &Path) -> Result<LockFile, LockError> {
        let file = open(path)?;
        file.lock().at("lock", path)?;
        Self::sign(file, path)
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
        file.set_len(0).at("truncate", path)?;
        file.seek(SeekFrom::Start(0)).at("seek", path)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .at("write", path)?;
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
}
