//! The states of a backup (catalog reference §4) and its types.

use std::fmt;

/// Where a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum BackupStatus {
    /// Created, not begun.
    #[default]
    Empty,
    /// PostgreSQL is in backup mode; the copy goes on.
    Started,
    /// Copied; not all WAL needed for consistency has arrived.
    WaitingForWals,
    /// Complete.
    Done,
    /// Not usable.
    Failed,
    /// A passive node is copying it.
    Syncing,
}

impl BackupStatus {
    const ALL: [BackupStatus; 6] = [
        BackupStatus::Empty,
        BackupStatus::Started,
        BackupStatus::WaitingForWals,
        BackupStatus::Done,
        BackupStatus::Failed,
        BackupStatus::Syncing,
    ];

    /// The word of `backup.info`, of listings and of `BARMAN_STATUS`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BackupStatus::Empty => "EMPTY",
            BackupStatus::Started => "STARTED",
            BackupStatus::WaitingForWals => "WAITING_FOR_WALS",
            BackupStatus::Done => "DONE",
            BackupStatus::Failed => "FAILED",
            BackupStatus::Syncing => "SYNCING",
        }
    }

    pub(super) fn parse(text: &str) -> Option<BackupStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether all data of the backup are here: `DONE` or `WAITING_FOR_WALS`.
    #[must_use]
    pub fn copy_done(self) -> bool {
        matches!(self, BackupStatus::Done | BackupStatus::WaitingForWals)
    }
}

impl fmt::Display for BackupStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What kind of backup it is; the letter of `list-backups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackupType {
    /// A copy of everything.
    Full,
    /// What changed since its parent.
    Incremental,
    /// A copy over ssh or of local files.
    Rsync,
    /// Snapshots of disks in a cloud.
    Snapshot,
}

impl BackupType {
    /// `F`, `I`, `R` or `S`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            BackupType::Full => 'F',
            BackupType::Incremental => 'I',
            BackupType::Rsync => 'R',
            BackupType::Snapshot => 'S',
        }
    }

    /// The word of the JSON output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BackupType::Full => "full",
            BackupType::Incremental => "incremental",
            BackupType::Rsync => "rsync",
            BackupType::Snapshot => "snapshot",
        }
    }
}
