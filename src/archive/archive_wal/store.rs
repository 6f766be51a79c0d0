//! The second half of archiving: storing, recording, and removing what was stored from where it arrived.
//!
//! A group of files shares its syncs: their contents are synced together, then they are put in their places in order, then
//! their directories are synced, then one append to the WAL database records them all, and only then do their sources go.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{PathContext, PathError};
use crate::base::float::float_repr;
use crate::base::{durable, interrupt};
use crate::catalog::{CatalogError, WalEntry, modification_time};
use crate::hooks::{HookEvent, HookSubject, WalVariables};

use super::errors_directory::{Aside, move_aside};
use super::pipeline::{Pipeline, Ready};
use super::prepare::{Item, Prepared, Staged, copy_attributes};
use super::{ArchiveError, FileError, Progress, Run};

/// How many files share their syncs.
const GROUP: usize = 32;
/// How many files are prepared and not stored, at most.
const WINDOW: usize = 2 * GROUP;
/// How many files are synced at the same time: the file system makes one commit of them.
const SYNCS: usize = 8;

/// What became of the files of a group.
#[derive(Default)]
struct Outcome {
    /// Stored, to be recorded.
    stored: Vec<(Item, WalEntry)>,
    /// In the archive before.
    matching: Vec<(Item, WalEntry)>,
    /// Put aside.
    conflicts: Vec<Item>,
    /// Not archived, with the reason.
    failed: Vec<(Item, String)>,
}

