//! Why segments are missing, as far as it can be told from this host.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::archive::archive_wal::errors_directory::REASON;
use crate::catalog::{Catalog, CatalogError};
use crate::postgres::wal_name::{SegmentName, Timeline};

use super::super::holdings::{Holdings, Run};
use super::{Gap, Holes, archived};

/// The most segments of a gap that are looked for one by one: a larger gap has one cause.
const EXAMINED: u64 = 10_000;

/// Why a segment is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It was archived, and its file is gone.
    Removed,
    /// It arrived and was put aside.
    PutAside {
        /// Where it is now.
        path: PathBuf,
        /// Why, if that was noted.
        reason: Option<String>,
    },
    /// Only an incomplete one has arrived.
    Partial,
    /// It never arrived.
    NeverArrived,
    /// Nobody looked.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Removed => formatter.write_str("archived once and removed since, not by barman"),
            Cause::PutAside { path, reason: None } => {
                write!(formatter, "put aside as \"{}\"", path.display())
            }
            Cause::PutAside {
                path,
                reason: Some(reason),
            } => write!(formatter, "put aside as \"{}\": {reason}", path.display()),
            Cause::Partial => formatter.write_str("only the incomplete segment (.partial) arrived"),
            Cause::NeverArrived => formatter.write_str("never arrived"),
            Cause::Unknown => formatter.write_str("for reasons not looked for"),
        }
    }
}

impl Cause {
    /// The cause in a word, for programs.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Cause::Removed => "removed",
            Cause::PutAside { .. } => "put_aside",
            Cause::Partial => "partial",
            Cause::NeverArrived => "never_arrived",
            Cause::Unknown => "unknown",
        }
    }
}

/// The segments of some runs that are on this host after all: waiting to be archived, or archived in this moment.
pub(super) fn arrived(
    catalog: &Catalog,
    holdings: &Holdings,
    runs: impl Iterator<Item = (Timeline, Run)>,
) -> Vec<(Timeline, u64)> {
    let layout = catalog.layout();
    let mut arrived = Vec::new();
    for (timeline, run) in runs {
        for number in examined(run) {
            let name = holdings.name(timeline, number);
            let text = name.to_string();
            // In the order a segment takes: what leaves one place meanwhile is found in the next.
            let places = [
                layout.incoming.join(&text),
                layout.streaming.join(&text),
                archived(&layout.wals, name),
            ];
            if places.iter().any(|path| path.is_file()) {
                arrived.push((timeline, number));
            }
        }
    }
    arrived
}

fn examined(run: Run) -> impl Iterator<Item = u64> {
    run.first..=run.last.min(run.first.saturating_add(EXAMINED - 1))
}

/// The gaps with their causes.
pub(super) fn explain(
    catalog: &Catalog,
    holdings: &Holdings,
    holes: Holes,
) -> Result<Vec<Gap>, CatalogError> {
    if holes.0.is_empty() {
        return Ok(Vec::new());
    }
    let aside = put_aside(catalog);
    let recorded = recorded(catalog, holdings, &holes)?;
    let gap = |((timeline, last), (first, backups)): ((Timeline, u64), _)| {
        let run = Run { first, last };
        let mut causes: BTreeMap<Cause, u64> = BTreeMap::new();
        for number in examined(run) {
            let name = holdings.name(timeline, number);
            *causes.entry(cause(catalog, name, &aside, &recorded)).or_default() += 1;
        }
        let rest = run.count().saturating_sub(EXAMINED);
        if rest > 0 {
            causes.insert(Cause::Unknown, rest);
        }
        Gap {
            timeline,
            first: holdings.name(timeline, first),
            last: holdings.name(timeline, last),
            count: run.count(),
            causes: causes.into_iter().collect(),
            backups: std::collections::BTreeSet::into_iter(backups).collect(),
        }
    };
    Ok(holes.0.into_iter().map(gap).collect())
}

fn cause(
    catalog: &Catalog,
    name: SegmentName,
    aside: &BTreeMap<SegmentName, PathBuf>,
    recorded: &HashSet<SegmentName>,
) -> Cause {
    if let Some(path) = aside.get(&name) {
        let mut reason = path.as_os_str().to_owned();
        reason.push(REASON);
        return Cause::PutAside {
            path: path.clone(),
            reason: fs::read_to_string(reason)
                .ok()
                .map(|text| text.trim_end().to_owned()),
        };
    }
    if recorded.contains(&name) {
        return Cause::Removed;
    }
    let partial = format!("{name}.partial");
    let layout = catalog.layout();
    let partials = [
        layout.streaming.join(&partial),
        archived(&layout.wals, name).with_file_name(&partial),
    ];
    if partials.iter().any(|path| path.is_file()) {
        return Cause::Partial;
    }
    Cause::NeverArrived
}

/// The segments in the errors directory, each with its newest object.
fn put_aside(catalog: &Catalog) -> BTreeMap<SegmentName, PathBuf> {
    let errors = &catalog.layout().errors;
    let mut names: Vec<String> = fs::read_dir(errors)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.ends_with(REASON))
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .filter_map(|name| Some((SegmentName::parse(name.split('.').next()?)?, errors.join(&name))))
        .collect()
}

/// The missing segments that the WAL database knows.
fn recorded(
    catalog: &Catalog,
    holdings: &Holdings,
    holes: &Holes,
) -> Result<HashSet<SegmentName>, CatalogError> {
    let runs: Vec<(Timeline, Run)> = holes.keys_and_runs().collect();
    let mut found = HashSet::new();
    if !catalog.xlogdb().path().exists() {
        return Ok(found);
    }
    catalog.xlogdb().scan(|line| {
        if let Some(name) = SegmentName::parse(line.name) {
            let number = holdings.number(name);
            let missing = runs.iter().any(|(timeline, run)| {
                *timeline == name.timeline && (run.first..=run.last).contains(&number)
            });
            if missing {
                found.insert(name);
            }
        }
        Ok::<_, CatalogError>(ControlFlow::Continue(()))
    })?;
    Ok(found)
}
