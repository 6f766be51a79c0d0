//! The verbs that write files: put and sync.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use xxhash_rust::xxh3::Xxh3Default;

use super::conversation::{Part, SYNC_THREADS, Session, Stopped};
use super::message::{Attributes, Response, path_of};
use super::syncer::Syncer;
use crate::base::error::{PathContext, PathError};
use crate::base::{durable, sys};
use crate::transport::frame::FrameError;

/// How much may be written before the disk is set to work on it.
const WRITE_BACK_AFTER: u64 = 8 << 20;

/// Answers [`super::message::Request::Put`].
pub(super) fn put(session: &mut Session, path: &Path, patch: bool) -> Result<(), Stopped> {
    let mut ended = false;
    let stored = receive(session, path, patch, &mut ended);
    // Whatever happened, the rest of the file is still to be taken off the stream.
    while !ended && !matches!(stored, Err(Stopped::Broken(_))) {
        ended = matches!(session.next_part()?, Part::PutEnd(..));
    }
    stored
}

fn receive(session: &mut Session, path: &Path, patch: bool, ended: &mut bool) -> Result<(), Stopped> {
    if let Some(parent) = path.parent() {
        session.syncer.watch(parent)?;
    }
    let mut target = if patch {
        Target::existing(path)?
    } else {
        Target::fresh(path)?
    };
    loop {
        match session.next_part()? {
            Part::Data(data) => target.write(&data)?,
            Part::Seek(bytes) => target.skip(bytes, !patch)?,
            Part::PutEnd(size, attributes) => {
                *ended = true;
                let (file, hash) = target.finish(size, attributes)?;
                session.syncer.submit(file, path.to_path_buf())?;
                session.output.message(&Response::Stored { size, hash })?;
                return Ok(());
            }
            Part::BaseEnd => return Err(FrameError::Protocol("unexpected part of a put".to_owned()).into()),
        }
    }
}

/// Answers [`super::message::Request::Sync`].
pub(super) fn sync(session: &mut Session, directories: Vec<Vec<u8>>) -> Result<(), Stopped> {
    let syncer = std::mem::replace(&mut session.syncer, Syncer::new(SYNC_THREADS));
    for directory in directories {
        session.check()?;
        // These may be files too, which another agent wrote: they are synced by themselves.
        durable::sync_dir(&path_of(directory))?;
    }
    syncer.finish()?;
    session.output.message(&Response::Done)?;
    Ok(())
}

/// A file being written from its start to its end.
pub struct Target<'a> {
    file: File,
    path: &'a Path,
    offset: u64,
    written_back: u64,
    hash: Xxh3Default,
}

impl<'a> Target<'a> {
    /// A new file in place of whatever file or link is there: never written through a hard or symbolic link.
    ///
    /// # Errors
    /// A directory is in the way, or the file cannot be created.
    pub fn fresh(path: &'a Path) -> Result<Target<'a>, PathError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PathError::new("replace", path, error));
            }
            _ => {}
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .at("create", path)?;
        Ok(Target {
            file,
            path,
            offset: 0,
            written_back: 0,
            hash: Xxh3Default::new(),
        })
    }

    /// The file that is there. One with other hard links is replaced by a copy of itself first.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be opened or copied.
    pub fn existing(path: &'a Path) -> Result<Target<'a>, PathError> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)
            .at("open", path)?;
        let metadata = file.metadata().at("look at", path)?;
        if !metadata.is_file() {
            return Err(PathError::new(
                "write",
                path,
                io::Error::other("not a regular file"),
            ));
        }
        if metadata.nlink() == 1 {
            return Ok(Target {
                file,
                path,
                offset: 0,
                written_back: 0,
                hash: Xxh3Default::new(),
            });
        }
        let mut target = Target::fresh(path)?;
        io::copy(&mut &file, &mut target.file).at("copy", path)?;
        Ok(target)
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn write(&mut self, data: &[u8]) -> Result<(), PathError> {
        self.file.write_all_at(data, self.offset).at("write", self.path)?;
        self.hash.update(data);
        self.offset += data.len() as u64;
        if self.offset - self.written_back >= WRITE_BACK_AFTER {
            sys::start_writeback(&self.file, self.written_back, self.offset - self.written_back);
            self.written_back = self.offset;
        }
        Ok(())
    }

    /// Leaves the next bytes as they are; in a new file they are zeros with room reserved for them (PostgreSQL relies on
    /// the blocks it extended to be there).
    ///
    /// # Errors
    /// The disk is full, or the length is absurd.
    pub fn skip(&mut self, bytes: u64, reserve: bool) -> Result<(), PathError> {
        let end = self
            .offset
            .checked_add(bytes)
            .and_then(|end| i64::try_from(end).ok())
            .ok_or_else(|| PathError::new("write", self.path, io::ErrorKind::InvalidInput.into()))?;
        if reserve && bytes > 0 {
            let start = i64::try_from(self.offset).unwrap_or(i64::MAX);
            match fallocate(&self.file, FallocateFlags::empty(), start, end - start) {
                // Where it cannot be reserved, a hole has to do.
                Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => {}
                Err(error) => return Err(PathError::new("reserve room for", self.path, error.into())),
            }
        }
        self.offset += bytes;
        Ok(())
    }

    /// Ends the file; what remains is its fsync. Gives the hash of the bytes that were written (not of those left as they
    /// were).
    ///
    /// # Errors
    /// The size or the attributes cannot be set.
    pub fn finish(self, size: u64, attributes: Attributes) -> Result<(File, u128), PathError> {
        self.file.set_len(size).at("set the size of", self.path)?;
        attributes
            .apply(&self.file)
            .at("set the attributes of", self.path)?;
        sys::start_writeback(&self.file, self.written_back, 0);
        Ok((self.file, self.hash.digest128()))
    }
}
