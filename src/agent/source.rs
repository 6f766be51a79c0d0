//! Reading a file of a live cluster: in order, hashed, page checksums verified, the host's page cache left as it was.
//!
//! The file may be written, extended or truncated meanwhile. What is read is the first `size` bytes as of the moment it was
//! opened, or less when it shrinks; replay of the WAL makes a relation right again, whatever mixture was read.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use super::message::{Attributes, Checks, Corrupt, Fetched, MAX_CORRUPT};
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::postgres::lsn::Lsn;
use crate::postgres::page::{self, BadChecksum, PAGE_SIZE};
use crate::postgres::page_sum::PageSum;

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
    sum: PageSum,
    /// The hashes of the pages of the last read.
    pages: Vec<PageSum>,
    cached: Option<Vec<bool>>,
    /// The last read, whose share of the page cache is to be given back.
    to_give_back: Option<(u64, usize)>,
    /// Whether something stayed in the page cache for a second look.
    kept: bool,
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
            sum: PageSum::default(),
            pages: Vec::new(),
            cached,
            to_give_back: None,
            kept: false,
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
        self.give_back();
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
        self.take_in(content);
        self.to_give_back = Some((self.offset, filled));
        self.offset += filled as u64;
        Ok(filled)
    }

    /// What was read.
    #[must_use]
    pub fn finish(mut self) -> Fetched {
        self.give_back();
        self.give_back_kept();
        Fetched {
            size: self.offset,
            sum: self.sum,
            attributes: self.attributes,
            corrupt: self.corrupt,
        }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Leaves in the page cache what the last read brought there: it will be read again.
    pub fn keep_cached(&mut self) {
        self.kept |= self.to_give_back.take().is_some();
    }

    /// Reads a page once more, in place of what was read of it: `hash` is what it had then. What the file does not have
    /// any more is zeros.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read_again(&mut self, block: u32, hash: PageSum, page: &mut [u8]) -> Result<(), PathError> {
        let offset = u64::from(block) * PAGE_SIZE as u64;
        let mut filled = 0;
        while let Some(rest) = page.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PathError::new("read", &self.path, error)),
            }
        }
        page.get_mut(filled..).unwrap_or_default().fill(0);
        if let (Some(checks), PAGE_SIZE) = (self.checks, filled) {
            self.corrupt.retain(|corrupt| corrupt.block != block);
            self.verify(checks, page, block);
        }
        let again = PageSum::of_page(block.into(), page);
        self.sum = self.sum.minus(hash).plus(again);
        Ok(())
    }

    /// The hashes of the pages of the last read.
    #[must_use]
    pub fn pages(&self) -> &[PageSum] {
        &self.pages
    }

    /// Verifies and hashes what was read: each page while it is in the processor's cache.
    fn take_in(&mut self, content: &mut [u8]) {
        self.pages.clear();
        let first = self.offset / PAGE_SIZE as u64;
        for (page, number) in content.chunks_mut(PAGE_SIZE).zip(first..) {
            if let (Some(checks), PAGE_SIZE) = (self.checks, page.len()) {
                self.verify(checks, page, u32::try_from(number).unwrap_or(u32::MAX));
            }
            let hash = PageSum::of_page(number, page);
            self.sum = self.sum.plus(hash);
            self.pages.push(hash);
        }
    }

    fn verify(&mut self, checks: Checks, page: &mut [u8], block: u32) {
        let start = Lsn(checks.start);
        let number = checks.first_block.wrapping_add(block);
        let Err(bad) = page::verify(page, number, start) else {
            return;
        };
        let Some(bad) = self.look_again(page, block, number, start, bad) else {
            return;
        };
        if self.corrupt.len() < MAX_CORRUPT {
            self.corrupt.push(Corrupt {
                block,
                computed: bad.computed,
                stored: bad.stored,
            });
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
    fn give_back(&mut self) {
        let (Some(cached), Some((offset, length))) = (&self.cached, self.to_give_back.take()) else {
            return;
        };
        let window = usize::try_from(offset / WINDOW as u64).unwrap_or(usize::MAX);
        if cached.get(window).copied().unwrap_or(true) {
            return;
        }
        self.forget(offset, length as u64);
    }

    /// The same for what stayed for a second look.
    fn give_back_kept(&self) {
        let Some(cached) = self.cached.as_ref().filter(|_| self.kept) else {
            return;
        };
        for (window, _) in (0_u64..).zip(cached).filter(|(_, cached)| !**cached) {
            self.forget(window * WINDOW as u64, WINDOW as u64);
        }
    }

    fn forget(&self, offset: u64, length: u64) {
        if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
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
        let mut summer = crate::postgres::page_sum::PageSummer::default();
        summer.update(&vec![1; (1 << 20) + 5]);
        assert_eq!(fetched.sum, summer.finish());
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
