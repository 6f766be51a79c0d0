//! Taking a backup: listing, comparing, and the workers that fetch.

mod assemble;
mod finish;
mod listing;
mod resume;
mod sending;
mod window;
mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::compare::Action;
use super::plan::{CopyItem, CopyPlan, ItemContent, Reuse};
use super::previous::PreviousManifest;
use super::queue::Queue;
use super::report::{CopyReport, CorruptBlock, ItemReport, ManifestEntry, Method};
use super::{CopyError, rsync};
use crate::agent::connection::{ConnectError, Connection};
use crate::agent::message::{Attributes, Entry};
use crate::agent::syncer::Syncer;
use crate::base::bandwidth::Bandwidth;
use crate::base::error::PathError;
use crate::base::report::{Progress, Reporter, Total};
use crate::transport::Remote;

/// One file to bring in.
#[derive(Debug, Clone)]
struct Task {
    /// Index into the plan's items.
    item: usize,
    /// As listed.
    entry: Entry,
    action: Action,
    /// Index of the failed attempt whose file takes the place of the previous backup's.
    attempt: Option<usize>,
}

/// Everything the workers share.
struct Pull<'a> {
    plan: &'a CopyPlan,
    source: &'a Remote,
    reporter: &'a dyn Reporter,
    queue: Queue<Task>,
    syncer: Syncer,
    bandwidth: Bandwidth,
    previous: PreviousManifest,
    /// Where manifest paths start.
    pgdata: Option<PathBuf>,
    tally: Mutex<Tally>,
    progress: Box<dyn Progress>,
}

/// What the workers report.
struct Tally {
    items: Vec<ItemTally>,
    vanished: Vec<PathBuf>,
    corrupt: Vec<CorruptBlock>,
    manifest: Vec<ManifestEntry>,
    stored_bytes: u64,
    reused_files: u64,
    wire_bytes: u64,
}

#[derive(Clone, Default)]
struct ItemTally {
    first: Option<Instant>,
    last: Option<Instant>,
    serialized: f64,
    files: u64,
    bytes: u64,
}

/// See [`super::pull`].
pub(super) fn pull(
    plan: &CopyPlan,
    source: &Remote,
    reporter: &dyn Reporter,
) -> Result<CopyReport, CopyError> {
    let begin = Instant::now();
    let stop = crate::transport::patience::Stop::default();
    let mut control = match Connection::open(source, plan.compress, &stop) {
        Ok(connection) => connection,
        Err(ConnectError::CannotRun { reason, .. }) => {
            reporter.warning(&format!(
                "The agent cannot run on the source ({reason}): copying with rsync"
            ));
            return rsync::pull(plan, source, reporter, reason);
        }
        Err(ConnectError::Transport(error)) => return Err(error.into()),
        Err(ConnectError::Path(error)) => return Err(error.into()),
    };
    let noise = control.noise().to_vec();
    let mut listed = listing::list(plan, &mut control)?;
    for path in &listed.skipped {
        log::info!(
            "\"{}\" is a dangling link or no regular file: left out",
            path.display()
        );
    }
    let total = Total {
        bytes: listed
            .tasks
            .iter()
            .chain(&listed.last)
            .map(|task| task.entry.size)
            .sum(),
        files: (listed.tasks.len() + listed.last.len()) as u64,
    };
    let mut pull = Pull {
        plan,
        source,
        reporter,
        queue: Queue::new(),
        syncer: Syncer::new(plan.jobs.clamp(2, 8)),
        bandwidth: Bandwidth::kib_per_second(plan.bandwidth_kib),
        previous: PreviousManifest::load(plan),
        pgdata: plan
            .items
            .iter()
            .find(|item| item.content == ItemContent::Pgdata)
            .map(|item| item.destination.clone()),
        tally: Mutex::new(Tally::new(plan.items.len())),
        progress: reporter.progress("Copying", total),
    };
    for item in &plan.items {
        if let Some(directory) = [Some(item.destination.as_path()), item.destination.parent()]
            .into_iter()
            .flatten()
            .find(|path| path.is_dir())
        {
            pull.syncer.watch(directory)?;
        }
    }
    // The longest first, so that the workers end together.
    listed
        .tasks
        .sort_by_key(|task| std::cmp::Reverse(task.entry.size));
    pull.queue.extend(std::mem::take(&mut listed.tasks));
    let last = std::mem::take(&mut listed.last);
    let result = std::thread::scope(|scope| {
        let pull = &pull;
        // Where the other processor lacks AES instructions, the first connection has the wrong cipher.
        let mut first = Some(control).filter(|control| control.has_aes() || source.is_local());
        if first.is_none() {
            source.expect_no_aes();
        }
        for _ in 0..plan.jobs.max(1) {
            let connection = first.take();
            scope.spawn(move || worker::work(pull, connection));
        }
        let result = pull.queue.drain().and_then(|()| {
            pull.queue.extend(last);
            pull.queue.drain()
        });
        if result.is_err() {
            pull.queue.stop.raise();
        }
        pull.queue.close();
        result
    });
    result?;
    finish::directories(&pull.syncer, &listed.directories)?;
    let syncer = std::mem::replace(&mut pull.syncer, Syncer::new(1));
    syncer.finish()?;
    finish::parents(plan)?;
    Ok(pull.report(begin, listed, noise))
}

