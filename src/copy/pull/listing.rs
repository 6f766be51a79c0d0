//! Listing the source, creating the directories, and deciding about every file.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Instant;

use super::{Task, below, blocks, regular, resume};
use crate::agent::connection::{AgentError, Connection};
use crate::agent::message::bytes_of;
use crate::agent::message::{Attributes, Entry, EntryKind, Request, Response, Time};
use crate::base::durable;
use crate::base::error::PathError;
use crate::copy::CopyError;
use crate::copy::compare::{Action, Parent, decide, decide_incremental};
use crate::copy::plan::{CopyItem, CopyPlan, ItemContent};
use crate::copy::previous::Previous;
use crate::postgres::incremental::{Header, incremental_path};
use crate::postgres::page::{Fork, PAGE_SIZE, relation_file};
use crate::transport::frame::FrameError;

/// What there is to do.
#[derive(Default)]
pub(super) struct Listed {
    /// Files of everything but the control file.
    pub(super) tasks: Vec<Task>,
    /// The control file.
    pub(super) last: Vec<Task>,
    /// Directories of the backup, created, with the attributes they are to get in the end.
    pub(super) directories: Vec<(PathBuf, Attributes)>,
    /// What cannot be copied.
    pub(super) skipped: Vec<PathBuf>,
    /// Files of unlogged relations that an incremental backup leaves out.
    pub(super) unlogged: u64,
    /// Seconds spent per item; `None` for single files.
    pub(super) seconds: Vec<Option<f64>>,
}

/// Lists every item.
pub(super) fn list(
    plan: &CopyPlan,
    previous: &Previous,
    control: &mut Connection,
) -> Result<Listed, CopyError> {
    let mut listed = Listed::default();
    for (index, item) in plan.items.iter().enumerate() {
        let begin = Instant::now();
        match item.content {
            ItemContent::Tablespace | ItemContent::Pgdata => {
                durable::create_dir_all(&item.destination)?;
                let first = listed.tasks.len();
                let scope = Scope {
                    plan,
                    previous,
                    index,
                    item,
                };
                list_directory(&scope, control, &mut listed)?;
                if plan.incremental.is_some() {
                    leave_out_unlogged(&mut listed, first);
                }
                listed.seconds.push(Some(begin.elapsed().as_secs_f64()));
            }
            ItemContent::Control | ItemContent::Config { .. } => {
                list_file(plan, index, item, control, &mut listed)?;
                listed.seconds.push(None);
            }
        }
    }
    replace_by_outside_files(plan, &mut listed);
    Ok(listed)
}

/// What deciding about a file needs to know.
pub(super) struct Scope<'a> {
    pub(super) plan: &'a CopyPlan,
    pub(super) previous: &'a Previous,
    /// The item's index in the plan.
    index: usize,
    pub(super) item: &'a CopyItem,
}

fn list_directory(scope: &Scope, control: &mut Connection, listed: &mut Listed) -> Result<(), CopyError> {
    let item = scope.item;
    control.ask(&Request::List {
        root: bytes_of(&item.source),
        filter: item.filter.clone(),
        follow: true,
    })?;
    loop {
        match control.answer()? {
            Response::Entries(entries) => {
                for entry in entries {
                    check_path(&entry, control)?;
                    place(scope, entry, listed)?;
                }
            }
            Response::Listed { skipped } => {
                listed
                    .skipped
                    .extend(skipped.iter().map(|path| below(&item.source, path)));
                return Ok(());
            }
            other => return Err(unexpected(control, &other)),
        }
    }
}

fn place(scope: &Scope, entry: Entry, listed: &mut Listed) -> Result<(), CopyError> {
    let Scope { plan, item, .. } = scope;
    match entry.kind {
        EntryKind::Directory => {
            let path = below(&item.destination, &entry.path);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(PathError::new("create directory", path, error).into());
                }
                _ => listed.directories.push((path, entry.attributes)),
            }
        }
        EntryKind::File => {
            let reference = item
                .reference
                .as_ref()
                .and_then(|root| regular(&below(root, &entry.path)));
            let target = below(&item.destination, &entry.path);
            let found = match scope.incremental(&entry) {
                Some(action) => Some((None, action)),
                None => resume::find(plan, &target, &entry, reference.as_ref())
                    .map(|(attempt, action)| (Some(attempt), action)),
            };
            let (attempt, action) = found.unwrap_or_else(|| {
                let action = decide(&entry, reference.as_ref(), plan.reuse, plan.safe_horizon);
                let by_lsn = action == Action::Pages && scope.pages_by_lsn(&entry);
                (None, if by_lsn { Action::PagesByLsn } else { action })
            });
            listed.tasks.push(Task {
                item: scope.index,
                entry,
                action,
                attempt,
            });
        }
        EntryKind::Symlink | EntryKind::Other => listed.skipped.push(below(&item.source, &entry.path)),
    }
    Ok(())
}