impl Run<'_> {
    /// Archives one file after the other, with the scripts around each.
    pub(super) fn one_by_one(&mut self, queue: &[PathBuf]) -> Result<Progress, ArchiveError> {
        for source in queue {
            interrupt::check()?;
            let Some(item) = Item::new(&self.workshop.layout, source) else {
                continue;
            };
            if let Some(shortage) = self.room(source)?.shortage {
                return Ok(self.out_of_space(&shortage));
            }
            self.reporter.info(&format!("\t{}", item.name));
            if let Err(error) = self.hooks.before(HookEvent::Archive, &arrived(&item)) {
                return self.aborted(&error);
            }
            let prepared = self.workshop.prepare(&item);
            if let Progress::Stop = self.commit(vec![(item, prepared)], true)? {
                return Ok(Progress::Stop);
            }
        }
        Ok(Progress::Continue)
    }

    /// Archives files on all cores.
    pub(super) fn all_at_once(&mut self, queue: &[PathBuf]) -> Result<Progress, ArchiveError> {
        let workshop = Arc::clone(&self.workshop);
        let pipeline = Pipeline::new(&workshop, queue);
        std::thread::scope(|scope| {
            let _stopper = pipeline.stopper();
            for _ in 0..self.workers().min(queue.len()) {
                scope.spawn(|| pipeline.work());
            }
            let mut done = 0;
            while let Some(source) = queue.get(done) {
                let room = self.room(source)?;
                let count = pipeline.allow(done, WINDOW, room.files).min(GROUP);
                if let Some(shortage) = room.shortage.filter(|_| count == 0) {
                    return Ok(self.out_of_space(&shortage));
                }
                let group = pipeline.take(done, count)?;
                done += count;
                if let Progress::Stop = self.commit(group, false)? {
                    return Ok(Progress::Stop);
                }
            }
            Ok(Progress::Continue)
        })
    }

    /// Stores a group of prepared files. `announced`: their names have been shown, and scripts come after them.
    fn commit(&mut self, mut group: Vec<Ready>, announced: bool) -> Result<Progress, ArchiveError> {
        sync_contents(&mut group);
        let mut outcome = Outcome::default();
        let mut progress = Progress::Continue;
        for (item, prepared) in group {
            if let Err(error) = self.settle(&item, prepared, announced, &mut outcome) {
                if error.kind() == Some(io::ErrorKind::PermissionDenied) {
                    self.denied.push((item.name.clone(), error.to_string()));
                } else {
                    self.fail(&item.name, &error);
                }
                outcome.failed.push((item, error.to_string()));
                if error.concerns_all() {
                    // It has been reported; the other files would fail in the same way.
                    progress = Progress::Stop;
                    break;
                }
            }
        }
        self.finish(&mut outcome)?;
        if announced {
            self.after(&outcome);
        }
        Ok(progress)
    }

    /// Does what was prepared for one file, up to the syncs that the group shares. Its name is shown unless that has been
    /// done.
    fn settle(
        &mut self,
        item: &Item,
        prepared: Result<Prepared, FileError>,
        announced: bool,
        outcome: &mut Outcome,
    ) -> Result<(), FileError> {
        let prepared = prepared?;
        if !announced && !matches!(prepared, Prepared::Incomplete(_) | Prepared::Gone) {
            self.reporter.info(&format!("\t{}", item.name));
        }
        match prepared {
            Prepared::New { staged, entry } => {
                place(item, staged.as_ref().map(Staged::path))?;
                outcome.stored.push((item.clone(), entry));
            }
            Prepared::Matching(entry) => {
                durable::sync_file(&item.target)?;
                outcome.matching.push((item.clone(), entry));
            }
            Prepared::Conflict(reason) => {
                if let Some(reason) = reason {
                    log::warn!(target: "barman.wal_archiver", "{} cannot be compared: {reason}", item.name);
                }
                move_aside(&item.source, &self.places.errors, Aside::Duplicate)?;
                self.reporter.info(&format!(
                    "\tError: {} is already present in server {}. File moved to errors directory.",
                    item.name, self.places.server
                ));
                self.report.duplicates.push(item.name.clone());
                outcome.conflicts.push(item.clone());
            }
            Prepared::Rejected(fault) => {
                self.reject(item, &fault)?;
                outcome.conflicts.push(item.clone());
            }
            Prepared::Incomplete(reason) => log::warn!(
                target: "barman.wal_archiver",
                "\"{}\" is left for a later run, because it seems to be still being written: {reason}",
                item.source.display()
            ),
            Prepared::Gone => log::debug!("\"{}\" is gone", item.source.display()),
        }
        Ok(())
    }

    /// Makes the stored files durable, records them, and removes the sources.
    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), ArchiveError> {
        let done = || outcome.stored.iter().chain(&outcome.matching);
        let directories: BTreeSet<&Path> = done().filter_map(|(item, _)| item.target.parent()).collect();
        for directory in directories {
            durable::sync_dir(directory)?;
            // A new directory has a name of its own to be kept.
            if !self.durable_directories.contains(directory) {
                durable::sync_parent(directory)?;
                self.durable_directories.insert(directory.to_path_buf());
            }
        }
        let mut entries: Vec<WalEntry> = outcome.stored.iter().map(|(_, entry)| entry.clone()).collect();
        entries.extend(self.unrecorded(&outcome.matching)?);
        self.catalog.xlogdb().append(&entries)?;
        let mut sources = BTreeSet::new();
        for (item, _) in done() {
            if item.was_replaced() {
                log::debug!("\"{}\" has been delivered again", item.source.display());
                continue;
            }
            match fs::remove_file(&item.source) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It is archived; the next run will find it again and drop it.
                    log::warn!("cannot remove \"{}\": {error}", item.source.display());
                }
                _ => sources.extend(item.source.parent()),
            }
        }
        for directory in sources {
            durable::sync_dir(directory)?;
        }
        self.report.archived += outcome.stored.len();
        self.report.matching += outcome.matching.len();
        Ok(())
    }

    /// The files that the archive has and the database does not know: a crash came between the two.
    fn unrecorded(&self, matching: &[(Item, WalEntry)]) -> Result<Vec<WalEntry>, CatalogError> {
        let mut names: HashSet<&str> = matching.iter().map(|(item, _)| item.name.as_str()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.catalog.xlogdb().scan(|line| {
            names.remove(line.name);
            Ok::<_, CatalogError>(if names.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(matching
            .iter()
            .filter(|(item, _)| names.contains(item.name.as_str()))
            .map(|(item, entry)| {
                log::warn!(
                    target: "barman.wal_archiver",
                    "{} is in the archive and was not in the WAL database of server {}: recorded now",
                    item.name,
                    self.places.server
                );
                entry.clone()
            })
            .collect())
    }

    /// Runs the scripts that come after each file.
    fn after(&self, outcome: &Outcome) {
        let after = |item: &Item, entry: Option<&WalEntry>, error: Option<&str>| {
            self.hooks
                .after(HookEvent::Archive, &archived(item, entry), error);
        };
        for (item, entry) in &outcome.stored {
            after(item, Some(entry), None);
        }
        for (item, _) in &outcome.matching {
            after(item, None, None);
        }
        for item in &outcome.conflicts {
            after(item, None, None);
        }
        for (item, error) in &outcome.failed {
            after(item, None, Some(error));
        }
    }
}

/// Syncs the contents of the new files of a group, several at once. A file that cannot be synced is not stored.
fn sync_contents(group: &mut [Ready]) {
    let share = group.len().div_ceil(SYNCS).max(1);
    std::thread::scope(|scope| {
        for part in group.chunks_mut(share) {
            scope.spawn(|| {
                for (item, prepared) in part {
                    let Ok(Prepared::New { staged, .. }) = prepared else {
                        continue;
                    };
                    let path = staged.as_ref().map_or(item.source.as_path(), Staged::path);
                    if let Err(error) = durable::sync_file(path) {
                        *prepared = Err(error.into());
                    }
                }
            });
        }
    });
}

/// Puts a file in its place. Without a staged form it is linked, so that its source stays until it is recorded; where
/// links are not possible it is copied.
fn place(item: &Item, staged: Option<&Path>) -> Result<(), PathError> {
    if let Some(staged) = staged {
        return fs::rename(staged, &item.target).at("rename to", &item.target);
    }
    // A link to a symbolic link would be one, too.
    let plain = item
        .source
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file());
    if plain && fs::hard_link(&item.source, &item.target).is_ok() {
        return Ok(());
    }
    let temporary = durable::sibling(&item.target, ".tmp");
    fs::copy(&item.source, &temporary).at("copy to", &temporary)?;
    let metadata = fs::metadata(&item.source).at("examine", &item.source)?;
    copy_attributes(&metadata, &temporary)?;
    durable::sync_file(&temporary)?;
    fs::rename(&temporary, &item.target).at("rename to", &item.target)
}

/// What a script is told before a file is archived.
fn arrived(item: &Item) -> HookSubject {
    variables(item, &item.source, None)
}

/// What a script is told afterwards.
fn archived(item: &Item, entry: Option<&WalEntry>) -> HookSubject {
    variables(item, &item.target, entry)
}

fn variables(item: &Item, file: &Path, entry: Option<&WalEntry>) -> HookSubject {
    let known = fs::metadata(file)
        .or_else(|_| fs::metadata(&item.source))
        .map(|metadata| (metadata.len(), modification_time(&metadata)));
    let (size, time) = match (entry, known) {
        (Some(entry), _) => (entry.size, entry.time),
        (None, Ok(known)) => known,
        (None, Err(error)) => {
            log::debug!("cannot examine \"{}\": {error}", file.display());
            (0, 0.0)
        }
    };
    HookSubject::Wal(WalVariables {
        segment: item.name.clone(),
        file: file.to_path_buf(),
        size,
        timestamp: float_repr(time),
        compression: entry.and_then(|entry| entry.compression.clone()),
    })
}
