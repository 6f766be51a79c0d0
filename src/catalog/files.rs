//! The files of a backup (`list-files`).

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::base::error::{PathContext, PathError};
use crate::postgres::wal_name::{SegmentName, WalKind};

use super::{BackupInfo, Catalog, CatalogError, next};

/// Which files are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTarget {
    /// The data, and the WAL that makes them consistent.
    Standalone,
    /// The data.
    Data,
    /// The WAL from the backup's begin to the next backup's end.
    Wal,
    /// The data and that WAL.
    Full,
}

impl FileTarget {
    /// Reads the word of the command line.
    #[must_use]
    pub fn parse(word: &str) -> Option<FileTarget> {
        match word {
            "standalone" => Some(FileTarget::Standalone),
            "data" => Some(FileTarget::Data),
            "wal" => Some(FileTarget::Wal),
            "full" => Some(FileTarget::Full),
            _ => None,
        }
    }
}

impl Catalog {
    /// Hands the path of each file of a backup to `visit`: the data in the order of the file system, files of a directory
    /// sorted; then the WAL in the order of archiving.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn files(
        &self,
        info: &BackupInfo,
        target: FileTarget,
        empty_directories: bool,
        visit: &mut dyn FnMut(&Path),
    ) -> Result<(), CatalogError> {
        if target != FileTarget::Wal {
            let directory = self.layout.base_dir(&info.id);
            if directory.is_dir() {
                walk(&directory, empty_directories, visit)?;
            }
        }
        match target {
            FileTarget::Data => Ok(()),
            FileTarget::Standalone => {
                for segment in info.required_segments() {
                    if let Some(path) = self.layout.wal_path(&segment.to_string()) {
                        visit(&path);
                    }
                }
                Ok(())
            }
            FileTarget::Wal | FileTarget::Full => self.wal_files(info, visit),
        }
    }

    /// The segments from the backup's first to the next backup's last, and the histories archived up to then.
    fn wal_files(&self, info: &BackupInfo, visit: &mut dyn FnMut(&Path)) -> Result<(), CatalogError> {
        // A backup that never began has no WAL.
        let Some(begin) = info.begin_wal else {
            return Ok(());
        };
        let timeline = info.timeline.unwrap_or(begin.timeline);
        let backups = self.backups()?;
        let end = next(&backups, &info.id).and_then(|next| next.end_wal);
        let past = |segment: SegmentName| end.is_some_and(|end| segment > end);
        let mut over = false;
        self.xlogdb().scan(|line| {
            let wanted = match WalKind::of(line.name) {
                Some(WalKind::History(_)) => !over,
                Some(WalKind::Segment(segment)) if segment.timeline <= timeline => {
                    over |= past(segment);
                    segment >= begin && !past(segment)
                }
                _ => false,
            };
            if wanted && let Some(path) = self.layout.wal_path(line.name) {
                visit(&path);
            }
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        })
    }
}

/// The files of a directory, sorted, then those of its directories. Symbolic links to directories are not followed.
fn walk(directory: &Path, empty_directories: bool, visit: &mut dyn FnMut(&Path)) -> Result<(), PathError> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut directories: Vec<PathBuf> = Vec::new();
    let mut links = false;
    for entry in fs::read_dir(directory).at("read directory", directory)? {
        let entry = entry.at("read directory", directory)?;
        let kind = entry.file_type().at("examine", entry.path())?;
        if kind.is_dir() {
            directories.push(entry.path());
        } else if kind.is_symlink() && entry.path().is_dir() {
            links = true;
        } else {
            files.push(entry.path());
        }
    }
    if empty_directories && files.is_empty() && directories.is_empty() && !links {
        visit(directory);
    }
    files.sort();
    files.iter().for_each(|file| visit(file));
    directories
        .iter()
        .try_for_each(|directory| walk(directory, empty_directories, visit))
}