impl Scope<'_> {
    /// What an incremental backup does with a file, if anything out of the ordinary.
    fn incremental(&self, entry: &Entry) -> Option<Action> {
        let incremental = self.plan.incremental.as_ref()?;
        let main = relation_file(&entry.path).is_some_and(|file| file.fork == Fork::Main);
        let parent = if main { self.parent(entry) } else { None };
        let by_lsn = incremental.since.is_some();
        decide_incremental(entry, parent, by_lsn, self.plan.safe_horizon)
    }

    /// The parent's form of a relation file, if all of what is stored of it is there.
    fn parent(&self, entry: &Entry) -> Option<Parent> {
        let root = self.item.reference.as_ref()?;
        let whole = below(root, &entry.path);
        let changed = below(root, &incremental_path(&entry.path));
        let destination = below(&self.item.destination, &entry.path);
        let records = self.plan.records.as_ref()?;
        let recorded = destination.strip_prefix(&records.directory).ok()?;
        if let Some(known) = self.previous.known(blocks::relative(recorded)) {
            let stored = if known.is_whole() { whole } else { changed };
            return regular(&stored)
                .filter(|metadata| metadata.len() == known.stored)
                .map(|_| known.into());
        }
        // A backup that Barman took: nothing is known but what is there.
        if let Some(metadata) = regular(&whole) {
            return Some(Parent {
                size: metadata.len(),
                modified: Time::modified(&metadata),
                summed: false,
            });
        }
        let metadata = regular(&changed)?;
        let file = File::open(&changed).ok()?;
        let header = Header::read(&mut BufReader::new(file), metadata.len()).ok()?;
        Some(Parent {
            size: u64::from(header.rebuilt_blocks()) * PAGE_SIZE as u64,
            modified: Time::modified(&metadata),
            summed: false,
        })
    }
}

/// Leaves out what PostgreSQL makes anew from the init forks, as `pg_basebackup` does. `first` is the first task of the item.
fn leave_out_unlogged(listed: &mut Listed, first: usize) {
    let of_item = listed.tasks.get(first..).unwrap_or_default();
    let unlogged: HashSet<Vec<u8>> = of_item
        .iter()
        .filter_map(|task| relation_file(&task.entry.path))
        .filter(|file| file.fork == Fork::Init)
        .map(|file| file.relation.to_vec())
        .collect();
    if unlogged.is_empty() {
        return;
    }
    let mut index = 0;
    let before = listed.tasks.len();
    listed.tasks.retain(|task| {
        let of_item = index >= first;
        index += 1;
        let file = relation_file(&task.entry.path).filter(|file| file.fork != Fork::Init);
        !(of_item && file.is_some_and(|file| unlogged.contains(file.relation)))
    });
    listed.unlogged += (before - listed.tasks.len()) as u64;
}

/// A configuration file from elsewhere takes the place of one of the same name in the data directory.
fn replace_by_outside_files(plan: &CopyPlan, listed: &mut Listed) {
    let is_outside = |item: &CopyItem| matches!(item.content, ItemContent::Config { .. });
    let target = |task: &Task| {
        let item = plan.items.get(task.item)?;
        Some((is_outside(item), below(&item.destination, &task.entry.path)))
    };
    let outside: HashSet<PathBuf> = listed
        .tasks
        .iter()
        .filter(|task| plan.items.get(task.item).is_some_and(is_outside))
        .filter_map(|task| Some(target(task)?.1))
        .collect();
    if !outside.is_empty() {
        listed.tasks.retain(|task| {
            target(task).is_none_or(|(is_outside, path)| is_outside || !outside.contains(&path))
        });
    }
}

/// A single file: looked at through its directory's listing would cost more than it tells; the fetch will say.
fn list_file(
    plan: &CopyPlan,
    index: usize,
    item: &CopyItem,
    control: &mut Connection,
    listed: &mut Listed,
) -> Result<(), CopyError> {
    if let Some(parent) = item.destination.parent() {
        durable::create_dir_all(parent)?;
    }
    let entry = match control.call(&Request::Look {
        path: bytes_of(&item.source),
    })? {
        Response::Look(Some(entry)) => Entry {
            path: Box::default(),
            kind: EntryKind::File,
            ..entry
        },
        Response::Look(None) if item.content == (ItemContent::Config { optional: true }) => return Ok(()),
        Response::Look(None) => {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(PathError::new("copy", &item.source, gone).into());
        }
        other => return Err(unexpected(control, &other)),
    };
    // The control file is always read; it is tiny and changes all the time.
    let reference = match item.content {
        ItemContent::Control => None,
        _ => item.reference.as_deref().and_then(regular),
    };
    let action = decide(&entry, reference.as_ref(), plan.reuse, plan.safe_horizon);
    let list = if item.content == ItemContent::Control {
        &mut listed.last
    } else {
        &mut listed.tasks
    };
    list.push(Task {
        item: index,
        entry,
        action,
        attempt: None,
    });
    Ok(())
}

/// What the other side names must stay below the directory it was asked for.
fn check_path(entry: &Entry, control: &Connection) -> Result<(), CopyError> {
    let escapes = entry.path.starts_with(b"/")
        || entry.path.contains(&0)
        || entry.path.split(|byte| *byte == b'/').any(|part| part == b"..");
    if escapes {
        let reason = format!(
            "\"{}\" is not a path within the tree",
            String::from_utf8_lossy(&entry.path)
        );
        return Err(control.lost(FrameError::Protocol(reason)).into());
    }
    Ok(())
}

fn unexpected(control: &Connection, response: &Response) -> CopyError {
    let error: AgentError = control.lost(FrameError::Protocol(format!("unexpected answer {response:?}")));
    error.into()
}
