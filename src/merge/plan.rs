//! The plan of a merge.

use std::path::PathBuf;

use super::Merge;
use super::parts::{Records, Roots, Work};
use crate::catalog::BackupId;

/// How far a merge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The files of the full backup are still to be changed.
    Patch,
    /// They are as they should be; the directories are to be exchanged (perhaps they are), and the catalog to be told.
    Exchange,
    /// What is left is to delete the older backups.
    Delete,
}

/// What a merge will do.
#[derive(Debug, Clone)]
pub struct MergePlan {
    /// The backup that becomes a full one.
    pub id: BackupId,
    /// The backups that go, the newest first, the full one last.
    pub older: Vec<BackupId>,
    /// How far it is.
    pub stage: Stage,
    /// It was begun before.
    pub resumed: bool,
    /// What is left of [`Stage::Patch`].
    pub work: Work,
}

impl MergePlan {
    /// Every backup that it concerns, the one that stays first.
    pub(super) fn members(&self) -> impl Iterator<Item = &BackupId> {
        std::iter::once(&self.id).chain(&self.older)
    }

    /// The full backup that goes.
    #[must_use]
    pub fn root(&self) -> &BackupId {
        self.older.last().unwrap_or(&self.id)
    }

    pub(super) fn records(&self, merge: &Merge<'_>) -> Records {
        let layout = merge.catalog.layout();
        Records {
            newest: layout.records_path(&self.id),
            root: layout.records_path(self.root()),
        }
    }

    pub(super) fn roots(&self, merge: &Merge<'_>) -> Roots {
        let directory = |id: &BackupId| -> PathBuf { merge.catalog.layout().base_dir(id) };
        Roots {
            members: self.members().map(directory).collect(),
        }
    }
}
