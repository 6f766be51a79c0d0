//! Segments fetched ahead while PostgreSQL replays: what the process in the background does.
//!
//! Workers fetch one segment after the other, in the order of their names, until the [`Spool`] is full; they go on as
//! PostgreSQL takes segments out. Each has one run of `get-wal` for all its segments ([`Series`]) over the one kept
//! connection, or, where the other side is Barman, one for each segment. After each segment it gets, PostgreSQL's call notes which one it was.
//! When that is not one that was expected, because PostgreSQL has begun again or follows another timeline, the plan begins
//! anew behind it.
//!
//! The process ends when the server stops, when its recovery ends, when PostgreSQL asks for nothing for [`IDLE`], or when a
//! segment could not be fetched and all others are taken; it leaves an empty spool. Whether that was the end of the WAL or
//! a failure is not for this process to tell: the call for that segment finds out.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::fetch::{Failure, Fetch, Kept};
use super::super::recovering;
use super::super::series::Series;
use super::super::spool::Spool;
use super::{WalRestore, create_new};
use crate::base::lock::LockFile;
use crate::postgres::wal_name::SegmentName;

/// How many segments wait in the spool at most, for each that is fetched at once.
const DEPTH: usize = 2;
/// After this time without a question nobody will ask again.
const IDLE: Duration = Duration::from_secs(60);
/// The pause between two looks at the spool.
const LOOK: Duration = Duration::from_millis(5);
/// The time between two looks at the cluster.
const LOOK_AT_CLUSTER: Duration = Duration::from_millis(250);

/// Fills the spool until nobody wants more, unless another process does.
pub(super) fn run(program: &WalRestore, spool: &Spool) {
    let Ok(_lock) = LockFile::try_acquire(&spool.lock()) else {
        return;
    };
    let Some((delivered, segment_size)) = spool.delivered() else {
        return;
    };
    let workers = usize::try_from(program.parallel).unwrap_or(1).clamp(1, 64);
    let plan = Plan::new(delivered, segment_size, workers * DEPTH);
    let ahead = Ahead {
        program,
        spool,
        kept: program.kept(),
        plan: Mutex::new(plan),
        in_series: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| ahead.work());
        }
        ahead.watch();
    });
    for segment in spool.segments() {
        spool.remove(&segment.to_string());
    }
}

/// The process in the background.
struct Ahead<'a> {
    program: &'a WalRestore,
    spool: &'a Spool,
    kept: Option<Kept>,
    plan: Mutex<Plan>,
    /// Whether the other side sends files in series; unknown at first.
    in_series: Mutex<Option<bool>>,
}

impl Ahead<'_> {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what PostgreSQL takes, and ends the workers when nobody will take anything more.
    fn watch(&self) {
        let mut asked = Instant::now();
        let mut looked = Instant::now();
        loop {
            std::thread::sleep(LOOK);
            let delivered = self.spool.delivered();
            let mut plan = self.plan();
            let waiting = self.spool.segments();
            if let Some((delivered, _)) = delivered
                && plan.follow(delivered)
            {
                asked = Instant::now();
                for segment in waiting.iter().filter(|segment| !plan.is_ahead(**segment)) {
                    self.spool.remove(&segment.to_string());
                }
            }
            let exhausted = plan.stopped && plan.under_way == 0 && waiting.is_empty();
            let mut over = exhausted || asked.elapsed() > IDLE;
            if looked.elapsed() > LOOK_AT_CLUSTER {
                looked = Instant::now();
                over = over || recovering::is_over(&self.program.data_directory);
            }
            if over {
                plan.stopped = true;
                return;
            }
        }
    }

    fn work(&self) {
        let mut series = None;
        loop {
            let step = {
                // Under the lock, so that a segment is either under way or in the spool.
                let mut plan = self.plan();
                let waiting = self.spool.segments();
                plan.step(&waiting)
            };
            match step {
                Step::End => return,
                Step::Wait => std::thread::sleep(LOOK),
                Step::Fetch(segment) => {
                    let fetched = self.fetch(&segment.to_string(), &mut series);
                    let mut plan = self.plan();
                    plan.under_way -= 1;
                    if let Err(failure) = fetched {
                        log::debug!("{segment} is not fetched ahead: {failure}");
                        plan.stopped = true;
                    }
                }
            }
        }
    }

    fn fetch(&self, name: &str, series: &mut Option<Series>) -> Result<(), Failure> {
        let (temporary, target) = (self.spool.temporary(name), self.spool.path(name));
        let local = |error: std::io::Error| Failure::local(&temporary, &error);
        create_new(&temporary).map_err(local)?;
        let fetched = self
            .receive(name, &temporary, series)
            .and_then(|()| std::fs::rename(&temporary, &target).map_err(local));
        if fetched.is_err() {
            remove(&temporary);
        }
        fetched
    }

    /// Fetches a segment in the series, which is begun if need be; by itself where there is none, and after a failure.
    fn receive(&self, name: &str, temporary: &Path, series: &mut Option<Series>) -> Result<(), Failure> {
        let fetch = self.program.fetch(false, self.kept.as_ref());
        if series.is_none() {
            *series = self.begin(&fetch, name);
        }
        if let Some(running) = series {
            match running.fetch(&fetch, name, temporary) {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is_definite() => return Err(failure),
                Err(failure @ Failure::Disk(_)) => {
                    *series = None;
                    return Err(failure);
                }
                Err(failure) => {
                    log::debug!("{name} did not arrive in the series: {failure}");
                    if !running.has_answered() {
                        *self.in_series.lock().unwrap_or_else(PoisonError::into_inner) = Some(false);
                    }
                    *series = None;
                }
            }
        }
        fetch.to_file(name, temporary)
    }

    /// Begins a series, unless it is known that there are none. The first worker finds that out for all.
    fn begin(&self, fetch: &Fetch<'_>, name: &str) -> Option<Series> {
        let mut known = self.in_series.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some(false) => return None,
            // No need to wait for each other.
            Some(true) => drop(known),
            None => {
                let begun = Series::begin(fetch, name);
                *known = Some(begun.is_ok());
                return said(begun);
            }
        }
        said(Series::begin(fetch, name))
    }
}

