//! Taking a backup: listing, comparing, and the workers that fetch.

mod assemble;
mod blocks;
mod changes;
mod finish;
mod incremental;
mod listing;
mod patched;
mod pending;
mod resume;
mod sending;
mod stubs;
mod window;
mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::compare::Action;
use super::local::Sharing;
use super::page_hashes::PageHashWriter;
use super::plan::{CopyItem, CopyPlan, ItemContent, Reuse};
use super::previous::Previous;
use super::queue::Queue;
use super::records::{FileChecksum, FileRecord, Form, RecordWriter};
use super::report::{BlockReport, CopyReport, CorruptBlock, ItemReport, Method};
use super::{CopyError, Source, rsync};
use crate::agent::ahead::Ahead;
use crate::agent::connection::{ConnectError, Connection};
use crate::agent::message::{Attributes, Entry};
use crate::agent::syncer::Syncer;
use crate::base::bandwidth::Limits;
use crate::base::error::PathError;
use crate::base::report::{Progress, Reporter, Total};
use crate::postgres::manifest::Checksum;
use crate::postgres::page::{Fork, relation_file};
use crate::postgres::page_sum::PageSum;
use crate::transport::Remote;
use stubs::Stubs;

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
    bandwidth: Limits,
    sharing: Sharing,
    previous: Previous,
    records: Mutex<Option<RecordWriter>>,
    page_hashes: Mutex<Option<PageHashWriter>>,
    /// Of an incremental copy: the directory of this backup, then those of the chain.
    members: Vec<PathBuf>,
    stubs: Stubs,
    tally: Mutex<Tally>,
    progress: Box<dyn Progress>,
}

