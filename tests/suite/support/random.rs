//! Random numbers that can be had again.

/// A small generator of numbers (xorshift): good enough, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Random {
        let seed = std::env::var("BARKEEP_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        Random(seed.unwrap_or(0x9E37_79B9_7F4A_7C15))
    }

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
