//! Whether a backup is a full or an incremental one, and on which parent it builds.
//!
//! `--incremental auto`, and a server that has a `full_backup_interval`, leave the choice to us, so that one line of cron
//! (`barman backup all`) makes a chain a week. The rule: a full backup when the newest full one is too old, or when no
//! backup can be a parent; else an incremental one on the newest backup that can.

use chrono::TimeDelta;

use crate::base::calendar::Timestamp;
use crate::catalog::{BackupId, BackupInfo, BackupType, Backups};
use crate::config::ServerConfig;

use super::BackupOptions;

/// What an operator, or the configuration, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    /// A full backup.
    Full,
    /// An incremental one on the backup that this word names.
    On(&'a str),
    /// Whichever is due.
    Auto,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The parent; `None` for a full backup.
    pub(super) parent: Option<BackupId>,
    /// Why, for the log.
    pub(super) reason: String,
}

/// How early a full backup may come. Cron does not start to the second: were the interval taken literally, a weekly
/// full backup would wander to the next day whenever the run was a second early.
const EARLY: TimeDelta = TimeDelta::hours(1);

impl Wish<'_> {
    /// The wish that a command line and a configuration amount to.
    pub(super) fn of<'a>(options: &'a BackupOptions, config: &ServerConfig) -> Wish<'a> {
        match options.incremental.as_deref() {
            _ if options.full => Wish::Full,
            Some("auto") => Wish::Auto,
            Some(parent) => Wish::On(parent),
            None if config.full_backup_interval.is_some() => Wish::Auto,
            None => Wish::Full,
        }
    }
}

/// What is due at `now` with these backups, full ones coming every `interval`. `sound` says why a backup cannot be the
/// parent; it is asked from the newest to the oldest, until one can.
pub(super) fn choose(
    backups: &Backups,
    interval: Option<TimeDelta>,
    now: &Timestamp,
    mut sound: impl FnMut(&BackupInfo) -> Result<(), String>,
) -> Choice {
    let full = |reason: String| Choice {
        parent: None,
        reason: format!("Taking a full backup: {reason}."),
    };
    let copied = || backups.values().rev().filter(|info| info.status.copy_done());
    let Some(newest_full) = copied().find(|info| !info.is_incremental()) else {
        return full("there is none yet".to_owned());
    };
    if let Some(interval) = interval
        && is_due(newest_full, interval, now)
    {
        return full(format!(
            "the newest one, {}, is as old as full_backup_interval",
            newest_full.id
        ));
    }
    let mut objection = None;
    for info in copied().filter(|info| info.backup_type() != BackupType::Snapshot) {
        match sound(info) {
            Ok(()) => {
                return Choice {
                    parent: Some(info.id.clone()),
                    reason: format!("Taking an incremental backup on backup {}.", info.id),
                };
            }
            Err(reason) => {
                objection.get_or_insert_with(|| {
                    format!(
                        "backup {} cannot be the parent of an incremental one: {reason}",
                        info.id
                    )
                });
            }
        }
    }
    full(objection.unwrap_or_else(|| "no backup can be the parent of an incremental one".to_owned()))
}

/// Whether a full backup that began `interval` ago, or nearly so, is due again. One without a time is.
fn is_due(info: &BackupInfo, interval: TimeDelta, now: &Timestamp) -> bool {
    let early = EARLY.min(interval / 10);
    info.begin_time
        .is_none_or(|begin| now.signed_duration_since(begin) >= interval - early)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::calendar;
    use crate::catalog::BackupStatus;

    /// A week from a full backup on Sunday: an incremental one each day, and one that failed.
    fn week() -> Backups {
        let backup = |day: u32, parent: Option<u32>, status| {
            let id = |day| BackupId::parse(&format!("202601{day:02}T010000")).unwrap();
            let mut info = BackupInfo::empty(id(day));
            info.begin_time = calendar::parse(&format!("2026-01-{day:02} 01:00:07+00:00"));
            info.parent_backup_id = parent.map(id);
            info.mode = Some(parent.map_or("rsync-concurrent", |_| "postgres").to_owned());
            info.status = status;
            (info.id.clone(), info)
        };
        Backups::from([
            backup(4, None, BackupStatus::Done),
            backup(5, Some(4), BackupStatus::Done),
            backup(6, Some(5), BackupStatus::WaitingForWals),
            backup(7, Some(6), BackupStatus::Failed),
        ])
    }

    fn parent(
        interval: Option<i64>,
        now: &str,
        sound: impl FnMut(&BackupInfo) -> Result<(), String>,
    ) -> (Option<String>, String) {
        let now = calendar::parse(now).unwrap();
        let choice = choose(&week(), interval.map(TimeDelta::days), &now, sound);
        (choice.parent.map(|id| id.to_string()), choice.reason)
    }

    #[test]
    fn the_newest_sound_backup_is_the_parent() {
        let (found, reason) = parent(Some(7), "2026-01-08 01:00:00+00:00", |_| Ok(()));
        assert_eq!(found.as_deref(), Some("20260106T010000"));
        assert_eq!(reason, "Taking an incremental backup on backup 20260106T010000.");
        let only_full = |info: &BackupInfo| {
            if info.is_incremental() {
                Err("no".to_owned())
            } else {
                Ok(())
            }
        };
        let (found, _) = parent(None, "2030-01-08 01:00:00+00:00", only_full);
        assert_eq!(found.as_deref(), Some("20260104T010000"));
    }

    #[test]
    fn the_interval_and_the_lack_of_a_parent_make_a_full_one() {
        // Cron was two seconds early: a week later it is Sunday all the same. Saturday is not.
        let (found, reason) = parent(Some(7), "2026-01-11 01:00:05+00:00", |_| Ok(()));
        assert_eq!(found, None);
        assert_eq!(
            reason,
            "Taking a full backup: the newest one, 20260104T010000, is as old as full_backup_interval."
        );
        let (found, _) = parent(Some(7), "2026-01-10 23:00:05+00:00", |_| Ok(()));
        assert!(found.is_some());
        let (found, reason) = parent(Some(7), "2026-01-08 01:00:00+00:00", |info| {
            Err(format!("{} is odd", info.status))
        });
        assert_eq!(found, None);
        assert_eq!(
            reason,
            "Taking a full backup: backup 20260106T010000 cannot be the parent of an incremental one: WAITING_FOR_WALS is odd."
        );
        let choice = choose(&Backups::new(), None, &calendar::now(), |_| Ok(()));
        assert_eq!(
            (choice.parent, choice.reason.as_str()),
            (None, "Taking a full backup: there is none yet.")
        );
    }

    #[test]
    fn the_command_line_comes_before_the_configuration() {
        let mut options = BackupOptions::default();
        let mut config = ServerConfig::default();
        assert_eq!(Wish::of(&options, &config), Wish::Full);
        config.full_backup_interval = Some(TimeDelta::days(7));
        assert_eq!(Wish::of(&options, &config), Wish::Auto);
        options.full = true;
        assert_eq!(Wish::of(&options, &config), Wish::Full);
        options.full = false;
        options.incremental = Some("latest".to_owned());
        assert_eq!(Wish::of(&options, &config), Wish::On("latest"));
        options.incremental = Some("auto".to_owned());
        config.full_backup_interval = None;
        assert_eq!(Wish::of(&options, &config), Wish::Auto);
    }
}
