//! Why a backup was not exported or imported.

use std::path::PathBuf;

use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::catalog::{BackupId, BackupStatus, CatalogError};
use crate::codec::CodecError;

/// A backup that was not exported. The words are Barman's where Barman has them.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It builds on another backup.
    #[error(
        "Cannot export backup {id} from server {server}: it is an incremental backup.\nOnly full backups are eligible for \
         exporting."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not complete.
    #[error(
        "Cannot export backup '{asked}' from server '{server}': backup status is '{status}', expected 'DONE'"
    )]
    NotDone {
        /// How the backup was named.
        asked: String,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// The directory cannot be used.
    #[error("Output directory '{directory}' {fault}")]
    Directory {
        /// As it was named.
        directory: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A level without an algorithm.
    #[error("--compression-level requires --compression to be set")]
    LevelAlone,
    /// The algorithm has no such level.
    #[error("Invalid compression level '{level}' for algorithm '{algorithm}'. Valid levels are: {valid}")]
    Level {
        /// What was asked for.
        level: i64,
        /// The algorithm.
        algorithm: &'static str,
        /// The levels that there are.
        valid: String,
    },
    /// Nobody could tell whose backup it is.
    #[error(
        "No identity file found for server '{0}'. The identity file is required to validate the backup during import."
    )]
    NoIdentity(String),
    /// The backup is being changed.
    #[error("Another backup operation is already running on backup '{id}' for server '{server}'")]
    Busy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// WAL that the backup needs is missing.
    #[error("WAL file required for backup consistency not found{place} for backup '{id}': {name}")]
    MissingWal {
        /// Where it was looked for: empty, or ` in xlog.db`.
        place: &'static str,
        /// The backup.
        id: BackupId,
        /// The first file that is missing.
        name: String,
    },
    /// There is something that a backup has not.
    #[error("\"{}\" is neither a file nor a directory: nobody could import it", .0.display())]
    Unsuitable(PathBuf),
    /// A file became shorter or longer while it was read.
    #[error("\"{}\" has changed while it was being exported", .0.display())]
    Changed(PathBuf),
    /// The command was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A tarball that was not imported. The words are Barman's where Barman has them.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such file.
    #[error("Tarball file '{0}' does not exist")]
    NoFile(String),
    /// It is a directory or something else.
    #[error("Tarball path '{0}' is not a file")]
    NotAFile(String),
    /// This user may not read it.
    #[error("Tarball file '{0}' is not readable")]
    NotReadable(String),
    /// It is no tar file, plain or compressed.
    #[error("File '{0}' is not a valid tar file")]
    NotATar(String),
    /// It does not say whose backup it is.
    #[error(
        "Tarball filename does not match the expected export format \
         'backup-export-SERVER_NAME-BACKUP_ID-TIMESTAMP-CHECKSUM.tar': '{name}'. Expected filename to start with \
         'backup-export-{server}-'."
    )]
    Name {
        /// The name.
        name: String,
        /// The server that was to have it.
        server: String,
    },
    /// It is not what was exported.
    #[error(
        "Tarball checksum mismatch: filename contains '{named}' but actual checksum is '{actual}'. The file may have been \
         modified or corrupted."
    )]
    Checksum {
        /// The checksum in the name.
        named: String,
        /// The checksum of the content.
        actual: String,
    },
    /// Nobody could tell whether it is of this server.
    #[error(
        "No identity file found for server '{0}'. The identity file is required to validate the backup during import."
    )]
    NoIdentity(String),
    /// A backup, a deletion or another import is at work.
    #[error("Another backup operation is already running on server '{0}'")]
    Busy(String),
    /// What Barman ends with an exception for.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The command was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// WAL cannot be compared.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A tarball whose content this server cannot have.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The backup is there already.
    #[error("Backup '{id}' already exists in the catalog for server '{server}'")]
    Exists {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Something that an export has is missing.
    #[error("Exported tarball does not contain {0}")]
    Lacks(&'static str),
    /// A member would be written outside.
    #[error("Tarball contains unsafe path: '{0}'")]
    UnsafePath(String),
    /// A member is a link or a device.
    #[error("Tarball contains unsafe member type: '{0}'")]
    UnsafeType(String),
    /// A member of a few kilobytes that is larger than any of them.
    #[error("Member '{0}' of the tarball is larger than it can be")]
    TooLarge(String),
    /// A member that is not what it should be.
    #[error("Member '{member}' of the tarball is damaged: {reason}")]
    Damaged {
        /// The member.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The backup is of another cluster.
    #[error(
        "Server identity mismatch: exported backup has systemid '{exported}' but target server has systemid '{target}'"
    )]
    Identity {
        /// The cluster of the backup.
        exported: String,
        /// The cluster of the server.
        target: String,
    },
    /// It builds on another backup.
    #[error(
        "Cannot import backup {id} into server {server}: it is an incremental backup.\nOnly full backups are eligible for \
         importing."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not complete.
    #[error(
        "Cannot import backup '{id}' into server '{server}': backup status is '{status}', expected 'DONE'"
    )]
    NotDone {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// WAL is recorded and not there.
    #[error("WAL file listed in tarball's xlog.db but not found under its wals/ directory: {0}")]
    MissingWal(String),
    /// WAL that the backup needs is neither in the tarball nor in the archive.
    #[error("WAL file required for backup consistency not found for backup '{id}': {name}")]
    RequiredWal {
        /// The backup.
        id: BackupId,
        /// The first segment that is missing.
        name: String,
    },
    /// The archive has other WAL of these names.
    #[error("WAL file(s) already exist in target server with conflicting content: {0}")]
    ConflictingWal(String),
}
