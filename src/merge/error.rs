//! Why a merge did not happen, or stopped.

use crate::base::calendar::{self, Timestamp};
use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::catalog::chains::BrokenChain;
use crate::catalog::{BackupId, CatalogError, DeletionError};
use crate::copy::chain::ChainError;
use crate::copy::records::RecordsError;
use crate::postgres::manifest::ManifestError;

/// Why a merge did not happen, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The catalog has no such backup.
    #[error("Unknown backup '{id}' for server '{server}'")]
    Unknown {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// There is nothing to merge.
    #[error("Backup {0} is a full backup: there is nothing that could be merged into it")]
    Full(BackupId),
    /// The backup is not good.
    #[error("Backup {0} cannot be merged: its status is not DONE")]
    Status(BackupId),
    /// It is stored in a form that cannot be changed in place.
    #[error("Backup {0} cannot be merged: it is compressed or encrypted")]
    Shape(BackupId),
    /// The chain is not whole.
    #[error("Backup {id} cannot be merged: {source}")]
    Chain {
        /// The backup.
        id: BackupId,
        /// What is wrong with its chain.
        source: BrokenChain,
    },
    /// Another merge in the chain was cut short.
    #[error(
        "A merge into backup {0}, on which it builds, is not finished: finish that first, with \"barman merge\" or cron"
    )]
    Unfinished(BackupId),
    /// A backup that would go is kept.
    #[error(
        "Backup {0} would go, and it has a current keep request. Remove the keep if you do not need it for itself any more"
    )]
    Kept(BackupId),
    /// A backup that would go has a child that would lose what it builds on.
    #[error(
        "Backup {member} would go, and backup {child}, which does not belong to this chain, builds on it"
    )]
    Branch {
        /// The backup that would go.
        member: BackupId,
        /// Its other child.
        child: BackupId,
    },
    /// The retention policy wants to return to moments that only the older backups lead to.
    #[error(
        "The retention policy {policy} still needs backup {root}: without it no moment from {} to {} can be restored. \
         Merge an older backup, or wait",
        calendar::python_str(from),
        calendar::python_str(to)
    )]
    Window {
        /// The policy.
        policy: String,
        /// The full backup that would go.
        root: BackupId,
        /// From this moment on.
        from: Timestamp,
        /// Up to this one.
        to: Timestamp,
    },
    /// There is not enough room.
    #[error("Merging needs {needed} bytes in \"{}\", where {free} are free", directory.display())]
    Room {
        /// Where.
        directory: std::path::PathBuf,
        /// Bytes needed at most.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A backup, a deletion or another merge is at work.
    #[error(
        "Another process is running on server {server}: a backup, a deletion, or a merge. Try again later"
    )]
    ServerBusy {
        /// The server.
        server: String,
    },
    /// Somebody uses one of the backups.
    #[error("Another process is holding the lock for backup {id} of server {server}.")]
    BackupBusy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// A lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The journal is not one.
    #[error("\"{}\" is damaged: {reason}", path.display())]
    Journal {
        /// The journal.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file of the chain cannot be put together.
    #[error(transparent)]
    File(#[from] ChainError),
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The records of a backup cannot be used.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The merge is complete, but a backup that is not needed any more could not be deleted.
    #[error("{0}\nHINT: The merge itself is done. Run it again, or leave it to cron, to delete what is left")]
    Deletion(#[from] Box<DeletionError>),
    /// The work was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
