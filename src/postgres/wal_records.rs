//! Whether the records of a WAL segment are whole: every one has a CRC (PostgreSQL's `xlogrecord.h`, `xlogreader.c`).
//!
//! A segment begins with the rest of a record of the one before, if there is one, and ends with the start of a record
//! that the next one continues: neither can be checked without the neighbour. Everything between is. The layout is that
//! of PostgreSQL 9.5 and newer.

use std::io::{self, Read};

use super::lsn::Lsn;
use super::wal_header::{ByteOrder, SegmentHeader};

/// `SizeOfXLogShortPHD` and `SizeOfXLogLongPHD`.
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;
/// `XLP_FIRST_IS_CONTRECORD`: the page begins with the rest of a record.
const CONTINUES: u16 = 0x0001;
/// `XLP_LONG_HEADER`.
const LONG: u16 = 0x0002;
/// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: the record before it was given up in a crash.
const OVERWRITES: u16 = 0x0008;
/// `SizeOfXLogRecord`, and where it has its CRC.
const RECORD_HEADER: usize = 24;
const CRC_AT: usize = 20;
/// `RM_XLOG_ID`, `XLOG_SWITCH`: nothing follows in the segment.
const XLOG: u8 = 0;
const SWITCH: u8 = 0x40;
/// No record is longer.
const LONGEST: u32 = 1 << 30;

/// The first `xlp_magic` with this layout of records: PostgreSQL 9.5.
const OLDEST_MAGIC: u16 = 0xD087;

/// What the records of a segment are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// All are whole.
    Whole,
    /// All are whole up to a position, from which on nothing was written. PostgreSQL leaves such a segment only where a
    /// timeline ends.
    EndEarly(Lsn),
    /// They are of a version whose records are not known here.
    Unknown,
    /// They are damaged.
    Damaged {
        /// Where.
        at: Lsn,
        /// What is wrong.
        what: String,
    },
}