/// What the workers report.
struct Tally {
    items: Vec<ItemTally>,
    vanished: Vec<PathBuf>,
    corrupt: Vec<CorruptBlock>,
    blocks: BlockReport,
    backup_bytes: u64,
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
    source: Source,
    reporter: &dyn Reporter,
) -> Result<CopyReport, CopyError> {
    let begin = Instant::now();
    let Source {
        remote: source,
        ahead,
    } = source;
    let stop = crate::transport::patience::Stop::default();
    let opened = ahead.and_then(Ahead::take);
    let mut control = match opened.map_or_else(|| Connection::open(source, plan.compress, &stop), Ok) {
        Ok(connection) => connection,
        Err(ConnectError::CannotRun { reason, .. }) if plan.incremental.is_some() => {
            return Err(CopyError::SourceNeedsAgent { reason });
        }
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
    let previous = Previous::load(plan);
    let mut listed = listing::list(plan, &previous, &mut control)?;
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
        bandwidth: Limits::new(
            plan.bandwidth_kib,
            plan.items.iter().map(|item| item.bandwidth_kib),
        ),
        sharing: Sharing::default(),
        previous,
        records: Mutex::new(match &plan.records {
            Some(records) => Some(RecordWriter::create(&records.path)?),
            None => None,
        }),
        page_hashes: Mutex::new(
            match plan
                .records
                .as_ref()
                .and_then(|records| records.page_hashes.as_ref())
            {
                Some(path) => Some(PageHashWriter::create(path)?),
                None => None,
            },
        ),
        members: members(plan),
        stubs: Stubs::default(),
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
            if let Some(ahead) = ahead {
                ahead.end();
            }
        }
        for worker in 0..plan.jobs.max(1) {
            let connection = first.take();
            scope.spawn(move || {
                if pull.queue.hold_back(plan.pace.delay(worker)) {
                    let connection = connection.or_else(|| ahead.and_then(Ahead::take));
                    worker::work(pull, connection);
                }
            });
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
    let records = pull.records.get_mut().unwrap_or_else(PoisonError::into_inner);
    let records = records.take().map_or(Ok(()), RecordWriter::finish);
    let hashes = pull.page_hashes.get_mut().unwrap_or_else(PoisonError::into_inner);
    let hashes = hashes.take().map_or(Ok(()), PageHashWriter::finish);
    result?;
    records?;
    hashes?;
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
        let stored = outcome.stored.unwrap_or(size);
        self.remove_remains(task, Some(outcome.form))?;
        self.record(task, size, &outcome)?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.reused_files += u64::from(outcome.reused);
        tally.backup_bytes += stored;
        if !outcome.linked {
            tally.stored_bytes += stored;
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
        self.remove_remains(task, None)?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.vanished.push(path);
        tally.spent(task, started, 0, 0);
        drop(tally);
        self.progress.advance(task.entry.size, 1);
        self.queue.done();
        Ok(())
    }

    fn record(&self, task: &Task, size: u64, outcome: &Outcome) -> Result<(), CopyError> {
        let Some(path) = self.recorded_path(task)? else {
            return Ok(());
        };
        let record = FileRecord {
            path: path.into(),
            mode: outcome.attributes.mode,
            size,
            modified: outcome.attributes.modified,
            sum: outcome.sum,
            form: outcome.form,
            stored: outcome.stored.unwrap_or(size),
            checksum: outcome.checksum.clone(),
        };
        let mut hashes = self.page_hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = hashes.as_mut() {
            hashes.add(&record.path, &outcome.pages)?;
        }
        drop(hashes);
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        match records.as_mut() {
            Some(records) => Ok(records.add(&record)?),
            None => Ok(()),
        }
    }

    /// Whether the hashes of a file's pages are of use to the next backup.
    fn keeps_hashes(&self, task: &Task) -> bool {
        let main = relation_file(&task.entry.path).is_some_and(|file| file.fork == Fork::Main);
        let records = self.plan.records.as_ref();
        main && records.is_some_and(|records| records.page_hashes.is_some())
    }

    /// The hashes of the pages of the previous backup's file that has this sum; none when they are not known.
    fn old_hashes(&self, task: &Task, sum: Option<PageSum>) -> Result<Vec<PageSum>, CopyError> {
        let (Some(sum), true) = (sum, self.keeps_hashes(task)) else {
            return Ok(Vec::new());
        };
        let path = self.recorded_path(task)?;
        let found = path.and_then(|path| self.previous.page_hashes(&path, sum));
        Ok(found.unwrap_or_default())
    }

    /// The path of the file within the backup; `None` when nothing is recorded.
    fn recorded_path(&self, task: &Task) -> Result<Option<Vec<u8>>, CopyError> {
        let Some(records) = &self.plan.records else {
            return Ok(None);
        };
        let target = self.target_path(task)?;
        Ok(target
            .strip_prefix(&records.directory)
            .ok()
            .map(|path| blocks::relative(path).to_vec()))
    }

    /// The algorithm of checksums; `None` when none are needed.
    fn algorithm(&self) -> Option<Checksum> {
        let recorded = self.plan.records.is_some().then_some(Checksum::Crc32c);
        self.plan.manifest.or(recorded)
    }

    /// A checksum in that algorithm.
    fn named(&self, value: Vec<u8>) -> Option<FileChecksum> {
        let algorithm = self.algorithm().filter(|_| !value.is_empty())?;
        Some(FileChecksum { algorithm, value })
    }

    fn tally_blocks(&self, count: impl FnOnce(&mut BlockReport)) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut tally.blocks);
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
            backup_bytes: tally.backup_bytes,
            blocks: BlockReport {
                unlogged: listed.unlogged,
                ..tally.blocks
            },
            method: Method::Agent,
            noise,
            ..CopyReport::default()
        };
        report
            .corrupt
            .sort_by(|one, other| (&one.path, one.block).cmp(&(&other.path, other.block)));
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
    sum: Option<PageSum>,
    checksum: Option<FileChecksum>,
    /// The hashes of its pages, if they are known.
    pages: Vec<PageSum>,
    form: Form,
    /// Bytes stored, when they are not those of the file.
    stored: Option<u64>,
    reused: bool,
    /// Whether it is one more name of a file that is stored already.
    linked: bool,
}

impl Tally {
    fn new(items: usize) -> Tally {
        Tally {
            items: vec![ItemTally::default(); items],
            vanished: Vec::new(),
            corrupt: Vec::new(),
            blocks: BlockReport::default(),
            backup_bytes: 0,
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

/// The backups that blocks are read from: this one, then those of the chain.
fn members(plan: &CopyPlan) -> Vec<PathBuf> {
    let own = plan.records.as_ref().map(|records| records.directory.clone());
    let chain = plan
        .incremental
        .iter()
        .flat_map(|incremental| &incremental.members);
    own.into_iter().chain(chain.cloned()).collect()
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

#[cfg(test)]
mod incremental_tests;
