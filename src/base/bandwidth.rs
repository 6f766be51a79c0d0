//! A limit on bytes per second, shared by parallel workers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::interrupt;

/// How often a wait looks whether the work is asked to stop.
const TICK: Duration = Duration::from_millis(100);

/// The limits of one copy: one that most items share, and those that some have for themselves.
#[derive(Debug)]
pub struct Limits {
    shared: Bandwidth,
    own: Vec<Option<Bandwidth>>,
}

impl Limits {
    /// `own` has an entry per item, in their order; `None` where it shares `shared`. The unit is that of
    /// [`Bandwidth::kib_per_second`].
    #[must_use]
    pub fn new(shared: Option<u64>, own: impl IntoIterator<Item = Option<u64>>) -> Limits {
        let own = own.into_iter();
        Limits {
            shared: Bandwidth::kib_per_second(shared),
            own: own
                .map(|limit| limit.map(|limit| Bandwidth::kib_per_second(Some(limit))))
                .collect(),
        }
    }

    /// The limit of an item.
    #[must_use]
    pub fn of(&self, item: usize) -> &Bandwidth {
        self.own
            .get(item)
            .and_then(Option::as_ref)
            .unwrap_or(&self.shared)
    }
}

/// What was not used for so long may be made up for: a pause of the disk or of the other side would make the copy slower
/// than it may be otherwise.
const CREDIT: Duration = Duration::from_secs(1);

/// What ssh and TCP add to what is sent, in parts of it: the limit is meant for the line.
const ON_THE_WIRE: f64 = 1.02;

/// A leaky bucket: callers sleep until the bytes they are about to move fit into the rate.
#[derive(Debug)]
pub struct Bandwidth {
    bytes_per_second: Option<u64>,
    next_free: Mutex<Instant>,
}

impl Bandwidth {
    /// A limit in units of 1024 bytes per second, as Barman's `bandwidth_limit` and `--bwlimit` (rsync's unit);
    /// zero or `None` means no limit.
    #[must_use]
    pub fn kib_per_second(limit: Option<u64>) -> Bandwidth {
        let bytes_per_second = limit.filter(|kib| *kib > 0).map(|kib| kib.saturating_mul(1024));
        Bandwidth {
            bytes_per_second,
            next_free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` more may be moved, or the work is asked to stop: with a low limit that wait may be long.
    #[allow(clippy::cast_precision_loss)] // sizes of one buffer
    pub fn consume(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64(bytes as f64 * ON_THE_WIRE / rate as f64);
        let wait = {
            let mut next_free = self
                .next_free
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            claim(&mut next_free, Instant::now(), cost)
        };
        let deadline = Instant::now() + wait;
        while let Some(left) = deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero() && interrupt::check().is_ok())
        {
            std::thread::sleep(left.min(TICK));
        }
    }
}

/// Takes the next slot of so long; gives the time until it begins.
fn claim(next_free: &mut Instant, now: Instant, cost: Duration) -> Duration {
    let earliest = now.checked_sub(CREDIT).unwrap_or(now);
    let start = (*next_free).max(earliest);
    *next_free = start + cost;
    start.saturating_duration_since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_own_limit_or_shares_one() {
        let limits = Limits::new(Some(100), [None, Some(7), Some(0)]);
        let rate = |item| limits.of(item).bytes_per_second;
        assert_eq!(rate(0), Some(100 * 1024));
        assert_eq!(rate(1), Some(7 * 1024));
        assert_eq!(rate(2), None);
        assert_eq!(rate(3), Some(100 * 1024));
        assert!(std::ptr::eq(limits.of(0), limits.of(3)));
    }

    #[test]
    fn pauses_are_made_up_for_and_idleness_is_not() {
        let now = Instant::now() + CREDIT * 10;
        let cost = Duration::from_millis(500);
        let mut next = now;
        assert_eq!(claim(&mut next, now, cost), Duration::ZERO);
        assert_eq!(
            claim(&mut next, now, cost),
            cost,
            "the first half of a second is spoken for"
        );
        assert_eq!(next, now + cost * 2);
        next = now - cost;
        claim(&mut next, now, cost);
        assert_eq!(next, now, "a short pause counts");
        next = now - CREDIT * 3;
        claim(&mut next, now, cost);
        assert_eq!(next, now - CREDIT + cost, "of a long one, a second");
        Bandwidth::kib_per_second(None).consume(1 << 40);
    }
}
