//! The WAL database of a server: a text file with one line per archived WAL file (catalog reference §7.4).
//!
//! Barman and barkeep may take turns on one file, and both may be at work at the same moment. Barman takes
//! `.{server}-xlogdb.lock` before it opens the file, for reading too, and opens the file anew each time (observed). So do
//! we; hence the file can be replaced by renaming while the lock is held, and is never half written: Barman truncates
//! it and writes it again in place.

mod rebuild;
mod scan;

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::lock::LockFile;
use crate::codec::Detector;

use super::wal_entry::{WalEntry, WalLine};
use super::{CatalogError, Layout, Locks};

pub use rebuild::Rebuilt;
pub use scan::Entries;

/// The WAL database of one server.
#[derive(Debug, Clone)]
pub struct XlogDb {
    layout: Layout,
    detector: Detector,
    looking: bool,
}

impl XlogDb {
    /// The database at `layout`. `detector` recognises compressed files when the database has to be rebuilt.
    #[must_use]
    pub fn at(layout: Layout, detector: Detector) -> XlogDb {
        XlogDb {
            layout,
            detector,
            looking: false,
        }
    }

    /// The same database for [`XlogDb::scan`] without a trace: a missing one is empty, a line that was cut short stays.
    #[must_use]
    pub(super) fn looking_only(self) -> XlogDb {
        XlogDb {
            looking: true,
            ..self
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.layout.xlogdb_path()
    }

    /// Records archived files, durably. Their files must be durable already.
    ///
    /// # Errors
    /// The database cannot be locked or written.
    pub fn append(&self, entries: &[WalEntry]) -> Result<(), CatalogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let path = self.path();
        let mut lines = String::new();
        for entry in entries {
            lines.push_str(&entry.to_line());
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(durable::CATALOG_FILE_MODE)
            .open(&path)
            .at("open", &path)?;
        file.write_all(lines.as_bytes()).at("write", &path)?;
        file.sync_all().at("sync", &path)?;
        Ok(())
    }

    /// Goes through the lines in the order of archiving, with the database locked. `visit` must not use the database.
    ///
    /// # Errors
    /// The database cannot be read, or a line is not of three to five columns, or `visit` failed.
    pub fn scan<E: From<CatalogError>>(
        &self,
        visit: impl FnMut(WalLine<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        if self.looking {
            let _lock = LockFile::look_patiently(&self.locks().path("xlogdb")).map_err(CatalogError::from)?;
            let path = self.path();
            return if path.exists() {
                scan::lines(&path, visit)
            } else {
                Ok(())
            };
        }
        let _lock = self.lock()?;
        scan::lines(&self.path(), visit)
    }

    /// As [`XlogDb::scan`], with the offset of each line in the file, in bytes.
    ///
    /// # Errors
    /// As [`XlogDb::scan`].
    pub fn scan_positions<E: From<CatalogError>>(
        &self,
        mut visit: impl FnMut(u64, WalLine<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let _lock = self.lock()?;
        let mut next = 0;
        scan::raw_lines(&self.path(), |raw, line| {
            let offset = next;
            next += raw.len() as u64;
            visit(offset, line)
        })
    }

    /// The entries in the order of archiving. The database stays locked until the iterator is dropped, and must not be
    /// used through another call by the same process in the meantime.
    ///
    /// # Errors
    /// The database cannot be locked or opened.
    pub fn entries(&self) -> Result<Entries, CatalogError> {
        Entries::new(self.lock()?, self.path())
    }

    /// The last entry of a file. (The name of a segment that was archived twice has two.)
    ///
    /// # Errors
    /// As [`XlogDb::scan`].
    pub fn find(&self, name: &str) -> Result<Option<WalEntry>, CatalogError> {
        let mut found = None;
        self.scan(|line| {
            if line.name == name {
                found = line.to_entry();
            }
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Drops the entries that `remove` chooses, atomically and durably. Returns how many there were.
    ///
    /// # Errors
    /// The database cannot be read or written; it is then unchanged.
    pub fn remove_entries(&self, mut remove: impl FnMut(&WalLine<'_>) -> bool) -> Result<u64, CatalogError> {
        let _lock = self.lock()?;
        let path = self.path();
        let mut removed = 0;
        self.replace(&path, |writer, temporary| {
            scan::raw_lines(&path, |raw, line| {
                if remove(&line) {
                    removed += 1;
                    return Ok(ControlFlow::Continue(()));
                }
                writer.write_all(raw).at("write", temporary)?;
                if !raw.ends_with(b"\n") {
                    writer.write_all(b"\n").at("write", temporary)?;
                }
                Ok::<_, CatalogError>(ControlFlow::Continue(()))
            })
        })?;
        Ok(removed)
    }

    /// The entry of a file of the archive, as a rebuilt database would have it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entry_of(&self, path: &Path, name: &str) -> Result<WalEntry, CatalogError> {
        Ok(rebuild::entry_of(path, name, &self.detector)?)
    }

    /// Adds entries where their names belong, in place of those of the same names, atomically and durably. Their files must be durable
    /// already.
    ///
    /// # Errors
    /// The database cannot be read or written; it is then unchanged.
    pub fn merge(&self, entries: &[WalEntry]) -> Result<(), CatalogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut new: Vec<&WalEntry> = entries.iter().collect();
        new.sort_by(|a, b| a.name.cmp(&b.name));
        let _lock = self.lock()?;
        let path = self.path();
        self.replace(&path, |writer, temporary| {
            let mut next = new.iter().peekable();
            scan::raw_lines(&path, |raw, line| {
                while let Some(entry) = next.next_if(|entry| entry.name.as_str() < line.name) {
                    let text = entry.to_line();
                    writer.write_all(text.as_bytes()).at("write", temporary)?;
                }
                if new
                    .binary_search_by(|entry| entry.name.as_str().cmp(line.name))
                    .is_err()
                {
                    writer.write_all(raw).at("write", temporary)?;
                }
                Ok::<_, CatalogError>(ControlFlow::Continue(()))
            })?;
            for entry in next {
                let text = entry.to_line();
                writer.write_all(text.as_bytes()).at("write", temporary)?;
            }
            Ok(())
        })
    }

    /// Makes the database anew from the files of the archive (`rebuild-xlogdb`).
    ///
    /// # Errors
    /// The archive cannot be read or the database not be written; the old one is then still in place.
    pub fn rebuild(&self) -> Result<Rebuilt, CatalogError> {
        let _lock = self.locks().xlogdb()?;
        self.rebuild_locked()
    }

    /// Takes the lock; makes the database when there is none and mends a last line that a crash cut short.
    fn lock(&self) -> Result<LockFile, CatalogError> {
        let lock = self.locks().xlogdb()?;
        if self.path().exists() {
            self.mend()?;
        } else {
            self.rebuild_locked()?;
        }
        Ok(lock)
    }

    fn locks(&self) -> Locks {
        Locks::of(&self.layout)
    }

    /// Writes a new file beside the database and renames it over the old one. The lock must be held.
    fn replace(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut BufWriter<File>, &Path) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let temporary = durable::sibling(path, ".tmp");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(durable::CATALOG_FILE_MODE)
            .open(&temporary)
            .at("create", &temporary)?;
        if let Ok(old) = std::fs::metadata(path) {
            file.set_permissions(PermissionsExt::from_mode(old.permissions().mode() & 0o7777))
                .at("set permissions of", &temporary)?;
        }
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        fill(&mut writer, &temporary)?;
        let file = writer
            .into_inner()
            .map_err(|error| PathError::new("write", &temporary, error.into_error()))?;
        file.sync_all().at("sync", &temporary)?;
        durable::rename(&temporary, path)?;
        Ok(())
    }

    /// Ends the last line when a crash cut it short: its entry is made anew from its file, or dropped when there is no
    /// such file. The lock must be held.
    fn mend(&self) -> Result<(), CatalogError> {
        let path = self.path();
        let Some(cut) = cut_line(&path)? else {
            return Ok(());
        };
        let name = String::from_utf8_lossy(&cut.text);
        let name = name.split_whitespace().next().unwrap_or_default();
        log::warn!(
            "the last line of \"{}\" was cut short by a crash; repairing the entry of {name:?}",
            path.display()
        );
        let line = match self.layout.wal_path(name).filter(|wal| wal.is_file()) {
            Some(wal) => rebuild::entry_of(&wal, name, &self.detector)?.to_line(),
            None => String::new(),
        };
        let mut file = OpenOptions::new().write(true).open(&path).at("open", &path)?;
        file.set_len(cut.offset).at("truncate", &path)?;
        file.seek(SeekFrom::End(0)).at("seek", &path)?;
        file.write_all(line.as_bytes()).at("write", &path)?;
        file.sync_all().at("sync", &path)?;
        Ok(())
    }
}

/// A last line without its end.
struct CutLine {
    offset: u64,
    text: Vec<u8>,
}

/// Longer than any line of a database.
const LINE_LIMIT: u64 = 4096;

fn cut_line(path: &Path) -> Result<Option<CutLine>, PathError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("open", path, error)),
    };
    let length = file.metadata().at("examine", path)?.len();
    let start = length.saturating_sub(LINE_LIMIT);
    file.seek(SeekFrom::Start(start)).at("seek", path)?;
    let mut tail = Vec::new();
    file.take(LINE_LIMIT).read_to_end(&mut tail).at("read", path)?;
    if tail.is_empty() || tail.ends_with(b"\n") {
        return Ok(None);
    }
    let begin = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    Ok(Some(CutLine {
        offset: start + begin as u64,
        text: tail.split_off(begin),
    }))
}

#[cfg(test)]
mod tests;
