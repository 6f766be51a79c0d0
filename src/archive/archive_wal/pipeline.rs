//! Preparing files on all cores, ahead of the one thread that stores them.
//!
//! The threads take the files in their order and never run further ahead than the storing thread allows, so that only so
//! much lies under temporary names. What they have prepared is handed out in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::interrupt::{self, Interrupted};

use super::FileError;
use super::prepare::{Item, Prepared, Workshop};

/// How often the wait for prepared files looks for signals.
const TICK: Duration = Duration::from_millis(200);

/// A file with what is to be done with it.
pub(super) type Ready = (Item, Result<Prepared, FileError>);

/// The files of one source on their way through the threads.
pub(super) struct Pipeline<'a> {
    workshop: &'a Workshop,
    queue: &'a [PathBuf],
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The first file that no thread has taken.
    next: usize,
    /// The first file that must not be taken yet.
    limit: usize,
    /// What was prepared and not handed out; `None` for a name that is not of the WAL.
    ready: BTreeMap<usize, Option<Ready>>,
    /// The threads are to end.
    stop: bool,
}

/// Ends the threads when it is dropped, however that comes: also when one of them panicked.
pub(super) struct Stopper<'a, 'b>(&'a Pipeline<'b>);

impl Drop for Stopper<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(workshop: &'a Workshop, queue: &'a [PathBuf]) -> Pipeline<'a> {
        Pipeline {
            workshop,
            queue,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    /// Ends the threads when it goes out of scope.
    pub(super) fn stopper(&self) -> Stopper<'_, 'a> {
        Stopper(self)
    }

    /// What each thread does.
    pub(super) fn work(&self) {
        let panicking = self.stopper();
        while let Some(index) = self.next() {
            let item = self
                .queue
                .get(index)
                .and_then(|source| Item::new(&self.workshop.layout, source));
            let ready = item.map(|item| {
                let prepared = self.workshop.prepare(&item);
                (item, prepared)
            });
            self.lock().ready.insert(index, ready);
            self.changed.notify_all();
        }
        // Only a panic ends the other threads.
        std::mem::forget(panicking);
    }

    /// Allows the threads to go up to `window` files beyond `done`, and to take `room` files more than they have taken.
    /// Returns how many files from `done` on are or will be prepared.
    pub(super) fn allow(&self, done: usize, window: usize, room: usize) -> usize {
        let mut state = self.lock();
        let ahead = done.saturating_add(window).min(state.next.saturating_add(room));
        state.limit = state.limit.max(ahead.min(self.queue.len()));
        let limit = state.limit;
        drop(state);
        self.changed.notify_all();
        limit.saturating_sub(done)
    }

    /// Waits for `count` files from `done` on and hands them out.
    ///
    /// # Errors
    /// The run was asked to stop.
    pub(super) fn take(&self, done: usize, count: usize) -> Result<Vec<Ready>, Interrupted> {
        let range = done..done.saturating_add(count);
        let mut state = self.lock();
        while state.ready.range(range.clone()).count() < count && !state.stop {
            interrupt::check()?;
            state = self
                .changed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        interrupt::check()?;
        Ok(range
            .filter_map(|index| state.ready.remove(&index).flatten())
            .collect())
    }

    /// The next file to prepare; `None` at the end.
    fn next(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stop || state.next >= self.queue.len() {
                return None;
            }
            if state.next < state.limit {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::workers;
    use crate::codec::{Compression, Level};

    #[test]
    fn memory_is_bounded_however_many_cores_there_are() {
        for (compression, at_64) in [
            (Compression::Gzip, 37),
            (Compression::Zstd, 37),
            (Compression::Lz4, 56),
            (Compression::Bzip2, 12),
            (Compression::Xz, 2),
        ] {
            let each = compression.encoder_memory(Level::Medium);
            assert_eq!(workers(64, each), at_64, "{compression}");
            assert_eq!(workers(1000, each), at_64, "{compression}");
            assert_eq!(workers(2, each), 2, "{compression}");
            assert!(at_64 as u64 * each <= 112 << 20, "{compression}");
        }
        let slow = Compression::Xz.encoder_memory(Level::High);
        assert_eq!((workers(64, slow), workers(1, slow)), (2, 1));
        assert_eq!(workers(64, Compression::Xz.encoder_memory(Level::Number(9))), 1);
        assert_eq!(workers(64, 0), 64);
    }
}
