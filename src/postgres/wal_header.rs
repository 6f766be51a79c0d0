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
}

impl SegmentHeader {
    /// Reads the first bytes of a segment that was written on a little-endian machine; `None` when they are not those of
    /// a segment.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<SegmentHeader> {
        let magic = u16::from_le_bytes(bytes(head, 0)?);
        let info = u16::from_le_bytes(bytes(head, 2)?);
        let segment_size = u32::from_le_bytes(bytes(head, 32)?);
        let known = matches!(magic >> 8, 0xD0 | 0xD1) && info & LONG_HEADER != 0;
        (known && valid_segment_size(u64::from(segment_size))).then_some(SegmentHeader {
            start: u64::from_le_bytes(bytes(head, 8)?),
            system_identifier: u64::from_le_bytes(bytes(head, 24)?),
            segment_size,
        })
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
        assert!(SegmentHeader::parse(&sample_header("000000010000000000000001", 12345, 1)).is_none());
    }
}