fn said(begun: Result<Series, Failure>) -> Option<Series> {
    begun
        .inspect_err(|failure| log::debug!("segments are fetched one by one: {failure}"))
        .ok()
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        log::debug!("cannot remove \"{}\": {error}", path.display());
    }
}

/// Which segments are fetched.
struct Plan {
    delivered: SegmentName,
    next: SegmentName,
    segment_size: u64,
    /// How many segments there may be, in the spool and under way.
    room: usize,
    under_way: usize,
    /// Nothing more is fetched.
    stopped: bool,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Fetch(SegmentName),
    Wait,
    End,
}

impl Plan {
    fn new(delivered: SegmentName, segment_size: u64, room: usize) -> Plan {
        Plan {
            delivered,
            next: delivered.next(segment_size),
            segment_size,
            room,
            under_way: 0,
            stopped: false,
        }
    }

    /// Notes that PostgreSQL got `delivered`. Returns whether that is news.
    fn follow(&mut self, delivered: SegmentName) -> bool {
        if delivered == self.delivered {
            return false;
        }
        self.delivered = delivered;
        let follows = self.next.timeline == delivered.timeline && self.is_ahead(self.next);
        if !follows {
            self.next = delivered.next(self.segment_size);
        }
        true
    }

    /// Whether `segment` is one of those that PostgreSQL will want next.
    fn is_ahead(&self, segment: SegmentName) -> bool {
        let mut candidate = self.delivered;
        // The one behind the last that fits may be the next to fetch.
        (0..=self.room).any(|_| {
            candidate = candidate.next(self.segment_size);
            candidate == segment
        })
    }

    fn step(&mut self, waiting: &[SegmentName]) -> Step {
        if self.stopped {
            return Step::End;
        }
        while waiting.contains(&self.next) {
            self.next = self.next.next(self.segment_size);
        }
        if waiting.len() + self.under_way >= self.room {
            return Step::Wait;
        }
        self.under_way += 1;
        let segment = self.next;
        self.next = segment.next(self.segment_size);
        Step::Fetch(segment)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(segment: u32) -> SegmentName {
        SegmentName {
            timeline: 1,
            log: 0,
            segment,
        }
    }

    #[test]
    fn no_more_is_fetched_than_fits_and_nothing_twice() {
        let mut plan = Plan::new(name(1), 1 << 24, 3);
        assert_eq!(plan.step(&[name(2)]), Step::Fetch(name(3)), "2 is there already");
        assert_eq!(plan.step(&[name(2)]), Step::Fetch(name(4)));
        assert_eq!(plan.step(&[name(2)]), Step::Wait, "one waits, two are under way");
        plan.under_way = 0;
        assert_eq!(plan.step(&[name(2), name(3), name(4)]), Step::Wait);
        assert!(plan.follow(name(2)));
        assert!(!plan.follow(name(2)));
        assert_eq!(plan.step(&[name(3), name(4)]), Step::Fetch(name(5)));
        plan.stopped = true;
        assert_eq!(plan.step(&[]), Step::End);
    }

    #[test]
    fn the_plan_begins_anew_where_postgresql_is() {
        let mut plan = Plan::new(name(0xfd), 1 << 24, 2);
        assert_eq!(plan.step(&[]), Step::Fetch(name(0xfe)));
        plan.under_way = 0;
        // It fetched that one by itself and is further on.
        assert!(plan.follow(name(0xff)));
        let first_of_next = SegmentName { log: 1, ..name(0) };
        assert!(plan.is_ahead(first_of_next) && !plan.is_ahead(name(0xfe)));
        assert_eq!(plan.step(&[]), Step::Fetch(first_of_next));
        // It has begun again.
        assert!(plan.follow(name(3)));
        assert!(!plan.is_ahead(first_of_next));
        assert_eq!(plan.step(&[]), Step::Fetch(name(4)));
        let second = SegmentName {
            timeline: 2,
            ..name(4)
        };
        plan.under_way = 0;
        assert!(plan.follow(second));
        assert_eq!(plan.step(&[]), Step::Fetch(second.next(1 << 24)));
    }
}
