//! Names of WAL files: segments, backup labels, partial segments and timeline histories
//! (PostgreSQL's `xlog_internal.h`; catalog reference §7.1).

use std::fmt;

use super::lsn::Lsn;

/// PostgreSQL's default segment size in bytes.
pub const DEFAULT_SEGMENT_SIZE: u64 = 16 * 1024 * 1024;

/// A timeline number.
pub type Timeline = u32;

/// The three parts of a segment's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The timeline the segment belongs to.
    pub timeline: Timeline,
    /// The high half of the position (one per 4 GiB).
    pub log: u32,
    /// The number of the segment within its 4 GiB.
    pub segment: u32,
}

/// What a file in a WAL directory is, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalKind {
    /// A complete segment.
    Segment(SegmentName),
    /// The label of a base backup: `{segment}.{offset}.backup`.
    BackupLabel(SegmentName),
    /// A segment that is not complete: `{segment}.partial`.
    Partial(SegmentName),
    /// The history of a timeline: `{timeline}.history`.
    History(Timeline),
}

impl WalKind {
    /// Classifies a file name (without directory); `None` when it is not of the WAL.
    #[must_use]
    pub fn of(name: &str) -> Option<WalKind> {
        if let Some(digits) = name.strip_suffix(".history") {
            return hexadecimal(digits, 8).map(WalKind::History);
        }
        let segment = SegmentName::parse(name.get(..24)?)?;
        match name.get(24..)? {
            "" => Some(WalKind::Segment(segment)),
            ".partial" => Some(WalKind::Partial(segment)),
            rest => {
                let offset = rest.strip_prefix('.')?.strip_suffix(".backup")?;
                hexadecimal(offset, 8).map(|_| WalKind::BackupLabel(segment))
            }
        }
    }

    /// The timeline the file belongs to.
    #[must_use]
    pub fn timeline(self) -> Timeline {
        match self {
            WalKind::Segment(name) | WalKind::BackupLabel(name) | WalKind::Partial(name) => name.timeline,
            WalKind::History(timeline) => timeline,
        }
    }
}

/// The directory of the archive that a WAL file belongs in, relative to the WAL directory: sixteen digits for segments
/// and what belongs to them, empty for histories. `None` when the name is not of the WAL.
#[must_use]
pub fn hash_directory(name: &str) -> Option<String> {
    match WalKind::of(name)? {
        WalKind::History(_) => Some(String::new()),
        WalKind::Segment(segment) | WalKind::BackupLabel(segment) | WalKind::Partial(segment) => {
            Some(format!("{:08X}{:08X}", segment.timeline, segment.log))
        }
    }
}

impl SegmentName {
    /// Reads a name of 24 hexadecimal digits in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<SegmentName> {
        if name.len() != 24 || !name.is_ascii() {
            return None;
        }
        Some(SegmentName {
            timeline: hexadecimal(&name[..8], 8)?,
            log: hexadecimal(&name[8..16], 8)?,
            segment: hexadecimal(&name[16..], 8)?,
        })
    }

    /// The segment that holds the byte at `lsn`.
    #[must_use]
    pub fn containing(timeline: Timeline, lsn: Lsn, segment_size: u64) -> SegmentName {
        let per_log = segments_per_log(segment_size);
        let number = lsn.0 / segment_size.max(1);
        SegmentName {
            timeline,
            log: low_half(number / per_log),
            segment: low_half(number % per_log),
        }
    }

    /// The position of the first byte of the segment.
    #[must_use]
    pub fn start(self, segment_size: u64) -> Lsn {
        let number = u64::from(self.log) * segments_per_log(segment_size) + u64::from(self.segment);
        Lsn(number.saturating_mul(segment_size))
    }

    /// The next segment on the same timeline.
    #[must_use]
    pub fn next(self, segment_size: u64) -> SegmentName {
        if u64::from(self.segment) + 1 >= segments_per_log(segment_size) {
            SegmentName {
                log: self.log.wrapping_add(1),
                segment: 0,
                ..self
            }
        } else {
            SegmentName {
                segment: self.segment + 1,
                ..self
            }
        }
    }

    /// All segments from this one to `last`, both included, on this one's timeline; empty when `last` comes first.
    pub fn through(self, last: SegmentName, segment_size: u64) -> impl Iterator<Item = SegmentName> {
        let end = (last.log, last.segment);
        std::iter::successors(Some(self), move |name| Some(name.next(segment_size)))
            .take_while(move |name| (name.log, name.segment) <= end)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:08X}{:08X}{:08X}",
            self.timeline, self.log, self.segment
        )
    }
}

/// How many segments share one value of the name's middle part.
#[must_use]
pub fn segments_per_log(segment_size: u64) -> u64 {
    (0x1_0000_0000 / segment_size.max(1)).max(1)
}

fn low_half(number: u64) -> u32 {
    u32::try_from(number & 0xFFFF_FFFF).unwrap_or(u32::MAX)
}

fn hexadecimal(digits: &str, length: usize) -> Option<u32> {
    let valid = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if valid {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds() {
        let segment = SegmentName::parse("00000001000000000000000A").unwrap();
        assert_eq!(
            WalKind::of("00000001000000000000000a"),
            Some(WalKind::Segment(segment))
        );
        assert_eq!(
            WalKind::of("00000001000000000000000A.partial"),
            Some(WalKind::Partial(segment))
        );
        assert_eq!(
            WalKind::of("00000001000000000000000A.00000028.backup"),
            Some(WalKind::BackupLabel(segment))
        );
        assert_eq!(WalKind::of("00000002.history"), Some(WalKind::History(2)));
        for other in [
            "",
            "junk",
            "00000001000000000000000",
            "00000001000000000000000A.x",
            "0000000é.history",
        ] {
            assert_eq!(WalKind::of(other), None, "{other}");
        }
    }

    #[test]
    fn arithmetic_follows_the_segment_size() {
        let last = SegmentName::parse("0000000100000000000000FF").unwrap();
        assert_eq!(
            last.next(DEFAULT_SEGMENT_SIZE).to_string(),
            "000000010000000100000000"
        );
        assert_eq!(last.next(1 << 20).to_string(), "000000010000000000000100");
        let lsn: Lsn = "0/96000028".parse().unwrap();
        let segment = SegmentName::containing(1, lsn, DEFAULT_SEGMENT_SIZE);
        assert_eq!(segment.to_string(), "000000010000000000000096");
        assert_eq!(segment.start(DEFAULT_SEGMENT_SIZE), Lsn(0x9600_0000));
        let gib = SegmentName::parse("000000010000000000000003").unwrap();
        assert_eq!(gib.next(1 << 30).to_string(), "000000010000000100000000");
    }

    #[test]
    fn ranges_include_both_ends() {
        let first = SegmentName::parse("0000000100000000000000FE").unwrap();
        let last = SegmentName::parse("000000010000000100000001").unwrap();
        let names: Vec<_> = first
            .through(last, DEFAULT_SEGMENT_SIZE)
            .map(|name| name.to_string())
            .collect();
        assert_eq!(names.len(), 4);
        assert_eq!(last.through(first, DEFAULT_SEGMENT_SIZE).count(), 0);
    }
}
