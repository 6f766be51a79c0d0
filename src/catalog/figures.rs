//! How much WAL belongs to each backup (behaviour reference §33), for all backups in one pass over the WAL database.
//!
//! Barman reads the whole database once for each backup; with hundreds of backups and a million WAL files that takes
//! minutes. Here the ranges of all backups are cut into cells that do not overlap, and each line is looked up once.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::postgres::wal_name::{SegmentName, WalKind};

use super::wal_entry::WalLine;
use super::{BackupId, BackupInfo, Backups, Catalog, CatalogError};

/// A number of WAL segments and their size on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalSum {
    /// Segments.
    pub count: u64,
    /// Bytes, after compression.
    pub size: u64,
}

/// The WAL of one backup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WalFigures {
    /// From the backup's first segment to its last: what it needs to be consistent.
    pub required: WalSum,
    /// From there to the last segment of the next backup.
    pub until_next: WalSum,
    /// The newest of all these segments.
    pub last: Option<String>,
    /// Whether the first segment that the backup needs is there.
    pub has_first: bool,
    first_time: Option<f64>,
    /// As the WAL database has it: one of a million such numbers is looked at.
    last_time: String,
}

impl WalFigures {
    /// The compression ratio of the segments that the backup needs. As in Barman it is not told (0) when the first of them is
    /// not there.
    #[must_use]
    pub fn required_compression_ratio(&self, segment_size: u64) -> f64 {
        self.told(self.required, segment_size)
    }

    /// The same of the segments behind the backup.
    #[must_use]
    pub fn later_compression_ratio(&self, segment_size: u64) -> f64 {
        self.told(self.until_next, segment_size)
    }

    fn told(&self, sum: WalSum, segment_size: u64) -> f64 {
        if self.has_first {
            sum.compression_ratio(segment_size)
        } else {
            0.0
        }
    }

    /// When the newest of these segments was written, in seconds since the epoch.
    #[must_use]
    pub fn last_time(&self) -> Option<f64> {
        self.last_time.parse().ok()
    }

    /// Segments per second; 0 when it cannot be told.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // counts of segments
    pub fn segments_per_second(&self) -> f64 {
        match self.first_time.zip(self.last_time()) {
            Some((first, last)) if last > first => {
                (self.required.count + self.until_next.count) as f64 / (last - first)
            }
            _ => 0.0,
        }
    }
}

impl WalSum {
    /// How much smaller the segments are than they were: 0.99 for a hundredth. 0 without segments.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // a ratio for people
    pub fn compression_ratio(&self, segment_size: u64) -> f64 {
        let plain = self.count as f64 * segment_size as f64;
        if plain > 0.0 {
            1.0 - self.size as f64 / plain
        } else {
            0.0
        }
    }
}

impl Catalog {
    /// The WAL of each backup whose copy is complete.
    ///
    /// # Errors
    /// The WAL database cannot be read, or holds a name that is not of the WAL.
    pub fn wal_figures(&self, backups: &Backups) -> Result<BTreeMap<BackupId, WalFigures>, CatalogError> {
        let owners: Vec<&BackupInfo> = backups.values().filter(|info| info.status.copy_done()).collect();
        if owners.is_empty() {
            return Ok(BTreeMap::new());
        }
        let cells = Cells::of(&ranges(&owners));
        let mut figures = vec![WalFigures::default(); owners.len()];
        let mut cursor = 0;
        self.xlogdb().scan(|line| {
            let Some(segment) = segment_of(&line, self.server())? else {
                return Ok(ControlFlow::Continue(()));
            };
            for share in cells.find(key(segment), &mut cursor) {
                if let (Some(figures), Some(info)) = (figures.get_mut(share.owner), owners.get(share.owner)) {
                    figures.add(&line, share.part, info.begin_wal == Some(segment));
                }
            }
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        })?;
        Ok(owners.iter().map(|info| info.id.clone()).zip(figures).collect())
    }
}

