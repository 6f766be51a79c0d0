//! What a copy did.

use std::path::PathBuf;

/// What a copy did.
#[derive(Debug, Clone, Default)]
pub struct CopyReport {
    /// Per item, in the order of the plan.
    pub items: Vec<ItemReport>,
    /// Workers that copied.
    pub workers: usize,
    /// Seconds from the first to the last moment.
    pub total_seconds: f64,
    /// Seconds of listing and comparing, over all items, overlaps counted once.
    pub analysis_seconds: f64,
    /// Seconds of copying, over all items, overlaps counted once.
    pub copy_seconds: f64,
    /// Bytes of all files of the copy.
    pub total_bytes: u64,
    /// Bytes of the files that are not hard links to the previous backup.
    pub stored_bytes: u64,
    /// Payload bytes that crossed the connection towards the backup (after compression).
    pub wire_bytes: u64,
    /// Files of the copy.
    pub files: u64,
    /// Files shared with the previous backup by hard link or local copy.
    pub reused_files: u64,
    /// Files that were listed and gone when their turn came: normal on a live server.
    pub vanished: Vec<PathBuf>,
    /// Files and links that were skipped because they are neither (dangling links, sockets, devices).
    pub skipped: Vec<PathBuf>,
    /// Pages whose checksum is wrong, after a second look.
    pub corrupt: Vec<CorruptBlock>,
    /// Files of a backup that are not what they were when it was taken, by their destinations (restore only).
    pub damaged: Vec<PathBuf>,
    /// Bytes of all files as they are stored: of an incremental copy less than [`CopyReport::total_bytes`].
    pub backup_bytes: u64,
    /// What an incremental copy made of relation files.
    pub blocks: BlockReport,
    /// How the files were moved.
    pub method: Method,
    /// Lines that came from the other host outside the protocol (login banners): Barman's "ssh output clean" check.
    pub noise: Vec<String>,
}

/// How the files were moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Method {
    /// By the agent.
    #[default]
    Agent,
    /// By rsync on both ends, because the agent could not run.
    Rsync {
        /// Why the agent could not run.
        reason: String,
    },
}

/// What was done for one item, for `copy_stats`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemReport {
    /// The label of the plan.
    pub label: String,
    /// Seconds of listing and comparing; `None` for single files, which Barman does not analyse.
    pub analysis_seconds: Option<f64>,
    /// Seconds from the first to the last file.
    pub copy_seconds: f64,
    /// Seconds of all workers together.
    pub serialized_copy_seconds: f64,
    /// Files of the item.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A page whose checksum is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptBlock {
    /// The file on the source host.
    pub path: PathBuf,
    /// The block's number within the file (blocks of 8192 bytes).
    pub block: u64,
    /// The checksum the page's content gives.
    pub computed: u16,
    /// The checksum the page says.
    pub stored: u16,
}

/// What an incremental copy made of relation files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockReport {
    /// Unchanged by size and time: not read.
    pub unchanged: u64,
    /// Whose changed blocks were found by LSN.
    pub by_lsn: u64,
    /// Those blocks.
    pub blocks_by_lsn: u64,
    /// Whose changed blocks were found by hash.
    pub by_hash: u64,
    /// Those blocks.
    pub blocks_by_hash: u64,
    /// Taken whole because most of their blocks changed.
    pub mostly_changed: u64,
    /// Whose LSNs did not tell all changes, as their sum showed: they were compared by hash.
    pub lsn_refuted: u64,
    /// Whose parent's file turned out to be damaged: they were taken whole.
    pub parent_damaged: u64,
    /// Of unlogged relations: left out.
    pub unlogged: u64,
}
