//! How far a worker asks ahead: enough to fill a long line, not so much that one worker takes all the large files.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::transport::patience::Stop;

/// Bytes asked for and not yet received, per worker: a gigabit line of a quarter of a second.
const AHEAD: u64 = 32 << 20;
/// How often a waiting sender looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

/// The bytes under way between the two halves of a worker.
#[derive(Default)]
pub(super) struct Window {
    under_way: Mutex<u64>,
    moved: Condvar,
}

impl Window {
    /// Waits until more may be asked for; false when it is time to stop.
    pub(super) fn open(&self, stop: &Stop) -> bool {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while *under_way >= AHEAD {
            if stop.check().is_err() {
                return false;
            }
            under_way = self
                .moved
                .wait_timeout(under_way, LOOK_UP)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Whether more may be asked for at once.
    pub(super) fn is_open(&self) -> bool {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) < AHEAD
    }

    /// These bytes are asked for.
    pub(super) fn enter(&self, bytes: u64) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
    }

    /// These bytes are here, or will not come.
    pub(super) fn leave(&self, bytes: u64) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *under_way = under_way.saturating_sub(bytes);
        drop(under_way);
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_file_closes_it_until_its_end_is_near() {
        let window = Window::default();
        window.enter(AHEAD + 1000);
        assert!(!window.is_open());
        window.leave(2000);
        assert!(window.is_open() && window.open(&Stop::default()));
        window.enter(AHEAD);
        let stop = Stop::default();
        stop.raise();
        assert!(!window.open(&stop));
    }
}
