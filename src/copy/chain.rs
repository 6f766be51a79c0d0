//! A relation file as a chain of backups has it: read block by block from the member that has each, without writing it
//! anywhere first.
//!
//! The newest member that lists a block has it; below the truncation length of the newest file, the newest whole file has
//! the rest; what nobody has is zeros. These are the rules of `pg_combinebackup` (PostgreSQL's `reconstruct.c`), which
//! differ from what one would guess in one point: truncation lengths of older members do not matter.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::records::RecordIndex;
use crate::agent::message::Attributes;
use crate::base::error::{PathContext, PathError};
use crate::postgres::incremental::{self, Header, InvalidIncremental};
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;

/// Older members that a chain may have: a position names its member in one byte.
pub const MOST_MEMBERS: usize = 255;

/// A file that cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file of a member cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A member's incremental file is damaged.
    #[error("\"{}\" is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidIncremental,
    },
    /// No member has the whole file that the incremental ones build on.
    #[error("\"{}\" has no whole file to build on in any older backup of its chain", path.display())]
    NoWholeFile {
        /// The incremental file of the newest member.
        path: PathBuf,
    },
    /// The chain is longer than this version can read.
    #[error("the chain has {0} backups, which is more than {MOST_MEMBERS}: merge some of them")]
    TooLong(usize),
}

/// What the files of a backup were when it was taken.
pub trait Sums: std::fmt::Debug + Send + Sync {
    /// The sum of the file, whole or rebuilt, at this path relative to the directory of the backup (`data/base/5/1259`);
    /// `None` when it is not known.
    fn sum(&self, path: &[u8]) -> Option<PageSum>;
    /// Its permissions and time of last change at the source.
    fn attributes(&self, path: &[u8]) -> Option<Attributes>;
}

impl Sums for RecordIndex {
    fn sum(&self, path: &[u8]) -> Option<PageSum> {
        self.get(path)?.sum
    }

    fn attributes(&self, path: &[u8]) -> Option<Attributes> {
        let known = self.get(path)?;
        Some(Attributes {
            mode: known.mode,
            modified: known.modified,
        })
    }
}

/// The path of the file that the entry `path` of a member's directory stands for, relative to the data directory or to a
/// tablespace; `None` when it stands for itself. Only where relations are: elsewhere it is somebody's own file.
#[must_use]
pub fn rebuilt_path(path: &[u8]) -> Option<Vec<u8>> {
    const PLACES: [&[u8]; 4] = [b"base/", b"global/", b"pg_tblspc/", b"PG_"];
    PLACES
        .iter()
        .any(|place| path.starts_with(place))
        .then(|| incremental::stands_for(path))?
}

/// Bytes of the file that the incremental file at `path` stands for.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn rebuilt_size(path: &Path) -> Result<u64, ChainError> {
    let found = open_incremental(path)?;
    let (_, header) = found.ok_or_else(|| PathError::new("open", path, io::ErrorKind::NotFound.into()))?;
    Ok(u64::from(header.rebuilt_blocks()) * PAGE_SIZE as u64)
}

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Index into the sources.
    source: u8,
    /// The number of the block within that file's blocks.
    index: u32,
}

/// A file of a member.
#[derive(Debug)]
struct Source {
    file: File,
    path: PathBuf,
    /// Where its blocks begin; 0 for a whole file.
    start: u64,
}

/// A file of the newest member of a chain, readable as if it were whole.
#[derive(Debug)]
pub struct Rebuilt {
    sources: Vec<Source>,
    /// The place of each block; `None` for blocks that nobody has. Empty when the newest member has the file whole.
    places: Vec<Option<Place>>,
    size: u64,
    longest: u32,
    /// Blocks of the whole file that the others build on.
    whole_blocks: u32,
}

