//! Checking the files of a backup, with several threads: against its manifest, as `pg_verifybackup` does; the checksum of
//! every page, as `pg_checksums` does; and for an incremental backup the files that it becomes with its chain.
//!
//! Also checked are tablespaces that a backup keeps beside its data directory, which the stock program does not find.
//! WAL is not looked at: it is in the archive (`pg_verifybackup -n`).

mod extra;
mod rebuilt;
mod recorded;
mod unpacked;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::agent::message::Corrupt;
use crate::base::error::{PathError, strerror};
use crate::base::lock::LockError;
use crate::codec::WalCodec;
use crate::copy::chain::{ChainError, Sums};
use crate::copy::packed::{self, PackedError};
use crate::copy::records::RecordsError;
use crate::copy::verify::{self, Wanted};
use crate::postgres::control_file::ControlFile;
use crate::postgres::lsn::Lsn;
use crate::postgres::manifest::{self, Checksum, ManifestError, ManifestFile};
use crate::postgres::page::PAGE_SIZE;

use super::chains::{self, BrokenChain};
use super::manifest_write::MANIFEST;
use super::{BackupId, BackupInfo, Backups, Catalog, CatalogError};
use crate::base::parallel;
use recorded::Recorded;

/// What need not be in a manifest: `pg_verifybackup` ignores the same.
const IGNORED: [&str; 5] = [
    MANIFEST,
    "pg_wal",
    "postgresql.auto.conf",
    "recovery.signal",
    "standby.signal",
];

/// How many files are hashed at a time.
const BATCH: usize = 4096;

/// Why a backup could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A tar file of it cannot be read.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// The backups that it builds on are not all there.
    #[error("backup {id} cannot be put together: {source}")]
    BrokenChain {
        /// The backup.
        id: BackupId,
        /// What is wrong with them.
        source: BrokenChain,
    },
    /// There is no manifest. The words are those of `pg_verifybackup`.
    #[error("could not open file \"{}\": {reason}", path.display())]
    NoManifest {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be opened.
        reason: String,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The records are damaged.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Somebody is deleting the backup.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The directory of the backup cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A file that is not as the manifest says. The words are those of `pg_verifybackup`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is not there.
    #[error("\"{0}\" is present in the manifest but not on disk")]
    Missing(String),
    /// It is not in the manifest.
    #[error("\"{0}\" is present on disk but not in the manifest")]
    Extra(String),
    /// Its size is another.
    #[error("\"{path}\" has size {found} on disk but size {expected} in the manifest")]
    Size {
        /// The file.
        path: String,
        /// Bytes on disk.
        found: u64,
        /// Bytes by the manifest.
        expected: u64,
    },
    /// Its content is another.
    #[error("checksum mismatch for file \"{0}\"")]
    Checksum(String),
    /// It cannot be read.
    #[error("could not read file \"{path}\": {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A page of it has another checksum than it says. The words are those of `pg_checksums`.
    #[error(
        "checksum verification failed in file \"{path}\", block {block}: calculated checksum {computed:X} but block \
         contains {stored:X}"
    )]
    Page {
        /// The file.
        path: String,
        /// The block's number within the file.
        block: u32,
        /// The checksum of its content.
        computed: u16,
        /// The checksum in its header.
        stored: u16,
    },
    /// What it becomes with its chain is not what it was when the backup was taken.
    #[error("checksum mismatch for file \"{0}\" when it is put together from its chain")]
    Rebuilt(String),
    /// It cannot be put together from its chain.
    #[error("could not put file \"{path}\" together: {reason}")]
    Chain {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Mismatch {
    /// The program of PostgreSQL that would have said so.
    #[must_use]
    pub fn program(&self) -> &'static str {
        match self {
            Mismatch::Page { .. } => "pg_checksums",
            Mismatch::Chain { .. } | Mismatch::Rebuilt(_) => "pg_combinebackup",
            _ => "pg_verifybackup",
        }
    }
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Files that were compared.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, in the order of the manifest, then of the directory, then of the chain. Empty when the backup is good.
    pub mismatches: Vec<Mismatch>,
}

