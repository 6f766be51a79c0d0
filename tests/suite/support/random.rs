//! Random numbers that can be had again.

use std::time::{Duration, Instant};

/// The seeds of a property test, for as long as there is time; at least the first of them.
///
/// `BARKEEP_TEST_SECONDS` gives it more time than it has by itself, and `BARKEEP_TEST_SEED` another first seed.
pub fn seeds(seconds: f64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = number("BARKEEP_TEST_SECONDS").map_or(Duration::from_secs_f64(seconds), Duration::from_secs);
    let first = number("BARKEEP_TEST_SEED").unwrap_or(1);
    let start = Instant::now();
    (first..).take_while(move |seed| *seed == first || start.elapsed() < time)
}

/// A small generator of numbers (xorshift): good enough, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Other numbers for each seed.
    pub fn of(seed: u64) -> Random {
        // Small seeds have few bits: a multiplication spreads them.
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// A number from 0 up to, and without, `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as u32) % limit
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u32) as usize]
    }
}
