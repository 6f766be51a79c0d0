//! Where one can recover to: the intervals of every backup on every timeline, and the gaps that end them.
//!
//! A gap is WAL that a recovery from some backup would have to read and that is nowhere on this host, though later WAL of
//! the same way is. What retention removed on purpose is none: no backup needs it. Nor is what waits in the incoming
//! directory. The way through the timelines is that of [`timelines`](super::timelines).

mod causes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local};

use crate::archive::archive_wal::errors_directory::cluster_of;
use crate::archive::wal_codec;
use crate::base::calendar::Timestamp;
use crate::base::error::PathError;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, Catalog, CatalogError, KeepTarget};
use crate::config::ServerConfig;
use crate::postgres::history::History;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{DEFAULT_SEGMENT_SIZE, SegmentName, Timeline};

use super::holdings::{Holdings, Run};
use super::timelines::Path as Way;

pub use causes::Cause;

/// A point in the history of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The position.
    pub lsn: Lsn,
    /// About when that was.
    pub time: Option<Timestamp>,
}

/// An interval that one can recover to.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The timeline.
    pub timeline: Timeline,
    /// The earliest point: the end of the backup, or where the timeline began.
    pub from: Point,
    /// The latest point: the end of the last segment.
    pub to: Point,
    /// Whether a gap ends it, and not the end of the archive.
    pub cut: bool,
}

/// What one backup is good for.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupWindows {
    /// The backup.
    pub id: BackupId,
    /// The timeline it was taken on.
    pub timeline: Timeline,
    /// The intervals; none when the backup cannot be restored.
    pub windows: Vec<Window>,
    /// Why there is none.
    pub problem: Option<String>,
}

/// Consecutive segments that are missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// The timeline.
    pub timeline: Timeline,
    /// The first missing segment.
    pub first: SegmentName,
    /// The last one.
    pub last: SegmentName,
    /// How many are missing.
    pub count: u64,
    /// Why, as far as it can be told: each cause with the number of its segments.
    pub causes: Vec<(Cause, u64)>,
    /// The backups that cannot be recovered past it.
    pub backups: Vec<BackupId>,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(formatter, "timeline {}: {} is missing", self.timeline, self.first)?,
            count => write!(
                formatter,
                "timeline {}: {} to {} are missing ({count} segments)",
                self.timeline, self.first, self.last
            )?,
        }
        for (index, (cause, count)) in self.causes.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            match *count == self.count {
                true => write!(formatter, "{separator}{cause}")?,
                false => write!(formatter, "{separator}{count} {cause}")?,
            }
        }
        Ok(())
    }
}

/// The state of a server's archive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// The backups, oldest first.
    pub backups: Vec<BackupWindows>,
    /// The gaps, by timeline and position.
    pub gaps: Vec<Gap>,
    /// Histories that cannot be read: what lies behind them is not known.
    pub unreadable: Vec<String>,
}

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Looks at the archive of a server.
///
/// # Errors
/// The catalog or a directory of the archive cannot be read.
pub fn survey(config: &ServerConfig, catalog: &Catalog, backups: &Backups) -> Result<Survey, SurveyError> {
    let mut starts = starting_points(catalog, backups)?;
    if config.is_passive() {
        // Its WAL comes later than its backups.
        starts.iter_mut().for_each(|start| start.complete = false);
    }
    let Some(newest) = starts.last() else {
        return Ok(Survey::default());
    };
    let layout = catalog.layout();
    let codec = wal_codec(config);
    let mut holdings = Holdings::read(&layout.wals, newest.segment_size, &codec)?;
    find_ends(&mut starts, &holdings, |segment| {
        cluster_of(&codec, &archived(&layout.wals, segment))
    });
    // What was on its way while the directories were read is not missing.
    let holes = holes(&holdings, &starts);
    let mut found = false;
    for (timeline, number) in causes::arrived(catalog, &holdings, holes.keys_and_runs()) {
        holdings.add(timeline, number);
        found = true;
    }
    let holes = if found {
        self::holes(&holdings, &starts)
    } else {
        holes
    };
    Ok(Survey {
        backups: starts
            .iter()
            .map(|start| start.windows(&holdings, &layout.wals))
            .collect(),
        gaps: causes::explain(catalog, &holdings, holes)?,
        unreadable: holdings.unreadable,
    })
}

