//! The hashes of the pages of a backup's larger relation files: `meta/{id}-barkeep-pages`.
//!
//! The next incremental backup needs to know what its parent's pages were: all of them where hashes tell what changed,
//! else those that changed. Without this file it reads them from the backups of the chain, which nobody else has read since
//! they were written. With it, 16 bytes stand for each page.
//!
//! It is never needed, and never believed: what is read for a file counts only if it has the sum ([`PageSum`]) that the
//! records give the file.
//!
//! ```text
//! "barkeep pages 1\n"
//! for each file: the hashes of its pages, 16 bytes each (little endian, as all numbers here)
//! for each file, in the order of the first: xxh3-128 of its path in the records, u64 offset of its hashes, u64 how many
//! u64 offset of this list, u64 how many files, xxh3-64 of the list
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::postgres::page::SEGMENT_PAGES;
use crate::postgres::page_sum::PageSum;

const HEAD: &[u8; 16] = b"barkeep pages 1\n";
const ENTRY: usize = 32;
const TAIL: usize = 24;
/// Files with fewer pages are read as quickly as their hashes are found.
const WORTH_KEEPING: usize = 32;
/// More files than this have no place in memory; PostgreSQL's own limit on one database is far above it.
const MOST_FILES: u64 = 4 << 20;

/// Where the hashes of a file are.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: u128,
    offset: u64,
    pages: u64,
}

/// Writes the hashes, as the files of a backup become complete.
pub(super) struct PageHashWriter {
    output: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    offset: u64,
    places: Vec<Place>,
}

impl PageHashWriter {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// It cannot be created.
    pub(super) fn create(path: &Path) -> Result<PageHashWriter, PathError> {
        let temporary = durable::sibling(path, ".tmp");
        let file = File::create(&temporary).at("create", &temporary)?;
        let mut output = BufWriter::with_capacity(256 << 10, file);
        output.write_all(HEAD).at("write", &temporary)?;
        Ok(PageHashWriter {
            output,
            path: path.to_path_buf(),
            temporary,
            offset: HEAD.len() as u64,
            places: Vec::new(),
        })
    }

    /// Adds a file by its path in the records, if it is worth it.
    ///
    /// # Errors
    /// Writing failed.
    pub(super) fn add(&mut self, path: &[u8], hashes: &[PageSum]) -> Result<(), PathError> {
        if hashes.len() < WORTH_KEEPING {
            return Ok(());
        }
        for hash in hashes {
            self.output
                .write_all(&hash.to_bytes())
                .at("write", &self.temporary)?;
        }
        let pages = hashes.len() as u64;
        self.places.push(Place {
            key: xxh3_128(path),
            offset: self.offset,
            pages,
        });
        self.offset += pages * PageSum::BYTES as u64;
        Ok(())
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed.
    pub(super) fn finish(mut self) -> Result<(), PathError> {
        self.places.sort_unstable_by_key(|place| place.key);
        let mut list = Vec::with_capacity(self.places.len() * ENTRY);
        for place in &self.places {
            list.extend_from_slice(&place.key.to_le_bytes());
            list.extend_from_slice(&place.offset.to_le_bytes());
            list.extend_from_slice(&place.pages.to_le_bytes());
        }
        let tail = [self.offset, self.places.len() as u64, xxh3_64(&list)].map(u64::to_le_bytes);
        let written = self
            .output
            .write_all(&list)
            .and_then(|()| self.output.write_all(&tail.concat()));
        written.at("write", &self.temporary)?;
        let file = self.output.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .at("sync", &self.temporary)?;
        durable::rename(&self.temporary, &self.path)
    }
}

/// The hashes that an earlier backup left.
pub(super) struct PageHashes {
    file: File,
    path: PathBuf,
    /// In the order of their keys.
    places: Vec<Place>,
}

impl PageHashes {
    /// Opens the file at `path`; `None` when there is none that can be used.
    pub(super) fn open(path: &Path) -> Option<PageHashes> {
        match Self::read(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::info!("\"{}\" is not used: {error}", path.display());
                None
            }
        }
    }

