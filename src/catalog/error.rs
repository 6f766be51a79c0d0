//! What can go wrong with a catalog.

use std::path::PathBuf;

use crate::base::error::PathError;
use crate::base::lock::LockError;

/// A catalog that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file or directory could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A `backup.info` has a key of a newer Barman. The words are Barman's.
    #[error(
        "Unsupported field '{key}' found in backup metadata. This indicates the backup was created with a newer \
         version of Barman. Please upgrade to a compatible or newer version."
    )]
    UnknownField {
        /// The key.
        key: String,
    },
    /// A line of a `backup.info` without `=`.
    #[error("invalid line {line} in file {}", path.display())]
    InvalidLine {
        /// The text of the line.
        line: String,
        /// The file.
        path: PathBuf,
    },
    /// A value of a `backup.info` that does not fit its key.
    #[error("invalid value of {key} in file {}: {reason}", path.display())]
    InvalidValue {
        /// The key.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with the value.
        reason: String,
    },
    /// A line of the WAL database that is not three to five columns.
    #[error("cannot parse line {line:?} of \"{}\" (hint: run \"barman rebuild-xlogdb\")", path.display())]
    InvalidWalEntry {
        /// The line.
        line: String,
        /// The file.
        path: PathBuf,
    },
    /// A name in the WAL database that is not of a WAL file. The words are Barman's.
    #[error(
        "invalid WAL segment name '{name}'\nHINT: Please run \"barman rebuild-xlogdb {server}\" to solve this issue"
    )]
    InvalidWalName {
        /// The name.
        name: String,
        /// The server.
        server: String,
    },
    /// The server's directories are in an object store.
    #[error("{0}")]
    NotLocal(#[from] crate::config::NotLocal),
    /// A `backup.info` does not say something that the operation needs.
    #[error("backup '{id}' has no {key} in its backup.info")]
    Incomplete {
        /// The backup.
        id: super::BackupId,
        /// The missing key.
        key: &'static str,
    },
    /// The file with the identity of a server is not what was written.
    #[error("cannot read \"{}\": {reason}", path.display())]
    InvalidIdentity {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A keep annotation with a target that does not exist.
    #[error("\"{}\" holds {text:?}, which is neither full nor standalone", path.display())]
    InvalidKeep {
        /// The file.
        path: PathBuf,
        /// Its content.
        text: String,
    },
}

/// A token that names no backup, or several.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No backup has this name. The words are Barman's.
    #[error("Unknown backup '{token}' for server '{server}'")]
    Unknown {
        /// What was asked for.
        token: String,
        /// The server.
        server: String,
    },
    /// Several backups have this name. The words are Barman's.
    #[error("Multiple backups found matching name '{name}' (try using backup ID instead): {}", ids.join(" "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The backups that have it.
        ids: Vec<String>,
    },
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}
