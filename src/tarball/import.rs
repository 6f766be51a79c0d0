//! `import-backup`: a backup from a tarball into the catalog.
//!
//! Everything is unpacked and judged beside the catalog first. Then it is taken over in an order that makes every crash
//! harmless; see [`super::adopt`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::adopt::{self, Adoption};
use super::error::{ContentError, ImportError};
use super::log_missing_identity;
use super::name::{DIGITS, TarballName};
use super::unpack::{self, Unpacked};
use super::write::hex;
use crate::archive::compare::same_content;
use crate::base::directory;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::base::lock::LockError;
use crate::base::report::Reporter;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog, CatalogError, Identity, WalEntry};
use crate::codec::WalCodec;

/// The beginning of the names of directories in which tarballs are unpacked, in Barman too.
const STAGING: &str = ".import-";

/// What is to be imported.
#[derive(Debug)]
pub struct Import<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// How its WAL is stored.
    pub codec: &'a WalCodec,
    /// The tarball, as it was named.
    pub tarball: &'a str,
}

impl Import<'_> {
    /// Whether there is a tarball: what is found out before anything is said.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), ImportError> {
        let shown = self.tarball.to_owned();
        let path = Path::new(self.tarball);
        if !path.exists() {
            return Err(ImportError::NoFile(shown));
        }
        if !path.is_file() {
            return Err(ImportError::NotAFile(shown));
        }
        if let Err(error) = File::open(path) {
            return Err(match error.kind() {
                ErrorKind::PermissionDenied => ImportError::NotReadable(shown),
                _ => PathError::new("open", path, error).into(),
            });
        }
        if !unpack::is_tar(path).unwrap_or(false) {
            return Err(ImportError::NotATar(shown));
        }
        Ok(())
    }
}

/// Imports the backup, durably: afterwards it is in the catalog as a whole, or not at all. The id of the backup.
///
/// # Errors
/// It is not a backup that this server can have, or cannot be read or written.
pub fn import(import: &Import<'_>, reporter: &dyn Reporter) -> Result<BackupId, ImportError> {
    let (catalog, path) = (import.catalog, Path::new(import.tarball));
    let server = catalog.server();
    let identity = catalog.identity()?.ok_or_else(|| {
        log_missing_identity(server);
        ImportError::NoIdentity(server.to_owned())
    })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let named = TarballName::parse(&name, server).ok_or_else(|| ImportError::Name {
        name: name.clone().into_owned(),
        server: server.to_owned(),
    })?;
    let sum = checksum(path)?;
    if sum != named.checksum {
        return Err(ImportError::Checksum {
            named: named.checksum,
            actual: sum,
        });
    }
    let busy = |error| match error {
        LockError::Busy { .. } => ImportError::Busy(server.to_owned()),
        other => ImportError::Lock(other),
    };
    let _server_lock = catalog.locks().backup().map_err(busy)?;
    let _backup_lock = catalog.locks().backup_id(&named.id).map_err(busy)?;
    catalog.create_directories()?;
    let unfinished = match catalog.load(&named.id)? {
        Some(info) if adopt::is_unfinished(&info) => true,
        Some(_) => return Err(exists(&named.id, server)),
        None if catalog.layout().base_dir(&named.id).symlink_metadata().is_ok() => {
            return Err(exists(&named.id, server));
        }
        None => false,
    };
    remove_stale(catalog)?;
    if unfinished {
        adopt::clear(catalog, &named.id)?;
    }
    let staging = Staging::create(catalog)?;
    let unpacked = unpack::unpack(path, &staging.path)?;
    let adoption = judge(import, named.id, identity, &unpacked, reporter)?;
    adopt::adopt(catalog, &adoption, &unpacked)?;
    Ok(adoption.info.id)
}

fn exists(id: &BackupId, server: &str) -> ImportError {
    ContentError::Exists {
        id: id.clone(),
        server: server.to_owned(),
    }
    .into()
}

/// The first digits of the SHA-256 of a file.
fn checksum(path: &Path) -> Result<String, ImportError> {
    use std::io::Read;
    let mut file = File::open(path).at("open", path)?;
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        interrupt::check()?;
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            let mut digits = hex(&sum.finalize());
            digits.truncate(DIGITS);
            return Ok(digits);
        }
        sum.update(buffer.get(..count).unwrap_or_default());
    }
}

/// The directory of one import, removed with whatever is left in it.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(catalog: &Catalog) -> Result<Staging, PathError> {
        let name = format!("{STAGING}{:08x}", std::process::id());
        let path = catalog.layout().base.join(name);
        fs::create_dir(&path).at("create directory", &path)?;
        Ok(Staging { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            log::warn!(target: "barman.backup", "cannot remove \"{}\": {error}", self.path.display());
        }
    }
}

