//! Files of an incremental backup: the changed blocks of one relation file, in PostgreSQL 17's own format.
//!
//! `INCREMENTAL.16384.1` stands for `16384.1`. Its layout (native byte order): magic, number of blocks, truncation length,
//! the numbers of the blocks within this segment file, zeros up to a multiple of the block size (none when there are no
//! blocks: such a file has exactly 12 bytes), and the blocks in the order of their numbers.
//!
//! The file that it stands for is as long as the truncation length, or up to its highest block if that is longer. A block
//! comes from the newest backup of the chain that lists it; else, below the truncation length of the newest, from the
//! newest whole file; else it is zeros. Source: PostgreSQL's `basebackup_incremental.h` and `reconstruct.c`.

use std::io::{self, Read};

use super::page::{PAGE_SIZE, SEGMENT_PAGES};

/// What precedes the name of the file that it stands for.
pub const PREFIX: &str = "INCREMENTAL.";
/// The first four bytes.
pub const MAGIC: u32 = 0xd3ae_1f0d;
/// Bytes of magic, number of blocks, and truncation length.
pub const FIXED: usize = 12;

/// What an incremental file says before its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Blocks that the file had at least, all the time since the parent backup.
    pub truncation: u32,
    /// The numbers of its blocks, ascending.
    pub blocks: Vec<u32>,
}

/// A file that is not what its name says.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIncremental {
    /// It could not be read, or ends within its header.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its header makes no sense.
    #[error("not an incremental file: {0}")]
    Header(String),
}

impl Header {
    /// Bytes before the first block.
    #[must_use]
    pub fn length(&self) -> u64 {
        header_length(self.blocks.len())
    }

    /// Bytes of the incremental file.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.length() + self.blocks.len() as u64 * PAGE_SIZE as u64
    }

    /// Blocks of the file that it stands for.
    #[must_use]
    pub fn rebuilt_blocks(&self) -> u32 {
        let highest = self.blocks.last().map_or(0, |block| block.saturating_add(1));
        self.truncation.max(highest)
    }

    /// The bytes before the first block.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.length()).unwrap_or_default());
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        for number in [MAGIC, count, self.truncation]
            .into_iter()
            .chain(self.blocks.iter().copied())
        {
            bytes.extend_from_slice(&number.to_ne_bytes());
        }
        bytes.resize(usize::try_from(self.length()).unwrap_or_default(), 0);
        bytes
    }

    /// Reads the header of a file of `size` bytes.
    ///
    /// # Errors
    /// Reading failed, or the file is none of this kind, or damaged.
    pub fn read(input: &mut impl Read, size: u64) -> Result<Header, InvalidIncremental> {
        let magic = number(input)?;
        if magic != MAGIC {
            return Err(wrong(format!(
                "it begins with {magic:#010x} instead of {MAGIC:#010x}"
            )));
        }
        let count = number(input)?;
        let truncation = number(input)?;
        if count > SEGMENT_PAGES || truncation > SEGMENT_PAGES {
            return Err(wrong(format!("{count} blocks of a file of {truncation}")));
        }
        let expected = header_length(count as usize) + u64::from(count) * PAGE_SIZE as u64;
        if size != expected {
            return Err(wrong(format!("it has {size} bytes instead of {expected}")));
        }
        let mut bytes = vec![0_u8; count as usize * 4];
        input.read_exact(&mut bytes)?;
        let blocks: Vec<u32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|number| u32::from_ne_bytes(*number))
            .collect();
        let ascending = blocks.is_sorted_by(|one, next| one < next);
        if !ascending || blocks.last().is_some_and(|last| *last >= SEGMENT_PAGES) {
            return Err(wrong("its block numbers are not ascending".to_owned()));
        }
        Ok(Header { truncation, blocks })
    }
}

/// Bytes before the first of so many blocks.
#[must_use]
pub fn header_length(blocks: usize) -> u64 {
    let bytes = FIXED as u64 + blocks as u64 * 4;
    if blocks == 0 {
        bytes
    } else {
        bytes.next_multiple_of(PAGE_SIZE as u64)
    }
}

/// The path of the file that the incremental file at `path` stands for; `None` when it is none by its name.
#[must_use]
pub fn stands_for(path: &[u8]) -> Option<Vec<u8>> {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(start);
    let name = name.strip_prefix(PREFIX.as_bytes())?;
    Some([directory, name].concat())
}

/// The path of the incremental file that stands for the file at `path`.
#[must_use]
pub fn incremental_path(path: &[u8]) -> Vec<u8> {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(start);
    [directory, PREFIX.as_bytes(), name].concat()
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

fn wrong(what: String) -> InvalidIncremental {
    InvalidIncremental::Header(what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn headers_survive() {
        for blocks in [
            vec![],
            vec![0],
            (0..2045).collect(),
            (5..2051).collect::<Vec<_>>(),
        ] {
            let header = Header {
                truncation: 3000,
                blocks,
            };
            let bytes = header.to_bytes();
            assert_eq!(bytes.len() as u64, header.length());
            assert_eq!(
                Header::read(&mut bytes.as_slice(), header.file_size()).unwrap(),
                header
            );
        }
        assert_eq!(header_length(0), 12);
        assert_eq!(header_length(2045), 8192);
        assert_eq!(header_length(2046), 16384);
    }

    #[test]
    fn length_of_the_rebuilt_file() {
        let of = |truncation, blocks: &[u32]| {
            Header {
                truncation,
                blocks: blocks.to_vec(),
            }
            .rebuilt_blocks()
        };
        assert_eq!(of(5, &[]), 5);
        assert_eq!(of(5, &[2, 9]), 10);
        assert_eq!(of(0, &[]), 0);
    }

    #[test]
    fn damage_is_refused() {
        let header = Header {
            truncation: 9,
            blocks: vec![1, 2],
        };
        let size = header.file_size();
        let read = |bytes: &[u8], size| Header::read(&mut &*bytes, size);
        let good = header.to_bytes();
        let swapped = |range: std::ops::Range<usize>, value: u32| {
            let mut bytes = good.clone();
            bytes[range].copy_from_slice(&value.to_ne_bytes());
            bytes
        };
        assert!(read(&swapped(0..4, 1), size).is_err(), "magic");
        assert!(read(&swapped(4..8, u32::MAX), size).is_err(), "number of blocks");
        assert!(
            read(&swapped(8..12, u32::MAX), size).is_err(),
            "truncation length"
        );
        assert!(read(&swapped(16..20, 1), size).is_err(), "twice the same block");
        assert!(read(&good, size - 1).is_err(), "short of a byte");
        assert!(read(&good[..14], size).is_err(), "cut off");
    }

    #[test]
    fn names() {
        assert_eq!(
            stands_for(b"base/5/INCREMENTAL.16384.1").unwrap(),
            b"base/5/16384.1"
        );
        assert_eq!(stands_for(b"base/5/16384"), None);
        assert_eq!(incremental_path(b"base/5/16384"), b"base/5/INCREMENTAL.16384");
        assert_eq!(incremental_path(b"1262"), b"INCREMENTAL.1262");
    }
}
