//! The compressions of Barman's `compression` option and their levels (configuration reference §4.4).

use std::fmt;
use std::ops::RangeInclusive;

/// A way WAL files are compressed. Several names share one format: what an archive records is the name that was
/// configured, what detection finds is the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// bzip2.
    Bzip2,
    /// The user's own filter programs.
    Custom,
    /// gzip.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// gzip; named after the parallel program that Barman calls.
    Pigz,
    /// bzip2; Barman's older name.
    Pybzip2,
    /// gzip; Barman's older name.
    Pygzip,
    /// Snappy's framing format.
    Snappy,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every compression, in the order in which detection tries them.
    pub const ALL: [Compression; 10] = [
        Compression::Bzip2,
        Compression::Custom,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Pigz,
        Compression::Pybzip2,
        Compression::Pygzip,
        Compression::Snappy,
        Compression::Xz,
        Compression::Zstd,
    ];

    /// The name in the configuration, in `xlog.db` and in `BARMAN_COMPRESSION`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::Bzip2 => "bzip2",
            Compression::Custom => "custom",
            Compression::Gzip => "gzip",
            Compression::Lz4 => "lz4",
            Compression::Pigz => "pigz",
            Compression::Pybzip2 => "pybzip2",
            Compression::Pygzip => "pygzip",
            Compression::Snappy => "snappy",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }

    /// Reads a name; `None` when it is not one of Barman's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Compression> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
    }

    /// The format that the name stands for.
    #[must_use]
    pub fn format(self) -> Compression {
        match self {
            Compression::Pigz | Compression::Pygzip => Compression::Gzip,
            Compression::Pybzip2 => Compression::Bzip2,
            other => other,
        }
    }

    /// The bytes a file of this format starts with; `None` for custom filters.
    #[must_use]
    pub fn magic(self) -> Option<&'static [u8]> {
        match self.format() {
            Compression::Gzip => Some(b"\x1f\x8b\x08"),
            Compression::Bzip2 => Some(b"BZh"),
            Compression::Xz => Some(b"\xfd7zXZ\x00"),
            Compression::Zstd => Some(b"\x28\xb5\x2f\xfd"),
            Compression::Lz4 => Some(b"\x04\x22\x4d\x18"),
            Compression::Snappy => Some(b"\xff\x06\x00\x00sNaPpY"),
            _ => None,
        }
    }

    /// About how much memory an encoder of WAL segments takes, in bytes (the manual pages of xz and zstd).
    #[must_use]
    pub fn encoder_memory(self, level: Level) -> u64 {
        let number = level.resolve(self);
        let mebibytes = match (self.format(), number) {
            (Compression::Xz, ..=2) => 17,
            (Compression::Xz, 3..=4) => 48,
            (Compression::Xz, 5..=6) => 94,
            (Compression::Xz, 7) => 186,
            (Compression::Xz, 8) => 370,
            (Compression::Xz, _) => 674,
            (Compression::Gzip, _) => 3,
            (Compression::Bzip2, _) => 9,
            // See the parameters of its own in `encode`.
            (Compression::Zstd, _) if level == Level::Medium => 3,
            (Compression::Zstd, 3..=5) => 6,
            (Compression::Zstd, 6..=9) => 26,
            (Compression::Zstd, 10..=18) => 64,
            (Compression::Zstd, 19) => 96,
            (Compression::Zstd, 20) => 200,
            (Compression::Zstd, 21..) => 800,
            _ => 2,
        };
        mebibytes << 20
    }

    /// Low, medium and high, and the range of numbers; `None` where there are no levels.
    fn levels(self) -> Option<([i32; 3], RangeInclusive<i32>)> {
        match self.format() {
            Compression::Gzip => Some(([1, 6, 9], 1..=9)),
            Compression::Bzip2 => Some(([1, 5, 9], 1..=9)),
            Compression::Xz => Some(([1, 3, 5], 1..=9)),
            Compression::Zstd => Some(([1, 4, 9], -22..=22)),
            Compression::Lz4 => Some(([0, 6, 10], 0..=16)),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Fast.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Small.
    High,
    /// The algorithm's own number; clamped to its range.
    Number(i32),
}

impl Level {
    /// Reads `low`, `medium`, `high` (in any case) or an integer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Level> {
        match text.trim().to_ascii_lowercase().as_str() {
            "low" => Some(Level::Low),
            "medium" => Some(Level::Medium),
            "high" => Some(Level::High),
            number => number.parse().ok().map(Level::Number),
        }
    }

    /// The number for `compression`, within its range; 0 where there are no levels.
    #[must_use]
    pub fn resolve(self, compression: Compression) -> i32 {
        let Some(([low, medium, high], range)) = compression.levels() else {
            return 0;
        };
        match self {
            Level::Low => low,
            Level::Medium => medium,
            Level::High => high,
            Level::Number(number) => number.clamp(*range.start(), *range.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_round_trip() {
        for compression in Compression::ALL {
            assert_eq!(Compression::parse(compression.name()), Some(compression));
        }
        assert_eq!(Compression::parse("GZIP"), None);
    }

    #[test]
    fn levels_are_clamped_to_the_range() {
        assert_eq!(Level::parse("HIGH").unwrap().resolve(Compression::Pigz), 9);
        assert_eq!(Level::Number(40).resolve(Compression::Zstd), 22);
        assert_eq!(Level::Number(-40).resolve(Compression::Zstd), -22);
        assert_eq!(Level::Number(0).resolve(Compression::Xz), 1);
        assert_eq!(Level::Medium.resolve(Compression::Snappy), 0);
        assert_eq!(Level::parse("fast"), None);
    }
}
