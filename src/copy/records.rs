//! What is known of every file of a backup that the agent took: `meta/{id}-barkeep-files.zst`.
//!
//! The next backup builds on it (sums and times of files that it does not want to read again), a restore is compared with
//! it, and `backup_manifest` is written from it. It is written and read as a stream: a backup may have millions of files.
//!
//! Text under zstd, whose own checksum guards it; one line for each file in no order, between a first line with the
//! version of the format and a last one with the number of files:
//!
//! ```text
//! barkeep-files 1
//! 600 16384 1760000000.000000000 0123…cdef w 16384 CRC32C:0a1b2c3d data/base/5/1259
//! 600 16384 1760000000.000000000 0123…cdef 2 12 CRC32C:0a1b2c3d data/base/5/1260
//! end 2
//! ```
//!
//! Permissions; bytes of the file (of the rebuilt one, where only changed blocks are stored); time of last change; page sum
//! or `-`; `w` for a whole file, else [`Form::Blocks`]' number; bytes stored; checksum of what is stored or `-`; path
//! relative to the backup's directory, with backslashes and line feeds escaped.

mod index;
mod line;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::agent::message::Time;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::postgres::manifest::Checksum;
use crate::postgres::page_sum::PageSum;

pub use index::{Known, RecordIndex};

const HEAD: &[u8] = b"barkeep-files 1\n";
/// Fast: the text is read about as often as it is written.
const LEVEL: i32 = 1;
/// No path of a cluster is longer.
const LONGEST_LINE: u64 = 64 << 10;

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Relative to the backup's directory, without any prefix of incremental files: `data/base/5/1259`.
    pub path: Box<[u8]>,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of the file, rebuilt where only changed blocks are stored.
    pub size: u64,
    /// Time of last change at the source.
    pub modified: Time,
    /// The sum of the (rebuilt) file; `None` when it was taken over from a backup of which none is known.
    pub sum: Option<PageSum>,
    /// How it is stored.
    pub form: Form,
    /// Bytes of the stored file.
    pub stored: u64,
    /// The checksum of the stored file, for the manifest.
    pub checksum: Option<FileChecksum>,
}

/// A checksum and its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChecksum {
    /// The algorithm; never [`Checksum::None`].
    pub algorithm: Checksum,
    /// Its value.
    pub value: Vec<u8>,
}

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Whole, under its own name.
    Whole,
    /// Its changed blocks, as `INCREMENTAL.*`.
    Blocks {
        /// Blocks of the longest form that it has in any backup of the chain up to this one: beyond them, what nobody
        /// lists is zeros.
        longest: u32,
    },
}

/// Records that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// They cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// They are damaged, or of a newer version.
    #[error("\"{}\" is damaged: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Writes records, as the files of a backup become complete.
pub struct RecordWriter {
    output: zstd::stream::write::Encoder<'static, File>,
    path: PathBuf,
    temporary: PathBuf,
    line: Vec<u8>,
    files: u64,
}

impl RecordWriter {
    /// Begins the records that will be at `path`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<RecordWriter, PathError> {
        let temporary = durable::sibling(path, ".tmp");
        let file = File::create(&temporary).at("create", &temporary)?;
        let mut output = zstd::stream::write::Encoder::new(file, LEVEL).at("write", &temporary)?;
        output
            .include_checksum(true)
            .and_then(|()| output.write_all(HEAD))
            .at("write", &temporary)?;
        Ok(RecordWriter {
            output,
            path: path.to_path_buf(),
            temporary,
            line: Vec::new(),
            files: 0,
        })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Writing failed.
    pub fn add(&mut self, record: &FileRecord) -> Result<(), PathError> {
        self.line.clear();
        line::render(record, &mut self.line);
        self.files += 1;
        self.output.write_all(&self.line).at("write", &self.temporary)
    }

    /// Makes the records durable and gives them their name.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed.
    pub fn finish(mut self) -> Result<(), PathError> {
        let end = format!("end {}\n", self.files);
        self.output
            .write_all(end.as_bytes())
            .at("write", &self.temporary)?;
        let file = self.output.finish().at("write", &self.temporary)?;
        file.sync_all().at("sync", &self.temporary)?;
        durable::rename(&self.temporary, &self.path)
    }
}