    fn read(path: &Path) -> io::Result<PageHashes> {
        let damaged = || io::Error::other("it is damaged");
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = [0; HEAD.len()];
        file.read_exact_at(&mut head, 0)?;
        let mut tail = [0; TAIL];
        let end = size.checked_sub(TAIL as u64).ok_or_else(damaged)?;
        file.read_exact_at(&mut tail, end)?;
        let [start, files, sum] = [0, 8, 16].map(|at| number(&tail, at));
        let length = files.checked_mul(ENTRY as u64).filter(|_| files <= MOST_FILES);
        let length = length.filter(|length| start.checked_add(*length) == Some(end));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let mut list = vec![0; length.filter(|_| &head == HEAD).ok_or_else(damaged)?];
        file.read_exact_at(&mut list, start)?;
        if xxh3_64(&list) != sum {
            return Err(damaged());
        }
        let places = list.chunks_exact(ENTRY).map(|entry| Place {
            key: u128::from(number(entry, 0)) | u128::from(number(entry, 8)) << 64,
            offset: number(entry, 16),
            pages: number(entry, 24),
        });
        Ok(PageHashes {
            places: places.collect(),
            file,
            path: path.to_path_buf(),
        })
    }

    /// The hashes of a file's pages, if they are there and have this sum.
    pub(super) fn get(&self, path: &[u8], sum: PageSum) -> Option<Vec<PageSum>> {
        let key = xxh3_128(path);
        let place = self.places.binary_search_by_key(&key, |place| place.key).ok()?;
        let place = self.places.get(place)?;
        let pages = usize::try_from(place.pages)
            .ok()
            .filter(|_| place.pages <= SEGMENT_PAGES.into())?;
        let mut bytes = vec![0; pages * PageSum::BYTES];
        if let Err(error) = self.file.read_exact_at(&mut bytes, place.offset) {
            log::info!("\"{}\" is not used: {error}", self.path.display());
            return None;
        }
        let hashes: Vec<PageSum> = PageSum::all_of(&bytes).collect();
        (hashes.iter().sum::<PageSum>() == sum).then_some(hashes)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    eight.map_or(0, |eight| u64::from_le_bytes(*eight))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hashes(seed: u128, pages: usize) -> (Vec<PageSum>, PageSum) {
        let hashes: Vec<_> = (0..pages as u128)
            .map(|n| PageSum((seed << 64) | (n * 7)))
            .collect();
        let sum = hashes.iter().sum();
        (hashes, sum)
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_nothing() {
        let path = std::env::temp_dir().join(format!(".barkeep-pages-{}", std::process::id()));
        let (one, one_sum) = hashes(1, 40);
        let (two, two_sum) = hashes(2, 100);
        let (short, short_sum) = hashes(3, WORTH_KEEPING - 1);
        let mut writer = PageHashWriter::create(&path).unwrap();
        writer.add(b"data/base/5/1", &one).unwrap();
        writer.add(b"data/base/5/2", &two).unwrap();
        writer.add(b"data/base/5/3", &short).unwrap();
        assert!(
            PageHashes::open(&path).is_none(),
            "only a complete file gets the name"
        );
        writer.finish().unwrap();

        let found = PageHashes::open(&path).unwrap();
        assert_eq!(found.get(b"data/base/5/1", one_sum), Some(one));
        assert_eq!(found.get(b"data/base/5/2", two_sum), Some(two));
        assert_eq!(found.get(b"data/base/5/3", short_sum), None, "not worth it");
        assert_eq!(found.get(b"data/base/5/1", two_sum), None, "another file's sum");

        let good = std::fs::read(&path).unwrap();
        for length in [0, 15, 16, TAIL, good.len() - 1, good.len() - ENTRY] {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(PageHashes::open(&path).is_none(), "cut off at {length}");
        }
        for place in (0..good.len()).step_by(5) {
            let mut flipped = good.clone();
            flipped[place] ^= 0x10;
            std::fs::write(&path, &flipped).unwrap();
            let one = PageHashes::open(&path).and_then(|found| found.get(b"data/base/5/1", one_sum));
            assert!(one.is_none_or(|one| one == hashes(1, 40).0), "flipped at {place}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
