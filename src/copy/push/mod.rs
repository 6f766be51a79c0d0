//! Restoring: first what would be done, then exactly that.
//!
//! Both trees are listed. Without a delta every file is sent; with one, the destination hashes the pages of what it has, and
//! only pages that differ are sent. Nothing at the destination is ever a hard link to the backup.

mod reading;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::plan::{PushItem, PushPlan};
use super::queue::Queue;
use super::report::{CopyReport, ItemReport};
use super::{CopyError, PreparedPush, chain, rsync};
use crate::agent::connection::{ConnectError, Connection};
use crate::agent::filter::{Filter, Rule};
use crate::agent::message::bytes_of;
use crate::agent::message::{Attributes, Entry, EntryKind, Request, Response};
use crate::agent::tree;
use crate::base::bandwidth::Limits;
use crate::base::report::{Progress, Reporter, Total};
use crate::transport::Remote;
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// Paths per request to sync, which must fit into a frame.
const SYNC_AT_ONCE: usize = 100;

/// Everything that would be done, in order.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Roots of the items, in case they are missing.
    roots: Vec<PathBuf>,
    /// Directories to make, parents first, with the attributes they get in the end.
    directories: Vec<(PathBuf, Attributes)>,
    files: Vec<Task>,
}

/// One file to restore.
#[derive(Debug, Clone)]
pub(super) struct Task {
    item: usize,
    source: PathBuf,
    /// The source is an incremental file: what it stands for is sent.
    blocks: bool,
    target: PathBuf,
    /// Bytes of what is sent.
    size: u64,
    attributes: Attributes,
    state: State,
}

/// How far the file has come.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// It is sent whole, in place of whatever is there.
    Fresh,
    /// The destination has one of this size: its hashes are to be asked for.
    Existing { size: u64 },
    /// These are the hashes of the destination's pages.
    Known {
        size: u64,
        attributes: Attributes,
        hashes: Vec<u8>,
    },
}

/// See [`super::prepare_push`].
pub(super) fn prepare<'a>(
    plan: &'a PushPlan,
    destination: &'a Remote,
    reporter: &dyn Reporter,
) -> Result<PreparedPush<'a>, CopyError> {
    let mut prepared = PreparedPush {
        deletions: Vec::new(),
        files: 0,
        bytes: 0,
        fallback_reason: None,
        work: Work::default(),
        plan,
        destination,
    };
    let mut control = match Connection::open(destination, false, &Stop::default()) {
        Ok(connection) => Some(connection),
        Err(ConnectError::CannotRun { reason, .. }) => {
            if plan.items.iter().any(|item| !item.older.is_empty()) {
                let host = destination.describe();
                return Err(CopyError::NeedsAgent { host, reason });
            }
            reporter.warning(&format!(
                "The agent cannot run on the destination ({reason}): copying with rsync"
            ));
            prepared.fallback_reason = Some(reason);
            None
        }
        Err(ConnectError::Transport(error)) => return Err(error.into()),
        Err(ConnectError::Path(error)) => return Err(error.into()),
    };
    for (index, item) in plan.items.iter().enumerate() {
        prepared.work.roots.push(item.destination.clone());
        let there = match control.as_mut().filter(|_| plan.delta) {
            Some(control) => list_destination(control, &item.destination, &item.filter)?,
            None => HashMap::new(),
        };
        let mut wanted = HashMap::new();
        tree::walk::<CopyError>(&item.source, &item.filter, true, &mut |found| {
            crate::base::interrupt::check()?;
            let source = below(&item.source, &found.path);
            let (entry, blocks) = restored(plan, item, &source, found)?;
            let existing = there.get(&entry.path);
            let target = below(&item.destination, &entry.path);
            if plan.delta {
                // What is of another kind goes first, whoever made it.
                let stays = existing.is_none_or(|existing| existing.kind == entry.kind);
                wanted.insert(entry.path.clone(), stays);
            }
            match entry.kind {
                EntryKind::Directory => prepared.work.directories.push((target, entry.attributes)),
                EntryKind::File => {
                    prepared.files += 1;
                    prepared.bytes += entry.size;
                    let state = match existing {
                        Some(Entry {
                            kind: EntryKind::File,
                            size,
                            ..
                        }) if !is_control(&target) => State::Existing { size: *size },
                        _ => State::Fresh,
                    };
                    prepared.work.files.push(Task {
                        item: index,
                        source,
                        blocks,
                        target,
                        size: entry.size,
                        attributes: entry.attributes,
                        state,
                    });
                }
                EntryKind::Symlink | EntryKind::Other => {}
            }
            Ok(())
        })?;
        prepared.deletions.extend(deletions(item, &there, &wanted));
    }
    if prepared.fallback_reason.is_some() {
        prepared.deletions = rsync::deletions(plan, destination)?;
    }
    Ok(prepared)
}

