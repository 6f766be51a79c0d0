//! Writing files at the destination, one after the other, with some answers under way.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use crate::agent::connection::Connection;
use crate::agent::delta;
use crate::agent::message::{Attributes, CHUNK, Request, Response, bytes_of};
use crate::base::bandwidth::Bandwidth;
use crate::base::error::{PathContext, PathError};
use crate::copy::CopyError;
use crate::copy::chain::ChainError;
use crate::postgres::incremental::{FIXED, Header};
use crate::postgres::page::PAGE_SIZE;
use crate::transport::frame::FrameError;

/// Files whose answers are under way.
const PIPELINE: usize = 32;

/// One conversation with the destination.
pub(super) struct Writer<'a> {
    connection: Connection,
    bandwidth: &'a Bandwidth,
    due: VecDeque<Due>,
    buffer: Vec<u8>,
    /// Of the file being written: what was sent of it, and how much was passed over since.
    hash: Xxh3Default,
    skipped: u64,
}

/// An answer that is due.
enum Due {
    Done,
    Stored { path: PathBuf, size: u64, hash: u128 },
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: Connection, bandwidth: &'a Bandwidth) -> Writer<'a> {
        Writer {
            connection,
            bandwidth,
            due: VecDeque::new(),
            buffer: vec![0; CHUNK],
            hash: Xxh3Default::new(),
            skipped: 0,
        }
    }

    /// Makes a directory, and those above it.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), CopyError> {
        self.send(&Request::MakeDirectory {
            path: bytes_of(path),
            mode: 0o700,
            parents: true,
        })?;
        self.expect(Due::Done)
    }

    /// Sets permissions and time.
    pub(super) fn attributes(&mut self, path: &Path, attributes: Attributes) -> Result<(), CopyError> {
        self.send(&Request::SetAttributes {
            path: bytes_of(path),
            attributes,
        })?;
        self.expect(Due::Done)
    }

    /// Writes a new file: all that `input` has, which is `size` bytes.
    pub(super) fn whole(
        &mut self,
        path: &Path,
        input: &mut dyn Read,
        size: u64,
        attributes: Attributes,
    ) -> Result<(), CopyError> {
        self.send(&Request::Put {
            path: bytes_of(path),
            patch: false,
        })?;
        self.blocks(path, input, size)?;
        self.end(path, size, attributes)
    }

    /// Changes a file that is there: `input` is an incremental file of `size` bytes.
    pub(super) fn patch(
        &mut self,
        path: &Path,
        input: &mut dyn Read,
        size: u64,
        attributes: Attributes,
    ) -> Result<(), CopyError> {
        let damaged = |source| ChainError::Damaged {
            path: path.to_path_buf(),
            source,
        };
        let header = Header::read(&mut &mut *input, size).map_err(damaged)?;
        let read = FIXED as u64 + header.blocks.len() as u64 * 4;
        let padding = header.length().saturating_sub(read);
        io::copy(&mut (&mut *input).take(padding), &mut io::sink()).at("read", path)?;
        self.send(&Request::Put {
            path: bytes_of(path),
            patch: true,
        })?;
        let mut next = 0;
        for run in header.blocks.chunk_by(|one, other| one + 1 == *other) {
            let Some(first) = run.first() else { continue };
            self.skipped += u64::from(first - next) * PAGE_SIZE as u64;
            self.content(path, input, run.len() as u64 * PAGE_SIZE as u64, false)?;
            next = first + u32::try_from(run.len()).unwrap_or(u32::MAX);
        }
        self.end(
            path,
            u64::from(header.rebuilt_blocks()) * PAGE_SIZE as u64,
            attributes,
        )
    }

    fn blocks(&mut self, path: &Path, input: &mut dyn Read, size: u64) -> Result<(), CopyError> {
        self.content(path, input, size, true)
    }

    /// Sends so many bytes; in a new file zeros need not be sent.
    fn content(
        &mut self,
        path: &Path,
        input: &mut dyn Read,
        mut left: u64,
        fresh: bool,
    ) -> Result<(), CopyError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            input.read_exact(chunk).at("read the content of", path)?;
            left -= wanted as u64;
            if fresh && delta::is_zero(chunk) {
                self.skipped += wanted as u64;
                continue;
            }
            self.pass_over()?;
            let (requests, _) = self.connection.split()?;
            let before = requests.written();
            let sent = requests.data(chunk);
            let taken = requests.written() - before;
            sent.map_err(|error| self.connection.lost(error))?;
            self.bandwidth
                .consume(usize::try_from(taken).unwrap_or(usize::MAX));
            self.hash.update(chunk);
        }
        self.buffer = buffer;
        Ok(())
    }

    fn pass_over(&mut self) -> Result<(), CopyError> {
        match std::mem::take(&mut self.skipped) {
            0 => Ok(()),
            bytes => self.send(&Request::Seek { bytes }),
        }
    }

    fn end(&mut self, path: &Path, size: u64, attributes: Attributes) -> Result<(), CopyError> {
        self.pass_over()?;
        self.send(&Request::PutEnd { size, attributes })?;
        let hash = std::mem::take(&mut self.hash).digest128();
        self.expect(Due::Stored {
            path: path.to_path_buf(),
            size,
            hash,
        })
    }

    /// Waits for all answers, and until everything is on disk; then for the names in these directories too. Gives the
    /// bytes that were sent.
    pub(super) fn finish(mut self, directories: &[PathBuf]) -> Result<u64, CopyError> {
        self.settle(0)?;
        // An empty list syncs what was written here.
        let lists = std::iter::once(&[][..]).chain(directories.chunks(super::SYNC_AT_ONCE));
        for list in lists {
            self.send(&Request::Sync {
                directories: list.iter().map(|path| bytes_of(path)).collect(),
            })?;
            self.expect(Due::Done)?;
            self.settle(0)?;
        }
        Ok(self
            .connection
            .split()
            .map_or(0, |(requests, _)| requests.written()))
    }

    fn send(&mut self, request: &Request) -> Result<(), CopyError> {
        let (requests, _) = self.connection.split()?;
        let sent = requests.message(request);
        sent.map_err(|error| self.connection.lost(error).into())
    }

    fn expect(&mut self, due: Due) -> Result<(), CopyError> {
        self.due.push_back(due);
        self.settle(PIPELINE)
    }

    /// Takes answers until at most `most` are due.
    fn settle(&mut self, most: usize) -> Result<(), CopyError> {
        if self.due.len() <= most {
            return Ok(());
        }
        let (requests, _) = self.connection.split()?;
        let flushed = requests.flush();
        flushed.map_err(|error| self.connection.lost(error))?;
        while self.due.len() > most {
            let answer = self.connection.answer()?;
            match (self.due.pop_front(), answer) {
                (Some(Due::Done), Response::Done) => {}
                (
                    Some(Due::Stored { path, size, hash }),
                    Response::Stored {
                        size: there,
                        hash: found,
                    },
                ) => {
                    if (there, found) != (size, hash) {
                        return Err(CopyError::Mismatch { path });
                    }
                }
                (_, other) => {
                    let nonsense = FrameError::Protocol(format!("unexpected answer {other:?}"));
                    return Err(self.connection.lost(nonsense).into());
                }
            }
        }
        Ok(())
    }
}

/// A file that does not belong where its path leads.
pub(super) fn nowhere(path: &[u8]) -> CopyError {
    let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
    PathError::new("place", path, io::Error::other("there is no directory for it")).into()
}
