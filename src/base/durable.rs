//! Durable files: what these functions returned from is on disk, whatever happens next.
//!
//! The one rule: write a temporary name in the same directory, fsync it, rename it over the target, fsync the
//! directory. A crash at any instruction leaves the old file or the new one, never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{PathContext, PathError};

/// The permissions Barman gives the files of its catalog (before the umask).
pub const CATALOG_FILE_MODE: u32 = 0o666;

/// Replaces `path` by `content`, atomically and durably, through `{path}.tmp`, the name Barman uses for the
/// temporary file of a `backup.info`.
///
/// # Errors
/// Any failure to write, sync or rename; the previous file is then still in place.
pub fn write(path: &Path, content: &[u8]) -> Result<(), PathError> {
    let temporary = sibling(path, ".tmp");
    if let Err(error) = write_synced(&temporary, content) {
        // On a full disk it would take what little room there is.
        if let Err(error) = remove(&temporary) {
            log::warn!("{error}");
        }
        return Err(error);
    }
    rename(&temporary, path)
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), PathError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(CATALOG_FILE_MODE)
        .open(path)
        .at("create", path)?;
    file.write_all(content).at("write", path)?;
    file.sync_all().at("sync", path)
}

/// As [`write`]; where the file system has no room for a second file, over the old content, in its place. For what has to be
/// said on a full disk: that a backup failed, or is being deleted, which is what makes room. Content of one block is
/// written in one piece, so that no reader finds a mixture; it is text in lines.
///
/// # Errors
/// Any failure to write or sync, or the old file has no room for the content either.
pub fn write_without_room(path: &Path, content: &[u8]) -> Result<(), PathError> {
    match write(path, content) {
        Err(error) if error.is_lack_of_room() && holds(path, content.len()) => {
            log::warn!("{error}: writing \"{}\" in place", path.display());
        }
        outcome => return outcome,
    }
    let mut file = OpenOptions::new().write(true).open(path).at("open", path)?;
    let length = file.metadata().at("stat", path)?.len();
    // Over all of the old content, so that a reader before the truncation finds empty lines, which mean nothing, at its end.
    let mut padded = content.to_vec();
    padded.resize(
        content.len().max(usize::try_from(length).unwrap_or_default()),
        b'\n',
    );
    file.write_all(&padded).at("write", path)?;
    file.set_len(content.len() as u64).at("truncate", path)?;
    file.sync_all().at("sync", path)
}

/// Whether the blocks of a file have room for `length` bytes. A file with other names is not written to.
fn holds(path: &Path, length: usize) -> bool {
    const BYTES_OF_A_BLOCK: u64 = 512; // stat(2) counts so, whatever the file system does
    fs::symlink_metadata(path).is_ok_and(|file| {
        file.is_file() && file.nlink() == 1 && file.blocks() * BYTES_OF_A_BLOCK >= length as u64
    })
}

/// Creates `path` with `content`, whole and durably or not at all. A file that exists is left alone.
///
/// # Errors
/// Any failure to write or sync; or there is something of that name.
pub fn create(path: &Path, content: &[u8]) -> Result<(), PathError> {
    let temporary = sibling(path, &format!(".{}.tmp", std::process::id()));
    let written =
        write_new(&temporary, content).and_then(|()| fs::hard_link(&temporary, path).at("create", path));
    remove(&temporary)?;
    written?;
    sync_parent(path)
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), PathError> {
    let mut file = File::create_new(path).at("create", path)?;
    file.write_all(content).at("write", path)?;
    file.sync_all().at("sync", path)
}

/// Renames `from` to `to` and syncs the directories of both names. The content of `from` must be synced already.
///
/// # Errors
/// The rename or a sync failed.
pub fn rename(from: &Path, to: &Path) -> Result<(), PathError> {
    fs::rename(from, to).at("rename to", to)?;
    sync_parent(to)?;
    if from.parent() != to.parent() {
        sync_parent(from)?;
    }
    Ok(())
}

/// Gives two directories each other's names, at one moment and durably; both in one directory. False where the file system
/// or the C library cannot: nothing has changed then.
///
/// # Errors
/// It was refused for another reason.
pub fn exchange(one: &Path, other: &Path) -> Result<bool, PathError> {
    #[cfg(target_env = "gnu")]
    {
        use nix::errno::Errno;
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        match renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => {
                sync_parent(one)?;
                return Ok(true);
            }
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {}
            Err(error) => return Err(PathError::new("exchange", one, error.into())),
        }
    }
    Ok(false)
}

/// Removes a file and makes the removal durable. A file that does not exist is not an error.
///
/// # Errors
/// The file exists and could not be removed, or its directory could not be synced.
pub fn remove(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PathError::new("remove", path, error)),
    }
}

/// Creates a directory with its missing parents and makes each new name durable.
///
/// # Errors
/// A directory could not be created or synced.
pub fn create_dir_all(path: &Path) -> Result<(), PathError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_all(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(PathError::new("create directory", path, error)),
    }
}

/// Syncs the content of a file.
///
/// # Errors
/// The file cannot be opened or synced.
pub fn sync_file(path: &Path) -> Result<(), PathError> {
    File::open(path).at("open", path)?.sync_all().at("sync", path)
}

/// Syncs a directory: the names in it are then durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_dir(path: &Path) -> Result<(), PathError> {
    File::open(path)
        .at("open directory", path)?
        .sync_all()
        .at("sync directory", path)
}

/// Syncs the directory that holds `path`.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_parent(path: &Path) -> Result<(), PathError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// `{path}{suffix}`: a name beside `path` in the same directory.
#[must_use]
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_exists_is_not_overwritten() {
        let directory = std::env::temp_dir().join(format!("barkeep-durable-{}", std::process::id()));
        create_dir_all(&directory).unwrap();
        let path = directory.join("f");
        create(&path, b"one").unwrap();
        assert!(create(&path, b"two").unwrap_err().to_string().contains("exists"));
        assert!(create(&directory.join("no/f"), b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn without_room_the_old_file_takes_the_new_content() {
        let directory = std::env::temp_dir().join(format!("barkeep-durable-full-{}", std::process::id()));
        create_dir_all(&directory).unwrap();
        let path = directory.join("f");
        write(&path, b"status=DONE, and more").unwrap();
        let full = || std::os::unix::fs::symlink("/dev/full", directory.join("f.tmp")).unwrap();
        full();
        assert!(write(&path, b"status=FAILED").unwrap_err().is_lack_of_room());
        assert_eq!(fs::read(&path).unwrap(), b"status=DONE, and more");
        full();
        write_without_room(&path, b"status=FAILED").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"status=FAILED");
        // Not where it does not fit, and never through another name.
        full();
        assert!(write_without_room(&path, &[b'x'; 100_000]).is_err());
        fs::hard_link(&path, directory.join("other")).unwrap();
        full();
        assert!(write_without_room(&path, b"status=DONE").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"status=FAILED");
        assert_eq!(directory.read_dir().unwrap().count(), 2);
        fs::remove_dir_all(&directory).unwrap();
    }
}
