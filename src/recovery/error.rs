//! Why a restore did not happen.

use std::path::PathBuf;

use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::catalog::chains::BrokenChain;
use crate::catalog::{CatalogError, ResolveError};
use crate::codec::CodecError;
use crate::config::NotLocal;
use crate::copy::CopyError;
use crate::hooks::HookError;
use crate::transport::TransportError;

use super::archived::HistoryError;
use super::selection::SelectionError;
use super::tablespaces::TablespaceError;
use super::target::TargetError;
use super::timelines;
use super::wal_selection::Missing;

/// Why a restore did not happen. Texts that Barman has too are Barman's.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The target cannot be.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No backup could be chosen.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The backup does not exist.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Backups or WAL are in an object store.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
    /// A tablespace rule cannot be followed.
    #[error(transparent)]
    Tablespace(#[from] TablespaceError),
    /// The backup is not complete.
    #[error("Cannot restore from backup '{backup}' of server '{server}': backup status is not DONE")]
    Status {
        /// As typed.
        backup: String,
        /// The server.
        server: String,
    },
    /// An argument that cannot be followed; the message is complete.
    #[error("{0}")]
    Argument(String),
    /// A kind of backup that cannot be restored yet.
    #[error(
        "Cannot restore backup {backup}: this version of barkeep does not have the restore of {kind} backups"
    )]
    Kind {
        /// The backup.
        backup: String,
        /// What it is.
        kind: &'static str,
    },
    /// The backups it builds on are not all there.
    #[error("Cannot restore backup {backup}: {source}")]
    Chain {
        /// The backup.
        backup: String,
        /// What is wrong with them.
        source: BrokenChain,
    },
    /// Somebody changed the chain meanwhile.
    #[error("The chain of backup {backup} was changed while the restore began: try again")]
    Changed {
        /// The backup.
        backup: String,
    },
    /// `backup.info` lacks something.
    #[error("The metadata of backup {backup} lack \"{field}\": it cannot be restored")]
    Incomplete {
        /// The backup.
        backup: String,
        /// The key.
        field: &'static str,
    },
    /// The data of the backup are gone.
    #[error("The directory \"{}\" of backup {backup} does not exist", directory.display())]
    NoData {
        /// The backup.
        backup: String,
        /// Where the data should be.
        directory: PathBuf,
    },
    /// The backup is being changed by somebody else.
    #[error("Another action is in progress for the backup {backup} of server {server}: {source}")]
    Locked {
        /// The backup.
        backup: String,
        /// The server.
        server: String,
        /// The lock.
        source: LockError,
    },
    /// The other host does not answer.
    #[error("Unable to connect to the target host using the command '{command}'")]
    Connect {
        /// The ssh command.
        command: String,
    },
    /// A directory to restore into is not fit; the message is complete.
    #[error("{0}")]
    Destination(String),
    /// Something on the destination host failed.
    #[error("{host}: cannot {action} \"{}\": {message}", path.display())]
    Remote {
        /// The host, as its ssh command.
        host: String,
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What was said.
        message: String,
    },
    /// WAL is missing.
    #[error("{missing}.\nHINT: {}", missing.hint())]
    Missing {
        /// What is missing.
        missing: Missing,
    },
    /// The target timeline cannot be reached.
    #[error("Cannot recover to timeline {timeline}: {source}.\nHINT: {hint}")]
    Timeline {
        /// The timeline.
        timeline: u32,
        /// Why.
        source: timelines::PathError,
        /// What to do.
        hint: String,
    },
    /// A history file cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError<CodecError>),
    /// A WAL file cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A WAL file is not whole.
    #[error("\"{}\" is damaged: it holds {found} bytes instead of {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        found: u64,
        /// Bytes of a segment.
        expected: u64,
    },
    /// A WAL file is not what its name says.
    #[error("\"{}\" holds {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The data could not be copied.
    #[error("Failure copying base backup: {0}")]
    Copy(#[from] CopyError),
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A hook script forbade it.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A file of this host.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The work was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
