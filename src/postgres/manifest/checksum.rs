//! The checksums of a manifest.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

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

impl Checksum {
    /// The name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Checksum::None => "NONE",
            Checksum::Crc32c => "CRC32C",
            Checksum::Sha224 => "SHA224",
            Checksum::Sha256 => "SHA256",
            Checksum::Sha384 => "SHA384",
            Checksum::Sha512 => "SHA512",
        }
    }

    /// The algorithm of a name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Checksum> {
        [
            Checksum::None,
            Checksum::Crc32c,
            Checksum::Sha224,
            Checksum::Sha256,
            Checksum::Sha384,
            Checksum::Sha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Starts a computation.
    #[must_use]
    pub fn start(self) -> Computation {
        match self {
            Checksum::None => Computation::None,
            Checksum::Crc32c => Computation::Crc32c(0),
            Checksum::Sha224 => Computation::Sha224(Sha224::new()),
            Checksum::Sha256 => Computation::Sha256(Sha256::new()),
            Checksum::Sha384 => Computation::Sha384(Sha384::new()),
            Checksum::Sha512 => Computation::Sha512(Sha512::new()),
        }
    }
}

/// A checksum being computed.
#[derive(Debug, Clone)]
pub enum Computation {
    /// Nothing.
    None,
    /// CRC-32C.
    Crc32c(u32),
    /// SHA-224.
    Sha224(Sha224),
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Computation {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Computation::None => {}
            Computation::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Computation::Sha224(hash) => hash.update(bytes),
            Computation::Sha256(hash) => hash.update(bytes),
            Computation::Sha384(hash) => hash.update(bytes),
            Computation::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum. A CRC comes in the byte order of this host, as PostgreSQL writes it.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Computation::None => Vec::new(),
            Computation::Crc32c(crc) => crc.to_ne_bytes().to_vec(),
            Computation::Sha224(hash) => hash.finalize().to_vec(),
            Computation::Sha256(hash) => hash.finalize().to_vec(),
            Computation::Sha384(hash) => hash.finalize().to_vec(),
            Computation::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}
