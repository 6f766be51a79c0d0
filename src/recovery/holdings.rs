//! Which segments an archive has, as runs of consecutive ones: a million of them are a few numbers.
//!
//! The names in the directories are read, nothing else: a million files must not be opened to learn that none is missing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::base::directory;
use crate::base::error::{PathContext, PathError};
use crate::codec::WalCodec;
use crate::postgres::history::History;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, Timeline, WalKind, segments_per_log};

use super::timelines::{Histories, LARGEST_HISTORY};

/// Consecutive segments of a timeline, by their numbers: the position of a segment's first byte, divided by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Run {
    /// How many segments.
    #[must_use]
    pub fn count(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The complete segments of an archive, and its histories.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// Bytes of a segment.
    pub segment_size: u64,
    /// The histories that can be read.
    pub histories: Histories,
    /// What is wrong with the others.
    pub unreadable: Vec<String>,
    timelines: BTreeMap<Timeline, Vec<Run>>,
}

impl Holdings {
    /// Reads the directories of the archive `wals`. One that does not exist is empty.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn read(wals: &Path, segment_size: u64, codec: &WalCodec) -> Result<Holdings, PathError> {
        let mut holdings = Holdings {
            segment_size: segment_size.max(1),
            ..Holdings::default()
        };
        for name in directory::names(wals)? {
            if let Some(WalKind::History(timeline)) = WalKind::of(&name) {
                holdings.read_history(timeline, &wals.join(&name), codec);
            } else if let Some(first) = SegmentName::parse(&format!("{name}00000000")) {
                holdings.read_directory(&wals.join(&name), first)?;
            }
        }
        Ok(holdings)
    }

    fn read_history(&mut self, timeline: Timeline, path: &Path, codec: &WalCodec) {
        let mut content = Vec::new();
        let read = codec
            .open_plain(path)
            .map_err(|error| error.to_string())
            .and_then(|reader| {
                reader
                    .take(LARGEST_HISTORY)
                    .read_to_end(&mut content)
                    .map_err(|error| error.to_string())
            });
        let parsed = read.and_then(|_| {
            History::parse(timeline, &String::from_utf8_lossy(&content)).map_err(|error| error.to_string())
        });
        match parsed {
            Ok(history) => {
                self.histories.insert(timeline, history);
            }
            Err(error) => self.unreadable.push(format!("\"{}\": {error}", path.display())),
        }
    }

    /// Directories come in the order of their names, hence of their segments.
    fn read_directory(&mut self, directory: &Path, first: SegmentName) -> Result<(), PathError> {
        let per_log = segments_per_log(self.segment_size);
        let mut numbers = Vec::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // A file of this name, or a directory that a deletion has just removed.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(PathError::new("read directory", directory, error)),
        };
        for entry in entries {
            let name = entry.at("read directory", directory)?.file_name();
            let segment = name.to_str().and_then(SegmentName::parse);
            numbers.extend(
                segment
                    .filter(|name| {
                        (name.timeline, name.log) == (first.timeline, first.log)
                            && u64::from(name.segment) < per_log
                    })
                    .map(|name| u64::from(name.log) * per_log + u64::from(name.segment)),
            );
        }
        numbers.sort_unstable();
        let runs = self.timelines.entry(first.timeline).or_default();
        for number in numbers {
            match runs.last_mut() {
                Some(run) if number <= run.last => {}
                Some(run) if number == run.last + 1 => run.last = number,
                _ => runs.push(Run {
                    first: number,
                    last: number,
                }),
            }
        }
        Ok(())
    }

    /// The timelines of which there are segments.
    pub fn timelines(&self) -> impl Iterator<Item = (Timeline, &[Run])> {
        self.timelines
            .iter()
            .filter(|(_, runs)| !runs.is_empty())
            .map(|(timeline, runs)| (*timeline, runs.as_slice()))
    }

    /// The newest segment of a timeline.
    #[must_use]
    pub fn newest(&self, timeline: Timeline) -> Option<u64> {
        self.timelines.get(&timeline)?.last().map(|run| run.last)
    }

    /// The segments of a timeline from `first` up to but not including `end` that are not there.
    #[must_use]
    pub fn missing(&self, timeline: Timeline, first: u64, end: u64) -> Vec<Run> {
        let runs = self.timelines.get(&timeline).map_or(&[][..], Vec::as_slice);
        let mut missing = Vec::new();
        let mut expected = first;
        let from = runs.partition_point(|run| run.last < first);
        for run in runs.get(from..).unwrap_or_default() {
            if run.first >= end || expected >= end {
                break;
            }
            if run.first > expected {
                missing.push(Run {
                    first: expected,
                    last: run.first - 1,
                });
            }
            expected = expected.max(run.last.saturating_add(1));
        }
        if expected < end {
            missing.push(Run {
                first: expected,
                last: end - 1,
            });
        }
        missing
    }

    /// Adds a segment that turned out to be there.
    pub fn add(&mut self, timeline: Timeline, number: u64) {
        let runs = self.timelines.entry(timeline).or_default();
        runs.push(Run {
            first: number,
            last: number,
        });
        runs.sort_unstable();
        let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs.iter() {
            match merged.last_mut() {
                Some(last) if run.first <= last.last.saturating_add(1) => last.last = last.last.max(run.last),
                _ => merged.push(*run),
            }
        }
        *runs = merged;
    }

    /// The name of a segment.
    #[must_use]
    pub fn name(&self, timeline: Timeline, number: u64) -> SegmentName {
        SegmentName::containing(timeline, self.start(number), self.segment_size)
    }

    /// The position of a segment's first byte.
    #[must_use]
    pub fn start(&self, number: u64) -> Lsn {
        Lsn(number.saturating_mul(self.segment_size))
    }

    /// The number of the segment `name`.
    #[must_use]
    pub fn number(&self, name: SegmentName) -> u64 {
        name.start(self.segment_size).0 / self.segment_size.max(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_and_what_is_between_them() {
        let mut holdings = Holdings {
            segment_size: 1 << 24,
            ..Holdings::default()
        };
        for number in [3, 9, 4, 5, 8] {
            holdings.add(1, number);
        }
        let run = |first, last| Run { first, last };
        assert_eq!(holdings.timelines().next().unwrap().1, [run(3, 5), run(8, 9)]);
        assert_eq!(holdings.missing(1, 3, 10), [run(6, 7)]);
        assert_eq!(holdings.missing(1, 4, 6), []);
        assert_eq!(holdings.missing(1, 1, 7), [run(1, 2), run(6, 6)]);
        assert_eq!(holdings.missing(1, 9, 12), [run(10, 11)]);
        assert_eq!(holdings.missing(1, 20, 22), [run(20, 21)]);
        assert_eq!(holdings.missing(2, 1, 3), [run(1, 2)]);
        assert_eq!(holdings.missing(1, 5, 5), []);
        holdings.add(1, 6);
        holdings.add(1, 7);
        assert_eq!(holdings.missing(1, 3, 10), []);
        assert_eq!(holdings.newest(1), Some(9));
        assert_eq!(holdings.name(1, 0x1FF).to_string(), "0000000100000001000000FF");
        assert_eq!(holdings.number(holdings.name(1, 0x1FF)), 0x1FF);
    }

    #[test]
    fn directories_are_read_in_order() {
        let wals = std::env::temp_dir().join(format!("barkeep-holdings-{}", std::process::id()));
        for name in [
            "0000000100000000/0000000100000000000000FF",
            "0000000100000001/000000010000000100000000",
            "0000000100000001/000000010000000100000002",
            "0000000100000001/000000010000000100000003.partial",
            "0000000100000001/000000010000000100000001.compressed.tmp",
            // Out of its place: nobody would find it.
            "0000000100000001/000000010000000000000001",
            "0000000200000001/000000020000000100000002",
            "00000002.history",
            "00000003.history",
            "main-xlog.db",
        ] {
            let path = wals.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = if name.starts_with("00000002.") {
                "1\t1/2000000\tx\n"
            } else {
                "nonsense"
            };
            fs::write(path, text).unwrap();
        }
        let holdings = Holdings::read(&wals, 1 << 24, &WalCodec::default()).unwrap();
        let found: Vec<_> = holdings
            .timelines()
            .map(|(timeline, runs)| (timeline, runs.to_vec()))
            .collect();
        let run = |first, last| Run { first, last };
        assert_eq!(
            found,
            [
                (1, vec![run(0xFF, 0x100), run(0x102, 0x102)]),
                (2, vec![run(0x102, 0x102)])
            ]
        );
        assert_eq!(holdings.histories.len(), 1);
        assert_eq!(holdings.unreadable.len(), 1, "{:?}", holdings.unreadable);
        fs::remove_dir_all(wals).unwrap();
    }
}
