//! Pages of relation files: header, checksum, and which files have them.
//!
//! Sources: PostgreSQL's `bufpage.h` (header), `checksum_impl.h` (algorithm), `basebackup.c` and `pg_checksums.c` (which
//! files and pages are checked).

use super::lsn::Lsn;

/// Bytes of a page (`BLCKSZ`), as every distributed PostgreSQL is built.
pub const PAGE_SIZE: usize = 8192;
/// Pages of a full segment file (`RELSEG_SIZE`): 1 GiB.
pub const SEGMENT_PAGES: u32 = 131_072;

const SUMS: usize = 32;
const PRIME: u32 = 16_777_619;
const CHECKSUM_OFFSET: usize = 8;
const UPPER_OFFSET: usize = 14;

/// Start values of the parallel sums (`checksumBaseOffsets`).
const BASE: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// A page whose checksum is not the one it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChecksum {
    /// What the content gives.
    pub computed: u16,
    /// What the header says.
    pub stored: u16,
}

/// The position of the last WAL record that changed a page (`pd_lsn`: two native 32-bit halves, high first).
#[must_use]
pub fn lsn(page: &[u8]) -> Option<Lsn> {
    let (high, rest) = page.split_first_chunk::<4>()?;
    let low = rest.first_chunk::<4>()?;
    Some(Lsn(
        u64::from(u32::from_ne_bytes(*high)) << 32 | u64::from(u32::from_ne_bytes(*low))
    ))
}

/// Whether a page was never initialised (`PageIsNew`: `pd_upper` is zero).
#[must_use]
pub fn is_new(page: &[u8]) -> bool {
    page.get(UPPER_OFFSET..UPPER_OFFSET + 2)
        .is_none_or(|upper| upper == [0, 0])
}

/// The checksum of a page at `block` of its relation (counted over all segments), or `None` when the page is not
/// [`PAGE_SIZE`] long.
#[must_use]
pub fn checksum(page: &[u8], block: u32) -> Option<u16> {
    let page: &[u8; PAGE_SIZE] = page.try_into().ok()?;
    let mut sums = BASE;
    for (row, bytes) in page.chunks_exact(SUMS * 4).enumerate() {
        for (column, (sum, word)) in sums.iter_mut().zip(bytes.chunks_exact(4)).enumerate() {
            let mut value = u32::from_ne_bytes(word.try_into().ok()?);
            if row == 0 && column == CHECKSUM_OFFSET / 4 {
                value &= WITHOUT_CHECKSUM;
            }
            *sum = mix(*sum, value);
        }
    }
    let mut result = 0;
    for sum in &mut sums {
        *sum = mix(mix(*sum, 0), 0);
        result ^= *sum;
    }
    let reduced = (result ^ block) % 65_535 + 1;
    u16::try_from(reduced).ok()
}

/// Blanks `pd_checksum` in the word that holds it (the first two bytes of that word in memory).
const WITHOUT_CHECKSUM: u32 = if cfg!(target_endian = "little") {
    0xFFFF_0000
} else {
    0x0000_FFFF
};

#[inline]
fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

/// Verifies a page as PostgreSQL's base backup does: new pages have no checksum, and pages changed after the backup
/// started may be torn, which replay of the WAL repairs.
///
/// # Errors
/// The checksum is wrong.
pub fn verify(page: &[u8], block: u32, start: Lsn) -> Result<(), BadChecksum> {
    if is_new(page) || lsn(page).is_some_and(|lsn| lsn >= start) {
        return Ok(());
    }
    let stored = page
        .get(CHECKSUM_OFFSET..)
        .and_then(<[u8]>::first_chunk::<2>)
        .map_or(0, |bytes| u16::from_ne_bytes(*bytes));
    match checksum(page, block) {
        Some(computed) if computed != stored => Err(BadChecksum { computed, stored }),
        _ => Ok(()),
    }
}

/// What a file of a cluster is, told from its path relative to the data directory or to a tablespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Pages with checksums: a fork of a relation, with the number of its segment file.
    Relation {
        /// `N` of `16384.N`, 0 for the first.
        segment: u32,
    },
    /// Blocks rewritten in place without page checksums: transaction status and the like (SLRUs).
    Blocks,
    /// Anything else.
    Other,
}

/// Tells the kind of a file. `path` is relative to the data directory (`base/5/1259`) or, for tablespaces, to the
/// tablespace's location (`PG_15_202209061/5/16384`).
#[must_use]
pub fn file_kind(path: &[u8]) -> FileKind {
    if let Some(file) = relation_file(path) {
        return FileKind::Relation {
            segment: file.segment,
        };
    }
    let mut parts = path.split(|byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(b"pg_xact" | b"pg_clog" | b"pg_subtrans" | b"pg_commit_ts"), Some(_), None, None)
        | (Some(b"pg_multixact"), Some(_), Some(_), None) => FileKind::Blocks,
        _ => FileKind::Other,
    }
}

