//! The second half of archiving: storing, recording, and removing what was stored from where it arrived.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::float::float_repr;
use crate::catalog::{CatalogError, WalEntry, modification_time};
use crate::hooks::{HookEvent, HookSubject, WalVariables};

use super::errors_directory::{Aside, move_aside};
use super::prepare::{Item, Prepared, Staged, copy_attributes, prepare};
use super::{ArchiveError, FileError, Progress, Run};

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
    /// Archives a group of files, which share their syncs. With hook scripts a group is one file.
    pub(super) fn group(&mut self, sources: &[PathBuf]) -> Result<Progress, ArchiveError> {
        let layout = self.catalog.layout().clone();
        let items: Vec<Item> = sources
            .iter()
            .filter_map(|source| Item::new(&layout, source))
            .collect();
        let hooks = self.has_hooks();
        if hooks {
            for item in &items {
                self.reporter.info(&format!("\t{}", item.name));
                let subject = arrived(item);
                if let Err(error) = self.hooks.before(HookEvent::Archive, &subject) {
                    return self.aborted(&error);
                }
            }
        }
        let prepared = self.prepare_all(&items);
        let mut outcome = Outcome::default();
        let mut fatal = None;
        for (item, prepared) in items.into_iter().zip(prepared) {
            if let Err(error) = self.settle(&item, prepared, hooks, &mut outcome) {
                self.fail(&item.name, &error);
                outcome.failed.push((item, error.to_string()));
                if error.concerns_all() {
                    fatal = Some(error);
                    break;
                }
            }
        }
        self.finish(&mut outcome)?;
        if hooks {
            self.after(&outcome);
        }
        match fatal {
            // It has been reported; the other files would fail in the same way.
            Some(_) => Ok(Progress::Stop),
            None => Ok(Progress::Continue),
        }
    }

    /// Prepares the files of a group on several threads. The results have the order of the items.
    fn prepare_all(&self, items: &[Item]) -> Vec<Result<Prepared, FileError>> {
        let workers = self.workers().min(items.len()).max(1);
        if workers == 1 {
            return items.iter().map(|item| prepare(&self.codec, item)).collect();
        }
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(items.len()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { break };
                        let result = prepare(&self.codec, item);
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
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
