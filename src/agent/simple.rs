//! The verbs that take one step: directories, links, removal, small files, looks.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::conversation::{Part, Session, Stopped};
use super::message::{Attributes, CHUNK, Entry, EntryKind, Request, Response, bytes_of, path_of};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::transport::frame::FrameError;

/// Performs and answers a request of one step.
pub(super) fn perform(session: &mut Session, request: Request) -> Result<(), Stopped> {
    let content = match &request {
        Request::Read { path, limit } => return read(session, &path_of(path.clone()), *limit),
        Request::Write { .. } => match session.next_part()? {
            Part::Data(content) => content,
            _ => return Err(FrameError::Protocol("write without content".to_owned()).into()),
        },
        _ => Vec::new(),
    };
    match answer(request, &content)? {
        Some(response) => session.output.message(&response)?,
        None => return Err(FrameError::Protocol("not a request of one step".to_owned()).into()),
    }
    Ok(())
}

/// Performs a request of one step on this host; `content` is that of [`Request::Write`]. `None` for other requests.
pub(super) fn answer(request: Request, content: &[u8]) -> Result<Option<Response>, PathError> {
    let done = |(): ()| Response::Done;
    let response = match request {
        Request::Write { path, mode } => write(&path_of(path), content, mode).map(done)?,
        Request::MakeDirectory { path, mode, parents } => {
            make_directory(&path_of(path), mode, parents).map(done)?
        }
        Request::SetAttributes { path, attributes } => {
            set_attributes(&path_of(path), attributes).map(done)?
        }
        Request::Symlink { target, path } => symlink(&path_of(target), &path_of(path)).map(done)?,
        Request::Remove { path, recursive } => remove(&path_of(path), recursive).map(done)?,
        Request::Rename { from, to } => durable::rename(&path_of(from), &path_of(to)).map(done)?,
        Request::Look { path } => Response::Look(look(&path_of(path))?),
        Request::Names { path, most } => Response::Names(names(&path_of(path), most)?),
        Request::FreeBytes { path } => Response::Free(free_bytes(&path_of(path))?),
        _ => return Ok(None),
    };
    Ok(Some(response))
}

fn read(session: &mut Session, path: &Path, limit: u64) -> Result<(), Stopped> {
    let content = read_small(path, limit)?;
    for chunk in content.chunks(CHUNK) {
        session.output.data(chunk)?;
    }
    session.output.message(&Response::Done)?;
    Ok(())
}

/// A whole file of at most `limit` bytes.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, PathError> {
    let mut content = Vec::new();
    let file = File::open(path).at("open", path)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .at("read", path)?;
    if content.len() as u64 > limit {
        return Err(PathError::new("read", path, io::ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
}

/// Replaces a small file atomically and durably.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), PathError> {
    let temporary = durable::sibling(path, ".barkeep-tmp");
    remove(&temporary, false)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .at("create", &temporary)?;
    file.write_all(content).at("write", &temporary)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .at("set the mode of", &temporary)?;
    file.sync_all().at("sync", &temporary)?;
    durable::rename(&temporary, path)
}

/// Creates a directory, with `mode` whatever the umask is.
pub(super) fn make_directory(path: &Path, mode: u32, parents: bool) -> Result<(), PathError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the mode of", path)?;
            durable::sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && parents => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                make_directory(parent, mode, true)?;
                make_directory(path, mode, false)
            }
            _ => Err(PathError::new("create directory", path, error)),
        },
        Err(error) => Err(PathError::new("create directory", path, error)),
    }
}

/// Sets permissions and time.
pub(super) fn set_attributes(path: &Path, attributes: Attributes) -> Result<(), PathError> {
    let file = File::open(path).at("open", path)?;
    attributes.apply(&file).at("set the attributes of", path)
}

/// Creates a link durably, in place of a link that is there.
pub(super) fn symlink(target: &Path, link: &Path) -> Result<(), PathError> {
    if fs::symlink_metadata(link).is_ok_and(|metadata| metadata.is_symlink()) {
        fs::remove_file(link).at("replace", link)?;
    }
    std::os::unix::fs::symlink(target, link).at("create link", link)?;
    durable::sync_parent(link)
}

/// Removes a file, link or directory; nothing there is fine.
pub(super) fn remove(path: &Path, recursive: bool) -> Result<(), PathError> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() && recursive => fs::remove_dir_all(path),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PathError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// What is at a path, links not followed.
pub(super) fn look(path: &Path) -> Result<Option<Entry>, PathError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(PathError::new("look at", path, error)),
    };
    let kind = match metadata.file_type() {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_symlink() => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    Ok(Some(Entry {
        path: bytes_of(path).into(),
        kind,
        size: metadata.len(),
        attributes: Attributes::of(&metadata),
    }))
}

/// The names in a directory, at most `most` of them in no order, or all of them sorted: more than fit into one answer are
/// an error.
pub(super) fn names(path: &Path, most: Option<u32>) -> Result<Vec<Vec<u8>>, PathError> {
    const ROOM: usize = 900 << 10;
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut names = Vec::new();
    let mut bytes = 0;
    for entry in fs::read_dir(path).at("read", path)?.take(most) {
        let name = entry.at("read", path)?.file_name().into_vec();
        bytes += name.len() + 4;
        if bytes > ROOM {
            return Err(PathError::new(
                "list",
                path,
                io::Error::other("it has too many entries"),
            ));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Free bytes for unprivileged users, on the file system of a path or its nearest existing parent.
pub(super) fn free_bytes(path: &Path) -> Result<u64, PathError> {
    let mut existing = path;
    while !existing.exists() {
        match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => existing = parent,
            _ => break,
        }
    }
    let answer = nix::sys::statvfs::statvfs(existing)
        .map_err(io::Error::from)
        .at("look at the file system of", existing)?;
    Ok(answer.blocks_available().saturating_mul(answer.fragment_size()))
}