/// A backup, as far as it matters here.
#[derive(Debug)]
struct Start {
    id: BackupId,
    begin: SegmentName,
    begin_lsn: Lsn,
    end: SegmentName,
    end_lsn: Lsn,
    end_time: Option<Timestamp>,
    segment_size: u64,
    /// Whether its last segment was in the archive once.
    complete: bool,
    /// Whether the WAL after its end was removed on purpose.
    standalone: bool,
    /// The system identifier.
    cluster: Option<u64>,
    /// Where the WAL of another cluster begins: this one was upgraded with `pg_upgrade`.
    ends: BTreeMap<Timeline, u64>,
}

/// The backups that can be restored.
fn starting_points(catalog: &Catalog, backups: &Backups) -> Result<Vec<Start>, CatalogError> {
    let mut starts = Vec::new();
    for info in backups.values().filter(|info| info.status.copy_done()) {
        starts.extend(Start::of(info, catalog.keep_target(&info.id)?));
    }
    Ok(starts)
}

/// Finds out where the WAL of each backup's cluster ends, when there are backups of several. A cluster that `pg_upgrade` made
/// goes on with the numbers of the old one, behind a segment that the old one did not complete: what is missing there is no
/// gap. So it is the first segment behind each hole that is asked for its cluster.
fn find_ends(starts: &mut [Start], holdings: &Holdings, cluster_of: impl Fn(SegmentName) -> Option<u64>) {
    let clusters: BTreeSet<u64> = starts.iter().filter_map(|start| start.cluster).collect();
    if clusters.len() < 2 {
        return;
    }
    for (timeline, runs) in holdings.timelines() {
        for run in runs.iter().skip(1) {
            let Some(found) = cluster_of(holdings.name(timeline, run.first)) else {
                continue;
            };
            for start in starts.iter_mut() {
                let behind = run.first > holdings.number(start.end);
                if behind && start.cluster.is_some_and(|own| own != found) {
                    start.ends.entry(timeline).or_insert(run.first);
                }
            }
        }
    }
}

impl Start {
    fn of(info: &BackupInfo, keep: Option<KeepTarget>) -> Option<Start> {
        Some(Start {
            id: info.id.clone(),
            begin: info.begin_wal?,
            begin_lsn: info.begin_xlog?,
            end: info.end_wal?,
            end_lsn: info.end_xlog?,
            end_time: info.end_time,
            segment_size: match info.xlog_segment_size {
                0 => DEFAULT_SEGMENT_SIZE,
                size => size,
            },
            complete: info.status == BackupStatus::Done,
            standalone: keep == Some(KeepTarget::Standalone),
            cluster: info.systemid.as_ref().and_then(|systemid| systemid.parse().ok()),
            ends: BTreeMap::new(),
        })
    }

    /// The newest segment of a timeline that is of this cluster.
    fn newest(&self, holdings: &Holdings, timeline: Timeline) -> Option<u64> {
        let Some(end) = self.ends.get(&timeline) else {
            return holdings.newest(timeline);
        };
        let (_, runs) = holdings.timelines().find(|(number, _)| *number == timeline)?;
        runs.iter().rev().find(|run| run.first < *end).map(|run| run.last)
    }

    /// The timelines that can be reached from here, its own first, with the way to each.
    fn ways(&self, holdings: &Holdings) -> Vec<Way> {
        let targets = holdings
            .histories
            .keys()
            .filter(|target| !self.standalone && **target != self.begin.timeline);
        std::iter::once(&self.begin.timeline)
            .chain(targets)
            .filter_map(|target| {
                Way::new(
                    &holdings.histories,
                    self.begin.timeline,
                    self.begin_lsn,
                    self.end_lsn,
                    *target,
                )
                .ok()
            })
            .collect()
    }