/// Hands every record of the file at `path` to `each`. What was handed over counts only when this returns `Ok`: a damaged
/// file may show only at its end.
///
/// # Errors
/// The file cannot be read, is cut off or damaged, or is of a newer version; or `each` refuses to go on.
pub fn read<E: From<RecordsError>>(
    path: &Path,
    each: &mut dyn FnMut(FileRecord) -> Result<(), E>,
) -> Result<(), E> {
    let file = File::open(path).at("open", path).map_err(RecordsError::from)?;
    let damaged = |reason: String| RecordsError::Content {
        path: path.to_path_buf(),
        reason,
    };
    let broken = |error: io::Error| damaged(error.to_string());
    let mut input = BufReader::new(zstd::stream::read::Decoder::new(file).map_err(broken)?);
    let mut head = vec![0; HEAD.len()];
    input.read_exact(&mut head).map_err(broken)?;
    if head != HEAD {
        return Err(damaged("its first line is unknown".to_owned()).into());
    }
    let mut text = Vec::new();
    let mut files = 0_u64;
    loop {
        text.clear();
        input
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut text)
            .map_err(broken)?;
        let Some(content) = text.strip_suffix(b"\n") else {
            return Err(damaged("it is cut off".to_owned()).into());
        };
        if let Some(count) = content.strip_prefix(b"end ") {
            if count != files.to_string().as_bytes() {
                return Err(damaged(format!("it has {files} files")).into());
            }
            // Only at its end is the checksum of the stream compared.
            let more = io::copy(&mut input, &mut io::sink()).map_err(broken)?;
            if more > 0 {
                return Err(damaged("it goes on after its end".to_owned()).into());
            }
            return Ok(());
        }
        files += 1;
        each(line::parse(content).map_err(|what| damaged(format!("its file {files} has no {what}")))?)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(path: &[u8], form: Form) -> FileRecord {
        FileRecord {
            path: path.into(),
            mode: 0o640,
            size: 123_456,
            modified: Time {
                seconds: -5,
                nanoseconds: 7,
            },
            sum: Some(PageSum(u128::MAX - 1)),
            form,
            stored: 12,
            checksum: Some(FileChecksum {
                algorithm: Checksum::Crc32c,
                value: vec![1, 2, 3, 0xff],
            }),
        }
    }

    fn all(path: &Path) -> Result<Vec<FileRecord>, RecordsError> {
        let mut found = Vec::new();
        read::<RecordsError>(path, &mut |record| {
            found.push(record);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!(".barkeep-records-{}", std::process::id()));
        let records = [
            record(b"data/base/5/1259", Form::Whole),
            FileRecord {
                sum: None,
                checksum: None,
                ..record(b"data/odd \\ \n \xff name", Form::Blocks { longest: 77 })
            },
        ];
        let mut writer = RecordWriter::create(&path).unwrap();
        for record in &records {
            writer.add(record).unwrap();
        }
        assert!(!path.exists(), "only complete records get the name");
        writer.finish().unwrap();
        assert_eq!(all(&path).unwrap(), records);

        let index = RecordIndex::load(&path).unwrap();
        let known = index.get(b"data/base/5/1259").unwrap();
        assert_eq!(
            (known.size, known.longest(), known.is_whole()),
            (123_456, 16, true)
        );
        assert_eq!(known.sum, Some(PageSum(u128::MAX - 1)));
        assert_eq!(index.checksum(known), records[0].checksum);
        let known = index.get(&records[1].path).unwrap();
        assert_eq!((known.sum, known.longest(), known.is_whole()), (None, 77, false));
        assert_eq!(index.checksum(known), None);
        assert!(index.get(b"data/other").is_none());

        let good = std::fs::read(&path).unwrap();
        for length in [0, 3, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(all(&path).is_err(), "cut off at {length}");
        }
        let mut flipped = good.clone();
        let middle = flipped.len() - 8;
        flipped[middle] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(all(&path).is_err(), "damaged");
        std::fs::remove_file(&path).unwrap();
    }
}
