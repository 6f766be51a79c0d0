//! An incremental file being written, and the proof that it is right.
//!
//! The sum of the rebuilt file follows from the sum of the parent's file, the old content of the blocks that changed, and
//! the new one. If it is not the sum of the file as the agent read it, blocks changed that were not named: a page changed
//! without a new LSN, or the parent's file is damaged. The old content is not needed where the hashes of the parent's pages
//! are known. Where the parent's sum is not known, the file is rebuilt and read.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::agent::message::Fetched;
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::copy::chain::{ChainError, Rebuilt};
use crate::copy::local;
use crate::copy::records::FileChecksum;
use crate::postgres::incremental::Header;
use crate::postgres::manifest::{Checksum, Computation};
use crate::postgres::page::{PAGE_SIZE, SEGMENT_PAGES};
use crate::postgres::page_sum::PageSum;

/// How much may be written before the disk is set to work on it.
const WRITE_BACK_AFTER: u64 = 8 << 20;
/// Bytes read of the chain at a time.
const WINDOW: usize = 256 << 10;

/// The parent's form of a file, as the one who asked for the changes described it.
#[derive(Debug, Clone)]
pub(super) struct Old {
    /// Its blocks.
    pub(super) blocks: u32,
    /// Those of its longest form in the chain.
    pub(super) longest: u32,
    /// Its sum, if it is known.
    pub(super) sum: Option<PageSum>,
    /// The hashes of its pages, if they are known; the one who asked may find them out meanwhile.
    pub(super) pages: Arc<OnceLock<Vec<PageSum>>>,
}

impl Old {
    /// The hashes of all its pages.
    fn pages(&self) -> Option<&[PageSum]> {
        let pages = self.pages.get()?;
        (pages.len() == self.blocks as usize).then_some(pages)
    }
}

/// Where a file is in the chain.
pub(super) struct Place<'a> {
    /// The directory of this backup, then those of the chain.
    pub(super) members: &'a [PathBuf],
    /// The path of the rebuilt file within each.
    pub(super) relative: &'a [u8],
}

/// An incremental file being written.
pub(super) struct Blocks {
    file: File,
    path: PathBuf,
    header: Header,
    old: Old,
    /// The parent's file, opened when the first old block is needed.
    parent: Option<Rebuilt>,
    /// What the changes make of the sum: the new pages, in their order, and the old ones.
    plus: Vec<PageSum>,
    minus: PageSum,
    /// Blocks written.
    written: usize,
    written_back: u64,
    checksum: Computation,
    algorithm: Checksum,
    buffer: Vec<u8>,
}

/// What was written.
pub(super) struct Finished {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Blocks of the longest form of the file in the chain.
    pub(super) longest: u32,
    /// How many changed.
    pub(super) count: usize,
    pub(super) stored: u64,
    pub(super) checksum: FileChecksum,
    /// The hashes of the rebuilt file's pages, if they are known.
    pub(super) pages: Vec<PageSum>,
}

impl Blocks {
    /// Begins the incremental file at `path`: writes its header. `None` when `numbers` cannot be those of changed blocks.
    pub(super) fn begin(
        path: PathBuf,
        blocks: u32,
        numbers: Vec<u32>,
        old: Old,
        algorithm: Checksum,
    ) -> Result<Option<Blocks>, PathError> {
        let header = Header {
            truncation: blocks,
            blocks: numbers,
        };
        if !is_plausible(&header, &old) {
            return Ok(None);
        }
        let file = local::create(&path)?;
        let bytes = header.to_bytes();
        file.write_all_at(&bytes, 0).at("write", &path)?;
        let mut checksum = algorithm.start();
        checksum.update(&bytes);
        Ok(Some(Blocks {
            file,
            path,
            header,
            old,
            parent: None,
            plus: Vec::new(),
            minus: PageSum::default(),
            written: 0,
            written_back: 0,
            checksum,
            algorithm,
            buffer: Vec::new(),
        }))
    }

    /// The incremental file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of blocks that are still to come.
    pub(super) fn ahead(&self) -> u64 {
        (self.header.blocks.len() - self.written) as u64 * PAGE_SIZE as u64
    }

    /// Takes the content of the next blocks; false when there cannot be so much.
    pub(super) fn data(&mut self, content: &[u8], place: &Place) -> Result<bool, ChainError> {
        self.file
            .write_all_at(content, self.offset())
            .at("write", &self.path)?;
        self.take_in(content, place)
    }

