//! The recovery target: what was asked for, checked against the backup (behaviour reference §17.3).

use crate::base::calendar::{self, Timestamp};
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::Timeline;

use super::options::{RestoreOptions, TargetAction, TargetTimeline};
use super::source::BackupSource;
use super::target_time;

/// The longest name of a restore point, in bytes (PostgreSQL's `MAXFNAMELEN` less its terminator).
const LONGEST_NAME: usize = 63;

/// Where recovery stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At a time.
    Time(Timestamp),
    /// At a transaction.
    Xid(String),
    /// At a position, with the text as typed.
    Lsn(Lsn, String),
    /// At a named restore point.
    Name(String),
    /// Once the backup is consistent.
    Immediate,
}

/// Everything that makes a recovery a point-in-time recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// Where to stop; `None` for the end of the WAL.
    pub target: Option<Target>,
    /// The timeline to follow, as typed.
    pub timeline: Option<TargetTimeline>,
    /// Stop just before the target.
    pub exclusive: bool,
    /// What to do then.
    pub action: Option<TargetAction>,
}

/// A target that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// More than one target.
    #[error("You cannot specify multiple targets for the recovery operation")]
    Several,
    /// The time is not understood.
    #[error("Unable to parse the target time parameter {}: {source}", python_repr(text))]
    Time {
        /// As typed.
        text: String,
        /// Why.
        source: target_time::TargetTimeError,
    },
    /// The backup was still running at the target time.
    #[error(
        "The requested target time {} is before the backup end time {}",
        calendar::python_str(target),
        calendar::python_str(end)
    )]
    BeforeBackupEnd {
        /// The target.
        target: Timestamp,
        /// The end of the backup.
        end: Timestamp,
    },
    /// The position is before the end of the backup.
    #[error("The requested target LSN {target} is before the backup end LSN {end}")]
    LsnBeforeBackupEnd {
        /// The target.
        target: Lsn,
        /// The end of the backup.
        end: Lsn,
    },
    /// The position is none.
    #[error("Invalid LSN: '{0}'")]
    Lsn(String),
    /// The transaction id is none.
    #[error("Invalid transaction id: '{0}' (it must be a decimal number)")]
    Xid(String),
    /// No restore point can have this name.
    #[error(
        "Invalid restore point name {}: it must have 1 to 63 bytes and no control characters",
        python_repr(_0)
    )]
    Name(String),
    /// An action without a target.
    #[error("Can't enable recovery target action when PITR is not required")]
    ActionWithoutTarget,
    /// An action that this PostgreSQL does not know.
    #[error("Illegal target action '{0}' for this version of PostgreSQL")]
    Action(&'static str),
    /// A target that this PostgreSQL does not know.
    #[error(
        "Illegal use of recovery_target_{what} for this version of PostgreSQL (version {minimum} minimum required)"
    )]
    Version {
        /// The target, and its value where it has one.
        what: String,
        /// The first version that knows it.
        minimum: &'static str,
    },
}

/// How many targets were given, and whether that is too many.
///
/// # Errors
/// More than one.
pub fn check_single(options: &RestoreOptions) -> Result<(), TargetError> {
    let given = [
        options.target_time.is_some(),
        options.target_xid.is_some(),
        options.target_lsn.is_some(),
        options.target_name.is_some(),
        options.target_immediate,
    ];
    match given.into_iter().filter(|given| *given).count() {
        0 | 1 => Ok(()),
        _ => Err(TargetError::Several),
    }
}

/// Whether the target time, if there is one, names no zone, so that the zone of this machine is taken.
#[must_use]
pub fn assumes_zone(options: &RestoreOptions) -> bool {
    let parsed = options.target_time.as_deref().map(target_time::parse);
    matches!(parsed, Some(Ok(time)) if time.zone_assumed)
}

