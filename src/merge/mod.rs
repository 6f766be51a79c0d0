//! Merging a chain: a full backup and the incremental ones up to a chosen one become one full backup, the chosen one, on the
//! backup host alone. With it a chain can go on for ever: its tail is merged now and then instead of copying everything.
//!
//! The files of the full backup are changed in place to what the chosen backup is, so the cost follows the changed blocks;
//! then the two directories exchange their names, the chosen backup becomes a full one in the catalog, and the others are
//! deleted as `delete` does.
//!
//! # Why a crash does no harm
//!
//! A chain is read from its newest member, and blocks that a newer member lists are never read from an older one. So the
//! chosen backup, and everything that builds on it, can be put together at every instant, by barkeep as by PostgreSQL's
//! `pg_combinebackup`: whatever is written into the full backup is either not read or already what would have been read.
//! What does suffer are the full backup and the ones in between: they are marked as failed, durably, before the first
//! write. All steps can be repeated; a journal (`meta/{id}-barkeep-merge.json`) tells that they have to be. `merge` with the
//! same backup finishes the work, and so does `cron`.
//!
//! ```text
//! plan      what would be done, or why not      journal   that it has begun
//! tree      the root becomes the chosen backup  patch     one file of it
//! checksums of the result                       finish    names, catalog, deletion
//! ```

mod checksums;
mod error;
mod finish;
mod journal;
mod parts;
mod patch;
mod plan;
mod planning;
mod tree;

use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::catalog::{BackupId, Catalog};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

pub use error::MergeError;
pub use journal::unfinished;
pub use parts::Work;
pub use plan::{MergePlan, Stage};

/// What a merge did.
#[derive(Debug, Default)]
pub struct MergeReport {
    /// What was written.
    pub work: Work,
    /// Files that are not what they were when the backup was taken: one of the backups is damaged, and was so before.
    pub damaged: Vec<String>,
}

impl MergeReport {
    /// Tells what is wrong with the backup.
    pub fn warn(&self, reporter: &dyn Reporter) {
        for path in &self.damaged {
            reporter.error(&format!(
                "\"{path}\" is not what it was when the backup was taken: a backup of the chain was damaged before the merge"
            ));
        }
    }
}

/// Merges backups of one server.
#[derive(Clone, Copy)]
pub struct Merge<'a> {
    /// The server.
    pub config: &'a ServerConfig,
    /// Its catalog.
    pub catalog: &'a Catalog,
    /// Its hook scripts: those of `delete` run for the backups that go. There are none for merging.
    pub hooks: &'a HookRunner,
    /// Files changed at the same time.
    pub jobs: usize,
    /// Where the lines go.
    pub reporter: &'a dyn Reporter,
}

impl Merge<'_> {
    /// What merging everything that `id` builds on into it would do. Changes nothing.
    ///
    /// # Errors
    /// It must not or cannot be done.
    pub fn plan(&self, id: &BackupId) -> Result<MergePlan, MergeError> {
        planning::make(self, id)
    }

    /// Plans and merges, while nothing else can change the backups.
    ///
    /// # Errors
    /// It must not be done, a backup is in use, or a step failed. Once the first write has happened, doing it again goes on.
    pub fn run(&self, id: &BackupId) -> Result<MergeReport, MergeError> {
        let _server = self.lock(self.catalog.locks().backup(), None)?;
        let plan = self.plan(id)?;
        self.apply(&plan)
    }

    /// Carries out a plan. The lock of [`crate::catalog::Locks::backup`] must be held.
    fn apply(&self, plan: &MergePlan) -> Result<MergeReport, MergeError> {
        let mut report = MergeReport::default();
        let mut held = Vec::new();
        for id in plan.members() {
            held.push(self.lock(self.catalog.locks().backup_id(id), Some(id))?);
        }
        if plan.stage == Stage::Patch {
            journal::begin(self, plan)?;
            report = tree::bring_up_to(self, plan)?;
            finish::prepare(self, plan)?;
        }
        if plan.stage != Stage::Delete {
            finish::exchange(self, plan)?;
            finish::record(self, plan)?;
        }
        drop(held);
        finish::delete(self, plan)?;
        Ok(report)
    }

    fn lock(
        &self,
        lock: Result<LockFile, LockError>,
        backup: Option<&BackupId>,
    ) -> Result<LockFile, MergeError> {
        lock.map_err(|error| match (error, backup) {
            (LockError::Busy { .. }, None) => MergeError::ServerBusy {
                server: self.catalog.server().to_owned(),
            },
            (LockError::Busy { .. }, Some(id)) => MergeError::BackupBusy {
                id: id.clone(),
                server: self.catalog.server().to_owned(),
            },
            (other, _) => MergeError::Lock(other),
        })
    }
}
