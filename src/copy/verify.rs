//! Reading a file of a backup once, for everything that tells whether it is what it should be: the checksum of the
//! manifest, the sum of its pages, and the checksum in each page.
//!
//! Pages that PostgreSQL changed after the backup had started may be torn: recovery rewrites them, so they are no damage
//! (`pg_basebackup` and `pg_checksums` judge alike).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chain::{ChainError, Rebuilt};
use crate::agent::message::{Corrupt, MAX_CORRUPT};
use crate::base::error::{PathContext, PathError};
use crate::postgres::incremental::{self, Header};
use crate::postgres::lsn::Lsn;
use crate::postgres::manifest::{Checksum, Computation};
use crate::postgres::page::{self, FileKind, PAGE_SIZE, SEGMENT_PAGES};
use crate::postgres::page_sum::{PageSum, PageSummer};

/// Bytes read at a time: whole pages.
const WINDOW: usize = 512 << 10;

/// What is to be found out about a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// The checksum of its bytes.
    pub checksum: Option<Checksum>,
    /// The sum of its pages.
    pub sum: bool,
    /// Whether the checksums in its pages are right: where the backup started. `None` when the cluster has none.
    pub pages: Option<Lsn>,
}

/// A file that was read.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes.
    pub size: u64,
    /// As wanted; else empty.
    pub checksum: Vec<u8>,
    /// As wanted; else that of an empty file.
    pub sum: PageSum,
    /// Pages with wrong checksums, at most [`MAX_CORRUPT`].
    pub corrupt: Vec<Corrupt>,
}

/// Reads the file at `path`, as it is. `relative` is its path within the data directory or the tablespace: it tells whether
/// the file has pages.
///
/// # Errors
/// It cannot be read, or is an incremental file with a damaged header.
pub fn file(path: &Path, relative: &[u8], wanted: Wanted) -> Result<Found, ChainError> {
    let file = File::open(path).at("open", path)?;
    let size = file.metadata().at("look at", path)?.len();
    let pages = wanted.pages.and_then(|start| {
        Some(match incremental::stands_for(relative) {
            Some(name) => (start, first_block(&name)?, true),
            None => (start, first_block(relative)?, false),
        })
    });
    let mut numbers = None;
    if let Some((start, first, blocks)) = pages {
        numbers = Some(match blocks {
            true => Numbers::listed(path, &file, size, start, first)?,
            false => Numbers {
                start,
                first,
                header: None,
            },
        });
    }
    let read = |buffer: &mut [u8], offset: u64| read_full(&file, path, buffer, offset);
    Ok(read_all(read, wanted, numbers.as_ref())?)
}

/// Reads a file of `size` bytes as a stream; else as [`file`].
///
/// # Errors
/// It cannot be read, or is an incremental file with a damaged header. Both are told of `path`.
pub fn stream(
    path: &Path,
    input: &mut dyn Read,
    size: u64,
    relative: &[u8],
    wanted: Wanted,
) -> Result<Found, ChainError> {
    let mut head = Vec::new();
    let mut numbers = None;
    if let Some(start) = wanted.pages {
        if let Some(name) = incremental::stands_for(relative) {
            let mut copied = Copied {
                input: &mut *input,
                copy: &mut head,
            };
            let header = Header::read(&mut copied, size).map_err(|source| ChainError::Damaged {
                path: path.to_path_buf(),
                source,
            })?;
            numbers = first_block(&name).map(|first| Numbers {
                start,
                first,
                header: Some(header),
            });
        } else {
            numbers = first_block(relative).map(|first| Numbers {
                start,
                first,
                header: None,
            });
        }
    }
    let mut whole = io::Cursor::new(head).chain(input);
    let read = |buffer: &mut [u8], _: u64| {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match whole.read(rest).at("read", path)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    };
    Ok(read_all(read, wanted, numbers.as_ref())?)
}

