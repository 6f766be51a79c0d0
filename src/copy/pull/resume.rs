//! Taking over what a failed attempt at a backup has copied already.
//!
//! A file of an attempt gets the time of its source when it is complete and compared with the source's hash, never
//! before. So equal size and time, and a time well before the attempt began, say that the file is what the source still
//! has: this is the rule by which files of the previous backup are taken over. Whatever else the attempt holds, half
//! written files too, serves as the old file of a comparison by content.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Pull, Task, regular};
use crate::agent::message::{Attributes, Entry, Time};
use crate::base::error::{PathContext, PathError};
use crate::copy::compare::{Action, delta_for, is_before, linkable};
use crate::copy::local;
use crate::copy::plan::{CopyPlan, Resume, Reuse};

/// Before an attempt began by so much, a file's time is beyond doubt, whatever the resolution of its file system.
const CLOCK_DOUBT: Duration = Duration::from_secs(2);

/// The attempt whose file is to be used for `target`, and how; `reference` is the previous backup's file.
pub(super) fn find(
    plan: &CopyPlan,
    target: &Path,
    entry: &Entry,
    reference: Option<&Metadata>,
) -> Option<(usize, Action)> {
    let resume = plan.resume.as_ref()?;
    let mut longest: Option<(usize, u64)> = None;
    for (index, attempt) in resume.attempts.iter().enumerate() {
        let Some(left) = resume.path(index, target).as_deref().and_then(regular) else {
            continue;
        };
        // To the nanosecond: a file that is being written has a time of this host's clock, which may be slow.
        if left.len() == entry.size && Time::modified(&left) == entry.attributes.modified {
            let unchanged = attempt
                .horizon
                .and_then(|horizon| horizon.checked_sub(CLOCK_DOUBT))
                .is_some_and(|horizon: SystemTime| is_before(entry.attributes.modified, horizon));
            let action = if unchanged { Action::Reuse } else { Action::Compare };
            return Some((index, action));
        }
        if longest.is_none_or(|(_, length)| left.len() > length) {
            longest = Some((index, left.len()));
        }
    }
    // What was being written when the attempt ended, or has changed since. The previous backup's file is complete.
    let (index, length) = longest.filter(|_| reference.is_none() || plan.reuse == Reuse::Off)?;
    match delta_for(entry, length) {
        Action::Whole => None,
        action => Some((index, action)),
    }
}

impl Resume {
    /// The file of an attempt that stands for the file `target` of this backup.
    fn path(&self, attempt: usize, target: &Path) -> Option<PathBuf> {
        let relative = target.strip_prefix(&self.directory).ok()?;
        Some(self.attempts.get(attempt)?.directory.join(relative))
    }

    /// How many attempts have this very file.
    fn holders(&self, target: &Path, file: &Metadata) -> u64 {
        let same = |index: &usize| {
            let left = self.path(*index, target).as_deref().and_then(regular);
            left.is_some_and(|left| left.ino() == file.ino() && left.dev() == file.dev())
        };
        (0..self.attempts.len()).filter(same).count() as u64
    }
}

impl Pull<'_> {
    /// The file of the failed attempt that a task is to use; `None` when it uses none.
    pub(super) fn attempt_path(&self, task: &Task, target: &Path) -> Option<PathBuf> {
        self.plan.resume.as_ref()?.path(task.attempt?, target)
    }

    /// Makes a file of a failed attempt one of this backup, too; whether older backups have it as well. `None` when it
    /// cannot be a link, and has to be copied.
    pub(super) fn move_over(
        &self,
        old: &Metadata,
        left: &Path,
        target: &Path,
        attributes: Attributes,
    ) -> Result<Option<bool>, PathError> {
        let Some(resume) = &self.plan.resume else {
            return Ok(None);
        };
        let shared = old.nlink() > resume.holders(target, old);
        if (shared && self.plan.reuse != Reuse::Link)
            || !linkable(attributes, old)
            || !local::link(left, target)?
        {
            return Ok(None);
        }
        if !shared {
            // Nobody waited for this file to be on disk when the attempt ended.
            let file = File::open(target).at("open", target)?;
            self.syncer.submit(file, target.to_path_buf())?;
        }
        Ok(Some(shared))
    }
}
