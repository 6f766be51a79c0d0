//! Reading a file of a live cluster: in order, hashed, page checksums verified, the host's page cache left as it was.
//!
//! The file may be written, extended or truncated meanwhile. What is read is the first `size` bytes as of the moment it was
//! opened, or less when it shrinks; replay of the WAL makes a relation right again, whatever mixture was read.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use xxhash_rust::xxh3::Xxh3Default;

use super::message::{Attributes, Checks, Corrupt, Fetched, MAX_CORRUPT};
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::postgres::lsn::Lsn;
use crate::postgres::page::{self, BadChecksum, PAGE_SIZE};

/// Bytes read at a time: also the unit in which the page cache is given back.
pub const WINDOW: usize = 1 << 20;
/// Files shorter than this are not worth the calls that look after the page cache.
const CACHE_CARE_FROM: u64 = 256 << 10;
/// Pauses before a page with a wrong checksum is read again: PostgreSQL writes a page in one call, so a torn one is whole
/// after a moment.
const SECOND_LOOKS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
/// After so many wrong pages in one file, they are read again once, without pauses.
const PATIENT_UNTIL: usize = 16;

/// A file being read from its start to its end.
pub struct SourceFile {
    file: File,
    path: PathBuf,
    size: u64,
    offset: u64,
    attributes: Attributes,
    checks: Option<Checks>,
    corrupt: Vec<Corrupt>,
    hash: Xxh3Default,
    cached: Option<Vec<bool>>,
}

impl SourceFile {
    /// Opens a regular file.
    ///
    /// # Errors
    /// It is not there, not readable, or not a regular file.
    pub fn open(path: &Path, checks: Option<Checks>) -> Result<SourceFile, PathError> {
        // O_NONBLOCK: a FIFO in place of the file must not hang us. It means nothing for regular files.
        let file = File::options()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(path)
            .at("open", path)?;
        let metadata = file.metadata().at("look at", path)?;
        if !metadata.is_file() {
            return Err(PathError::new(
                "read",
                path,
                std::io::Error::other("not a regular file"),
            ));
        }
        let size = metadata.len();
        let cached = (size >= CACHE_CARE_FROM).then(|| {
            let cached = sys::cached_windows(&file, size, WINDOW);
            // Advice only: nothing depends on it.
            let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
            cached
        });
        Ok(SourceFile {
            file,
            path: path.to_path_buf(),
            size,
            offset: 0,
            attributes: Attributes::of(&metadata),
            checks,
            corrupt: Vec::new(),
            hash: Xxh3Default::new(),
            cached,
        })
    }

