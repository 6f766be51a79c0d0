//! What a merge works on: the directories, the files in them, the names of what is not complete, the amount of work.

use std::path::{Path, PathBuf};

/// What precedes the names of files that are not complete.
pub(super) const TEMPORARY: &str = ".barkeep-merge.";
/// Tells that the full backup's directory is complete: it lies in it, and goes with it when the names are exchanged.
pub(super) const MARK: &str = ".barkeep-merged";
/// The manifest that is written, until everything is complete.
pub(super) const MANIFEST: &str = "data/.barkeep-merge.manifest";
/// The records that are written, likewise.
pub(super) const RECORDS: &str = ".barkeep-merge.records";
/// The label that is written, likewise.
pub(super) const LABEL: &str = "data/.barkeep-merge.label";

/// The directories of the backups, the one that stays first, the full one last.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) members: Vec<PathBuf>,
}

impl Roots {
    pub(super) fn newest(&self) -> &Path {
        self.members.first().map_or(Path::new(""), |path| path)
    }

    pub(super) fn root(&self) -> &Path {
        self.members.last().map_or(Path::new(""), |path| path)
    }
}

/// The records of both backups.
pub(super) struct Records {
    pub(super) newest: PathBuf,
    pub(super) root: PathBuf,
}

/// A file of the newer backup.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path within the backup's directory.
    pub(super) stored: PathBuf,
    /// The path of what it stands for.
    pub(super) rebuilt: PathBuf,
    /// Only its changed blocks are stored.
    pub(super) blocks: bool,
}

/// How much there is to do, in files and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Files of the backup.
    pub files: u64,
    /// Files of the full backup to be changed in place.
    pub patched: u64,
    /// Files to be copied before they are changed, because other backups share them.
    pub copied: u64,
    /// Their bytes: less is written where the file system can share blocks.
    pub copied_bytes: u64,
    /// Blocks to be written.
    pub blocks: u64,
    /// Files that the backup has whole, which get another name.
    pub linked: u64,
    /// Files and directories of the full backup that the newer one does not have.
    pub removed: u64,
    /// Bytes by which files grow.
    pub growth: u64,
}

impl Work {
    /// Adds other work to this.
    pub(super) fn add(&mut self, other: Work) {
        self.files += other.files;
        self.patched += other.patched;
        self.copied += other.copied;
        self.copied_bytes += other.copied_bytes;
        self.blocks += other.blocks;
        self.linked += other.linked;
        self.removed += other.removed;
        self.growth += other.growth;
    }

    /// Bytes of room that it takes at most.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.growth + self.copied_bytes
    }
}
