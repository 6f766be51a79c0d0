//! What a server's WAL archive holds, as far as a recovery may want it.
//!
//! The directories are read, not the WAL database: a segment that reached the archive but was never entered (a crash
//! between the two, gotcha B51) must not be lost to a recovery, and an entry whose file is gone must not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::error::{PathContext, PathError};
use crate::postgres::history::{History, InvalidHistory};
use crate::postgres::wal_name::{SegmentName, Timeline, WalKind};

use super::timelines::Histories;

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Its name in the archive.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes on disk, perhaps compressed.
    pub size: u64,
    /// When PostgreSQL closed the file (the archive keeps that time).
    pub modified: SystemTime,
}

/// The files of an archive that a recovery from one backup may want.
#[derive(Debug, Clone, Default)]
pub struct Archived {
    /// Complete segments.
    pub segments: BTreeMap<SegmentName, ArchivedFile>,
    /// Segments that are not complete.
    pub partials: BTreeMap<SegmentName, ArchivedFile>,
    /// Labels of backups, by the segment they begin in.
    pub labels: Vec<(SegmentName, ArchivedFile)>,
    /// Timeline histories.
    pub histories: BTreeMap<Timeline, ArchivedFile>,
}

impl Archived {
    /// Reads the directories of `archive` that can hold segments from `first` on, of its timeline and later ones.
    ///
    /// # Errors
    /// A directory that exists cannot be read. An archive that does not exist is empty.
    pub fn list(archive: &Path, first: SegmentName) -> Result<Archived, PathError> {
        let mut archived = Archived::default();
        archived.read_archive(archive, first)?;
        Ok(archived)
    }

    /// The same, with what `pg_receivewal` left in `streaming`: the newest complete segment, which `archive-wal` leaves there
    /// while there is no incomplete one, and with `partial` the incomplete ones.
    ///
    /// # Errors
    /// As [`Archived::list`].
    pub fn list_with_streamed(
        archive: &Path,
        streaming: &Path,
        first: SegmentName,
        partial: bool,
    ) -> Result<Archived, PathError> {
        let mut archived = Archived::default();
        // What is moved into the archive meanwhile is found there: the archive is looked at last.
        archived.read_streaming(streaming, first, partial)?;
        archived.read_archive(archive, first)?;
        Ok(archived)
    }