impl Rebuilt {
    /// Opens `relative` (the name of the file that is to be rebuilt) in `members`: the same directory in the backups of a
    /// chain, the newest first. `None` when the newest member has no such file in either form.
    ///
    /// # Errors
    /// A file of a member is damaged or missing.
    pub fn open(members: &[PathBuf], relative: &[u8]) -> Result<Option<Rebuilt>, ChainError> {
        if members.len() > MOST_MEMBERS {
            return Err(ChainError::TooLong(members.len()));
        }
        let Some((newest, older)) = members.split_first() else {
            return Ok(None);
        };
        if let Some(whole) = open(&newest.join(OsStr::from_bytes(relative)))? {
            return Ok(Some(Rebuilt::whole(whole)?));
        }
        let changed = incremental::incremental_path(relative);
        let Some((source, header)) = open_incremental(&newest.join(OsStr::from_bytes(&changed)))? else {
            return Ok(None);
        };
        let mut rebuilt = Rebuilt {
            longest: header.rebuilt_blocks(),
            size: u64::from(header.rebuilt_blocks()) * PAGE_SIZE as u64,
            places: vec![None; header.rebuilt_blocks() as usize],
            sources: Vec::new(),
            whole_blocks: 0,
        };
        let path = source.path.clone();
        rebuilt.take(source, &header.blocks, u32::MAX);
        for member in older {
            if let Some(whole) = open(&member.join(OsStr::from_bytes(relative)))? {
                rebuilt.take_whole(whole, header.truncation)?;
                return Ok(Some(rebuilt));
            }
            let Some((source, older)) = open_incremental(&member.join(OsStr::from_bytes(&changed)))? else {
                break;
            };
            rebuilt.longest = rebuilt.longest.max(older.rebuilt_blocks());
            rebuilt.take(source, &older.blocks, header.truncation);
        }
        Err(ChainError::NoWholeFile { path })
    }

    /// Bytes of the rebuilt file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Blocks of the longest form that the file has in any member: beyond it, what the newest does not list is zeros for
    /// whoever builds on it.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// The file itself, when the newest member has it whole.
    #[must_use]
    pub fn as_whole(&self) -> Option<&File> {
        let whole = self.sources.first().filter(|_| self.places.is_empty());
        whole
            .filter(|source| source.start == 0)
            .map(|source| &source.file)
    }

    /// The whole file that the others build on: which member has it (0 is the newest), and its path.
    #[must_use]
    pub fn whole_file(&self) -> (usize, &Path) {
        let path = self.sources.last().map_or(Path::new(""), |source| &source.path);
        (self.sources.len().saturating_sub(1), path)
    }

