//! Advice about the backups there are.

use super::{Advice, Failed};
use crate::catalog::{BackupId, BackupInfo, BackupStatus};

/// The most failed backups that are named.
const NAMED: usize = 3;

/// The most characters of a reason that are shown.
const LENGTH: usize = 160;

impl Failed<'_> {
    /// The newest backup, when it is not over yet.
    fn under_way(&self) -> Option<Advice> {
        let (id, info) = self.context.backups().iter().next_back()?;
        match info.status {
            BackupStatus::WaitingForWals => Some(
                Advice::not_yet(format!("backup {id} waits for the WAL of its end"))
                    .here(format!("barman switch-wal --force --archive {}", self.server())),
            ),
            BackupStatus::Empty | BackupStatus::Started | BackupStatus::Syncing if self.backup_runs() => {
                Some(Advice::not_yet(format!("backup {id} is being taken")))
            }
            _ => None,
        }
    }

    fn backup_runs(&self) -> bool {
        let lock = self.context.server.lock_file("backup");
        crate::base::lock::LockFile::is_held(&lock).unwrap_or(false)
    }

    /// There is no backup, or not a new one: what keeps one from being taken, or how to take it.
    fn take_one(&self, cause: String, broken: bool) -> Advice {
        let command = format!("barman backup {}", self.server());
        if let Some(check) = self.obstacles.first() {
            return Advice::follows(check, cause).here(command);
        }
        let advice = if broken {
            Advice::broken(cause)
        } else {
            Advice::not_yet(cause)
        };
        advice.here(command)
    }

    pub(super) fn too_few_backups(&self) -> Advice {
        if self.context.unreadable().is_some() {
            return Advice::follows("failed backups", "the catalog cannot be read");
        }
        if let Some(advice) = self.under_way() {
            return advice;
        }
        let cause = if self.context.newest().is_none() {
            "no backup has been taken yet".to_owned()
        } else {
            "fewer full backups than minimum_redundancy asks for have been taken so far".to_owned()
        };
        self.take_one(cause, false)
    }

    pub(super) fn old_backup(&self) -> Advice {
        if let Some(advice) = self.under_way() {
            return advice;
        }
        let Some((newest, _)) = self.context.newest() else {
            return self.take_one("no backup has been taken yet".to_owned(), false);
        };
        let later = self
            .context
            .backups()
            .range(newest.clone()..)
            .next_back()
            .filter(|(id, info)| *id != newest && info.status == BackupStatus::Failed);
        match later {
            Some((id, info)) => {
                self.take_one(format!("the newest backup {id} failed: {}", reason(info)), true)
            }
            None => self.take_one(
                format!("no backup was taken since {newest}: does anything run 'barman backup' regularly?"),
                true,
            ),
        }
    }

    pub(super) fn small_backup(&self) -> Advice {
        match self.context.newest() {
            None => self.take_one("no backup has been taken yet".to_owned(), false),
            Some((id, _)) => {
                Advice::broken("the newest backup is smaller than last_backup_minimum_size says it should be")
                    .here(format!("barman show-backup {} {id}", self.server()))
                    .file(
                        self.file_of("last_backup_minimum_size"),
                        "last_backup_minimum_size, if the database became smaller on purpose",
                    )
            }
        }
    }

    pub(super) fn failed_backups(&self) -> Advice {
        if let Some(reason) = self.context.unreadable() {
            return Advice::broken(reason)
                .note("restore the file from another copy, or move it aside; nothing is deleted meanwhile");
        }
        let failed: Vec<(&BackupId, &BackupInfo)> = self
            .context
            .backups()
            .iter()
            .rev()
            .filter(|(_, info)| info.status == BackupStatus::Failed)
            .collect();
        let cause = failed.first().map_or_else(String::new, |(id, info)| {
            format!("the newest failed backup is {id}: {}", reason(info))
        });
        failed
            .iter()
            .take(NAMED)
            .fold(Advice::broken(cause), |advice, (id, _)| {
                advice.here(format!("barman delete {} {id}", self.server()))
            })
    }
}

/// The first line of why a backup failed.
fn reason(info: &BackupInfo) -> String {
    let line = info.error.as_deref().and_then(|error| error.lines().next());
    let line = line.unwrap_or("the reason is in the log").trim();
    if line.chars().count() <= LENGTH {
        line.to_owned()
    } else {
        line.chars().take(LENGTH).chain(['…']).collect()
    }
}