/// What becomes of an entry of the backup; and whether it has to be put together from a chain.
fn restored(
    plan: &PushPlan,
    item: &PushItem,
    source: &Path,
    mut entry: Entry,
) -> Result<(Entry, bool), CopyError> {
    let chained = entry.kind == EntryKind::File && !item.older.is_empty();
    let Some(path) = chained.then(|| chain::rebuilt_path(&entry.path)).flatten() else {
        return Ok((entry, false));
    };
    entry.path = path.into();
    entry.size = chain::rebuilt_size(source)?;
    // Files without changed blocks share an inode: their own times are only in the records.
    let known = plan
        .sums
        .as_ref()
        .and_then(|sums| sums.attributes(&[item.prefix.as_bytes(), &entry.path].concat()));
    entry.attributes = known.unwrap_or(entry.attributes);
    Ok((entry, true))
}

/// Everything at a destination but what is protected; nothing when it does not exist.
fn list_destination(
    control: &mut Connection,
    root: &Path,
    filter: &Filter,
) -> Result<HashMap<Box<[u8]>, Entry>, CopyError> {
    let mut there = HashMap::new();
    match control.call(&Request::Look { path: bytes_of(root) })? {
        Response::Look(None) => return Ok(there),
        Response::Look(Some(_)) => {}
        other => return Err(nonsense(control, &other)),
    }
    let protected = filter
        .rules()
        .iter()
        .filter(|rule| matches!(rule, Rule::ExcludeAndProtect(_)));
    let filter = Filter::new(protected.cloned().collect());
    control.ask(&Request::List {
        root: bytes_of(root),
        filter,
        follow: false,
    })?;
    loop {
        match control.answer()? {
            Response::Entries(entries) => {
                there.extend(entries.into_iter().map(|entry| (entry.path.clone(), entry)));
            }
            Response::Listed { .. } => return Ok(there),
            other => return Err(nonsense(control, &other)),
        }
    }
}

/// What is there, is not wanted (or is in the way), and may go; a directory stands for everything in it.
fn deletions(
    item: &PushItem,
    there: &HashMap<Box<[u8]>, Entry>,
    wanted: &HashMap<Box<[u8]>, bool>,
) -> Vec<PathBuf> {
    let goes = |path: &[u8]| match wanted.get(path) {
        Some(stays) => !stays,
        None => !path.is_empty() && item.owns(path),
    };
    let unwanted: BTreeSet<&[u8]> = there
        .keys()
        .map(|path| &**path)
        .filter(|path| goes(path))
        .collect();
    let covered = |path: &[u8]| {
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        parents
            .into_iter()
            .any(|(end, _)| path.get(..end).is_some_and(|parent| unwanted.contains(parent)))
    };
    unwanted
        .iter()
        .filter(|path| !covered(path))
        .map(|path| below(&item.destination, path))
        .collect()
}

/// The control file is written when everything else is there, and whole: whoever restores over a cluster has removed the
/// old one before.
fn is_control(target: &Path) -> bool {
    target.ends_with("global/pg_control")
}

/// Everything the workers share.
pub(super) struct Push<'a> {
    plan: &'a PushPlan,
    destination: &'a Remote,
    reporter: &'a dyn Reporter,
    queue: Queue<Task>,
    bandwidth: Limits,
    tally: Mutex<Tally>,
    progress: Box<dyn Progress>,
}

#[derive(Default)]
struct Tally {
    items: Vec<ItemReport>,
    kept_files: u64,
    wire_bytes: u64,
    damaged: Vec<PathBuf>,
}