impl Pull<'_> {
    fn item(&self, task: &Task) -> Result<&CopyItem, CopyError> {
        self.plan.items.get(task.item).ok_or_else(|| CopyError::Remote {
            host: self.source.describe(),
            message: "a task of no item".to_owned(),
        })
    }

    /// The file on the source host.
    fn source_path(&self, task: &Task) -> Result<PathBuf, CopyError> {
        Ok(below(&self.item(task)?.source, &task.entry.path))
    }

    /// The file in this backup.
    fn target_path(&self, task: &Task) -> Result<PathBuf, CopyError> {
        Ok(below(&self.item(task)?.destination, &task.entry.path))
    }

    /// The file in the previous backup, when it may be used, or in a failed attempt.
    fn reference_path(&self, task: &Task) -> Result<Option<PathBuf>, CopyError> {
        if let Some(left) = self.attempt_path(task, &self.target_path(task)?) {
            return Ok(Some(left));
        }
        let reference = self.item(task)?.reference.as_deref();
        Ok(reference
            .filter(|_| self.plan.reuse != Reuse::Off)
            .map(|root| below(root, &task.entry.path)))
    }

    /// A file is in the backup.
    fn complete(&self, task: &Task, size: u64, started: Instant, outcome: Outcome) -> Result<(), CopyError> {
        let target = self.target_path(task)?;
        let entry = self.manifest_entry(&target, size, outcome.attributes, outcome.checksum);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.manifest.extend(entry);
        tally.reused_files += u64::from(outcome.reused);
        if !outcome.linked {
            tally.stored_bytes += size;
        }
        tally.spent(task, started, size, 1);
        drop(tally);
        self.progress.advance(size, 1);
        self.queue.done();
        Ok(())
    }

    /// A file was listed and is gone.
    fn vanished(&self, task: &Task, started: Instant) -> Result<(), CopyError> {
        let path = self.source_path(task)?;
        match self.item(task)?.content {
            ItemContent::Control | ItemContent::Config { optional: false } => {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(PathError::new("copy", path, gone).into());
            }
            _ => {}
        }
        log::debug!("\"{}\" vanished during the copy", path.display());
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.vanished.push(path);
        tally.spent(task, started, 0, 0);
        drop(tally);
        self.progress.advance(task.entry.size, 1);
        self.queue.done();
        Ok(())
    }

    fn manifest_entry(
        &self,
        target: &Path,
        size: u64,
        attributes: Attributes,
        checksum: Vec<u8>,
    ) -> Option<ManifestEntry> {
        self.plan.manifest?;
        let path = target.strip_prefix(self.pgdata.as_deref()?).ok()?.to_path_buf();
        Some(ManifestEntry {
            path,
            size,
            modified: attributes.modified.into(),
            checksum,
        })
    }

    fn report(self, begin: Instant, listed: listing::Listed, noise: Vec<String>) -> CopyReport {
        let tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut report = CopyReport {
            workers: self.plan.jobs.max(1),
            total_bytes: tally.items.iter().map(|item| item.bytes).sum(),
            stored_bytes: tally.stored_bytes,
            wire_bytes: tally.wire_bytes,
            files: tally.items.iter().map(|item| item.files).sum(),
            reused_files: tally.reused_files,
            vanished: tally.vanished,
            skipped: listed.skipped,
            corrupt: tally.corrupt,
            manifest: tally.manifest,
            method: Method::Agent,
            noise,
            ..CopyReport::default()
        };
        report
            .corrupt
            .sort_by(|one, other| (&one.path, one.block).cmp(&(&other.path, other.block)));
        report.manifest.sort_by(|one, other| one.path.cmp(&other.path));
        report.analysis_seconds = listed.seconds.iter().flatten().sum();
        let first = tally.items.iter().filter_map(|item| item.first).min();
        let last = tally.items.iter().filter_map(|item| item.last).max();
        report.copy_seconds = span(first, last);
        for ((item, tally), analysis) in self.plan.items.iter().zip(tally.items).zip(listed.seconds) {
            report.items.push(ItemReport {
                label: item.label.clone(),
                analysis_seconds: analysis,
                copy_seconds: span(tally.first, tally.last),
                serialized_copy_seconds: tally.serialized,
                files: tally.files,
                bytes: tally.bytes,
            });
        }
        report.total_seconds = begin.elapsed().as_secs_f64();
        report
    }
}

/// How a file got into the backup.
struct Outcome {
    attributes: Attributes,
    checksum: Vec<u8>,
    reused: bool,
    linked: bool,
}

impl Tally {
    fn new(items: usize) -> Tally {
        Tally {
            items: vec![ItemTally::default(); items],
            vanished: Vec::new(),
            corrupt: Vec::new(),
            manifest: Vec::new(),
            stored_bytes: 0,
            reused_files: 0,
            wire_bytes: 0,
        }
    }

    fn spent(&mut self, task: &Task, started: Instant, bytes: u64, files: u64) {
        let Some(item) = self.items.get_mut(task.item) else {
            return;
        };
        let now = Instant::now();
        item.first = Some(item.first.map_or(started, |first| first.min(started)));
        item.last = Some(now);
        item.serialized += now.duration_since(started).as_secs_f64();
        item.bytes += bytes;
        item.files += files;
    }
}

fn span(first: Option<Instant>, last: Option<Instant>) -> f64 {
    match (first, last) {
        (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
        _ => 0.0,
    }
}

/// `root/relative`; the root itself for an empty path.
fn below(root: &Path, relative: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    if relative.is_empty() {
        root.to_path_buf()
    } else {
        root.join(std::ffi::OsStr::from_bytes(relative))
    }
}

/// The previous backup's file, if it is a regular one.
fn regular(path: &Path) -> Option<fs::Metadata> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)
}