/// A stream of which what is read is kept.
struct Copied<'a> {
    input: &'a mut dyn Read,
    copy: &'a mut Vec<u8>,
}

impl Read for Copied<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.copy
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Reads the file that the chain of `members` (the newest first) makes of `relative`. `None` when the newest has no such file.
///
/// # Errors
/// A file of a member is missing, damaged, or cannot be read.
pub fn rebuilt(members: &[PathBuf], relative: &[u8], wanted: Wanted) -> Result<Option<Found>, ChainError> {
    let Some(rebuilt) = Rebuilt::open(members, relative)? else {
        return Ok(None);
    };
    let numbers = wanted
        .pages
        .zip(first_block(relative))
        .map(|(start, first)| Numbers {
            start,
            first,
            header: None,
        });
    let read = |buffer: &mut [u8], offset| rebuilt.read_at(buffer, offset);
    Ok(Some(read_all(read, wanted, numbers.as_ref())?))
}

/// Which number each page of a file has in its relation.
struct Numbers {
    start: Lsn,
    /// The number of the first page of the segment file.
    first: u32,
    /// An incremental file lists its blocks.
    header: Option<Header>,
}

impl Numbers {
    fn listed(path: &Path, file: &File, size: u64, start: Lsn, first: u32) -> Result<Numbers, ChainError> {
        let header = Header::read(&mut BufReader::new(file), size).map_err(|source| ChainError::Damaged {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Numbers {
            start,
            first,
            header: Some(header),
        })
    }

    /// The number within the segment file of the page at `offset`; `None` for what is no page.
    fn block(&self, offset: u64) -> Option<u32> {
        let Some(header) = &self.header else {
            return u32::try_from(offset / PAGE_SIZE as u64).ok();
        };
        let index = offset.checked_sub(header.length())? / PAGE_SIZE as u64;
        header.blocks.get(usize::try_from(index).ok()?).copied()
    }

    fn check(&self, content: &[u8], offset: u64, corrupt: &mut Vec<Corrupt>) {
        for (page, place) in content.chunks_exact(PAGE_SIZE).zip((offset..).step_by(PAGE_SIZE)) {
            let Some(block) = self.block(place) else { continue };
            if let Err(bad) = page::verify(page, self.first.wrapping_add(block), self.start)
                && corrupt.len() < MAX_CORRUPT
            {
                corrupt.push(Corrupt {
                    block,
                    computed: bad.computed,
                    stored: bad.stored,
                });
            }
        }
    }
}

fn read_all(
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, PathError>,
    wanted: Wanted,
    numbers: Option<&Numbers>,
) -> Result<Found, PathError> {
    let mut computation = wanted.checksum.map_or(Computation::None, Checksum::start);
    let mut summer = PageSummer::default();
    let mut found = Found::default();
    let mut buffer = vec![0; WINDOW];
    loop {
        let count = read(&mut buffer, found.size)?;
        let content = buffer.get(..count).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        computation.update(content);
        if wanted.sum {
            summer.update(content);
        }
        if let Some(numbers) = numbers {
            numbers.check(content, found.size, &mut found.corrupt);
        }
        found.size += count as u64;
    }
    found.checksum = computation.finish();
    found.sum = summer.finish();
    Ok(found)
}

/// As much as fits into the buffer, less only at the end.
fn read_full(file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> Result<usize, PathError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PathError::new("read", path, error)),
        }
    }
    Ok(filled)
}

