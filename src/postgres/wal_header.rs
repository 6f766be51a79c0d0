//! The header on the first page of a WAL segment (`XLogLongPageHeaderData` in PostgreSQL's `xlog_internal.h`).

use super::wal_name::SegmentName;

/// How many bytes [`SegmentHeader::parse`] needs.
pub const HEADER_SIZE: usize = 40;

/// `XLP_LONG_HEADER`: set on the first page of every segment.
const LONG_HEADER: u16 = 0x0002;

/// What the first page of a segment says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The position of the segment's first byte (`xlp_pageaddr`).
    pub start: u64,
    /// The cluster (`xlp_sysid`).
    pub system_identifier: u64,
    /// The size of a segment in bytes (`xlp_seg_size`).
    pub segment_size: u32,
    /// The size of a page in bytes (`xlp_xlog_blcksz`).
    pub page_size: u32,
    /// `XLOG_PAGE_MAGIC`, which every major version has its own of.
    pub magic: u16,
    /// Whether the machine that wrote it stores numbers with the most significant byte first.
    pub big_endian: bool,
}

impl SegmentHeader {
    /// Reads the first bytes of a segment; `None` when they are not those of a segment.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<SegmentHeader> {
        let big_endian = match bytes::<2>(head, 0)? {
            [_, 0xD0 | 0xD1] => false,
            [0xD0 | 0xD1, _] => true,
            _ => return None,
        };
        let order = ByteOrder { big_endian };
        let header = SegmentHeader {
            start: order.u64(head, 8)?,
            system_identifier: order.u64(head, 24)?,
            segment_size: order.u32(head, 32)?,
            page_size: order.u32(head, 36)?,
            magic: order.u16(head, 0)?,
            big_endian,
        };
        let long = order.u16(head, 2)? & LONG_HEADER != 0;
        let valid = long
            && valid_segment_size(u64::from(header.segment_size))
            && header.page_size.is_power_of_two()
            && (1 << 10..=1 << 16).contains(&header.page_size);
        valid.then_some(header)
    }

    /// How the numbers of the segment are stored.
    #[must_use]
    pub fn byte_order(&self) -> ByteOrder {
        ByteOrder {
            big_endian: self.big_endian,
        }
    }

    /// Whether this is the header of the segment `name`.
    ///
    /// The timeline is not compared: the first page of a timeline's first segment may name the one before.
    #[must_use]
    pub fn belongs_to(&self, name: SegmentName) -> bool {
        name.start(u64::from(self.segment_size)).0 == self.start
    }
}

/// Whether a WAL segment can have this size: a power of two from 1 MiB to 1 GiB.
#[must_use]
pub fn valid_segment_size(size: u64) -> bool {
    size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size)
}

/// `XLOG_PAGE_MAGIC` by major version, as far as it was seen in what these versions write.
const PAGE_MAGICS: [(&str, u16); 5] = [
    ("13", 0xD106),
    ("15", 0xD110),
    ("16", 0xD113),
    ("17", 0xD116),
    ("18", 0xD118),
];

/// The major version of PostgreSQL whose pages begin with `magic`; `None` where that is not known. Products that are made
/// from PostgreSQL may have numbers of their own.
#[must_use]
pub fn version_of_magic(magic: u16) -> Option<&'static str> {
    PAGE_MAGICS
        .iter()
        .find(|(_, known)| *known == magic)
        .map(|(version, _)| *version)
}

/// How numbers are stored in the WAL: as the machine that wrote it has them in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteOrder {
    big_endian: bool,
}

impl ByteOrder {
    /// The number of two bytes at `at`.
    #[must_use]
    pub fn u16(self, from: &[u8], at: usize) -> Option<u16> {
        let raw = bytes(from, at)?;
        Some(if self.big_endian {
            u16::from_be_bytes(raw)
        } else {
            u16::from_le_bytes(raw)
        })
    }

    /// The number of four bytes at `at`.
    #[must_use]
    pub fn u32(self, from: &[u8], at: usize) -> Option<u32> {
        let raw = bytes(from, at)?;
        Some(if self.big_endian {
            u32::from_be_bytes(raw)
        } else {
            u32::from_le_bytes(raw)
        })
    }

    /// The number of eight bytes at `at`.
    #[must_use]
    pub fn u64(self, from: &[u8], at: usize) -> Option<u64> {
        let raw = bytes(from, at)?;
        Some(if self.big_endian {
            u64::from_be_bytes(raw)
        } else {
            u64::from_le_bytes(raw)
        })
    }
}

fn bytes<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at + N)?.try_into().ok()
}

/// The first page of a segment, for tests.
#[cfg(test)]
#[must_use]
pub fn sample_header(name: &str, segment_size: u32, system_identifier: u64) -> Vec<u8> {
    let start = SegmentName::parse(name).map_or(0, |segment| segment.start(u64::from(segment_size)).0);
    let mut head = Vec::new();
    head.extend(0xD110u16.to_le_bytes());
    head.extend(LONG_HEADER.to_le_bytes());
    head.extend(1u32.to_le_bytes());
    head.extend(start.to_le_bytes());
    head.extend([0; 8]);
    head.extend(system_identifier.to_le_bytes());
    head.extend(segment_size.to_le_bytes());
    head.extend(8192u32.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(mut head in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = SegmentHeader::parse(&head);
            if let Some(start) = head.get_mut(..4) {
                start.copy_from_slice(&[0x10, 0xd1, 2, 0]);
                let name = SegmentName { timeline: 1, log: u32::MAX, segment: u32::MAX };
                let _ = SegmentHeader::parse(&head).map(|header| header.belongs_to(name));
            }
        }
    }

    #[test]
    fn header_names_its_segment() {
        let name = "0000000100000002000000AB";
        let header = SegmentHeader::parse(&sample_header(name, 1 << 24, 77)).unwrap();
        assert_eq!(header.system_identifier, 77);
        assert!(header.belongs_to(SegmentName::parse(name).unwrap()));
        assert!(!header.belongs_to(SegmentName::parse("0000000100000002000000AC").unwrap()));
    }

    #[test]
    fn anything_else_is_not_a_header() {
        let good = sample_header("000000010000000000000001", 1 << 24, 1);
        assert!(SegmentHeader::parse(&good[..35]).is_none());
        assert!(SegmentHeader::parse(&[0; 64]).is_none());
        // As a machine of the other kind writes it.
        let mut big = Vec::new();
        big.extend(0xD110u16.to_be_bytes());
        big.extend(LONG_HEADER.to_be_bytes());
        big.extend(1u32.to_be_bytes());
        big.extend((1u64 << 24).to_be_bytes());
        big.extend([0; 8]);
        big.extend(7u64.to_be_bytes());
        big.extend((1u32 << 24).to_be_bytes());
        big.extend(8192u32.to_be_bytes());
        let header = SegmentHeader::parse(&big).unwrap();
        assert!(header.big_endian && header.magic == 0xD110 && header.system_identifier == 7);
        assert!(header.belongs_to(SegmentName::parse("000000010000000000000001").unwrap()));
        assert!(SegmentHeader::parse(&sample_header("000000010000000000000001", 12345, 1)).is_none());
    }
}
