//! `backup_manifest`, version 1: PostgreSQL's list of a backup's files with their checksums.
//!
//! Source: PostgreSQL documentation, "Backup Manifest Format", and `src/common/parse_manifest.c`.

/// A checksum algorithm of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// `NONE`.
    None,
    /// `CRC32C`.
    Crc32c,
    /// `SHA224`.
    Sha224,
    /// `SHA256`.
    Sha256,
    /// `SHA384`.
    Sha384,
    /// `SHA512`.
    Sha512,
}