    /// The blocks, ascending, that the whole file does not have as they are now: those that a newer member lists, and those
    /// that are zeros and were not. What the whole file lacks at its end, and nobody lists, is not among them.
    pub fn changed(&self) -> impl Iterator<Item = u32> + '_ {
        let whole = self.sources.len().saturating_sub(1);
        (0..).zip(&self.places).filter_map(move |(block, place)| {
            let changed = match place {
                Some(place) => usize::from(place.source) != whole,
                None => block < self.whole_blocks,
            };
            changed.then_some(block)
        })
    }

    /// Reads from `offset` on, which must be a multiple of the page size: as much as fits into `buffer`, less only at the
    /// end of the file, where it gives 0.
    ///
    /// # Errors
    /// A file of a member cannot be read, or is shorter than it was.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, PathError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        if self.places.is_empty() {
            if let Some(whole) = self.sources.first() {
                whole.read(buffer, offset)?;
            }
            return Ok(wanted);
        }
        let first = usize::try_from(offset / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        let mut block = first;
        let mut rest = buffer;
        while !rest.is_empty() {
            let place = self.places.get(block).copied().flatten();
            let run = self.run(block, rest.len().div_ceil(PAGE_SIZE));
            let length = (run * PAGE_SIZE).min(rest.len());
            let (head, tail) = rest.split_at_mut(length);
            match place.and_then(|place| Some((self.sources.get(usize::from(place.source))?, place))) {
                Some((source, place)) => {
                    source.read(head, source.start + u64::from(place.index) * PAGE_SIZE as u64)?;
                }
                None => head.fill(0),
            }
            block += run;
            rest = tail;
        }
        Ok(wanted)
    }

    /// How many blocks from `block` on lie one after the other in one file, at most `most`, at least 1.
    fn run(&self, block: usize, most: usize) -> usize {
        let first = self.places.get(block).copied().flatten();
        let mut run = 1;
        while run < most {
            let next = self.places.get(block + run).copied().flatten();
            let follows = match (first, next) {
                (Some(first), Some(next)) => {
                    next.source == first.source
                        && u64::from(next.index) == u64::from(first.index) + run as u64
                }
                (None, None) => true,
                _ => false,
            };
            if !follows {
                break;
            }
            run += 1;
        }
        run
    }

    fn whole(source: Source) -> Result<Rebuilt, PathError> {
        let size = source.file.metadata().at("look at", &source.path)?.len();
        Ok(Rebuilt {
            sources: vec![source],
            places: Vec::new(),
            size,
            longest: blocks_of(size),
            whole_blocks: blocks_of(size),
        })
    }

    /// Takes the blocks that a member lists and no newer one has, below `limit`.
    fn take(&mut self, source: Source, blocks: &[u32], limit: u32) {
        let number = u8::try_from(self.sources.len()).unwrap_or(u8::MAX);
        for (index, block) in (0..).zip(blocks).take_while(|(_, block)| **block < limit) {
            if let Some(place @ None) = self.places.get_mut(*block as usize) {
                *place = Some(Place {
                    source: number,
                    index,
                });
            }
        }
        self.sources.push(source);
    }

    /// Takes from a whole file what no newer member has, below `limit`.
    fn take_whole(&mut self, source: Source, limit: u32) -> Result<(), PathError> {
        let blocks = blocks_of(source.file.metadata().at("look at", &source.path)?.len());
        let number = u8::try_from(self.sources.len()).unwrap_or(u8::MAX);
        self.longest = self.longest.max(blocks);
        self.whole_blocks = blocks;
        for (block, place) in (0..blocks.min(limit)).zip(&mut self.places) {
            if place.is_none() {
                *place = Some(Place {
                    source: number,
                    index: block,
                });
            }
        }
        self.sources.push(source);
        Ok(())
    }
}

impl Source {
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), PathError> {
        self.file.read_exact_at(buffer, offset).at("read", &self.path)
    }
}

fn blocks_of(size: u64) -> u32 {
    u32::try_from(size.div_ceil(PAGE_SIZE as u64)).unwrap_or(u32::MAX)
}