/// What the file of a relation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The relation itself.
    Main,
    /// The free space map.
    FreeSpace,
    /// The visibility map.
    Visibility,
    /// What an unlogged relation is made from after a crash.
    Init,
}

/// The file of a relation, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFile<'a> {
    /// The path without fork and segment: `base/5/16384`. All files of a relation have the same.
    pub relation: &'a [u8],
    /// What it holds.
    pub fork: Fork,
    /// The number of the segment file, 0 for the first.
    pub segment: u32,
}

/// Tells the files of relations: `16384`, `16384_fsm`, `16384.3`, `16384_vm.1`, `16384_init`. `path` as for [`file_kind`].
#[must_use]
pub fn relation_file(path: &[u8]) -> Option<RelationFile<'_>> {
    let mut parts = path.split(|byte| *byte == b'/');
    let name = match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        (b"global", name, None, None) | (b"base", _, Some(name), None) => name,
        (versioned, _, Some(name), None) if versioned.starts_with(b"PG_") => name,
        _ => return None,
    };
    let name = std::str::from_utf8(name).ok()?;
    let (stem, segment) = match name.split_once('.') {
        Some((stem, digits)) if !digits.starts_with(['0', '+']) => (stem, digits.parse().ok()?),
        Some(_) => return None,
        None => (name, 0),
    };
    let (number, fork) = match stem.split_once('_') {
        None => (stem, Fork::Main),
        Some((number, "fsm")) => (number, Fork::FreeSpace),
        Some((number, "vm")) => (number, Fork::Visibility),
        Some((number, "init")) => (number, Fork::Init),
        Some(_) => return None,
    };
    let numeric =
        !number.is_empty() && number.len() <= 10 && number.bytes().all(|byte| byte.is_ascii_digit());
    let relation = path.get(..path.len() - name.len() + number.len())?;
    numeric.then_some(RelationFile {
        relation,
        fork,
        segment,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_relations() {
        assert_eq!(file_kind(b"base/5/1259"), FileKind::Relation { segment: 0 });
        assert_eq!(
            file_kind(b"base/5/16384_fsm.2"),
            FileKind::Relation { segment: 2 }
        );
        assert_eq!(file_kind(b"global/1262"), FileKind::Relation { segment: 0 });
        assert_eq!(
            file_kind(b"PG_15_202209061/5/16384.13"),
            FileKind::Relation { segment: 13 }
        );
        assert_eq!(file_kind(b"pg_xact/0000"), FileKind::Blocks);
        assert_eq!(file_kind(b"pg_multixact/offsets/0000"), FileKind::Blocks);
        for other in [
            "global/pg_control",
            "base/5/PG_VERSION",
            "base/5/pg_filenode.map",
            "base/5/t3_16384",
            "PG_VERSION",
        ] {
            assert_eq!(file_kind(other.as_bytes()), FileKind::Other, "{other}");
        }
    }

    #[test]
    fn files_of_relations() {
        let file = relation_file(b"base/5/16384_vm.2").unwrap();
        assert_eq!(
            (file.relation, file.fork, file.segment),
            (&b"base/5/16384"[..], Fork::Visibility, 2)
        );
        let file = relation_file(b"global/1262").unwrap();
        assert_eq!(
            (file.relation, file.fork, file.segment),
            (&b"global/1262"[..], Fork::Main, 0)
        );
        assert_eq!(
            relation_file(b"PG_17_202406281/5/1_init").unwrap().fork,
            Fork::Init
        );
        for other in [
            "base/5/16384_x",
            "base/5/16384.0",
            "base/5/t3_1",
            "pg_tblspc/1/PG_17_1/5/6",
            "base/5/",
            "base",
        ] {
            assert_eq!(relation_file(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_changed_byte_changes_the_checksum() {
        let mut page = vec![0_u8; PAGE_SIZE];
        page[UPPER_OFFSET] = 1;
        page[100] = 42;
        let good = checksum(&page, 7).unwrap();
        page[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&good.to_ne_bytes());
        assert_eq!(verify(&page, 7, Lsn(u64::MAX)), Ok(()));
        assert!(verify(&page, 8, Lsn(u64::MAX)).is_err(), "another block number");
        page[4000] ^= 1;
        assert!(verify(&page, 7, Lsn(u64::MAX)).is_err());
        assert_eq!(
            verify(&page, 7, Lsn(0)),
            Ok(()),
            "changed after the start of the backup"
        );
        assert_eq!(
            verify(&[0; PAGE_SIZE], 7, Lsn(u64::MAX)),
            Ok(()),
            "new pages have none"
        );
    }
}
