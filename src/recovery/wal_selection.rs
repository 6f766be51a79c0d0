//! Which WAL a recovery needs, whether the archive has it, and what is delivered.
//!
//! Recovery reads segments one after the other along the way from the backup's timeline to the target timeline
//! ([`timelines`](super::timelines)); the first one that is missing ends it. Barman copies what it finds and says that all is well
//! (gotcha B4). Here the list is computed before anything is copied, by these rules:
//!
//! * Every segment from the backup's begin to its end is required, whatever the target: without them the
//!   cluster never becomes consistent.
//! * Up to a target position, every segment is required.
//! * Up to a target time, a hole is harmless when the segment before it was closed after that time: then
//!   every commit that counts is in front of the hole.
//! * A transaction, a named point, or "everything" can lie behind any hole, so any hole is fatal: what lies behind
//!   would be lost without a word. The one exception is a backup kept as standalone, whose later WAL is meant to be
//!   gone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::SegmentName;

use super::archived::{Archived, ArchivedFile};
use super::timelines::Path;

/// How much WAL is delivered behind the segment of a target position: the record at the target may continue
/// in later segments, or be the first one of the next. In bytes.
const BEYOND_TARGET: u64 = 16 * 1024 * 1024;

/// The most missing segments that a message names.
const NAMED: usize = 10;

/// Where recovery stops, as far as it decides which segments are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Once the backup is consistent.
    BackupEnd,
    /// At a position.
    At(Lsn),
    /// At the first commit after a time.
    After(SystemTime),
    /// Somewhere in the archive: at a transaction, at a named point, or at its end.
    Anywhere,
}

/// What is to be recovered.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The way through the timelines.
    pub path: &'a Path,
    /// The backup's first segment.
    pub begin: SegmentName,
    /// The backup's last segment.
    pub end: SegmentName,
    /// Where the backup ended.
    pub end_lsn: Lsn,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Where recovery stops.
    pub stop: Stop,
    /// Whether incomplete segments are delivered where there is no complete one.
    pub partial: bool,
    /// Whether WAL behind the backup's end is known to have been removed on purpose.
    pub standalone: bool,
}

/// A file to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name at the destination.
    pub name: String,
    /// Where it is in the archive.
    pub file: ArchivedFile,
}

/// What is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Histories, segments and labels, by name.
    pub files: Vec<Delivery>,
    /// Incomplete segments, under the names of complete ones.
    pub partials: Vec<Delivery>,
    /// What the operator should know, though it does not stop the recovery.
    pub notes: Vec<String>,
}

/// Consecutive segments that the archive does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first missing segment.
    pub first: SegmentName,
    /// How many are missing.
    pub count: u64,
    /// Bytes of a segment.
    pub segment_size: u64,
}

impl fmt::Display for Hole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = usize::try_from(self.count).unwrap_or(usize::MAX).min(NAMED);
        let names: Vec<String> =
            std::iter::successors(Some(self.first), |name| Some(name.next(self.segment_size)))
                .take(named)
                .map(|name| name.to_string())
                .collect();
        formatter.write_str(&names.join(", "))?;
        match self.count.saturating_sub(named as u64) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// The archive does not have what the recovery needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// WAL written during the backup: it can never become consistent.
    #[error(
        "WAL that the backup itself needs is missing from the archive: {hole}. Without it the restored cluster \
         cannot become consistent"
    )]
    OfBackup {
        /// What is missing.
        hole: Hole,
        /// Whether nothing later has been archived either: it may still arrive.
        at_the_end: bool,
    },
    /// A hole before the target.
    #[error(
        "WAL between the backup and the recovery target is missing from the archive: {hole}. Recovery would end \
         at {reachable}"
    )]
    BeforeTarget {
        /// What is missing.
        hole: Hole,
        /// The position up to which the archive is complete.
        reachable: Lsn,
        /// A target position that can be reached for certain: the start of the last segment before the hole. (At the
        /// very end of the archive there may be no record to stop at.)
        certain: Lsn,
    },
    /// The target position has not been archived yet.
    #[error("The recovery target {target} lies behind the end of the archived WAL, {reachable}")]
    TargetBehindEnd {
        /// The target.
        target: Lsn,
        /// The position up to which the archive is complete.
        reachable: Lsn,
    },
}

impl Missing {
    /// Whether what is missing may simply not have been archived yet.
    #[must_use]
    pub fn may_still_arrive(&self) -> bool {
        match self {
            Missing::OfBackup { at_the_end, .. } => *at_the_end,
            Missing::BeforeTarget { .. } => false,
            Missing::TargetBehindEnd { .. } => true,
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Missing::OfBackup { at_the_end: true, .. } => {
                "Wait until they are archived (barman switch-wal --force --archive), or use --get-wal"
                    .to_owned()
            }
            Missing::OfBackup { .. } => {
                "Bring them into the archive (barman rebuild-xlogdb afterwards), or restore another backup"
                    .to_owned()
            }
            Missing::BeforeTarget { certain, .. } => format!(
                "Bring them into the archive, or restore a later backup, or recover what can be reached with \
                 --target-lsn {certain}, or just the backup with --target-immediate; with --get-wal PostgreSQL goes as \
                 far as it can"
            ),
            Missing::TargetBehindEnd { reachable, .. } => format!(
                "Wait until it is archived (barman switch-wal --force --archive), or give a target before {reachable}"
            ),
        }
    }
}

