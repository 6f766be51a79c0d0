//! What to copy: the plans of a backup and of a restore.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::chain::Sums;
use crate::agent::filter::Filter;
use crate::postgres::lsn::Lsn;

/// A base backup to take.
#[derive(Debug, Clone)]
pub struct CopyPlan {
    /// What to copy, in Barman's order: tablespaces, PGDATA, `pg_control`, configuration files.
    pub items: Vec<CopyItem>,
    /// What to do with files that the previous backup has unchanged.
    pub reuse: Reuse,
    /// Begin time of the previous backup: files older than this and equal in size and time are unchanged; younger ones
    /// could have changed unseen, and are compared by content. `None`: everything is compared by content.
    pub safe_horizon: Option<SystemTime>,
    /// Parallel workers, each with a connection of its own (at least 1).
    pub jobs: usize,
    /// How fast the workers may start.
    pub pace: Pace,
    /// At most this many bytes × 1024 per second over all workers; `None` or zero for no limit. Items with a limit of their
    /// own do not count.
    pub bandwidth_kib: Option<u64>,
    /// Compress on the wire (`network_compression`).
    pub compress: bool,
    /// Verify page checksums while reading; `None` when the cluster has none.
    pub page_checks: Option<PageChecks>,
    /// The checksum that every file must have in the records, for the manifest. Without it, one is recorded wherever it
    /// costs no reading.
    pub manifest: Option<Checksum>,
    /// The manifest of the previous backup, to take over checksums of unchanged files without reading them, where it has
    /// no records.
    pub previous_manifest: Option<PathBuf>,
    /// What earlier attempts at this backup have left.
    pub resume: Option<Resume>,
    /// Where to record what is known of every file; `None` records nothing.
    pub records: Option<Records>,
    /// Where the reference began, when every change of a page leaves a later LSN there: else the pages of files that differ
    /// are compared by hash. For backups that are not incremental.
    pub since: Option<Lsn>,
    /// Store only the changed blocks of relation files.
    pub incremental: Option<Incremental>,
    /// How often to reconnect after a lost connection.
    pub retries: Retries,
}

/// Failed attempts whose files are taken over where they are still right. They are not to be used for anything else
/// afterwards: what they have alone is linked, whatever [`CopyPlan::reuse`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The directory of this backup, in which the destinations of all items lie.
    pub directory: PathBuf,
    /// The attempts, the newest first.
    pub attempts: Vec<Attempt>,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its directory, of the same layout as that of the backup.
    pub directory: PathBuf,
    /// As [`CopyPlan::safe_horizon`]: when it began. `None`: it may have files that never reached the disk, and everything
    /// is compared by content.
    pub horizon: Option<SystemTime>,
}

/// The records of a backup and of the one before it ([`super::records`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The file to write.
    pub path: PathBuf,
    /// The directory of the backup, in which the destinations of all items lie: paths are recorded relative to it.
    pub directory: PathBuf,
    /// The records of the reference, or of the parent; it may have none.
    pub previous: Option<PathBuf>,
    /// The file to write the hashes of pages to, if they are wanted.
    pub page_hashes: Option<PathBuf>,
    /// Those of the reference, or of the chain, the parent first; each may be missing.
    pub older_page_hashes: Vec<PathBuf>,
}

/// What an incremental backup builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incremental {
    /// The directories of the backups of the chain, the parent first, the full backup last. The references of the items lie
    /// in the first.
    pub members: Vec<PathBuf>,
    /// Where the parent began, when every change of a page leaves a later LSN there; else pages are compared by hash.
    pub since: Option<Lsn>,
}

/// One directory or file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyItem {
    /// The key of `copy_stats`: `pgdata`, `pg_control`, `config_file`, or a tablespace's name.
    pub label: String,
    /// What it is, which decides how it is treated.
    pub content: ItemContent,
    /// Absolute path on the source host: a directory for `Tablespace` and `Pgdata`, else a file.
    pub source: PathBuf,
    /// Where it goes: the directory itself, or for files the whole file name.
    pub destination: PathBuf,
    /// The same directory or file in the previous backup; `None` when it is new or nothing is reused.
    pub reference: Option<PathBuf>,
    /// What to leave out, in rsync's pattern language.
    pub filter: Filter,
    /// A limit of its own in place of the plan's, in the same unit; zero for no limit.
    pub bandwidth_kib: Option<u64>,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemContent {
    /// The directory of a tablespace.
    Tablespace,
    /// The data directory.
    Pgdata,
    /// `global/pg_control`, copied when everything else is done.
    Control,
    /// A configuration file outside PGDATA; an optional one may be missing.
    Config {
        /// Whether its absence is fine (`ident_file`).
        optional: bool,
    },
}