impl Catalog {
    /// Verifies a backup, using up to `workers` threads: its files by its manifest, its pages by their checksums (where the
    /// cluster has them), and what it becomes with its chain.
    ///
    /// # Errors
    /// There is no manifest, or it cannot be used, or the backup is of a shape that cannot be verified.
    ///
    /// Tar files are read by `codec`; the chain of a backup in tar files, or with such backups in it, is not put together.
    pub fn verify(
        &self,
        info: &BackupInfo,
        workers: usize,
        codec: &WalCodec,
    ) -> Result<Verification, VerifyError> {
        let _reader = self.locks().backup_reader(&info.id)?;
        let data = self.data_dir(&info.id);
        let parts = packed::parts(&data)?;
        if !parts.is_empty() {
            let pages = info
                .begin_xlog
                .filter(|_| info.data_checksums.as_deref() == Some("on"));
            return unpacked::verify(&data, parts, codec, workers, pages);
        }
        let backups = if info.is_incremental() {
            self.readable_backups()?.0
        } else {
            Backups::new()
        };
        let members = match info.is_incremental() {
            true => match chains::plain_members(&backups, &info.id) {
                Err(BrokenChain::Shape { id }) => {
                    log::info!(target: "barman.server", "backup {id} of its chain is in tar files: the chain is not put together");
                    Vec::new()
                }
                members => members.map_err(|source| VerifyError::BrokenChain {
                    id: info.id.clone(),
                    source,
                })?,
            },
            false => Vec::new(),
        };
        let older = members.get(1..).unwrap_or_default();
        let _readers = older
            .iter()
            .map(|member| self.locks().backup_reader(&member.id))
            .collect::<Result<Vec<_>, _>>()?;
        let tree = Tree {
            pages: info.begin_xlog.filter(|_| has_page_checksums(&data)),
            data,
            base: self.layout().base_dir(&info.id),
            older: older
                .iter()
                .map(|member| Member {
                    data: self.data_dir(&member.id),
                    base: self.layout().base_dir(&member.id),
                })
                .collect(),
            sums: self
                .records(&info.id)
                .map(|records| Arc::new(records) as Arc<dyn Sums>),
            records: self.layout().records_path(&info.id),
        };
        tree.verify(workers)
    }
}

/// Whether the pages of the cluster in this directory have checksums.
fn has_page_checksums(data: &Path) -> bool {
    let path = data.join("global/pg_control");
    let control = fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|content| ControlFile::parse(&content).map_err(|error| error.to_string()));
    match control {
        Ok(control) => control.data_checksums && control.block_size as usize == PAGE_SIZE,
        Err(error) => {
            log::warn!("\"{}\": {error}: page checksums are not verified", path.display());
            false
        }
    }
}

/// Pages with wrong checksums, as mismatches.
fn bad_pages(path: &str, corrupt: &[Corrupt]) -> Vec<Mismatch> {
    let page = |bad: &Corrupt| Mismatch::Page {
        path: path.to_owned(),
        block: bad.block,
        computed: bad.computed,
        stored: bad.stored,
    };
    corrupt.iter().map(page).collect()
}

/// The directories of a backup.
struct Tree {
    data: PathBuf,
    base: PathBuf,
    /// Where the backup started, when its pages have checksums.
    pages: Option<Lsn>,
    /// The backups that it builds on, the newest first.
    older: Vec<Member>,
    /// What its files were when it was taken.
    sums: Option<Arc<dyn Sums>>,
    /// The file that says so.
    records: PathBuf,
}

/// The directories of a backup that this one builds on.
struct Member {
    data: PathBuf,
    base: PathBuf,
}