/// Computes what is delivered.
///
/// # Errors
/// Needed WAL is missing.
pub fn select(wanted: &Wanted<'_>, archived: &Archived) -> Result<Selection, Missing> {
    let supply = Supply::new(wanted, archived);
    supply.check_backup()?;
    let (last, notes) = supply.last()?;
    let mut files: BTreeMap<String, ArchivedFile> = archived
        .histories
        .values()
        .map(|file| (file.name.clone(), file.clone()))
        .collect();
    let first = supply.first;
    let on_the_way = |name: &SegmentName| {
        let number = wanted.number(*name);
        (first..=last).contains(&number) && wanted.path.includes(*name, wanted.segment_size)
    };
    for (_, file) in archived.segments.iter().filter(|(name, _)| on_the_way(name)) {
        files.insert(file.name.clone(), file.clone());
    }
    // A label lies behind its segment (and is read by nobody: PostgreSQL has the one in the data directory).
    let behind_end = |name: &SegmentName| wanted.stop == Stop::BackupEnd && wanted.number(*name) == last;
    let labels = archived
        .labels
        .iter()
        .filter(|(name, _)| on_the_way(name) && !behind_end(name));
    for (_, file) in labels {
        files.insert(file.name.clone(), file.clone());
    }
    Ok(Selection {
        files: files
            .into_iter()
            .map(|(name, file)| Delivery { name, file })
            .collect(),
        partials: supply.partials(last),
        notes,
    })
}

impl Wanted<'_> {
    fn number(&self, name: SegmentName) -> u64 {
        name.start(self.segment_size).0 / self.segment_size.max(1)
    }

    fn number_at(&self, lsn: Lsn) -> u64 {
        lsn.0 / self.segment_size.max(1)
    }

    /// The name that PostgreSQL looks for first.
    fn name(&self, number: u64) -> SegmentName {
        let timeline = self
            .path
            .candidates(number, self.segment_size)
            .next()
            .unwrap_or_else(|| self.path.target());
        let start = Lsn(number.saturating_mul(self.segment_size));
        SegmentName::containing(timeline, start, self.segment_size)
    }

    fn start_of(&self, number: u64) -> Lsn {
        Lsn(number.saturating_mul(self.segment_size))
    }
}

/// The archive seen from one recovery.
struct Supply<'a> {
    wanted: &'a Wanted<'a>,
    archived: &'a Archived,
    first: u64,
    backup_end: u64,
    /// Usable segments by number, with the time the file PostgreSQL reads first was closed.
    usable: BTreeMap<u64, SystemTime>,
    /// The first number that is not usable.
    break_at: u64,
}

