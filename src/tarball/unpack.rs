//! Unpacking a tarball into a directory of its own. Members come from anywhere: nothing is written outside, no link is made, and
//! what is held in memory is bounded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::{ContentError, ImportError};
use super::write::is_tablespace_link;
use super::{BACKUP_INFO, DATA, IDENTITY, OWN, RECORDS, SIDECAR, WALS, XLOGDB};
use crate::base::error::{PathContext, PathError};
use crate::base::{interrupt, parallel};
use crate::codec::{CustomMagic, Detector, decode};

/// The most that a member may have that is read into memory: a million lines of WAL.
const MEMORY: u64 = 128 * 1024 * 1024;

/// How many files are synced at the same time.
const SYNCING: usize = 8;

/// What a tarball holds.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// `identity.json`
    pub(super) identity: Option<String>,
    /// `backup.info`
    pub(super) info: Option<String>,
    /// `xlog.db`
    pub(super) xlogdb: Option<String>,
    /// The directory of the backup.
    pub(super) data: PathBuf,
    /// WAL files by name.
    pub(super) wals: BTreeMap<String, PathBuf>,
    /// What barkeep knows beyond Barman: the unpacked files of the sidecar and the records.
    pub(super) own: BTreeMap<&'static str, PathBuf>,
    /// The names of links below `data/pg_tblspc`.
    pub(super) links: Vec<PathBuf>,
    /// Directories with their permissions and times, each after those it is in.
    directories: Vec<(PathBuf, u32, u64)>,
    files: Vec<PathBuf>,
}

/// The members of a tarball, whatever its compression.
///
/// # Errors
/// The file cannot be read.
pub(super) fn open(path: &Path) -> Result<tar::Archive<Box<dyn Read + Send>>, PathError> {
    let stored = Detector::new(CustomMagic::Unused).inspect(path)?;
    let file = File::open(path).at("open", path)?;
    let reader: Box<dyn Read + Send> = match stored.compression {
        Some(compression) => decode::reader(file, compression)
            .at("read", path)?
            .unwrap_or_else(|| Box::new(io::empty())),
        None => Box::new(BufReader::with_capacity(1 << 20, file)),
    };
    let mut archive = tar::Archive::new(reader);
    archive.set_ignore_zeros(false);
    Ok(archive)
}

/// Whether the file begins as a tarball does.
pub(super) fn is_tar(path: &Path) -> Result<bool, PathError> {
    let mut archive = open(path)?;
    let is_tar = match archive.entries() {
        Ok(mut entries) => matches!(entries.next(), Some(Ok(_))),
        Err(_) => false,
    };
    Ok(is_tar)
}

/// Unpacks everything below `staging`, which is empty. What was written is durable afterwards.
///
/// # Errors
/// A member is not one that an export has, or cannot be read or written.
pub(super) fn unpack(tarball: &Path, staging: &Path) -> Result<Unpacked, ImportError> {
    let mut unpacked = Unpacked {
        data: staging.join(DATA),
        ..Unpacked::default()
    };
    let mut archive = open(tarball)?;
    for entry in archive.entries().at("read", tarball)? {
        interrupt::check()?;
        let entry = entry.at("read", tarball)?;
        member(entry, tarball, staging, &mut unpacked)?;
    }
    finish(&unpacked, staging)?;
    Ok(unpacked)
}

