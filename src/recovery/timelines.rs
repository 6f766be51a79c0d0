//! The way from a backup's timeline to the timeline that recovery is to reach.
//!
//! Each archived `{timeline}.history` lists the ancestors of that timeline with the position at which it left each.
//! From these the segments that recovery reads are known exactly: an ancestor's up to the switch, the child's from
//! the segment that holds the switch (PostgreSQL copies the ancestor's part of that segment into the child's).
//! Facts: PostgreSQL's `timeline.c` and `xlogrecovery.c`.

use std::collections::BTreeMap;

use crate::postgres::history::History;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, Timeline};

/// A history file larger than this is not one. In bytes.
pub const LARGEST_HISTORY: u64 = 1024 * 1024;

/// The histories in an archive, by timeline.
pub type Histories = BTreeMap<Timeline, History>;

/// The newest timeline that PostgreSQL finds for `latest` from `start`: it looks for one history after the other and
/// stops at the first that is missing.
#[must_use]
pub fn latest(histories: &Histories, start: Timeline) -> Timeline {
    let mut newest = start;
    while let Some(next) = newest.checked_add(1).filter(|next| histories.contains_key(next)) {
        newest = next;
    }
    newest
}

/// A stretch of one timeline on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The timeline.
    pub timeline: Timeline,
    /// Where the stretch begins.
    pub begin: Lsn,
    /// Where the next timeline takes over; `None` on the last one.
    pub end: Option<Lsn>,
}

/// The stretches from a backup to its target timeline, in order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Stretch>);

/// A timeline cannot be reached from a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Its history is not in the archive.
    #[error("the archive has no history file of timeline {0} ({0:08X}.history)")]
    NoHistory(Timeline),
    /// It does not descend from the timeline of the backup.
    #[error("timeline {target} does not descend from timeline {backup}, on which the backup was taken")]
    NotADescendant {
        /// The timeline of the backup.
        backup: Timeline,
        /// The timeline asked for.
        target: Timeline,
    },
    /// It left the timeline of the backup before the backup ended.
    #[error("timeline {target} left timeline {backup} at {switch}, before the backup ended at {end}")]
    LeftTooEarly {
        /// The timeline of the backup.
        backup: Timeline,
        /// The timeline asked for.
        target: Timeline,
        /// Where the way forks.
        switch: Lsn,
        /// Where the backup ended.
        end: Lsn,
    },
}

impl Path {
    /// The way from a backup that begins and ends at `begin` and `end` on timeline `from`, to timeline `target`.
    ///
    /// # Errors
    /// PostgreSQL would refuse to go there: see [`PathError`].
    pub fn new(
        histories: &Histories,
        from: Timeline,
        begin: Lsn,
        end: Lsn,
        target: Timeline,
    ) -> Result<Path, PathError> {
        let mut path = vec![Stretch {
            timeline: from,
            begin,
            end: None,
        }];
        if target == from {
            return Ok(Path(path));
        }
        let unrelated = PathError::NotADescendant { backup: from, target };
        if target < from {
            return Err(unrelated);
        }
        let ancestors = &histories
            .get(&target)
            .ok_or(PathError::NoHistory(target))?
            .switches;
        let position = ancestors
            .iter()
            .position(|ancestor| ancestor.parent == from)
            .ok_or(unrelated)?;
        let on_the_way = ancestors.get(position..).unwrap_or_default();
        for (index, ancestor) in on_the_way.iter().enumerate() {
            if index == 0 && ancestor.switchpoint < end {
                return Err(PathError::LeftTooEarly {
                    backup: from,
                    target,
                    switch: ancestor.switchpoint,
                    end,
                });
            }
            if let Some(last) = path.last_mut() {
                last.end = Some(ancestor.switchpoint);
            }
            path.push(Stretch {
                timeline: on_the_way.get(index + 1).map_or(target, |next| next.parent),
                begin: ancestor.switchpoint,
                end: None,
            });
        }
        Ok(Path(path))
    }

    /// The stretches, in order.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.0
    }

    /// The timeline the way ends on.
    #[must_use]
    pub fn target(&self) -> Timeline {
        self.0.last().map_or(1, |stretch| stretch.timeline)
    }

    /// The timelines whose segment number `number` PostgreSQL can use, the one it tries first in front.
    pub fn candidates(&self, number: u64, segment_size: u64) -> impl Iterator<Item = Timeline> + '_ {
        let size = segment_size.max(1);
        self.0
            .iter()
            .rev()
            .filter(move |stretch| {
                // A stretch that ends exactly at the start of a segment does not need that segment.
                stretch.begin.0 / size <= number
                    && stretch.end.is_none_or(|end| number < end.0.div_ceil(size))
            })
            .map(|stretch| stretch.timeline)
    }

    /// Whether `name` is a segment on the way.
    #[must_use]
    pub fn includes(&self, name: SegmentName, segment_size: u64) -> bool {
        let number = name.start(segment_size).0 / segment_size.max(1);
        self.candidates(number, segment_size)
            .any(|timeline| timeline == name.timeline)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn histories() -> Histories {
        [
            (2, "1\t0/1A9D000\tno recovery target specified\n"),
            (3, "1\t0/1A9D000\tx\n\n# c\n2\t0/2000000\tbefore 2026-11-20\n"),
            (4, "1\t0/1200000\tx\n"),
        ]
        .into_iter()
        .map(|(timeline, text)| (timeline, History::parse(timeline, text).unwrap()))
        .collect()
    }

    #[test]
    fn latest_stops_at_the_first_missing_history() {
        let mut histories = histories();
        assert_eq!(latest(&histories, 1), 4);
        histories.remove(&3);
        assert_eq!(latest(&histories, 1), 2);
        assert_eq!(latest(&Histories::new(), 7), 7);
    }

    #[test]
    fn segments_on_the_way() {
        let path = Path::new(&histories(), 1, Lsn(0xF0_0028), Lsn(0xF0_0138), 3).unwrap();
        let candidates = |number| path.candidates(number, MIB).collect::<Vec<_>>();
        assert_eq!(candidates(0x0E), [] as [u32; 0]);
        assert_eq!(candidates(0x0F), [1]);
        assert_eq!(candidates(0x19), [1]);
        assert_eq!(candidates(0x1A), [2, 1]);
        assert_eq!(candidates(0x1F), [2]);
        // The switch at 0/2000000 is the first byte of segment 0x20.
        assert_eq!(candidates(0x20), [3]);
        assert!(path.includes(SegmentName::parse("00000002000000000000001B").unwrap(), MIB));
        assert!(!path.includes(SegmentName::parse("00000001000000000000001B").unwrap(), MIB));
        assert_eq!(path.target(), 3);
    }

    #[test]
    fn what_postgresql_would_refuse() {
        let new = |from, end, target| Path::new(&histories(), from, Lsn(0), Lsn(end), target);
        assert_eq!(new(1, 0, 9), Err(PathError::NoHistory(9)));
        assert!(matches!(new(2, 0, 1), Err(PathError::NotADescendant { .. })));
        assert_eq!(
            new(2, 0, 4),
            Err(PathError::NotADescendant { backup: 2, target: 4 })
        );
        assert!(matches!(
            new(1, 0x1A9_D001, 2),
            Err(PathError::LeftTooEarly { .. })
        ));
        assert!(new(1, 0x1A9_D000, 2).is_ok());
        assert!(new(5, 0, 5).is_ok());
    }
}