impl<'a> Supply<'a> {
    fn new(wanted: &'a Wanted<'a>, archived: &'a Archived) -> Supply<'a> {
        let first = wanted.number(wanted.begin);
        let mut usable: BTreeMap<u64, (SegmentName, SystemTime)> = BTreeMap::new();
        for (name, file) in &archived.segments {
            let number = wanted.number(*name);
            if number < first || !wanted.path.includes(*name, wanted.segment_size) {
                continue;
            }
            // Names come in the order of timelines: the newest one of a number is the one that PostgreSQL reads.
            usable.insert(number, (*name, file.modified));
        }
        if wanted.partial {
            for (name, file) in &archived.partials {
                let number = wanted.number(*name);
                if number >= first && wanted.path.includes(*name, wanted.segment_size) {
                    usable.entry(number).or_insert((*name, file.modified));
                }
            }
        }
        let usable = Self::without_dead_ends(wanted, usable);
        let break_at = (first..)
            .zip(usable.keys())
            .find(|(expected, number)| expected != *number)
            .map_or(first + usable.len() as u64, |(expected, _)| expected);
        Supply {
            wanted,
            archived,
            first,
            backup_end: wanted.number(wanted.end),
            usable,
            break_at,
        }
    }

    /// An ancestor's segment in place of the child's ends at the switch: nothing can follow it.
    fn without_dead_ends(
        wanted: &Wanted<'_>,
        mut usable: BTreeMap<u64, (SegmentName, SystemTime)>,
    ) -> BTreeMap<u64, SystemTime> {
        let newest = usable.keys().next_back().copied();
        let needed_until = match wanted.stop {
            Stop::BackupEnd => Some(wanted.end_lsn),
            Stop::At(lsn) => Some(lsn),
            Stop::After(_) | Stop::Anywhere => None,
        };
        let switch_of = |timeline| {
            wanted
                .path
                .stretches()
                .iter()
                .find(|stretch| stretch.timeline == timeline)
                .and_then(|stretch| stretch.end)
        };
        usable.retain(|number, (name, _)| {
            wanted.name(*number).timeline == name.timeline
                || Some(*number) == newest
                || matches!((needed_until, switch_of(name.timeline)), (Some(until), Some(switch)) if until < switch)
        });
        usable
            .into_iter()
            .map(|(number, (_, time))| (number, time))
            .collect()
    }

    /// The hole that starts at `number`, up to `end` (included) at most.
    fn hole(&self, number: u64, end: u64) -> Hole {
        let until = self
            .usable
            .range(number..)
            .next()
            .map_or(end + 1, |(next, _)| *next.min(&(end + 1)));
        Hole {
            first: self.wanted.name(number),
            count: until.saturating_sub(number).max(1),
            segment_size: self.wanted.segment_size,
        }
    }

    fn anything_from(&self, number: u64) -> bool {
        self.usable.range(number..).next().is_some()
    }

    fn check_backup(&self) -> Result<(), Missing> {
        if self.break_at > self.backup_end {
            return Ok(());
        }
        Err(Missing::OfBackup {
            hole: self.hole(self.break_at, self.backup_end),
            at_the_end: !self.anything_from(self.break_at),
        })
    }

    /// The number of the last segment to deliver, and what to tell the operator.
    fn last(&self) -> Result<(u64, Vec<String>), Missing> {
        let complete = self.break_at.saturating_sub(1);
        let hole_follows = self.anything_from(self.break_at);
        match self.wanted.stop {
            Stop::BackupEnd => Ok((self.backup_end, Vec::new())),
            Stop::At(target) => self.last_for_position(target, complete, hole_follows),
            Stop::After(time) => self.last_for_time(time, complete, hole_follows),
            Stop::Anywhere if hole_follows && self.wanted.standalone && complete == self.backup_end => Ok((
                complete,
                vec![format!(
                    "The backup is kept as standalone: recovery ends with it, at {}.",
                    self.wanted.end_lsn
                )],
            )),
            Stop::Anywhere if hole_follows => Err(self.before_target()),
            Stop::Anywhere => Ok((complete, Vec::new())),
        }
    }

    fn last_for_position(
        &self,
        target: Lsn,
        complete: u64,
        hole_follows: bool,
    ) -> Result<(u64, Vec<String>), Missing> {
        let needed = self.wanted.number_at(target).max(self.backup_end);
        if self.break_at > needed {
            let beyond = self.wanted.number_at(Lsn(target.0.saturating_add(BEYOND_TARGET)));
            return Ok((complete.min(beyond.max(needed)), Vec::new()));
        }
        if hole_follows {
            return Err(self.before_target());
        }
        Err(Missing::TargetBehindEnd {
            target,
            reachable: self.wanted.start_of(self.break_at),
        })
    }

    fn last_for_time(
        &self,
        time: SystemTime,
        complete: u64,
        hole_follows: bool,
    ) -> Result<(u64, Vec<String>), Missing> {
        let closed_after = self.usable.get(&complete).is_some_and(|closed| *closed > time);
        if closed_after && hole_follows {
            let hole = self.hole(self.break_at, self.newest());
            return Ok((
                complete,
                vec![format!(
                    "The archive lacks {hole}. The WAL in front of it was written after the target time, so the \
                     target can be reached; the WAL behind it is not delivered."
                )],
            ));
        }
        if hole_follows {
            return Err(self.before_target());
        }
        let mut notes = Vec::new();
        if !closed_after {
            notes.push(format!(
                "The target time lies behind the newest archived WAL ({}). PostgreSQL 13 and newer refuse to end \
                 recovery unless they see a transaction that is later than the target.",
                self.wanted.name(complete)
            ));
        }
        Ok((complete, notes))
    }

    fn newest(&self) -> u64 {
        self.usable.keys().next_back().copied().unwrap_or(self.first)
    }

    fn before_target(&self) -> Missing {
        Missing::BeforeTarget {
            hole: self.hole(self.break_at, self.newest()),
            reachable: self.wanted.start_of(self.break_at),
            certain: self
                .wanted
                .start_of(self.break_at.saturating_sub(1))
                .max(self.wanted.end_lsn),
        }
    }

    /// Incomplete segments for the numbers that have no complete one.
    fn partials(&self, last: u64) -> Vec<Delivery> {
        if !self.wanted.partial {
            return Vec::new();
        }
        self.archived
            .partials
            .iter()
            .filter(|(name, _)| {
                let number = self.wanted.number(**name);
                (self.first..=last).contains(&number)
                    && self.wanted.name(number) == **name
                    && !self.archived.segments.contains_key(name)
            })
            .map(|(name, file)| Delivery {
                name: name.to_string(),
                file: file.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "wal_selection_tests.rs"]
mod tests;