/// Removes what imports that were killed have left. The lock of the server's backups is held: no other import runs.
fn remove_stale(catalog: &Catalog) -> Result<(), PathError> {
    let base = &catalog.layout().base;
    for name in directory::names(base)? {
        if name.starts_with(STAGING) {
            let path = base.join(name);
            fs::remove_dir_all(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Whether this server can have what was unpacked, and what is to be taken over of it.
fn judge(
    import: &Import<'_>,
    id: BackupId,
    identity: Identity,
    unpacked: &Unpacked,
    reporter: &dyn Reporter,
) -> Result<Adoption, ImportError> {
    let catalog = import.catalog;
    let server = catalog.server().to_owned();
    let exported = unpacked
        .identity
        .as_deref()
        .ok_or(ContentError::Lacks("identity.json"))?;
    let exported: Identity = serde_json::from_str(exported).map_err(|error| ContentError::Damaged {
        member: "identity.json",
        reason: error.to_string(),
    })?;
    let text = unpacked
        .info
        .as_deref()
        .ok_or(ContentError::Lacks("a 'backup.info' file"))?;
    let lines = unpacked
        .xlogdb
        .as_deref()
        .ok_or(ContentError::Lacks("a 'xlog.db' file"))?;
    let none = || "None".to_owned();
    if exported.systemid != identity.systemid || exported.systemid.is_none() {
        return Err(ContentError::Identity {
            exported: exported.systemid.unwrap_or_else(none),
            target: identity.systemid.unwrap_or_else(none),
        }
        .into());
    }
    if exported.version != identity.version {
        reporter.warning(&format!(
            "PostgreSQL version mismatch: exported backup has version '{}' but target server has version '{}'",
            exported.version.unwrap_or_else(none),
            identity.version.unwrap_or_else(none)
        ));
    }
    let mut info = BackupInfo::from_text(id, text, Path::new(import.tarball))?;
    let id = info.id.clone();
    if info.is_incremental() {
        return Err(ContentError::Incremental { id, server }.into());
    }
    if info.status != BackupStatus::Done {
        let status = info.status;
        return Err(ContentError::NotDone { id, server, status }.into());
    }
    if !unpacked.data.is_dir() {
        return Err(ContentError::Lacks("a 'backup' directory").into());
    }
    let entries = wal_entries(lines)?;
    let (wal, present) = new_wal(import, &entries, unpacked)?;
    let unrecorded = unrecorded(catalog, present, &entries)?;
    require_wal(catalog, &info, &entries)?;
    info.server_name = Some(server);
    // Nothing shares its files here, and what builds on it was left behind.
    info.deduplicated_size = info.size.or(info.deduplicated_size);
    info.children_backup_ids = None;
    Ok(Adoption {
        info,
        wal,
        unrecorded,
    })
}

fn wal_entries(lines: &str) -> Result<Vec<WalEntry>, ContentError> {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            WalEntry::parse(line.as_bytes()).ok_or_else(|| ContentError::Damaged {
                member: "xlog.db",
                reason: format!("cannot parse line {line:?}"),
            })
        })
        .collect()
}

/// The WAL that the archive does not have yet, and the names of what it has.
fn new_wal(
    import: &Import<'_>,
    entries: &[WalEntry],
    unpacked: &Unpacked,
) -> Result<(Vec<WalEntry>, BTreeSet<String>), ImportError> {
    let (mut new, mut present, mut conflicts) = (Vec::new(), BTreeSet::new(), Vec::new());
    for entry in entries {
        let damaged = |reason: &str| ContentError::Damaged {
            member: "xlog.db",
            reason: format!("{} {reason}", entry.name),
        };
        let target = import
            .catalog
            .layout()
            .wal_path(&entry.name)
            .ok_or_else(|| damaged("is not the name of a WAL file"))?;
        let staged = unpacked
            .wals
            .get(&entry.name)
            .ok_or_else(|| ContentError::MissingWal(entry.name.clone()))?;
        if fs::metadata(staged).at("examine", staged)?.len() != entry.size {
            return Err(damaged("has another size").into());
        }
        if !target.exists() {
            new.push(entry.clone());
        } else if !same_content(import.codec, staged, &target)? {
            conflicts.push(entry.name.as_str());
        } else {
            present.insert(entry.name.clone());
        }
    }
    if conflicts.is_empty() {
        return Ok((new, present));
    }
    Err(ContentError::ConflictingWal(conflicts.join(", ")).into())
}

/// The entries of files of the archive that its database does not have: those of the tarball for what an import that was
/// interrupted has put there.
fn unrecorded(
    catalog: &Catalog,
    mut present: BTreeSet<String>,
    told: &[WalEntry],
) -> Result<Vec<WalEntry>, ImportError> {
    if present.is_empty() {
        return Ok(Vec::new());
    }
    catalog.xlogdb().scan(|line| {
        present.remove(line.name);
        Ok::<_, CatalogError>(ControlFlow::Continue(()))
    })?;
    let mut entries = Vec::new();
    for name in present {
        if let Some(path) = catalog.layout().wal_path(&name) {
            let found = catalog.xlogdb().entry_of(&path, &name)?;
            // A tarball has times in whole seconds.
            let same = |told: &&WalEntry| {
                let told = WalEntry {
                    time: told.time.floor(),
                    ..(*told).clone()
                };
                told == found
            };
            entries.push(told.iter().find(same).cloned().unwrap_or(found));
        }
    }
    Ok(entries)
}

/// Every segment that the backup needs must come with it or be here.
fn require_wal(catalog: &Catalog, info: &BackupInfo, entries: &[WalEntry]) -> Result<(), ImportError> {
    for segment in info.required_segments() {
        let name = segment.to_string();
        let here = || {
            catalog
                .layout()
                .wal_path(&name)
                .is_some_and(|path| path.is_file())
        };
        if !entries.iter().any(|entry| entry.name == name) && !here() {
            let id = info.id.clone();
            return Err(ContentError::RequiredWal { id, name }.into());
        }
    }
    Ok(())
}
