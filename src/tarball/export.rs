//! `export-backup`: a full backup, with the WAL that makes it consistent, as one file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::error::ExportError;
use super::name::{self, DIGITS};
use super::write::{Packing, Tarball};
use super::{
    BACKUP_INFO, DATA, IDENTITY, OWN, PACKINGS, PRODUCER, RECORDS, SIDECAR, WALS, XLOGDB,
    log_missing_identity,
};
use crate::base::calendar;
use crate::base::durable;
use crate::base::error::PathContext;
use crate::base::json;
use crate::base::lock::LockError;
use crate::catalog::{BackupInfo, BackupStatus, Catalog, CatalogError, WalEntry};
use crate::codec::Compression;

/// What is to be exported, and how.
#[derive(Debug)]
pub struct Export<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The backup.
    pub info: &'a BackupInfo,
    /// How it was named.
    pub asked: &'a str,
    /// Where the file goes.
    pub directory: &'a str,
    /// `gzip`, `bzip2` or `xz`.
    pub compression: Option<&'a str>,
    /// How hard to compress.
    pub level: Option<i64>,
    /// What `barman.json` says of this host.
    pub producer: String,
}

impl Export<'_> {
    /// Whether all this is possible: what is found out before anything is done.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), ExportError> {
        let server = self.catalog.server().to_owned();
        if self.info.is_incremental() {
            return Err(ExportError::Incremental {
                id: self.info.id.clone(),
                server,
            });
        }
        if self.info.status != BackupStatus::Done {
            return Err(ExportError::NotDone {
                asked: self.asked.to_owned(),
                server,
                status: self.info.status,
            });
        }
        self.check_directory()?;
        self.packing().map(|_| ())
    }

    fn check_directory(&self) -> Result<(), ExportError> {
        use nix::unistd::{AccessFlags, access};
        let path = Path::new(self.directory);
        let fault = if !path.exists() {
            "does not exist"
        } else if !path.is_dir() {
            "is not a directory"
        } else if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            "does not have the required write and execute permissions"
        } else {
            return Ok(());
        };
        Err(ExportError::Directory {
            directory: self.directory.to_owned(),
            fault,
        })
    }

    /// The compression with its level, and the ending of the name.
    fn packing(&self) -> Result<(Packing, &'static str), ExportError> {
        let Some(name) = self.compression else {
            return match self.level {
                Some(_) => Err(ExportError::LevelAlone),
                None => Ok((None, "")),
            };
        };
        let wanted = |(compression, ..): &&(Compression, _, _)| compression.name() == name;
        let Some((compression, levels, ending)) = PACKINGS.iter().find(wanted) else {
            return Ok((None, ""));
        };
        let level = match self.level {
            // What Python's library takes when nothing is said.
            None if *compression == Compression::Xz => 6,
            None => 9,
            Some(level) => u32::try_from(level)
                .ok()
                .filter(|level| levels.contains(level))
                .ok_or_else(|| ExportError::Level {
                    level,
                    algorithm: compression.name(),
                    valid: levels
                        .clone()
                        .map(|level| level.to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                })?,
        };
        Ok((Some((*compression, level)), ending))
    }
}

/// Writes the tarball, durably, under the name that holds its checksum. Nothing is left of one that could not be completed.
///
/// # Errors
/// Something is missing, or cannot be read or written.
pub fn export(export: &Export<'_>) -> Result<PathBuf, ExportError> {
    let (catalog, id) = (export.catalog, &export.info.id);
    let server = catalog.server();
    let (packing, ending) = export.packing()?;
    let _lock = catalog.locks().backup_reader(id).map_err(|error| match error {
        LockError::Busy { .. } => ExportError::Busy {
            id: id.clone(),
            server: server.to_owned(),
        },
        other => ExportError::Lock(other),
    })?;
    let identity = catalog.identity()?.ok_or_else(|| {
        log_missing_identity(server);
        ExportError::NoIdentity(server.to_owned())
    })?;
    // As Barman writes it, whoever wrote the file.
    let identity = json::indented(&identity)
        .map_err(std::io::Error::other)
        .at("read", catalog.layout().identity_path())?;
    let wal = required_wal(catalog, export.info)?;
    let directory = Path::new(export.directory);
    let time = calendar::now().to_utc().format("%Y%m%dT%H%M%S").to_string();
    let stem = name::stem(server, id, &time);
    let temporary = directory.join(format!("{stem}.tmp"));
    let sum = write(export, &temporary, packing, identity.as_bytes(), &wal).inspect_err(|_| {
        if let Err(error) = durable::remove(&temporary) {
            log::warn!(target: "barman.backup", "{error}");
        }
    })?;
    let digits = sum.get(..DIGITS).unwrap_or(&sum);
    let path = directory.join(format!("{stem}-{digits}.tar{ending}"));
    durable::rename(&temporary, &path)?;
    Ok(path)
}

fn write(
    export: &Export<'_>,
    temporary: &Path,
    packing: Packing,
    identity: &[u8],
    wal: &[(WalEntry, PathBuf)],
) -> Result<String, ExportError> {
    let (catalog, id) = (export.catalog, &export.info.id);
    let layout = catalog.layout();
    let mut tarball = Tarball::create(temporary, packing)?;
    tarball.text(IDENTITY, identity, 0o644, 0)?;
    let info = [layout.info_path(id), layout.legacy_info_path(id)];
    let info = info.iter().find(|path| path.is_file()).unwrap_or(&info[0]);
    tarball.file(info, Path::new(BACKUP_INFO))?;
    tarball.text(PRODUCER, export.producer.as_bytes(), 0o644, 0)?;
    tarball.tree(&layout.base_dir(id), DATA)?;
    let mut lines = String::new();
    for (entry, path) in wal {
        let inner = path.strip_prefix(&layout.wals).unwrap_or(path);
        tarball.file(path, &Path::new(WALS).join(inner))?;
        lines.push_str(&entry.to_line());
    }
    let now = u64::try_from(calendar::now().timestamp()).unwrap_or_default();
    tarball.text(XLOGDB, lines.as_bytes(), 0o600, now)?;
    for (path, name) in [
        (layout.sidecar_path(id), SIDECAR),
        (layout.records_path(id), RECORDS),
    ] {
        if path.is_file() {
            tarball.file(&path, &Path::new(OWN).join(name))?;
        }
    }
    tarball.finish()
}

/// The entries and files of the WAL that makes a backup consistent.
fn required_wal(catalog: &Catalog, info: &BackupInfo) -> Result<Vec<(WalEntry, PathBuf)>, ExportError> {
    let mut wanted: Vec<(String, Option<WalEntry>)> = info
        .required_segments()
        .map(|segment| (segment.to_string(), None))
        .collect();
    catalog.xlogdb().scan(|line| {
        if let Ok(index) = wanted.binary_search_by(|(name, _)| name.as_str().cmp(line.name))
            && let Some((_, found)) = wanted.get_mut(index)
        {
            *found = line.to_entry();
        }
        Ok::<_, CatalogError>(ControlFlow::Continue(()))
    })?;
    let missing = |place, name| ExportError::MissingWal {
        place,
        id: info.id.clone(),
        name,
    };
    let mut found = Vec::with_capacity(wanted.len());
    for (name, entry) in wanted {
        let Some(entry) = entry else {
            return Err(missing(" in xlog.db", name));
        };
        match catalog.layout().wal_path(&name).filter(|path| path.is_file()) {
            Some(path) => found.push((entry, path)),
            None => return Err(missing("", name)),
        }
    }
    Ok(found)
}
