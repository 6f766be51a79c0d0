//! One full backup in one file, with the WAL that makes it consistent: `export-backup` and `import-backup`, in Barman's format
//! (catalog reference §13, behaviour reference §26).
//!
//! The file has a name that says whose backup it is and the beginning of its own SHA-256. Members, in this order: `identity.json`,
//! `backup.info`, `barman.json`, `backup/…`, `wals/{directory}/{file}`, `xlog.db`. What barkeep knows beyond Barman follows under
//! `barkeep/`, which Barman passes over.

mod adopt;
mod error;
mod export;
mod import;
mod name;
mod unpack;
mod write;

pub use error::{ExportError, ImportError};
pub use export::{Export, export};
pub use import::{Import, import};

use crate::codec::Compression;

const IDENTITY: &str = "identity.json";
const BACKUP_INFO: &str = "backup.info";
const PRODUCER: &str = "barman.json";
const DATA: &str = "backup";
const WALS: &str = "wals";
const XLOGDB: &str = "xlog.db";
const OWN: &str = "barkeep";
/// What barkeep knows of a backup, below [`OWN`].
const SIDECAR: &str = "sidecar.json";
/// What barkeep knows of its files, below [`OWN`].
const RECORDS: &str = "files.zst";

/// What monitoring finds in Barman's log where a server has no identity.
fn log_missing_identity(server: &str) {
    log::error!(target: "barman.server", "Cannot read system Id file for server \"{server}\"");
}

/// How a tarball may be compressed, with the levels and the ending of the name.
const PACKINGS: [(Compression, std::ops::RangeInclusive<u32>, &str); 3] = [
    (Compression::Gzip, 1..=9, ".gz"),
    (Compression::Bzip2, 1..=9, ".bz2"),
    (Compression::Xz, 0..=9, ".xz"),
];