    fn read_archive(&mut self, archive: &Path, first: SegmentName) -> Result<(), PathError> {
        for entry in entries(archive)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if let Some(WalKind::History(timeline)) = WalKind::of(&name) {
                if let Some(file) = regular(name, path)? {
                    self.histories.insert(timeline, file);
                }
            } else if is_wanted_directory(&name, first) && path.is_dir() {
                self.read_directory(&path, first)?;
            }
        }
        Ok(())
    }

    fn read_directory(&mut self, directory: &Path, first: SegmentName) -> Result<(), PathError> {
        for entry in entries(directory)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(kind) = WalKind::of(&name) else { continue };
            let Some(file) = regular(name, entry.path())? else {
                continue;
            };
            match kind {
                WalKind::Segment(segment) if is_wanted(segment, first) => {
                    self.segments.insert(segment, file);
                }
                WalKind::Partial(segment) if is_wanted(segment, first) => {
                    self.partials.insert(segment, file);
                }
                WalKind::BackupLabel(segment) if is_wanted(segment, first) => {
                    self.labels.push((segment, file));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_streaming(
        &mut self,
        streaming: &Path,
        first: SegmentName,
        partial: bool,
    ) -> Result<(), PathError> {
        for entry in entries(streaming)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(kind) = WalKind::of(&name).filter(|kind| kind.timeline() >= first.timeline) else {
                continue;
            };
            let Some(file) = regular(name, entry.path())? else {
                continue;
            };
            match kind {
                WalKind::Segment(segment) if is_wanted(segment, first) => {
                    self.segments.insert(segment, file);
                }
                WalKind::Partial(segment) if partial => {
                    self.partials.insert(segment, file);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads every history through `open`, which undoes compression.
    ///
    /// # Errors
    /// What `open` returns, or a history that is not one.
    pub fn read_histories<E>(
        &self,
        mut read: impl FnMut(&ArchivedFile) -> Result<Vec<u8>, E>,
    ) -> Result<Histories, HistoryError<E>> {
        let mut histories = Histories::new();
        for (timeline, file) in &self.histories {
            let content = read(file).map_err(HistoryError::Read)?;
            let text = String::from_utf8_lossy(&content);
            let history = History::parse(*timeline, &text).map_err(|source| HistoryError::Malformed {
                path: file.path.clone(),
                source,
            })?;
            histories.insert(*timeline, history);
        }
        Ok(histories)
    }
}

/// A history could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError<E> {
    /// It could not be read.
    #[error(transparent)]
    Read(E),
    /// It is damaged.
    #[error("\"{}\": {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidHistory,
    },
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, PathError> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<Result<_, _>>().at("read directory", directory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(PathError::new("read directory", directory, error)),
    }
}

/// A file with its size and time; `None` for anything but a regular file, or when it has just gone.
fn regular(name: String, path: PathBuf) -> Result<Option<ArchivedFile>, PathError> {
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("inspect", &path, error)),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let modified = metadata.modified().at("inspect", &path)?;
    Ok(Some(ArchivedFile {
        name,
        size: metadata.len(),
        modified,
        path,
    }))
}

fn is_wanted(segment: SegmentName, first: SegmentName) -> bool {
    segment.timeline >= first.timeline && (segment.log, segment.segment) >= (first.log, first.segment)
}

/// Whether a directory of the archive, named by timeline and log, may hold wanted segments.
fn is_wanted_directory(name: &str, first: SegmentName) -> bool {
    SegmentName::parse(&format!("{name}00000000")).is_some_and(|segment| {
        name.len() == 16 && segment.timeline >= first.timeline && segment.log >= first.log
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_streamed_segment_is_not_overlooked() {
        let root = std::env::temp_dir().join(format!("barkeep-streamed-{}", std::process::id()));
        for name in [
            "wals/0000000100000000/000000010000000000000002",
            "streaming/000000010000000000000002",
            "streaming/000000010000000000000003",
            "streaming/000000010000000000000004.partial",
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let first = SegmentName::parse("000000010000000000000002").unwrap();
        let list = |partial| {
            Archived::list_with_streamed(&root.join("wals"), &root.join("streaming"), first, partial).unwrap()
        };
        let archived = list(false);
        assert_eq!(archived.segments.len(), 2);
        assert!(archived.segments[&first].path.starts_with(root.join("wals")));
        assert!(archived.partials.is_empty());
        assert_eq!(list(true).partials.len(), 1);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_what_can_be_wanted_is_listed() {
        let archive = std::env::temp_dir().join(format!("barkeep-archived-{}", std::process::id()));
        for name in [
            "0000000100000000/000000010000000000000001",
            "0000000100000000/000000010000000000000002",
            "0000000100000000/000000010000000000000002.00000028.backup",
            "0000000100000000/000000010000000000000003.partial",
            "0000000100000000/000000010000000000000003.compressed",
            "0000000200000000/000000020000000000000003",
            "00000002.history",
            "main-xlog.db",
            "junk/000000010000000000000009",
        ] {
            let path = archive.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"1\t0/2000000\tx\n").unwrap();
        }
        let first = SegmentName::parse("000000010000000000000002").unwrap();
        let archived = Archived::list(&archive, first).unwrap();
        let names: Vec<_> = archived.segments.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["000000010000000000000002", "000000020000000000000003"]);
        assert_eq!(archived.partials.len(), 1);
        assert_eq!(archived.labels.len(), 1);
        let histories = archived.read_histories(|file| fs::read(&file.path)).unwrap();
        assert_eq!(histories[&2].switches.len(), 1);
        assert!(
            Archived::list(&archive.join("nowhere"), first)
                .unwrap()
                .segments
                .is_empty()
        );
        fs::remove_dir_all(archive).unwrap();
    }
}
