//! Why a synchronisation fails.

use std::io;
use std::path::PathBuf;

use crate::base::error::{PathError, python_text};
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::catalog::{BackupId, CatalogError, DeletionError};
use crate::config::NotLocal;
use crate::copy::CopyError;
use crate::transport::TransportError;

/// Why a synchronisation failed. Where Barman has words for it, they are Barman's.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Only passive nodes synchronise.
    #[error("server {0} is not passive")]
    NotPassive(String),
    /// A passive node asks for what comes after a file that this node does not have any more.
    #[error("last_wal '{wal}' is older than the first available wal '{first}'")]
    Older {
        /// What the passive node has last.
        wal: String,
        /// What this node has first.
        first: String,
    },
    /// A passive node asks for what comes after a file that this node does not have yet.
    #[error("last_wal '{wal}' is newer than the last available wal  '{last}'")]
    Newer {
        /// What the passive node has last.
        wal: String,
        /// What this node has last.
        last: String,
    },
    /// The primary node did not answer.
    #[error("sync-info execution on remote primary server {server} failed: {said}")]
    Primary {
        /// The server.
        server: String,
        /// What ssh or the primary node wrote to its standard error.
        said: String,
    },
    /// The primary node answered something else.
    #[error("the answer of the primary node to 'sync-info' cannot be used: {0}")]
    Answer(String),
    /// The primary node was never asked.
    #[error(
        "Cannot open primary.info file for server {server}: {}",
        python_text(source, path)
    )]
    NeverAsked {
        /// The server.
        server: String,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// Neither node has the backup.
    #[error("Backup {id} is absent on {server} server")]
    Absent {
        /// What was asked for.
        id: String,
        /// The server.
        server: String,
    },
    /// Another process copies it.
    #[error("Another synchronisation process for backup {id} of server {server} is already running.")]
    BackupBusy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The copy of a backup failed.
    #[error("failure syncing server {server} backup {id}: {source}")]
    Copy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Why.
        source: Box<CopyError>,
    },
    /// Files went away on the primary node while they were copied.
    #[error(
        "failure syncing server {server} backup {id}: {count} files of it have gone from the primary node, \"{}\" among \
         them: it is being deleted there, or damaged", first.display()
    )]
    Vanished {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// How many.
        count: usize,
        /// One of them.
        first: PathBuf,
    },
    /// WAL files are stored in another way there.
    #[error(
        "Compression method on server {server} ({there}) does not match local compression method ({here})"
    )]
    Compression {
        /// The server.
        server: String,
        /// The primary node's `compression`.
        there: String,
        /// Ours.
        here: String,
    },
    /// A WAL file is not what the primary node says.
    #[error("WAL file {name} has {found} bytes, and {expected} in the primary node's database of WAL files")]
    WalSize {
        /// The file.
        name: String,
        /// Bytes that arrived.
        found: u64,
        /// Bytes that the primary node has recorded.
        expected: u64,
    },
    /// The WAL could not be copied.
    #[error(transparent)]
    Wals(#[from] CopyError),
    /// The rest of an incomplete backup could not be removed.
    #[error(transparent)]
    Deletion(#[from] Box<DeletionError>),
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The program was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Backups or WAL are kept in an object store.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
}

impl From<PathError> for SyncError {
    fn from(error: PathError) -> SyncError {
        SyncError::Catalog(error.into())
    }
}

impl From<LockError> for SyncError {
    fn from(error: LockError) -> SyncError {
        SyncError::Catalog(error.into())
    }
}