    /// Takes blocks of zeros, which become a hole.
    pub(super) fn zeros(&mut self, bytes: u64, place: &Place) -> Result<bool, ChainError> {
        static ZEROS: [u8; WINDOW] = [0; WINDOW];
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let count = left.min(WINDOW);
            if !self.take_in(ZEROS.get(..count).unwrap_or_default(), place)? {
                return Ok(false);
            }
            left -= count;
        }
        Ok(true)
    }

    fn take_in(&mut self, content: &[u8], place: &Place) -> Result<bool, ChainError> {
        let count = content.len() / PAGE_SIZE;
        let numbers = self.header.blocks.get(self.written..self.written + count);
        let Some(numbers) = numbers.filter(|_| content.len().is_multiple_of(PAGE_SIZE)) else {
            return Ok(false);
        };
        for (page, number) in content.chunks_exact(PAGE_SIZE).zip(numbers) {
            self.plus.push(PageSum::of_page((*number).into(), page));
        }
        if self.by_difference() && self.old.pages().is_none() {
            if self.parent.is_none() {
                let chain = place.members.get(1..).unwrap_or_default();
                self.parent = Rebuilt::open(chain, place.relative)?;
            }
            let old = numbers
                .get(..numbers.partition_point(|number| *number < self.old.blocks))
                .unwrap_or_default();
            if let Some(parent) = &self.parent {
                self.buffer.resize(WINDOW, 0);
                self.minus = self.minus.plus(sum_of(parent, old, &mut self.buffer)?);
            }
        }
        self.checksum.update(content);
        self.written += count;
        let offset = self.offset();
        if offset - self.written_back >= WRITE_BACK_AFTER {
            sys::start_writeback(&self.file, self.written_back, offset - self.written_back);
            self.written_back = offset;
        }
        Ok(true)
    }

    /// Ends the file, if the answer is complete. The second value says whether the file that it becomes is the one that
    /// the agent read.
    pub(super) fn finish(
        self,
        fetched: &Fetched,
        place: &Place,
    ) -> Result<Option<(Finished, bool)>, ChainError> {
        let complete = self.written == self.header.blocks.len()
            && fetched.size == u64::from(self.header.truncation) * PAGE_SIZE as u64;
        if !complete {
            return Ok(None);
        }
        let stored = self.header.file_size();
        self.file.set_len(stored).at("set the size of", &self.path)?;
        let attributes = fetched.attributes;
        attributes
            .apply(&self.file)
            .at("set the attributes of", &self.path)?;
        sys::start_writeback(&self.file, self.written_back, 0);
        let pages = self.pages();
        let sum = match &pages {
            Some(pages) => Some(pages.iter().sum()),
            None => self.sum(place)?,
        };
        let proven = sum == Some(fetched.sum);
        let finished = Finished {
            longest: self.old.longest.max(self.header.truncation),
            count: self.header.blocks.len(),
            file: self.file,
            path: self.path,
            stored,
            checksum: FileChecksum {
                algorithm: self.algorithm,
                value: self.checksum.finish(),
            },
            pages: pages.unwrap_or_default(),
        };
        Ok(Some((finished, proven)))
    }

    /// The hashes of the rebuilt file's pages, if the parent's are known.
    fn pages(&self) -> Option<Vec<PageSum>> {
        let mut pages = self.old.pages()?.to_vec();
        pages.truncate(self.header.truncation as usize);
        // Blocks after the old end that nobody lists are zeros.
        for number in self.old.blocks..self.header.truncation {
            pages.push(PageSum::of_page(number.into(), &[0; PAGE_SIZE]));
        }
        for (number, hash) in self.header.blocks.iter().zip(&self.plus) {
            *pages.get_mut(*number as usize)? = *hash;
        }
        Some(pages)
    }

    /// The sum of the rebuilt file, with the help of the old content.
    fn sum(&self, place: &Place) -> Result<Option<PageSum>, ChainError> {
        if let Some(old) = self.old.sum.filter(|_| self.by_difference()) {
            let mut sum = old.minus(self.minus).plus(self.plus.iter().sum());
            // Blocks after the old end that nobody lists are zeros.
            let mut listed = self.header.blocks.iter().peekable();
            for number in self.old.blocks..self.header.truncation {
                while listed.next_if(|next| **next < number).is_some() {}
                if listed.next_if(|next| **next == number).is_none() {
                    sum = sum.plus(PageSum::of_page(number.into(), &[0; PAGE_SIZE]));
                }
            }
            return Ok(Some(sum));
        }
        let Some(rebuilt) = Rebuilt::open(place.members, place.relative)? else {
            return Ok(None);
        };
        let all: Vec<u32> = (0..self.header.truncation).collect();
        Ok(Some(sum_of(&rebuilt, &all, &mut vec![0; WINDOW])?))
    }

    /// Whether the sum follows from the parent's: not from that of a longer file.
    fn by_difference(&self) -> bool {
        self.old.sum.is_some() && self.old.blocks <= self.header.truncation
    }

    fn offset(&self) -> u64 {
        self.header.length() + self.written as u64 * PAGE_SIZE as u64
    }
}

/// Ascending numbers within the file, and all of those that an older backup would have something for.
fn is_plausible(header: &Header, old: &Old) -> bool {
    let numbers = &header.blocks;
    let blocks = header.truncation;
    let ascending = numbers.is_sorted_by(|one, next| one < next);
    let inside = numbers.last().is_none_or(|last| *last < blocks) && blocks <= SEGMENT_PAGES;
    let end = old.longest.min(blocks);
    let start = old.blocks.min(end);
    let named =
        numbers.partition_point(|number| *number < end) - numbers.partition_point(|number| *number < start);
    ascending && inside && named == (end - start) as usize
}

/// The sum of these blocks of a rebuilt file.
fn sum_of(rebuilt: &Rebuilt, numbers: &[u32], buffer: &mut [u8]) -> Result<PageSum, PathError> {
    let mut sum = PageSum::default();
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        for part in run.chunks((buffer.len() / PAGE_SIZE).max(1)) {
            let first = u64::from(part.first().copied().unwrap_or_default());
            let content = buffer.get_mut(..part.len() * PAGE_SIZE).unwrap_or_default();
            let count = rebuilt.read_at(content, first * PAGE_SIZE as u64)?;
            let pages = content.get(..count).unwrap_or_default().chunks(PAGE_SIZE);
            for (page, number) in pages.zip(first..) {
                sum = sum.plus(PageSum::of_page(number, page));
            }
        }
    }
    Ok(sum)
}

/// The path of a file within the backups of a chain, as bytes.
pub(super) fn relative(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