    /// The stretches of a way as numbers of segments: timeline, first, and the one behind the last. Empty when nothing of
    /// the last timeline was archived yet.
    fn stretches(&self, way: &Way, holdings: &Holdings) -> Vec<(Timeline, u64, u64)> {
        let size = holdings.segment_size;
        let own_end = holdings.number(self.end).saturating_add(1);
        let mut numbers = Vec::new();
        for (index, stretch) in way.stretches().iter().enumerate() {
            let first = match index {
                0 => holdings.number(self.begin),
                _ => stretch.begin.0 / size,
            };
            let end = match stretch.end {
                // The next timeline has a copy of the segment that is left in the middle.
                Some(end) => end.0 / size,
                None => {
                    let newest = self
                        .newest(holdings, stretch.timeline)
                        .filter(|newest| *newest >= first);
                    let archived = newest.map_or(first, |newest| newest + 1);
                    match index {
                        0 if self.standalone => own_end,
                        0 if self.complete => archived.max(own_end),
                        0 => archived,
                        _ if newest.is_none() => return Vec::new(),
                        _ => archived,
                    }
                }
            };
            numbers.push((stretch.timeline, first, end.max(first)));
        }
        numbers
    }

    fn windows(&self, holdings: &Holdings, wals: &Path) -> BackupWindows {
        let mut windows = Vec::new();
        for way in self.ways(holdings) {
            windows.extend(self.window(&way, holdings, wals));
        }
        let problem = windows.is_empty().then(|| {
            let first = holdings.number(self.begin);
            let end = holdings.number(self.end).saturating_add(1);
            match holdings.missing(self.begin.timeline, first, end).first() {
                Some(run) => format!(
                    "{} is not in the archive, and the backup needs it",
                    holdings.name(self.begin.timeline, run.first)
                ),
                None => "its WAL cannot be read to its end".to_owned(),
            }
        });
        BackupWindows {
            id: self.id.clone(),
            timeline: self.begin.timeline,
            windows,
            problem,
        }
    }

    /// The interval on the last timeline of a way.
    fn window(&self, way: &Way, holdings: &Holdings, wals: &Path) -> Option<Window> {
        let stretches = self.stretches(way, holdings);
        let (&(timeline, first, end), before) = stretches.split_last()?;
        let whole = |&(timeline, first, end): &(Timeline, u64, u64)| {
            holdings.missing(timeline, first, end).is_empty()
        };
        if !before.iter().all(whole) {
            return None;
        }
        let missing = holdings.missing(timeline, first, end);
        let reached = missing.first().map_or(end, |run| run.first);
        let from = match before.is_empty() {
            true => Point {
                lsn: self.end_lsn,
                time: self.end_time,
            },
            false => Point {
                lsn: way.stretches().last()?.begin,
                time: modified(&wals.join(History::file_name(timeline))),
            },
        };
        let last = holdings.name(timeline, reached.checked_sub(1)?);
        let needed = if before.is_empty() {
            holdings.number(self.end) + 1
        } else {
            first + 1
        };
        (reached >= needed).then(|| Window {
            timeline,
            from,
            to: Point {
                lsn: holdings.start(reached),
                time: modified(&archived(wals, last)),
            },
            cut: !missing.is_empty(),
        })
    }
}

/// Missing segments with the backups that need them. Keyed by timeline and last segment: backups that begin within a
/// gap miss a part of it.
#[derive(Debug, Default)]
struct Holes(BTreeMap<(Timeline, u64), (u64, BTreeSet<BackupId>)>);

impl Holes {
    fn keys_and_runs(&self) -> impl Iterator<Item = (Timeline, Run)> + '_ {
        self.0.iter().map(|((timeline, last), (first, _))| {
            let run = Run {
                first: *first,
                last: *last,
            };
            (*timeline, run)
        })
    }
}

fn holes(holdings: &Holdings, starts: &[Start]) -> Holes {
    let mut holes = Holes::default();
    for start in starts {
        for way in start.ways(holdings) {
            for (timeline, first, end) in start.stretches(&way, holdings) {
                for run in holdings.missing(timeline, first, end) {
                    let (first, backups) = holes
                        .0
                        .entry((timeline, run.last))
                        .or_insert((run.first, BTreeSet::new()));
                    *first = run.first.min(*first);
                    backups.insert(start.id.clone());
                }
            }
        }
    }
    holes
}

fn archived(wals: &Path, name: SegmentName) -> PathBuf {
    wals.join(format!("{:08X}{:08X}", name.timeline, name.log))
        .join(name.to_string())
}

/// When a file was written last; `None` when it is not there.
fn modified(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Some(DateTime::<Local>::from(modified).fixed_offset())
}

#[cfg(test)]
mod tests;
