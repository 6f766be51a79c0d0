//! Listing the source, creating the directories, and deciding about every file.

use std::path::PathBuf;
use std::time::Instant;

use super::{Task, below, regular, resume};
use crate::agent::connection::{AgentError, Connection};
use crate::agent::message::{Attributes, Entry, EntryKind, Request, Response};
use crate::agent::serve::bytes_of;
use crate::base::durable;
use crate::base::error::PathError;
use crate::copy::CopyError;
use crate::copy::compare::decide;
use crate::copy::plan::{CopyItem, CopyPlan, ItemContent};
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
    /// Seconds spent per item; `None` for single files.
    pub(super) seconds: Vec<Option<f64>>,
}

/// Lists every item.
pub(super) fn list(plan: &CopyPlan, control: &mut Connection) -> Result<Listed, CopyError> {
    let mut listed = Listed::default();
    for (index, item) in plan.items.iter().enumerate() {
        let begin = Instant::now();
        match item.content {
            ItemContent::Tablespace | ItemContent::Pgdata => {
                durable::create_dir_all(&item.destination)?;
                list_directory(plan, index, item, control, &mut listed)?;
                listed.seconds.push(Some(begin.elapsed().as_secs_f64()));
            }
            ItemContent::Control | ItemContent::Config { .. } => {
                list_file(plan, index, item, control, &mut listed)?;
                listed.seconds.push(None);
            }
        }
    }
    Ok(listed)
}

fn list_directory(
    plan: &CopyPlan,
    index: usize,
    item: &CopyItem,
    control: &mut Connection,
    listed: &mut Listed,
) -> Result<(), CopyError> {
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
                    place(plan, index, item, entry, listed)?;
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

fn place(
    plan: &CopyPlan,
    index: usize,
    item: &CopyItem,
    entry: Entry,
    listed: &mut Listed,
) -> Result<(), CopyError> {
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
            let (attempt, action) = match resume::find(plan, &target, &entry, reference.as_ref()) {
                Some((attempt, action)) => (Some(attempt), action),
                None => {
                    let action = decide(&entry, reference.as_ref(), plan.reuse, plan.safe_horizon);
                    (None, action)
                }
            };
            listed.tasks.push(Task {
                item: index,
                entry,
                action,
                attempt,
            });
        }
        EntryKind::Symlink | EntryKind::Other => listed.skipped.push(below(&item.source, &entry.path)),
    }
    Ok(())
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
