//! `global/pg_control`: the state of a cluster, versions 10 to 18.
//!
//! The structure is `ControlFileData` of `catalog/pg_control.h` in native byte order. Its length differs between versions,
//! so its end is found by its own CRC-32C, and the fields behind the checkpoint are read backwards from there.

use super::lsn::Lsn;

/// Where the CRC may be: every release so far lies well within.
const CRC_RANGE: std::ops::Range<usize> = 200..512;
/// Bytes of `mock_authentication_nonce`, before the CRC.
const NONCE: usize = 32;

/// What the control file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// The system identifier.
    pub system_identifier: u64,
    /// `pg_control_version`: 1002 for 10, 1100 for 11, 1201 for 12, 1300 for 13 to 16, 1700, 1800.
    pub version: u32,
    /// `catalog_version_no`.
    pub catalog_version: u32,
    /// `DBState`: 1 shut down, 6 in production, and so on.
    pub state: u32,
    /// The latest checkpoint record.
    pub checkpoint: Lsn,
    /// Where its redo starts.
    pub redo: Lsn,
    /// Its timeline.
    pub timeline: u32,
    /// Bytes of a page.
    pub block_size: u32,
    /// Pages of a segment file.
    pub segment_pages: u32,
    /// Bytes of a WAL segment.
    pub wal_segment_size: u32,
    /// Whether pages have checksums.
    pub data_checksums: bool,
}

/// A control file that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlFileError {
    /// It is too short.
    #[error("the control file is too short")]
    Short,
    /// Its version is not one of those known.
    #[error("the control file has version {0}, which is not supported")]
    Version(u32),
    /// Its CRC is wrong: it was torn or damaged.
    #[error("the control file's CRC is wrong")]
    Crc,
}

impl ControlFile {
    /// Reads the content of a `pg_control`.
    ///
    /// # Errors
    /// See [`ControlFileError`]. A file read while PostgreSQL wrote it may be torn: read it again.
    pub fn parse(content: &[u8]) -> Result<ControlFile, ControlFileError> {
        let version = word(content, 8)?;
        let checkpoint_copy = match version {
            // 10 still has prevCheckPoint.
            1002 => 48,
            1100 | 1201 | 1300 | 1700 | 1800 => 40,
            other => return Err(ControlFileError::Version(other)),
        };
        let crc = crc_offset(content)?;
        // 18 has default_char_signedness, a bool, before the nonce: with its padding four bytes.
        let checksums = crc - NONCE - if version >= 1800 { 8 } else { 4 };
        Ok(ControlFile {
            system_identifier: long(content, 0)?,
            version,
            catalog_version: word(content, 12)?,
            state: word(content, 16)?,
            checkpoint: Lsn(long(content, 32)?),
            redo: Lsn(long(content, checkpoint_copy)?),
            timeline: word(content, checkpoint_copy + 8)?,
            block_size: word(content, checksums - 36)?,
            segment_pages: word(content, checksums - 32)?,
            wal_segment_size: word(content, checksums - 24)?,
            data_checksums: word(content, checksums)? != 0,
        })
    }
}

/// The CRC is the only word that is the CRC of everything before it.
fn crc_offset(content: &[u8]) -> Result<usize, ControlFileError> {
    let mut crc = crc32c::crc32c(content.get(..CRC_RANGE.start).ok_or(ControlFileError::Short)?);
    for offset in CRC_RANGE.step_by(4) {
        if word(content, offset)? == crc {
            return Ok(offset);
        }
        let next = content.get(offset..offset + 4).ok_or(ControlFileError::Short)?;
        crc = crc32c::crc32c_append(crc, next);
    }
    Err(ControlFileError::Crc)
}

fn word(content: &[u8], offset: usize) -> Result<u32, ControlFileError> {
    let bytes = content
        .get(offset..)
        .and_then(<[u8]>::first_chunk::<4>)
        .ok_or(ControlFileError::Short)?;
    Ok(u32::from_ne_bytes(*bytes))
}

fn long(content: &[u8], offset: usize) -> Result<u64, ControlFileError> {
    let bytes = content
        .get(offset..)
        .and_then(<[u8]>::first_chunk::<8>)
        .ok_or(ControlFileError::Short)?;
    Ok(u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A control file as PostgreSQL 15 lays it out: 288 bytes before its CRC.
    fn version_15() -> Vec<u8> {
        let mut content = vec![0_u8; 8192];
        content[0..8].copy_from_slice(&7_000_000_000_000_000_001_u64.to_ne_bytes());
        content[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
        content[12..16].copy_from_slice(&202_209_061_u32.to_ne_bytes());
        content[16..20].copy_from_slice(&6_u32.to_ne_bytes());
        content[32..40].copy_from_slice(&0x0200_0060_u64.to_ne_bytes());
        content[40..48].copy_from_slice(&0x0200_0028_u64.to_ne_bytes());
        content[48..52].copy_from_slice(&3_u32.to_ne_bytes());
        content[216..220].copy_from_slice(&8192_u32.to_ne_bytes());
        content[220..224].copy_from_slice(&131_072_u32.to_ne_bytes());
        content[228..232].copy_from_slice(&(16_u32 << 20).to_ne_bytes());
        content[252..256].copy_from_slice(&1_u32.to_ne_bytes());
        let crc = crc32c::crc32c(&content[..288]);
        content[288..292].copy_from_slice(&crc.to_ne_bytes());
        content
    }

    #[test]
    fn fields_are_where_postgresql_puts_them() {
        let control = ControlFile::parse(&version_15()).unwrap();
        assert_eq!(control.system_identifier, 7_000_000_000_000_000_001);
        assert_eq!((control.redo, control.timeline), (Lsn(0x0200_0028), 3));
        assert_eq!((control.block_size, control.segment_pages), (8192, 131_072));
        assert_eq!(control.wal_segment_size, 16 << 20);
        assert!(control.data_checksums);
    }

    #[test]
    fn damage_is_noticed() {
        let mut content = version_15();
        content[100] ^= 1;
        assert_eq!(ControlFile::parse(&content), Err(ControlFileError::Crc));
        content[8] = 1;
        assert!(matches!(
            ControlFile::parse(&content),
            Err(ControlFileError::Version(_))
        ));
        assert_eq!(ControlFile::parse(&[0; 5]), Err(ControlFileError::Short));
    }
}
