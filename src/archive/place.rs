//! Where the WAL files of a server are, and how they are stored, taken from its configuration.

use std::path::{Path, PathBuf};

use crate::codec::gpg::Passphrase;
use crate::codec::{Compression, CustomMagic, Level, WalCodec};
use crate::config::{CompressionLevel, Encryption, NotLocal, ServerConfig, WalCompression};
use crate::postgres::wal_name::hash_directory;

/// The directories of a server's WAL files.
#[derive(Debug, Clone)]
pub struct Places {
    /// The server's name.
    pub server: String,
    /// Where `archive_command` delivers.
    pub incoming: PathBuf,
    /// Where WAL streaming delivers.
    pub streaming: PathBuf,
    /// The archive.
    pub wals: PathBuf,
    /// Where files that cannot be archived are put aside.
    pub errors: PathBuf,
}

impl Places {
    /// The directories of `config`.
    ///
    /// # Errors
    /// The archive is in an object store.
    pub fn of(config: &ServerConfig) -> Result<Places, NotLocal> {
        Ok(Places {
            server: config.name.clone(),
            incoming: config.incoming_wals_directory.clone(),
            streaming: config.streaming_wals_directory.clone(),
            wals: config.wals_directory.local()?.to_path_buf(),
            errors: config.errors_directory.clone(),
        })
    }

    /// Where the archive keeps the WAL file `name`; `None` when the name is not of the WAL.
    #[must_use]
    pub fn archived(&self, name: &str) -> Option<PathBuf> {
        archived_in(&self.wals, name)
    }
}

/// Where the archive `wals` keeps the WAL file `name`; `None` when the name is not of the WAL.
#[must_use]
pub fn archived_in(wals: &Path, name: &str) -> Option<PathBuf> {
    hash_directory(name).map(|directory| wals.join(directory).join(name))
}

/// How the WAL files of `config` are compressed and encrypted.
#[must_use]
pub fn wal_codec(config: &ServerConfig) -> WalCodec {
    let compression = config.compression.map(compression);
    WalCodec {
        compression,
        level: match config.compression_level {
            CompressionLevel::Low => Level::Low,
            CompressionLevel::Medium => Level::Medium,
            CompressionLevel::High => Level::High,
            CompressionLevel::Level(number) => {
                Level::Number(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
            }
        },
        compression_filter: config.custom_compression_filter.clone(),
        decompression_filter: config.custom_decompression_filter.clone(),
        custom_magic: custom_magic(compression, config.custom_compression_magic.as_deref()),
        recipient: match config.encryption {
            Some(Encryption::Gpg) => config.encryption_key_id.clone(),
            _ => None,
        },
        passphrase: config
            .encryption_passphrase_command
            .as_deref()
            .map(Passphrase::from_command),
    }
}

fn custom_magic(compression: Option<Compression>, text: Option<&str>) -> CustomMagic {
    if compression != Some(Compression::Custom) {
        return CustomMagic::Unused;
    }
    text.and_then(CustomMagic::parse)
        .unwrap_or(CustomMagic::Everything)
}

fn compression(configured: WalCompression) -> Compression {
    match configured {
        WalCompression::Gzip => Compression::Gzip,
        WalCompression::Bzip2 => Compression::Bzip2,
        WalCompression::Pygzip => Compression::Pygzip,
        WalCompression::Pybzip2 => Compression::Pybzip2,
        WalCompression::Pigz => Compression::Pigz,
        WalCompression::Xz => Compression::Xz,
        WalCompression::Zstd => Compression::Zstd,
        WalCompression::Lz4 => Compression::Lz4,
        WalCompression::Snappy => Compression::Snappy,
        WalCompression::Custom => Compression::Custom,
    }
}