/// Reads a whole segment, the first page included, and checks its records.
///
/// # Errors
/// `reader` failed. A stream that ends before the segment does is [`io::ErrorKind::UnexpectedEof`].
pub fn check(header: &SegmentHeader, reader: impl Read) -> io::Result<Records> {
    if header.magic < OLDEST_MAGIC {
        return Ok(Records::Unknown);
    }
    let mut walk = Walk {
        order: header.byte_order(),
        header: *header,
        reader,
        page: vec![0; usize::try_from(header.page_size).unwrap_or(8192)],
        number: 0,
        at: 0,
    };
    match walk.records() {
        Ok(()) => Ok(Records::Whole),
        Err(Stop::SegmentEnd) => Ok(Records::Whole),
        Err(Stop::Nothing(at)) => Ok(Records::EndEarly(at)),
        Err(Stop::Damage { at, what }) => Ok(Records::Damaged { at, what }),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// Why the walk ends.
enum Stop {
    /// The segment is over.
    SegmentEnd,
    /// Nothing was written from here on.
    Nothing(Lsn),
    Damage {
        at: Lsn,
        what: String,
    },
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

/// What the header of a page says.
struct PageHead {
    flags: u16,
    remaining: u32,
}

/// A position in a segment that is read page by page.
struct Walk<R> {
    order: ByteOrder,
    header: SegmentHeader,
    reader: R,
    page: Vec<u8>,
    /// How many pages were read.
    number: u64,
    /// The offset in the page.
    at: usize,
}

impl<R: Read> Walk<R> {
    fn records(&mut self) -> Result<(), Stop> {
        let first = self.next_page()?;
        self.skip_rest(&first)?;
        loop {
            self.at = self.at.next_multiple_of(8);
            if self.at >= self.page.len() {
                let head = self.next_page()?;
                if head.flags & CONTINUES != 0 {
                    return Err(self.damage("the page continues a record, and none was begun"));
                }
            }
            if self.record()? {
                return Ok(());
            }
        }
    }

    /// Skips the rest of a record of the segment before.
    fn skip_rest(&mut self, first: &PageHead) -> Result<(), Stop> {
        if first.flags & CONTINUES == 0 {
            return Ok(());
        }
        let mut rest = first.remaining as usize;
        loop {
            let here = rest.min(self.page.len().saturating_sub(self.at));
            self.at += here;
            rest -= here;
            if rest == 0 {
                return Ok(());
            }
            let head = self.next_page()?;
            if !self.goes_on(&head, rest)? {
                return Ok(());
            }
        }
    }

    /// Whether the page just read goes on with the record that has `rest` bytes to come. After a crash PostgreSQL gives
    /// up the record and begins another one there.
    fn goes_on(&self, head: &PageHead, rest: usize) -> Result<bool, Stop> {
        if head.flags & CONTINUES == 0 || head.flags & OVERWRITES != 0 {
            return Ok(false);
        }
        if head.remaining as usize != rest {
            return Err(self.damage(&format!(
                "the page continues a record with {} bytes, and {rest} are missing",
                head.remaining
            )));
        }
        Ok(true)
    }

    /// Checks the record at the position. Says whether it is the last one of the segment.
    fn record(&mut self) -> Result<bool, Stop> {
        let begin = self.position();
        let damage = |what: String| Stop::Damage { at: begin, what };
        let length = self.order.u32(&self.page, self.at).unwrap_or(0);
        if length == 0 {
            return Err(Stop::Nothing(begin));
        }
        if length < RECORD_HEADER as u32 || length > LONGEST {
            return Err(damage(format!("a record cannot have {length} bytes")));
        }
        let mut header = [0_u8; RECORD_HEADER];
        let (mut done, mut crc) = (0_usize, 0_u32);
        let length = length as usize;
        loop {
            let end = self.page.len().min(self.at.saturating_add(length - done));
            let piece = self.page.get(self.at..end).unwrap_or_default();
            // The header comes first and is summed last.
            let of_header = piece.len().min(RECORD_HEADER.saturating_sub(done));
            if let (Some(to), Some(from)) = (header.get_mut(done..done + of_header), piece.get(..of_header)) {
                to.copy_from_slice(from);
            }
            crc = crc32c::crc32c_append(crc, piece.get(of_header..).unwrap_or_default());
            done += piece.len();
            self.at = end;
            if done == length {
                break;
            }
            let head = self.next_page()?;
            if !self.goes_on(&head, length - done)? {
                return Ok(false);
            }
        }
        crc = crc32c::crc32c_append(crc, header.get(..CRC_AT).unwrap_or_default());
        if self.order.u32(&header, CRC_AT) != Some(crc) {
            return Err(damage("the checksum of the record is wrong".to_owned()));
        }
        let [.., info, manager, _, _, _, _, _, _] = header;
        Ok(manager == XLOG && info & 0xF0 == SWITCH)
    }

    /// Reads the next page and stops behind its header.
    fn next_page(&mut self) -> Result<PageHead, Stop> {
        let size = self.page.len() as u64;
        if self.number.saturating_mul(size) >= u64::from(self.header.segment_size) {
            return Err(Stop::SegmentEnd);
        }
        self.reader.read_exact(&mut self.page)?;
        let start = Lsn(self.header.start.saturating_add(self.number * size));
        self.number += 1;
        self.at = 0;
        if self.page.iter().all(|byte| *byte == 0) {
            return Err(Stop::Nothing(start));
        }
        let number = |value: Option<u16>| value.unwrap_or(0);
        let magic = number(self.order.u16(&self.page, 0));
        let flags = number(self.order.u16(&self.page, 2));
        let address = Lsn(self.order.u64(&self.page, 8).unwrap_or(0));
        let damage = |what: String| Stop::Damage { at: start, what };
        if magic != self.header.magic {
            return Err(damage(format!("the page has the magic number {magic:04X}")));
        }
        // What the file held before it was used again.
        if address.0 < self.header.start {
            return Err(Stop::Nothing(start));
        }
        if address != start {
            return Err(damage(format!("the page is the one of {address}")));
        }
        self.at = if flags & LONG == 0 {
            SHORT_HEADER
        } else {
            LONG_HEADER
        };
        Ok(PageHead {
            flags,
            remaining: self.order.u32(&self.page, 16).unwrap_or(0),
        })
    }

    fn position(&self) -> Lsn {
        let page = self.number.saturating_sub(1) * self.page.len() as u64;
        Lsn(self
            .header
            .start
            .saturating_add(page)
            .saturating_add(self.at as u64))
    }

    fn damage(&self, what: &str) -> Stop {
        Stop::Damage {
            at: self.position(),
            what: what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::postgres::client::Session;
    use crate::postgres::scratch_cluster::ScratchCluster;
    use crate::postgres::wal_header::sample_header;
    use proptest::prelude::*;

    fn look(content: &[u8]) -> Records {
        check(&SegmentHeader::parse(content).unwrap(), content).unwrap()
    }

    /// What a server writes: small and large records, some across pages and segments, a switch, a timeline's end.
    #[test]
    fn what_a_server_writes_is_whole_and_any_other_byte_is_damage() {
        let Some(cluster) =
            ScratchCluster::start("wal_keep_size = '1GB'\nfull_page_writes = on\nautovacuum = off")
        else {
            return;
        };
        let mut session = Session::connect(&cluster.conninfo()).unwrap();
        for statement in [
            "CREATE TABLE t AS SELECT g, md5(g::text) AS m FROM generate_series(1, 200000) g",
            "SELECT pg_logical_emit_message(false, 'x', repeat('y', 3000000))",
            "SELECT pg_switch_wal()",
            "UPDATE t SET g = g + 1 WHERE g % 3 = 0",
            "SELECT pg_switch_wal()",
            "CREATE TABLE u AS SELECT 1",
        ] {
            session.query(statement, &[]).unwrap();
        }
        let wal = cluster.data().join("pg_wal");
        let open = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())";
        let open = session.value(open, &[]).unwrap().unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&wal)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.len() == 24 && *name < open)
            .collect();
        names.sort();
        assert!(names.len() >= 3, "{names:?}");
        for name in &names {
            assert_eq!(
                look(&std::fs::read(wal.join(name)).unwrap()),
                Records::Whole,
                "{name}"
            );
        }
        // The segment with most of the message.
        let contents = names.iter().map(|name| std::fs::read(wal.join(name)).unwrap());
        let good = contents
            .max_by_key(|content| content.iter().filter(|byte| **byte == b'y').count())
            .unwrap();
        // Bytes of the message: the padding between records has no checksum.
        let mut checked = 0;
        for at in (9_000..good.len()).step_by(65_537) {
            if good[at - 1..=at + 1] == *b"yyy" {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                assert!(matches!(look(&bad), Records::Damaged { .. }), "byte {at}");
                checked += 1;
            }
        }
        assert!(checked > 20, "{checked}");
        // A page that was never written, and one of another place.
        let mut lost = good.clone();
        lost[5 * 8192..6 * 8192].fill(0);
        assert!(matches!(look(&lost), Records::EndEarly(_)), "{:?}", look(&lost));
        let mut moved = good.clone();
        moved.copy_within(9 * 8192..10 * 8192, 5 * 8192);
        assert!(matches!(look(&moved), Records::Damaged { .. }));
        // The open segment ends where nothing was written yet.
        let ending = look(&std::fs::read(wal.join(&open)).unwrap());
        assert!(matches!(ending, Records::EndEarly(_)), "{ending:?}");
        let short = &good[..good.len() / 2];
        let full = SegmentHeader::parse(short).unwrap();
        if let Err(error) = check(&full, short) {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(body in prop::collection::vec(any::<u8>(), 0..40_000)) {
            let mut content = sample_header("000000010000000000000001", 1 << 20, 1);
            content.extend(body);
            content.resize(1 << 20, 0);
            let header = SegmentHeader::parse(&content).unwrap();
            let _ = check(&header, content.as_slice());
        }
    }
}