fn member<R: Read>(
    mut entry: tar::Entry<'_, R>,
    tarball: &Path,
    staging: &Path,
    unpacked: &mut Unpacked,
) -> Result<(), ImportError> {
    let path = entry.path().at("read", tarball)?.into_owned();
    let shown = path.display().to_string();
    let name = normal(&path).ok_or_else(|| ContentError::UnsafePath(shown.clone()))?;
    let kind = entry.header().entry_type();
    if kind.is_symlink()
        && let Ok(inner) = name.strip_prefix(DATA)
        && is_tablespace_link(inner)
    {
        // Made anew, to this server's own directories.
        unpacked.links.push(inner.to_path_buf());
        return Ok(());
    }
    if !(kind.is_file() || kind.is_contiguous() || kind.is_dir() || kind.is_pax_global_extensions()) {
        return Err(ContentError::UnsafeType(shown).into());
    }
    let text = match name.to_str() {
        Some(IDENTITY) => &mut unpacked.identity,
        Some(BACKUP_INFO) => &mut unpacked.info,
        Some(XLOGDB) => &mut unpacked.xlogdb,
        _ => return on_disk(entry, &name, tarball, staging, unpacked),
    };
    if entry.size() > MEMORY {
        return Err(ContentError::TooLarge(shown).into());
    }
    let mut read = String::new();
    entry.read_to_string(&mut read).at("read", tarball)?;
    *text = Some(read);
    Ok(())
}

/// A member that becomes a file or a directory; any other is passed over, as Barman does.
fn on_disk<R: Read>(
    mut entry: tar::Entry<'_, R>,
    name: &Path,
    tarball: &Path,
    staging: &Path,
    unpacked: &mut Unpacked,
) -> Result<(), ImportError> {
    let is_dir = entry.header().entry_type().is_dir();
    let file_name = name
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let target = if name.starts_with(DATA) {
        staging.join(name)
    } else if name.starts_with(WALS) && !is_dir && !file_name.is_empty() {
        let target = staging.join(WALS).join(file_name);
        unpacked.wals.insert(file_name.to_owned(), target.clone());
        target
    } else if let Some(own) = [SIDECAR, RECORDS]
        .into_iter()
        .find(|own| name == Path::new(OWN).join(own))
    {
        let target = staging.join(own);
        unpacked.own.insert(own, target.clone());
        target
    } else {
        return Ok(());
    };
    let mode = entry.header().mode().at("read", tarball)? & 0o777;
    let time = entry.header().mtime().at("read", tarball)?;
    if is_dir {
        make_directory(&target)?;
        unpacked.directories.push((target, mode, time));
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        make_directory(parent)?;
    }
    // A name that comes twice is refused: it exists.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .at("create", &target)?;
    let size = entry.size();
    let copied = copy(&mut entry, &mut file, tarball, &target)?;
    if copied != size {
        let short = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(PathError::new("read", tarball, short).into());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .at("set permissions of", &target)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(time))
        .at("set the time of", &target)?;
    unpacked.files.push(target);
    Ok(())
}

fn copy(source: &mut dyn Read, target: &mut File, from: &Path, to: &Path) -> Result<u64, ImportError> {
    use std::io::Write;
    let mut buffer = vec![0; 1 << 18];
    let mut copied = 0;
    loop {
        let count = source.read(&mut buffer).at("read", from)?;
        if count == 0 {
            return Ok(copied);
        }
        interrupt::check()?;
        target
            .write_all(buffer.get(..count).unwrap_or_default())
            .at("write", to)?;
        copied += count as u64;
    }
}

/// The path without `.` in it; `None` when it leads elsewhere.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut name = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => name.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(name)
}

fn make_directory(path: &Path) -> Result<(), PathError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("create directory", path)
}

/// Makes everything durable, and gives the directories their permissions and times.
fn finish(unpacked: &Unpacked, staging: &Path) -> Result<(), ImportError> {
    let synced = parallel::try_map(&unpacked.files, SYNCING, |path| {
        crate::base::durable::sync_file(path)
    });
    synced.into_iter().collect::<Result<Vec<()>, PathError>>()?;
    for (path, mode, time) in unpacked.directories.iter().rev() {
        let directory = File::open(path).at("open directory", path)?;
        directory
            .set_permissions(fs::Permissions::from_mode(*mode))
            .at("set permissions of", path)?;
        directory
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(*time))
            .at("set the time of", path)?;
    }
    for entry in walkdir::WalkDir::new(staging).into_iter().flatten() {
        if entry.file_type().is_dir() {
            crate::base::durable::sync_dir(entry.path())?;
        }
    }
    Ok(())
}
