//! The lock files of Barman, by name (catalog reference §8).
//!
//! Both tools exclude each other because they use the same names and `flock(2)`. Readers of a backup (restore, verify,
//! export) share its lock, so that neither tool deletes a backup under them; Barman's readers take no lock.

use std::path::{Path, PathBuf};

use crate::base::lock::{LockError, LockFile};

use super::{BackupId, Layout};

/// The lock files of one server. Every method says what the lock is for; those that return a path leave the taking to
/// the caller.
#[derive(Debug, Clone)]
pub struct Locks {
    directory: PathBuf,
    server: String,
}

impl Locks {
    /// The locks of the server that lies at `layout`.
    #[must_use]
    pub fn of(layout: &Layout) -> Locks {
        Locks {
            directory: layout.locks.clone(),
            server: layout.server.clone(),
        }
    }

    /// `.{server}-{kind}.lock`
    #[must_use]
    pub fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!(".{}-{kind}.lock", self.server))
    }

    /// Held by `backup`, `delete`, `import-backup`.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn backup(&self) -> Result<LockFile, LockError> {
        LockFile::try_acquire(&self.path("backup"))
    }

    /// Held by `cron` for one server.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn cron(&self) -> Result<LockFile, LockError> {
        LockFile::try_acquire(&self.path("cron"))
    }

    /// Held by everything that archives WAL.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn archive_wal(&self) -> Result<LockFile, LockError> {
        LockFile::try_acquire(&self.path("archive-wal"))
    }

    /// Held by `receive-wal`.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn receive_wal(&self) -> Result<LockFile, LockError> {
        LockFile::try_acquire(&self.path("receive-wal"))
    }

    /// Held during every access to the WAL database. Waits.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub fn xlogdb(&self) -> Result<LockFile, LockError> {
        LockFile::acquire(&self.path("xlogdb"))
    }

    /// Held by whoever changes one backup: `delete`, `check-backup`, retention, export, import.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process holds it.
    pub fn backup_id(&self, id: &BackupId) -> Result<LockFile, LockError> {
        LockFile::try_acquire(&self.backup_id_path(id))
    }

    /// Shared by whoever reads one backup for long: `restore`, `verify-backup`. As long as it is held neither tool
    /// deletes the backup.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process is changing the backup.
    pub fn backup_reader(&self, id: &BackupId) -> Result<LockFile, LockError> {
        LockFile::try_acquire_shared(&self.backup_id_path(id))
    }

    /// `.{server}-{id}.lock`, removed after the backup was deleted.
    #[must_use]
    pub fn backup_id_path(&self, id: &BackupId) -> PathBuf {
        self.path(id.as_str())
    }

    /// Held by `sync-backup`.
    #[must_use]
    pub fn sync_backup_path(&self, id: &BackupId) -> PathBuf {
        self.path(&format!("{id}-sync-backup"))
    }

    /// Held by `sync-wals`.
    #[must_use]
    pub fn sync_wal_path(&self) -> PathBuf {
        self.path("sync-wal")
    }

    /// The directory of the lock files of all servers.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }
}

/// Held by `cron` and `config-update` while the configuration changes.
///
/// # Errors
/// [`LockError::Busy`] when another process holds it.
pub fn config_update(lock_directory: &Path) -> Result<LockFile, LockError> {
    LockFile::try_acquire(&lock_directory.join(".config-update.lock"))
}

/// What [`clean`] did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Lock files nobody held, now removed.
    pub removed: Vec<PathBuf>,
    /// Lock files that could not be examined or removed.
    pub failed: Vec<LockError>,
}

/// Removes every lock file that nobody holds (`lock-directory-cleanup`), but for those that processes wait for: a Barman
/// that waits would end up with a lock on a file without a name, which excludes nobody.
///
/// # Errors
/// The directory cannot be read.
pub fn clean(lock_directory: &Path) -> Result<Cleaned, crate::base::error::PathError> {
    use crate::base::error::{PathContext, PathError};
    let mut cleaned = Cleaned::default();
    for entry in std::fs::read_dir(lock_directory).at("read directory", lock_directory)? {
        let path = entry.at("read directory", lock_directory)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let waited_for = name.ends_with("-xlogdb.lock") || name.ends_with("-sync-wal.lock");
        if !name.starts_with('.') || !name.ends_with(".lock") || waited_for || !path.is_file() {
            continue;
        }
        match LockFile::try_acquire(&path) {
            // Removed while held: nobody can take it between the test and the removal.
            Ok(held) => match std::fs::remove_file(held.path()) {
                Ok(()) => cleaned.removed.push(path),
                Err(error) => cleaned.failed.push(PathError::new("remove", &path, error).into()),
            },
            Err(LockError::Busy { .. }) => {}
            Err(error) => cleaned.failed.push(error),
        }
    }
    Ok(cleaned)
}