/// Reads the targets and checks them against the backup.
///
/// # Errors
/// Which target cannot be, and why.
pub fn analyse(options: &RestoreOptions, backup: &BackupSource) -> Result<Targets, TargetError> {
    check_single(options)?;
    let mut targets = Targets {
        timeline: options.target_timeline,
        exclusive: options.exclusive,
        action: options.target_action,
        ..Targets::default()
    };
    if let Some(text) = &options.target_time {
        let parsed = target_time::parse(text).map_err(|source| TargetError::Time {
            text: text.clone(),
            source,
        })?;
        targets.target = Some(Target::Time(after_backup(parsed.time, backup)?));
    }
    if let Some(text) = &options.target_xid {
        targets.target = Some(Target::Xid(transaction(text)?));
    }
    if let Some(text) = &options.target_lsn {
        targets.target = Some(position(text, backup)?);
    }
    if let Some(name) = &options.target_name {
        targets.target = Some(Target::Name(restore_point(name)?));
    }
    if options.target_immediate {
        if backup.version < 90_400 {
            return Err(version("immediate".to_owned(), "9.4"));
        }
        targets.target = Some(Target::Immediate);
    }
    targets.check_action(backup.version)?;
    Ok(targets)
}

fn after_backup(target: Timestamp, backup: &BackupSource) -> Result<Timestamp, TargetError> {
    match backup.end_time {
        Some(end) if target < end => Err(TargetError::BeforeBackupEnd { target, end }),
        _ => Ok(target),
    }
}

fn transaction(text: &str) -> Result<String, TargetError> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Xid(text.to_owned()));
    }
    Ok(text.to_owned())
}

fn position(text: &str, backup: &BackupSource) -> Result<Target, TargetError> {
    if backup.version < 100_000 {
        return Err(version(format!("lsn '{text}'"), "10"));
    }
    let target: Lsn = text.parse().map_err(|_| TargetError::Lsn(text.to_owned()))?;
    if target < backup.end_lsn {
        return Err(TargetError::LsnBeforeBackupEnd {
            target,
            end: backup.end_lsn,
        });
    }
    Ok(Target::Lsn(target, text.trim().to_owned()))
}

fn restore_point(name: &str) -> Result<String, TargetError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(TargetError::Name(name.to_owned()));
    }
    Ok(name.to_owned())
}

fn version(what: String, minimum: &'static str) -> TargetError {
    TargetError::Version { what, minimum }
}

impl Targets {
    /// Whether this is a point-in-time recovery.
    #[must_use]
    pub fn is_pitr(&self) -> bool {
        self.target.is_some() || self.timeline.is_some()
    }

    fn check_action(&self, version: u32) -> Result<(), TargetError> {
        let Some(action) = self.action else { return Ok(()) };
        if !self.is_pitr() {
            return Err(TargetError::ActionWithoutTarget);
        }
        let known = match action {
            _ if version >= 90_500 => true,
            TargetAction::Pause => version >= 90_100,
            TargetAction::Shutdown | TargetAction::Promote => false,
        };
        if known {
            Ok(())
        } else {
            Err(TargetError::Action(action.word()))
        }
    }

    /// What Barman prints after `Doing PITR. Recovery target `; `timeline` is the number that was asked for in effect.
    #[must_use]
    pub fn describe(&self, timeline: Timeline) -> String {
        let mut parts = Vec::new();
        let timeline = self
            .timeline
            .map(|_| format!("timeline: {}", python_repr(&timeline.to_string())));
        match &self.target {
            Some(Target::Time(time)) => {
                parts.push(format!("time: {}", python_repr(&calendar::python_str(time))));
            }
            Some(Target::Xid(xid)) => parts.push(format!("xid: {}", python_repr(xid))),
            Some(Target::Lsn(_, text)) => parts.push(format!("lsn: {}", python_repr(text))),
            Some(Target::Name(_) | Target::Immediate) | None => {}
        }
        parts.extend(timeline);
        match &self.target {
            Some(Target::Name(name)) => parts.push(format!("name: {}", python_repr(name))),
            Some(Target::Immediate) => parts.push("immediate: True".to_owned()),
            _ => {}
        }
        parts.join(", ")
    }
}

