//! Checking the files of a backup against its manifest, as `pg_verifybackup` does, with several threads.
//!
//! Also checked are tablespaces that a backup keeps beside its data directory, which the stock program does not find.
//! WAL is not looked at: it is in the archive (`pg_verifybackup -n`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use crate::base::error::{PathContext, PathError, strerror};
use crate::base::lock::LockError;
use crate::postgres::manifest::{self, Checksum, ManifestError, ManifestFile};

use super::manifest_write::{MANIFEST, digest, in_parallel};
use super::{BackupId, BackupInfo, Catalog, CatalogError};

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
    /// Its data are in tar files, or encrypted.
    #[error(
        "backup {id} is stored as {shape}, which cannot be verified in place: restore it and run pg_verifybackup there"
    )]
    Shape {
        /// The backup.
        id: BackupId,
        /// `tar files` or `encrypted files`.
        shape: &'static str,
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
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Files that were compared.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, in the order of the manifest, then of the directory. Empty when the backup is good.
    pub mismatches: Vec<Mismatch>,
}

impl Catalog {
    /// Compares the files of a backup with its manifest, using up to `workers` threads.
    ///
    /// # Errors
    /// There is no manifest, or it cannot be used, or the backup is of a shape that cannot be verified.
    pub fn verify(&self, info: &BackupInfo, workers: usize) -> Result<Verification, VerifyError> {
        let _reader = self.locks().backup_reader(&info.id)?;
        let data = self.data_dir(&info.id);
        let shape = |shape| VerifyError::Shape {
            id: info.id.clone(),
            shape,
        };
        if info.encryption.is_some() {
            return Err(shape("encrypted files"));
        }
        if has_tar(&data)? {
            return Err(shape("tar files"));
        }
        let tree = Tree {
            data,
            base: self.layout().base_dir(&info.id),
        };
        tree.verify(workers)
    }
}

fn has_tar(data: &Path) -> Result<bool, PathError> {
    let names = super::names_in(data)?;
    Ok(names
        .iter()
        .any(|name| name == "base.tar" || name.starts_with("base.tar.")))
}

/// The directories of a backup.
struct Tree {
    data: PathBuf,
    base: PathBuf,
}

impl Tree {
    fn verify(&self, workers: usize) -> Result<Verification, VerifyError> {
        let mut verification = Verification::default();
        let mut known = BTreeSet::new();
        let mut batch = Vec::new();
        let path = self.data.join(MANIFEST);
        if let Err(error) = fs::File::open(&path) {
            return Err(VerifyError::NoManifest {
                path,
                reason: strerror(&error),
            });
        }
        manifest::read(&path, &mut |file| {
            known.insert(file.path.clone());
            batch.push(file);
            if batch.len() == BATCH {
                self.compare_all(&batch, workers, &mut verification);
                batch.clear();
            }
        })?;
        self.compare_all(&batch, workers, &mut verification);
        self.find_extra(&known, &mut verification)?;
        Ok(verification)
    }

    fn compare_all(&self, files: &[ManifestFile], workers: usize, verification: &mut Verification) {
        for (file, result) in files
            .iter()
            .zip(in_parallel(files, workers, |file| self.compare(file)))
        {
            match result {
                Ok(()) => {
                    verification.files += 1;
                    verification.bytes += file.size;
                }
                Err(mismatch) => verification.mismatches.push(mismatch),
            }
        }
    }

    fn compare(&self, file: &ManifestFile) -> Result<(), Mismatch> {
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
        if file.algorithm == Checksum::None {
            return Ok(());
        }
        match digest(&path, file.algorithm) {
            Ok((_, checksum)) if checksum == file.checksum => Ok(()),
            Ok(_) => Err(Mismatch::Checksum(name)),
            Err(error) => Err(Mismatch::Unreadable {
                path: name,
                reason: strerror(&error.source),
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
            let link = self.data.join("pg_tblspc").join(inside.components().next()?);
            if link.symlink_metadata().is_err() {
                return Some(self.base.join(inside));
            }
        }
        Some(self.data.join(relative))
    }

    /// Files that nobody expects: they would be restored with the others.
    fn find_extra(
        &self,
        known: &BTreeSet<Vec<u8>>,
        verification: &mut Verification,
    ) -> Result<(), PathError> {
        let mut roots = vec![(self.data.clone(), PathBuf::new())];
        for name in super::names_in(&self.base)? {
            let beside = self.base.join(&name);
            let linked = self.data.join("pg_tblspc").join(&name);
            if name.bytes().all(|byte| byte.is_ascii_digit()) && beside.is_dir() {
                let covered = known
                    .iter()
                    .any(|path| path.starts_with(format!("pg_tblspc/{name}/").as_bytes()));
                // The manifests of Barman do not cover tablespaces kept beside the data.
                if covered || linked.symlink_metadata().is_ok() {
                    roots.push((beside, Path::new("pg_tblspc").join(&name)));
                }
            }
        }
        for (root, prefix) in roots {
            self.find_extra_below(&root, &prefix, known, verification)?;
        }
        Ok(())
    }

    fn find_extra_below(
        &self,
        root: &Path,
        prefix: &Path,
        known: &BTreeSet<Vec<u8>>,
        verification: &mut Verification,
    ) -> Result<(), PathError> {
        let walk = WalkDir::new(root)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| {
                let top = entry.depth() == 1 && prefix.as_os_str().is_empty();
                !(top && IGNORED.iter().any(|name| entry.file_name() == *name))
            });
        for entry in walk {
            let entry = entry.map_err(std::io::Error::from).at("read directory", root)?;
            let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let name = prefix.join(inside);
            if entry.file_type().is_file() && !known.contains(name.as_os_str().as_bytes()) {
                verification
                    .mismatches
                    .push(Mismatch::Extra(name.display().to_string()));
            }
        }
        Ok(())
    }
}