/// See [`PreparedPush::apply`].
pub(super) fn apply(prepared: PreparedPush, reporter: &dyn Reporter) -> Result<CopyReport, CopyError> {
    let begin = Instant::now();
    let PreparedPush {
        deletions,
        files,
        bytes,
        fallback_reason,
        mut work,
        plan,
        destination,
    } = prepared;
    if let Some(reason) = fallback_reason {
        return rsync::push(plan, destination, reporter, reason);
    }
    let mut control = open(destination, false)?;
    if !control.has_aes() {
        destination.expect_no_aes();
    }
    let removals = deletions.iter().map(|path| Request::Remove {
        path: bytes_of(path),
        recursive: true,
    });
    all_done(&mut control, removals)?;
    let roots = work.roots.iter().map(|path| (path, true));
    let directories = roots.chain(work.directories.iter().map(|(path, _)| (path, false)));
    all_done(
        &mut control,
        directories.map(|(path, parents)| Request::MakeDirectory {
            path: bytes_of(path),
            mode: 0o700,
            parents,
        }),
    )?;
    work.files.sort_by_key(|task| std::cmp::Reverse(task.size));
    let items = plan.items.iter().map(|item| ItemReport {
        label: item.label.clone(),
        ..ItemReport::default()
    });
    let push = Push {
        plan,
        destination,
        reporter,
        queue: Queue::new(),
        bandwidth: Limits::new(
            plan.bandwidth_kib,
            plan.items.iter().map(|item| item.bandwidth_kib),
        ),
        tally: Mutex::new(Tally {
            items: items.collect(),
            ..Tally::default()
        }),
        progress: reporter.progress("Copying", Total { bytes, files }),
    };
    // No server starts without its control file: a restore that is cut short must not look complete.
    let (last, first) = std::mem::take(&mut work.files)
        .into_iter()
        .partition::<Vec<_>, _>(|task| is_control(&task.target));
    push.queue.extend(first);
    std::thread::scope(|scope| {
        let push = &push;
        let workers: Vec<_> = (0..plan.jobs.max(1))
            .map(|worker| {
                scope.spawn(move || {
                    if push.queue.hold_back(plan.pace.delay(worker)) {
                        worker::work(push);
                    }
                })
            })
            .collect();
        let mut drained = push.queue.drain();
        if drained.is_ok() {
            push.queue.extend(last);
        }
        push.queue.close();
        drained = drained.and_then(|()| push.queue.drain());
        if drained.is_err() {
            push.queue.stop.raise();
        }
        // Each worker ends by syncing what it wrote: that may fail too.
        for worker in workers {
            let _ = worker.join();
        }
        drained.and_then(|()| push.queue.drain())
    })?;
    let attributes = work
        .directories
        .iter()
        .map(|(path, attributes)| Request::SetAttributes {
            path: bytes_of(path),
            attributes: *attributes,
        });
    all_done(&mut control, attributes)?;
    let parents = work.roots.iter().filter_map(|root| root.parent());
    let all: Vec<Vec<u8>> = work
        .directories
        .iter()
        .map(|(path, _)| &**path)
        .chain(parents)
        .map(bytes_of)
        .collect();
    all_done(
        &mut control,
        all.chunks(SYNC_AT_ONCE).map(|some| Request::Sync {
            directories: some.to_vec(),
        }),
    )?;
    let tally = push.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = begin.elapsed().as_secs_f64();
    Ok(CopyReport {
        items: tally.items,
        workers: plan.jobs.max(1),
        total_seconds: seconds,
        copy_seconds: seconds,
        total_bytes: bytes,
        stored_bytes: bytes,
        wire_bytes: tally.wire_bytes,
        files,
        reused_files: tally.kept_files,
        damaged: tally.damaged,
        noise: control.noise().to_vec(),
        ..CopyReport::default()
    })
}

impl Push<'_> {
    /// What was read for a file is not what it was when the backup was taken. It is restored all the same, and told.
    fn damaged(&self, task: &Task) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if !tally.damaged.contains(&task.target) {
            tally.damaged.push(task.target.clone());
        }
    }

    /// A file is at the destination; `written` unless it was right already.
    fn complete(&self, task: &Task, started: Instant, written: bool) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.kept_files += u64::from(!written);
        if let Some(item) = tally.items.get_mut(task.item) {
            item.files += 1;
            item.bytes += task.size;
            item.serialized_copy_seconds += started.elapsed().as_secs_f64();
        }
        drop(tally);
        self.progress.advance(task.size, 1);
        self.queue.done();
    }
}

fn open(destination: &Remote, compress: bool) -> Result<Connection, CopyError> {
    Connection::open(destination, compress, &Stop::default()).map_err(|error| match error {
        ConnectError::Transport(error) => error.into(),
        ConnectError::Path(error) => error.into(),
        other => CopyError::Remote {
            host: destination.describe(),
            message: other.to_string(),
        },
    })
}

/// Sends simple requests, some at a time so that the length of the line does not count, and waits for all of them.
fn all_done(control: &mut Connection, requests: impl Iterator<Item = Request>) -> Result<(), CopyError> {
    const AT_ONCE: usize = 64;
    let mut due = 0;
    for request in requests {
        crate::base::interrupt::check()?;
        control.ask(&request)?;
        due += 1;
        if due == AT_ONCE {
            answers_done(control, due)?;
            due = 0;
        }
    }
    answers_done(control, due)
}

fn answers_done(control: &mut Connection, due: usize) -> Result<(), CopyError> {
    for _ in 0..due {
        match control.answer()? {
            Response::Done => {}
            other => return Err(nonsense(control, &other)),
        }
    }
    Ok(())
}

fn nonsense(control: &Connection, response: &Response) -> CopyError {
    control
        .lost(FrameError::Protocol(format!("unexpected answer {response:?}")))
        .into()
}

fn below(root: &Path, relative: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    if relative.is_empty() {
        root.to_path_buf()
    } else {
        root.join(std::ffi::OsStr::from_bytes(relative))
    }
}