/// A text as Python's `repr` writes it.
#[must_use]
pub fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut repr = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => repr.push_str("\\\\"),
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            other if other == quote => repr.extend(['\\', other]),
            other if other.is_control() => repr.push_str(&format!("\\x{:02x}", u32::from(other))),
            other => repr.push(other),
        }
    }
    repr.push(quote);
    repr
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recovery::source::tests::backup;

    fn options(change: impl FnOnce(&mut RestoreOptions)) -> RestoreOptions {
        let mut options = RestoreOptions::default();
        change(&mut options);
        options
    }

    fn failure(version: u32, change: impl FnOnce(&mut RestoreOptions)) -> String {
        let mut backup = backup();
        backup.version = version;
        analyse(&options(change), &backup).unwrap_err().to_string()
    }

    #[test]
    fn what_barman_refuses_in_its_words() {
        assert_eq!(
            failure(150_018, |options| {
                options.target_time = Some("x".to_owned());
                options.target_immediate = true;
            }),
            "You cannot specify multiple targets for the recovery operation"
        );
        assert_eq!(
            failure(150_018, |options| options.target_time =
                Some("2020-01-01Z".to_owned())),
            "Unable to parse the target time parameter '2020-01-01Z': Unknown string format: 2020-01-01Z"
        );
        assert_eq!(
            failure(150_018, |options| options.target_time =
                Some("2020-01-01 00:00:00Z".to_owned())),
            "The requested target time 2020-01-01 00:00:00+00:00 is before the backup end time \
             2026-11-21 01:53:01.511239+00:00"
        );
        assert_eq!(
            failure(150_018, |options| options.target_action =
                Some(TargetAction::Promote)),
            "Can't enable recovery target action when PITR is not required"
        );
        assert_eq!(
            failure(90_300, |options| options.target_lsn =
                Some("0/1716C10".to_owned())),
            "Illegal use of recovery_target_lsn '0/1716C10' for this version of PostgreSQL (version 10 minimum required)"
        );
        assert_eq!(
            failure(90_300, |options| options.target_immediate = true),
            "Illegal use of recovery_target_immediate for this version of PostgreSQL (version 9.4 minimum required)"
        );
        assert_eq!(
            failure(90_300, |options| {
                options.target_xid = Some("3".to_owned());
                options.target_action = Some(TargetAction::Promote);
            }),
            "Illegal target action 'promote' for this version of PostgreSQL"
        );
    }

    #[test]
    fn what_could_break_the_configuration_is_refused() {
        for name in ["", "a\nrestore_command = 'rm'", &"n".repeat(64)] {
            assert!(
                failure(150_018, |options| options.target_name = Some(name.to_owned()))
                    .contains("restore point")
            );
        }
        for xid in ["", "x", "3'", "-1"] {
            assert!(
                failure(150_018, |options| options.target_xid = Some(xid.to_owned())).contains("transaction")
            );
        }
        for lsn in ["zz", "0/", "0/1'"] {
            assert!(failure(150_018, |options| options.target_lsn = Some(lsn.to_owned())).contains("LSN"));
        }
        assert!(
            failure(150_018, |options| options.target_lsn =
                Some("0/F00000".to_owned()))
            .contains("before")
        );
    }

    #[test]
    fn description() {
        let describe = |change: fn(&mut RestoreOptions), timeline| {
            analyse(&options(change), &backup()).unwrap().describe(timeline)
        };
        assert_eq!(
            describe(
                |options| options.target_time = Some("2027-01-01 00:00+02".to_owned()),
                1
            ),
            "time: '2027-01-01 00:00:00+02:00'"
        );
        assert_eq!(
            describe(
                |options| {
                    options.target_name = Some("m'1".to_owned());
                    options.target_timeline = Some(TargetTimeline::Latest);
                },
                2
            ),
            "timeline: '2', name: \"m'1\""
        );
        assert_eq!(
            describe(
                |options| {
                    options.target_xid = Some("735".to_owned());
                    options.target_timeline = Some(TargetTimeline::Current);
                },
                1
            ),
            "xid: '735', timeline: '1'"
        );
        assert_eq!(
            describe(|options| options.target_immediate = true, 1),
            "immediate: True"
        );
    }
}
