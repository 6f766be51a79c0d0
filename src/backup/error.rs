//! Why a backup failed.

use std::path::PathBuf;

use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::catalog::{BackupId, CatalogError, WalRemovalError};
use crate::copy::CopyError;
use crate::copy::packed::PackedError;
use crate::copy::records::RecordsError;
use crate::hooks::HookError;
use crate::postgres::client::PgError;
use crate::postgres::manifest::ManifestError;
use crate::transport::TransportError;

use super::held;

/// Why a backup failed. The first line of the text becomes the `error` of its `backup.info`.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Postgres(#[from] PgError),
    #[error("{}", held::LOST)]
    ConnectionLost,
    #[error("PostgreSQL does not say its data directory (is the user a member of pg_read_all_settings?)")]
    NoDataDirectory,
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Purge(#[from] WalRemovalError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("Backup {id} cannot be the parent of an incremental backup: {reason}")]
    Parent { id: BackupId, reason: String },
    #[error("data transfer failure on directory '{}'\npg_basebackup error:\n{output}", directory.display())]
    BaseBackup { directory: PathBuf, output: String },
    #[error("the backup label in \"{}\" cannot be used: {reason}", directory.display())]
    Label { directory: PathBuf, reason: String },
    #[error(transparent)]
    Packed(#[from] PackedError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