/// How unchanged files are taken from the previous backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// Not at all: everything is read at the source.
    #[default]
    Off,
    /// A hard link to the previous backup's file.
    Link,
    /// A copy of the previous backup's file (sharing its blocks where the file system can).
    Copy,
}

/// How page checksums are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageChecks {
    /// Where the backup started: pages with a later LSN are being changed, and WAL replay makes them right.
    pub start: Lsn,
}

/// How often a lost connection is made again (`basebackup_retry_times`, `basebackup_retry_sleep`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retries {
    /// Attempts after the first one.
    pub times: u32,
    /// Pause before each.
    pub sleep: Duration,
}

/// How fast the workers of a copy may start (`parallel_jobs_start_batch_size`, `parallel_jobs_start_batch_period`): sshd
/// refuses connections when too many come at once (`MaxStartups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At most so many workers start …
    pub batch: usize,
    /// … in so much time.
    pub period: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            batch: 10,
            period: Duration::from_secs(1),
        }
    }
}

impl Pace {
    /// The values of the options; the period is in seconds.
    #[must_use]
    pub fn of(batch_size: u32, batch_period: u32) -> Pace {
        Pace {
            batch: usize::try_from(batch_size).unwrap_or(usize::MAX),
            period: Duration::from_secs(batch_period.into()),
        }
    }

    /// How many of `workers` start with the first one, which counts.
    #[must_use]
    pub fn at_once(self, workers: usize) -> usize {
        workers.min(self.batch).max(1)
    }

    /// How long after the first one a worker starts; workers count from 0.
    #[must_use]
    pub fn delay(self, worker: usize) -> Duration {
        let batch = worker / self.batch.max(1);
        self.period
            .saturating_mul(u32::try_from(batch).unwrap_or(u32::MAX))
    }
}

pub use crate::postgres::manifest::Checksum;

/// A restore to perform.
#[derive(Debug, Clone)]
pub struct PushPlan {
    /// What to copy: tablespaces, then PGDATA.
    pub items: Vec<PushItem>,
    /// `--delta-restore`: keep what the destination already has right, rewrite what differs, remove what does not belong.
    /// Without it the destinations are expected to be empty or absent, and nothing is ever removed.
    pub delta: bool,
    /// Parallel workers (at least 1).
    pub jobs: usize,
    /// As in [`CopyPlan::pace`].
    pub pace: Pace,
    /// As in [`CopyPlan::bandwidth_kib`].
    pub bandwidth_kib: Option<u64>,
    /// As in [`CopyPlan::compress`].
    pub compress: bool,
    /// As in [`CopyPlan::retries`].
    pub retries: Retries,
    /// What each file was when the backup was taken, to compare with what is read now; `None` when that is not known.
    pub sums: Option<Arc<dyn Sums>>,
}

/// One directory to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushItem {
    /// The name used in messages: `pgdata` or a tablespace's name.
    pub label: String,
    /// A directory of the backup, on this host.
    pub source: PathBuf,
    /// The same directory in the older backups of its chain, the newest of them first. Empty for a backup that is whole;
    /// else the source's `INCREMENTAL.` files stand for the files that they and these make together.
    pub older: Vec<PathBuf>,
    /// What precedes the paths of this item in [`PushPlan::sums`]: `data/`, or the oid of the tablespace and a slash.
    pub prefix: String,
    /// Absolute path on the destination host; created with mode 700 when missing.
    pub destination: PathBuf,
    /// What not to copy. At the destination, excluded files go in a delta restore, protected ones stay.
    pub filter: Filter,
    /// As in [`CopyItem::bandwidth_kib`].
    pub bandwidth_kib: Option<u64>,
    /// The names in the destination directory that a delta restore may clear out, a final `*` standing for anything; other
    /// names, and what lies below them, are somebody else's and stay. Empty: all may go.
    pub owned: Vec<String>,
}

impl PushItem {
    /// Whether a delta restore may remove `path` (relative to the destination) when the backup does not have it.
    #[must_use]
    pub fn owns(&self, path: &[u8]) -> bool {
        let top = path.split(|byte| *byte == b'/').next().unwrap_or(path);
        let matches = |name: &String| match name.strip_suffix('*') {
            Some(start) => top.starts_with(start.as_bytes()),
            None => top == name.as_bytes(),
        };
        self.owned.is_empty() || self.owned.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_start_in_batches() {
        let pace = Pace {
            batch: 2,
            period: Duration::from_secs(3),
        };
        let delays: Vec<u64> = (0..5).map(|worker| pace.delay(worker).as_secs()).collect();
        assert_eq!(delays, [0, 0, 3, 3, 6]);
        let at_once = Pace { batch: 0, ..pace };
        assert_eq!(at_once.delay(1).as_secs(), 3);
    }
}
