//! Records in memory, by the hash of their path: what a backup needs to know of every file of the one before it.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::{FileChecksum, FileRecord, Form, RecordsError, read};
use crate::agent::message::Time;
use crate::postgres::manifest::Checksum;
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;

/// The records of a backup, without the paths: some 100 bytes for each file.
#[derive(Debug, Default)]
pub struct RecordIndex {
    /// In the order of their keys.
    files: Vec<Known>,
    /// The values of all checksums, one after the other.
    checksums: Vec<u8>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    key: u128,
    /// The sum of the (rebuilt) file.
    pub sum: Option<PageSum>,
    /// Bytes of the (rebuilt) file.
    pub size: u64,
    /// Bytes of the stored file.
    pub stored: u64,
    /// Time of last change at the source.
    pub modified: Time,
    /// Permission bits.
    pub mode: u32,
    form: Form,
    algorithm: Checksum,
    /// Where its checksum lies among all checksums.
    checksum: (u32, u8),
}

impl RecordIndex {
    /// Loads the records at `path`.
    ///
    /// # Errors
    /// They cannot be read, or are damaged.
    pub fn load(path: &Path) -> Result<RecordIndex, RecordsError> {
        let mut index = RecordIndex::default();
        read::<RecordsError>(path, &mut |record| {
            index.add(&record);
            Ok(())
        })?;
        index.files.sort_unstable_by_key(|known| known.key);
        Ok(index)
    }

    /// What is known of a file, by its path relative to the backup's directory.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Known> {
        let key = xxh3_128(path);
        let place = self.files.binary_search_by_key(&key, |known| known.key).ok()?;
        self.files.get(place)
    }

    /// The checksum of what is stored of a file.
    #[must_use]
    pub fn checksum(&self, known: &Known) -> Option<FileChecksum> {
        let (start, length) = known.checksum;
        let start = usize::try_from(start).ok()?;
        let value = self.checksums.get(start..start + usize::from(length))?;
        (!value.is_empty()).then(|| FileChecksum {
            algorithm: known.algorithm,
            value: value.to_vec(),
        })
    }

    /// How many files are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn add(&mut self, record: &FileRecord) {
        let value = record
            .checksum
            .as_ref()
            .map_or(&[][..], |checksum| &checksum.value);
        let place = u32::try_from(self.checksums.len()).ok();
        let length = u8::try_from(value.len()).ok();
        let checksum = match place.zip(length) {
            Some(place) => {
                self.checksums.extend_from_slice(value);
                place
            }
            // Of the 100 millionth file none is known: it is computed again.
            None => (0, 0),
        };
        self.files.push(Known {
            key: xxh3_128(&record.path),
            sum: record.sum,
            size: record.size,
            stored: record.stored,
            modified: record.modified,
            mode: record.mode,
            form: record.form,
            algorithm: record
                .checksum
                .as_ref()
                .map_or(Checksum::None, |checksum| checksum.algorithm),
            checksum,
        });
    }
}

impl Known {
    /// Whether the file is stored whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.form == Form::Whole
    }

    /// Blocks of the longest form of the file in the chain up to its backup.
    #[must_use]
    pub fn longest(&self) -> u32 {
        let own = u32::try_from(self.size.div_ceil(PAGE_SIZE as u64)).unwrap_or(u32::MAX);
        match self.form {
            Form::Whole => own,
            Form::Blocks { longest } => longest.max(own),
        }
    }
}