    /// Bytes the file had when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the next bytes: as many as fit into `buffer` (whole pages, at most [`WINDOW`]), less only at the end of the
    /// file, where it gives 0.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PathError> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..wanted).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PathError::new("read", &self.path, error)),
            }
        }
        if filled < wanted {
            // It was truncated: this is its end.
            self.size = self.offset + filled as u64;
        }
        let Some(content) = buffer.get_mut(..filled) else {
            return Ok(0);
        };
        self.verify(content);
        self.hash.update(content);
        self.give_back(filled);
        self.offset += filled as u64;
        Ok(filled)
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> Fetched {
        Fetched {
            size: self.offset,
            hash: self.hash.digest128(),
            attributes: self.attributes,
            corrupt: self.corrupt,
        }
    }

    fn verify(&mut self, content: &mut [u8]) {
        let Some(checks) = self.checks else { return };
        let start = Lsn(checks.start);
        let first = u32::try_from(self.offset / PAGE_SIZE as u64).unwrap_or(u32::MAX);
        for (page, block) in content.chunks_exact_mut(PAGE_SIZE).zip(first..) {
            let number = checks.first_block.wrapping_add(block);
            let Err(bad) = page::verify(page, number, start) else {
                continue;
            };
            let Some(bad) = self.look_again(page, block, number, start, bad) else {
                continue;
            };
            if self.corrupt.len() < MAX_CORRUPT {
                self.corrupt.push(Corrupt {
                    block,
                    computed: bad.computed,
                    stored: bad.stored,
                });
            }
        }
    }

    /// Reads a wrong page again, into its place; `None` when it is right now.
    fn look_again(
        &self,
        page: &mut [u8],
        block: u32,
        number: u32,
        start: Lsn,
        mut bad: BadChecksum,
    ) -> Option<BadChecksum> {
        let looks = if self.corrupt.len() < PATIENT_UNTIL {
            SECOND_LOOKS.len()
        } else {
            1
        };
        let mut again = vec![0_u8; PAGE_SIZE];
        for pause in SECOND_LOOKS.iter().take(looks) {
            std::thread::sleep(*pause);
            if self
                .file
                .read_exact_at(&mut again, u64::from(block) * PAGE_SIZE as u64)
                .is_err()
            {
                // Truncated meanwhile: PostgreSQL has no use for this page any more.
                return None;
            }
            page.copy_from_slice(&again);
            match page::verify(page, number, start) {
                Ok(()) => return None,
                Err(still) => bad = still,
            }
        }
        Some(bad)
    }

    /// Forgets what the page cache holds only because we read it: the database's own pages stay.
    fn give_back(&self, length: usize) {
        let Some(cached) = &self.cached else { return };
        let window = usize::try_from(self.offset / WINDOW as u64).unwrap_or(usize::MAX);
        if cached.get(window).copied().unwrap_or(true) {
            return;
        }
        if let (Ok(offset), Ok(length)) = (i64::try_from(self.offset), i64::try_from(length)) {
            let _ = posix_fadvise(
                &self.file,
                offset,
                length,
                PosixFadviseAdvice::POSIX_FADV_DONTNEED,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Scratch {
            let path = std::env::temp_dir().join(format!(".barkeep-source-{name}-{}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    fn read_all(source: &mut SourceFile) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; WINDOW];
        loop {
            let count = source.read(&mut buffer).unwrap();
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn growing_and_shrinking_files_are_read_to_the_shorter_length() {
        let scratch = Scratch::new("grow", &vec![1; 3 << 20]);
        let mut source = SourceFile::open(&scratch.0, None).unwrap();
        let mut appending = File::options().append(true).open(&scratch.0).unwrap();
        appending.write_all(&[2; 100]).unwrap();
        assert_eq!(read_all(&mut source).len(), 3 << 20);
        let mut source = SourceFile::open(&scratch.0, None).unwrap();
        source.read(&mut vec![0; WINDOW]).unwrap();
        appending.set_len((1 << 20) + 5).unwrap();
        assert_eq!(read_all(&mut source).len(), 5);
        let fetched = source.finish();
        assert_eq!(fetched.size, (1 << 20) + 5);
        assert_eq!(fetched.hash, xxhash_rust::xxh3::xxh3_128(&vec![1; (1 << 20) + 5]));
    }

    #[test]
    fn wrong_pages_are_named_by_their_block() {
        let mut content = vec![0_u8; 5 * PAGE_SIZE];
        for (block, page) in content.chunks_mut(PAGE_SIZE).enumerate() {
            page[14] = 1;
            let sum = page::checksum(page, u32::try_from(block).unwrap() + 131_072).unwrap();
            page[8..10].copy_from_slice(&sum.to_ne_bytes());
        }
        content[3 * PAGE_SIZE + 500] = 9;
        let scratch = Scratch::new("corrupt", &content);
        let checks = Checks {
            start: u64::MAX,
            first_block: 131_072,
        };
        let mut source = SourceFile::open(&scratch.0, Some(checks)).unwrap();
        assert_eq!(read_all(&mut source), content);
        let corrupt = source.finish().corrupt;
        assert_eq!(
            corrupt.iter().map(|corrupt| corrupt.block).collect::<Vec<_>>(),
            [3]
        );
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        assert!(SourceFile::open(Path::new("/dev/null"), None).is_err());
        assert!(SourceFile::open(Path::new("/"), None).is_err());
    }
}