/// The number within its relation of the first page of a file; `None` for a file without page checksums. A path below
/// `pg_tblspc/{oid}/` is that of a tablespace.
fn first_block(relative: &[u8]) -> Option<u32> {
    let relative = relative
        .strip_prefix(b"pg_tblspc/")
        .and_then(|inside| inside.splitn(2, |byte| *byte == b'/').nth(1))
        .unwrap_or(relative);
    match page::file_kind(relative) {
        FileKind::Relation { segment } => segment.checked_mul(SEGMENT_PAGES),
        FileKind::Blocks | FileKind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    const START: Lsn = Lsn(0x1000);

    /// A page of PostgreSQL with this LSN and its right checksum.
    fn page(block: u32, lsn: u64) -> Vec<u8> {
        let mut page = vec![7_u8; PAGE_SIZE];
        page[0..4].copy_from_slice(&((lsn >> 32) as u32).to_ne_bytes());
        page[4..8].copy_from_slice(&(lsn as u32).to_ne_bytes());
        page[8..10].copy_from_slice(&[0, 0]);
        let sum = page::checksum(&page, block).unwrap();
        page[8..10].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    fn wanted() -> Wanted {
        Wanted {
            checksum: Some(Checksum::Crc32c),
            sum: true,
            pages: Some(START),
        }
    }

    #[test]
    fn damaged_pages_are_told_by_their_numbers() {
        let root = std::env::temp_dir().join(format!(".barkeep-verify-pages-{}", std::process::id()));
        let (full, changed) = (root.join("full"), root.join("changed"));
        for directory in [&full, &changed] {
            fs::create_dir_all(directory.join("base/5")).unwrap();
        }
        let segment = SEGMENT_PAGES;
        let mut content: Vec<u8> = (0..6).flat_map(|block| page(segment + block, 0x500)).collect();
        // Damaged; torn, but newer than the start; another block's page.
        content[2 * PAGE_SIZE + 5000] ^= 1;
        content[3 * PAGE_SIZE..4 * PAGE_SIZE].copy_from_slice(&page(segment, 0x1000));
        content[4 * PAGE_SIZE..5 * PAGE_SIZE].copy_from_slice(&page(segment + 5, 0x500));
        fs::write(full.join("base/5/16384.1"), &content).unwrap();
        let found = file(&full.join("base/5/16384.1"), b"base/5/16384.1", wanted()).unwrap();
        let blocks = |found: &Found| found.corrupt.iter().map(|bad| bad.block).collect::<Vec<_>>();
        assert_eq!(blocks(&found), [2, 4]);
        assert_eq!(found.size, content.len() as u64);
        assert_eq!(found.checksum, crc32c::crc32c(&content).to_le_bytes());

        let header = Header {
            truncation: 6,
            blocks: vec![2, 4, 5],
        };
        let mut blocks_file = header.to_bytes();
        blocks_file.extend(page(segment + 2, 0x900));
        blocks_file.extend(page(segment + 4, 0x900));
        let mut bad = page(segment + 5, 0x900);
        bad[100] ^= 1;
        blocks_file.extend(bad);
        let path = changed.join("base/5/INCREMENTAL.16384.1");
        fs::write(&path, &blocks_file).unwrap();
        let own = file(&path, b"base/5/INCREMENTAL.16384.1", wanted()).unwrap();
        assert_eq!(blocks(&own), [5]);
        let members = [changed.clone(), full.clone()];
        let whole = rebuilt(&members, b"base/5/16384.1", wanted()).unwrap().unwrap();
        assert_eq!((blocks(&whole), whole.size), (vec![5], content.len() as u64));
        assert!(rebuilt(&members, b"base/5/1", wanted()).unwrap().is_none());
        fs::write(&path, b"short").unwrap();
        assert!(matches!(
            file(&path, b"base/5/INCREMENTAL.16384.1", wanted()),
            Err(ChainError::Damaged { .. })
        ));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn only_relations_have_pages() {
        assert_eq!(first_block(b"base/5/16384.2"), Some(2 * SEGMENT_PAGES));
        assert_eq!(
            first_block(b"pg_tblspc/16400/PG_17_202406281/5/16384_vm"),
            Some(0)
        );
        assert_eq!(first_block(b"global/pg_control"), None);
        assert_eq!(first_block(b"pg_xact/0000"), None);
    }
}