fn open(path: &Path) -> Result<Option<Source>, PathError> {
    match File::open(path) {
        Ok(file) => Ok(Some(Source {
            file,
            path: path.to_path_buf(),
            start: 0,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PathError::new("open", path, error)),
    }
}

fn open_incremental(path: &Path) -> Result<Option<(Source, Header)>, ChainError> {
    let Some(mut source) = open(path)? else {
        return Ok(None);
    };
    let size = source.file.metadata().at("look at", path)?.len();
    let header =
        Header::read(&mut BufReader::new(&source.file), size).map_err(|source| ChainError::Damaged {
            path: path.to_path_buf(),
            source,
        })?;
    source.start = header.length();
    Ok(Some((source, header)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    struct Chain {
        root: PathBuf,
        members: Vec<PathBuf>,
    }

    impl Drop for Chain {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.root).unwrap();
        }
    }

    impl Chain {
        /// Members from the oldest to the newest: `Err` a whole file of so many pages, `Ok` truncation and blocks. Each page
        /// is filled with the number of its member.
        fn new(name: &str, members: &[Result<(u32, &[u32]), u32>]) -> Chain {
            let root = std::env::temp_dir().join(format!(".barkeep-chain-{name}-{}", std::process::id()));
            let mut directories = Vec::new();
            for (number, member) in (1_u8..).zip(members) {
                let directory = root.join(number.to_string()).join("base/5");
                fs::create_dir_all(&directory).unwrap();
                let (name, content) = match member {
                    Err(pages) => ("16384", vec![number; *pages as usize * PAGE_SIZE]),
                    Ok((truncation, blocks)) => {
                        let header = Header {
                            truncation: *truncation,
                            blocks: blocks.to_vec(),
                        };
                        let mut content = header.to_bytes();
                        content.resize(usize::try_from(header.file_size()).unwrap(), number);
                        ("INCREMENTAL.16384", content)
                    }
                };
                fs::write(directory.join(name), content).unwrap();
                directories.insert(0, root.join(number.to_string()));
            }
            Chain {
                root,
                members: directories,
            }
        }

        fn rebuilt(&self) -> Result<Option<Rebuilt>, ChainError> {
            Rebuilt::open(&self.members, b"base/5/16384")
        }

        /// The member that each page comes from, read in pieces of `pages`.
        fn pages(&self, pages: usize) -> Vec<u8> {
            let rebuilt = self.rebuilt().unwrap().unwrap();
            let mut buffer = vec![0xee; pages * PAGE_SIZE];
            let mut found = Vec::new();
            let mut offset = 0;
            loop {
                let count = rebuilt.read_at(&mut buffer, offset).unwrap();
                if count == 0 {
                    assert_eq!(offset, rebuilt.size());
                    return found;
                }
                for page in buffer[..count].chunks(PAGE_SIZE) {
                    assert!(page.iter().all(|byte| *byte == page[0]));
                    found.push(page[0]);
                }
                offset += count as u64;
            }
        }
    }

    #[test]
    fn newest_block_wins_and_the_whole_file_has_the_rest() {
        let chain = Chain::new("wins", &[Err(6), Ok((6, &[0, 1, 5])), Ok((6, &[1, 3]))]);
        for pages in [1, 2, 4, 10] {
            assert_eq!(chain.pages(pages), [2, 3, 1, 3, 1, 2]);
        }
    }

    #[test]
    fn blocks_that_nobody_has_are_zeros() {
        let chain = Chain::new("zeros", &[Err(2), Ok((4, &[])), Ok((5, &[6]))]);
        assert_eq!(chain.pages(3), [1, 1, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn only_the_newest_truncation_counts_as_in_pg_combinebackup() {
        let chain = Chain::new("truncation", &[Err(8), Ok((2, &[])), Ok((5, &[]))]);
        assert_eq!(chain.pages(8), [1; 5]);
        assert_eq!(chain.rebuilt().unwrap().unwrap().longest(), 8);
        let chain = Chain::new("truncated", &[Err(8), Ok((8, &[6])), Ok((5, &[7]))]);
        assert_eq!(chain.pages(8), [1, 1, 1, 1, 1, 0, 0, 3]);
        let rebuilt = chain.rebuilt().unwrap().unwrap();
        assert_eq!(rebuilt.changed().collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(rebuilt.whole_file().0, 2);
    }

    #[test]
    fn a_newer_whole_file_ends_the_search() {
        let chain = Chain::new("whole", &[Err(9), Err(3), Ok((4, &[0]))]);
        assert_eq!(chain.pages(4), [3, 2, 2, 0]);
        let chain = Chain::new("alone", &[Ok((1, &[])), Err(3)]);
        assert_eq!(chain.pages(2), [2, 2, 2]);
        assert!(chain.rebuilt().unwrap().unwrap().as_whole().is_some());
    }

    #[test]
    fn broken_chains_are_told() {
        let chain = Chain::new("broken", &[Ok((4, &[])), Ok((4, &[1]))]);
        assert!(matches!(chain.rebuilt(), Err(ChainError::NoWholeFile { .. })));
        assert!(Rebuilt::open(&chain.members, b"base/5/1").unwrap().is_none());
        let newest = chain.members[0].join("base/5/INCREMENTAL.16384");
        fs::write(newest, b"short").unwrap();
        assert!(matches!(chain.rebuilt(), Err(ChainError::Damaged { .. })));
    }
}