impl WalFigures {
    fn add(&mut self, line: &WalLine<'_>, part: Part, is_first: bool) {
        let sum = match part {
            Part::Required => &mut self.required,
            Part::UntilNext => &mut self.until_next,
        };
        sum.count += 1;
        sum.size = sum.size.saturating_add(line.size);
        if is_first {
            self.has_first = true;
            self.first_time = line.time();
        }
        self.last_time.clear();
        self.last_time.push_str(line.time_text());
        match &mut self.last {
            Some(last) => {
                last.clear();
                last.push_str(line.name);
            }
            None => self.last = Some(line.name.to_owned()),
        }
    }
}

/// The segment of a line; `None` for labels, partial segments and histories.
pub(super) fn segment_of(line: &WalLine<'_>, server: &str) -> Result<Option<SegmentName>, CatalogError> {
    match WalKind::of(line.name) {
        Some(WalKind::Segment(segment)) => Ok(Some(segment)),
        Some(_) => Ok(None),
        None => Err(CatalogError::InvalidWalName {
            name: line.name.to_owned(),
            server: server.to_owned(),
        }),
    }
}

/// Which sum of a backup a segment belongs to.
#[derive(Debug, Clone, Copy)]
enum Part {
    Required,
    UntilNext,
}

/// A place in the order of names, so that the next one can be computed.
type Key = u128;

fn key(segment: SegmentName) -> Key {
    Key::from(segment.timeline) << 64 | Key::from(segment.log) << 32 | Key::from(segment.segment)
}

/// One backup's claim on the segments from `begin` up to but not including `end`.
#[derive(Debug)]
struct Range {
    begin: Key,
    end: Key,
    share: Share,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    owner: usize,
    part: Part,
}

/// The ranges of backups in the order of the catalog. Each backup is followed by its next.
fn ranges(owners: &[&BackupInfo]) -> Vec<Range> {
    let mut ranges = Vec::new();
    for (owner, info) in owners.iter().enumerate() {
        let Some((begin, end)) = info.begin_wal.zip(info.end_wal) else {
            continue;
        };
        // Newer timelines are none of the backup's.
        let timeline = info.timeline.unwrap_or(begin.timeline);
        let ceiling = (Key::from(timeline) + 1) << 64;
        let after_end = (key(end) + 1).min(ceiling);
        let next_end = owners
            .get(owner + 1)
            .and_then(|next| next.end_wal)
            .map(|wal| key(wal) + 1);
        for (begin, end, part) in [
            (key(begin), after_end, Part::Required),
            (
                after_end.max(key(begin)),
                next_end.unwrap_or(ceiling).min(ceiling),
                Part::UntilNext,
            ),
        ] {
            if begin < end {
                ranges.push(Range {
                    begin,
                    end,
                    share: Share { owner, part },
                });
            }
        }
    }
    ranges
}

/// The ranges cut at each other's ends.
#[derive(Debug)]
struct Cells {
    /// Where each cell begins; it ends where the next one begins.
    begins: Vec<Key>,
    shares: Vec<Vec<Share>>,
}

impl Cells {
    fn of(ranges: &[Range]) -> Cells {
        let mut begins: Vec<Key> = ranges.iter().flat_map(|range| [range.begin, range.end]).collect();
        begins.push(0);
        begins.sort_unstable();
        begins.dedup();
        let mut shares = vec![Vec::new(); begins.len()];
        for range in ranges {
            let first = begins.partition_point(|begin| *begin < range.begin);
            let last = begins.partition_point(|begin| *begin < range.end);
            for cell in shares.get_mut(first..last).into_iter().flatten() {
                cell.push(range.share);
            }
        }
        Cells { begins, shares }
    }

    /// Whose the segment at `place` is. `cursor` remembers the cell: neighbours in the file are neighbours here.
    fn find(&self, place: Key, cursor: &mut usize) -> &[Share] {
        let here = self.begins.get(*cursor).is_some_and(|begin| *begin <= place)
            && self.begins.get(*cursor + 1).is_none_or(|next| place < *next);
        if !here {
            *cursor = self
                .begins
                .partition_point(|begin| *begin <= place)
                .saturating_sub(1);
        }
        self.shares.get(*cursor).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