impl Tree {
    fn verify(&self, workers: usize) -> Result<Verification, VerifyError> {
        let mut verification = Verification::default();
        let mut known = BTreeSet::new();
        let mut batch = Vec::new();
        let path = self.data.join(MANIFEST);
        match fs::File::open(&path) {
            Ok(_) => {
                manifest::read(&path, &mut |file| {
                    known.insert(file.path.clone());
                    batch.push(file);
                    if batch.len() == BATCH {
                        self.compare_all(&batch, workers, &mut verification);
                        batch.clear();
                    }
                })?;
                self.compare_all(&batch, workers, &mut verification);
                // Manifests that cover the data directory alone, as Barman's and ours.
                let covered = known.iter().any(|path| path.starts_with(b"pg_tblspc/"));
                if self.sums.is_some() && !covered {
                    self.compare_recorded(Recorded::Tablespaces, workers, &mut known, &mut verification)?;
                }
            }
            Err(_) if self.sums.is_some() => {
                self.compare_recorded(Recorded::All, workers, &mut known, &mut verification)?;
            }
            Err(error) => {
                let reason = strerror(&error);
                return Err(VerifyError::NoManifest { path, reason });
            }
        }
        self.find_extra(&known, &mut verification)?;
        if !self.older.is_empty() {
            self.verify_rebuilt(workers, &mut verification)?;
        }
        Ok(verification)
    }

    fn compare_all(&self, files: &[ManifestFile], workers: usize, verification: &mut Verification) {
        for (file, result) in files
            .iter()
            .zip(parallel::map(files, workers, |file| self.compare(file)))
        {
            match result {
                Ok(mismatches) => {
                    verification.files += u64::from(mismatches.is_empty());
                    verification.bytes += file.size;
                    verification.mismatches.extend(mismatches);
                }
                Err(mismatch) => verification.mismatches.push(mismatch),
            }
        }
    }

    /// What is wrong with the content of a file; `Err` when it was not even read.
    fn compare(&self, file: &ManifestFile) -> Result<Vec<Mismatch>, Mismatch> {
        let name = String::from_utf8_lossy(&file.path).into_owned();
        let Some(path) = self.place_of(&file.path) else {
            return Err(Mismatch::Missing(name));
        };
        let found = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Mismatch::Missing(name));
            }
            Err(error) => {
                return Err(Mismatch::Unreadable {
                    path: name,
                    reason: strerror(&error),
                });
            }
        };
        if found != file.size {
            return Err(Mismatch::Size {
                path: name,
                found,
                expected: file.size,
            });
        }
        let wanted = Wanted {
            checksum: Some(file.algorithm).filter(|algorithm| *algorithm != Checksum::None),
            sum: false,
            pages: self.pages,
        };
        if wanted.checksum.is_none() && wanted.pages.is_none() {
            return Ok(Vec::new());
        }
        match verify::file(&path, &file.path, wanted) {
            Ok(found) => {
                let mut mismatches = bad_pages(&name, &found.corrupt);
                if wanted.checksum.is_some() && found.checksum != file.checksum {
                    mismatches.insert(0, Mismatch::Checksum(name));
                }
                Ok(mismatches)
            }
            Err(error) => Err(Mismatch::Unreadable {
                path: name,
                reason: match error {
                    ChainError::Path(error) => strerror(&error.source),
                    other => other.to_string(),
                },
            }),
        }
    }

    /// Where a file of the manifest lies: below the data directory, or for tablespaces beside it. `None` for a path that
    /// leads elsewhere: a manifest is only a file.
    fn place_of(&self, path: &[u8]) -> Option<PathBuf> {
        let relative = Path::new(OsStr::from_bytes(path));
        let plain = relative
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if !plain {
            return None;
        }
        if let Ok(inside) = relative.strip_prefix("pg_tblspc") {
            // Links in the backup may lead to where the catalog once was.
            if self.base.join(inside.components().next()?).is_dir() {
                return Some(self.base.join(inside));
            }
        }
        Some(self.data.join(relative))
    }
}
