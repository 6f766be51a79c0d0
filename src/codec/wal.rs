//! The compression and encryption of one server's WAL files: how new ones are stored, and how any stored one is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::error::{PathContext, PathError};

use super::algorithm::{Compression, Level};
use super::detect::{CustomMagic, Detector, Stored};
use super::encode::{Encoder, gzip};
use super::gpg::{self, Passphrase};
use super::{decode, filter};

/// A stored file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A file could not be opened, read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The file is encrypted and nothing tells the passphrase.
    #[error(
        "\"{}\" is encrypted and encryption_passphrase_command is not set: set it to a command that prints the passphrase",
        path.display()
    )]
    NoPassphrase {
        /// The encrypted file.
        path: PathBuf,
    },
    /// The compression is `custom` and the filter it needs is not configured.
    #[error("{option} is not set, but compression is \"custom\" for \"{}\"", path.display())]
    NoFilter {
        /// The option that is missing.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// How WAL files of one server are compressed and encrypted.
#[derive(Debug, Default)]
pub struct WalCodec {
    /// `compression`: how new files are compressed.
    pub compression: Option<Compression>,
    /// `compression_level`.
    pub level: Level,
    /// `custom_compression_filter`.
    pub compression_filter: Option<String>,
    /// `custom_decompression_filter`.
    pub decompression_filter: Option<String>,
    /// `custom_compression_magic`, or what stands for its absence.
    pub custom_magic: CustomMagic,
    /// `encryption_key_id` when `encryption` is `gpg`: new files are encrypted for this key.
    pub recipient: Option<String>,
    /// `encryption_passphrase_command`.
    pub passphrase: Option<Passphrase>,
}

/// A stream of plain bytes.
pub type PlainReader = Box<dyn Read + Send>;

impl WalCodec {
    /// What recognises the stored files of this server.
    #[must_use]
    pub fn detector(&self) -> Detector {
        Detector::new(self.custom_magic.clone())
    }

    /// Compresses `source` into the new file `target` with the configured compression. `target` is not synced: callers
    /// sync many files together. Does nothing and returns `false` when no compression is configured.
    ///
    /// # Errors
    /// Reading, compressing or writing failed; `target` may then exist and be incomplete.
    pub fn compress(&self, source: &Path, target: &Path) -> Result<bool, CodecError> {
        match self.compression {
            None => Ok(false),
            Some(Compression::Custom) => {
                let filter = self
                    .compression_filter
                    .as_ref()
                    .ok_or_else(|| CodecError::NoFilter {
                        option: "custom_compression_filter",
                        path: source.to_path_buf(),
                    })?;
                filter::run(filter, source, target).at("compress", source)?;
                Ok(true)
            }
            Some(compression) => {
                compress_into(source, create(target)?, compression, self.level)?;
                Ok(true)
            }
        }
    }

    /// Encrypts `source` into the new file `target` for the configured key. `target` is not synced. Does nothing and
    /// returns `false` when no encryption is configured.
    ///
    /// # Errors
    /// gpg failed; `target` may then exist and be incomplete.
    pub fn encrypt(&self, source: &Path, target: &Path) -> Result<bool, CodecError> {
        let Some(recipient) = &self.recipient else {
            return Ok(false);
        };
        gpg::encrypt(recipient, source, target).at("encrypt", source)?;
        Ok(true)
    }

    /// Opens a stored file and yields what PostgreSQL wrote: decrypted and decompressed.
    ///
    /// # Errors
    /// The file cannot be opened or needs something that is not configured. Damage is reported while reading.
    pub fn open_plain(&self, path: &Path) -> Result<PlainReader, CodecError> {
        let (stored, reader) = self.open_decrypted(path)?;
        match stored.compression {
            None => Ok(reader),
            Some(compression) => self.decompress(path, reader, compression, stored.encrypted),
        }
    }

    /// Opens a stored file and yields it decrypted but still compressed, with what it is.
    ///
    /// # Errors
    /// As for [`WalCodec::open_plain`].
    pub fn open_decrypted(&self, path: &Path) -> Result<(Stored, PlainReader), CodecError> {
        let detector = self.detector();
        let mut file = File::open(path).at("open", path)?;
        let mut head = Vec::new();
        let size = detector.head_size() as u64;
        (&file).take(size).read_to_end(&mut head).at("read", path)?;
        let stored = detector.recognise(&head);
        if !stored.encrypted {
            file.seek(SeekFrom::Start(0)).at("read", path)?;
            return Ok((stored, Box::new(file)));
        }
        let passphrase = self.passphrase.as_ref().ok_or_else(|| CodecError::NoPassphrase {
            path: path.to_path_buf(),
        })?;
        let mut clear = gpg::decrypt(passphrase, path).at("decrypt", path)?;
        head.clear();
        (&mut clear)
            .take(size)
            .read_to_end(&mut head)
            .at("decrypt", path)?;
        let stored = Stored {
            encrypted: true,
            ..detector.recognise(&head)
        };
        Ok((stored, Box::new(Cursor::new(head).chain(clear))))
    }

    /// The plain bytes of the compressed stream `reader`, which is the (decrypted) content of `path`.
    fn decompress(
        &self,
        path: &Path,
        reader: PlainReader,
        compression: Compression,
        encrypted: bool,
    ) -> Result<PlainReader, CodecError> {
        let Some(decompression_filter) = &self.decompression_filter else {
            return decode::reader(reader, compression)
                .at("decompress", path)?
                .ok_or_else(|| CodecError::NoFilter {
                    option: "custom_decompression_filter",
                    path: path.to_path_buf(),
                });
        };
        // As Barman: a configured filter is tried first, whatever the file looks like, because the filter may do more
        // than decompress. Only where it fails is the format believed.
        let source = if encrypted {
            spool(reader, path)?
        } else {
            File::open(path).at("open", path)?
        };
        if compression == Compression::Custom {
            return Ok(Box::new(
                filter::open(decompression_filter, source).at("decompress", path)?,
            ));
        }
        let again = source.try_clone().at("open", path)?;
        let filtered = filter::open(decompression_filter, source).at("decompress", path)?;
        match spool(Box::new(filtered), path) {
            Ok(plain) => Ok(Box::new(plain)),
            Err(error) => {
                log::debug!(
                    "custom_decompression_filter cannot read {}: {error}",
                    path.display()
                );
                let mut again = again;
                again.seek(SeekFrom::Start(0)).at("read", path)?;
                let decoder = decode::reader(again, compression).at("decompress", path)?;
                decoder.ok_or_else(|| CodecError::NoFilter {
                    option: "custom_decompression_filter",
                    path: path.to_path_buf(),
                })
            }
        }
    }
}

/// Compresses a file with one of the built-in formats into a new file and syncs the new file's content.
///
/// # Errors
/// Reading, compressing or writing failed, or the format is not built in.
pub fn compress_file(
    source: &Path,
    target: &Path,
    compression: Compression,
    level: Level,
) -> Result<(), CodecError> {
    let output = compress_into(source, create(target)?, compression, level)?;
    output.sync_all().at("sync", target)?;
    Ok(())
}

fn create(target: &Path) -> Result<File, PathError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(target)
        .at("create", target)
}

/// Compresses a file with one of the built-in formats into an open file, which is given back, not synced.
///
/// # Errors
/// Reading, compressing or writing failed, or the format is not built in.
pub fn compress_into(
    source: &Path,
    output: File,
    compression: Compression,
    level: Level,
) -> Result<File, CodecError> {
    let mut input = File::open(source).at("open", source)?;
    if compression.format() == Compression::Gzip {
        let mut output = output;
        gzip(&mut input, level, &mut output).at("compress", source)?;
        return Ok(output);
    }
    let encoder = Encoder::new(output, compression, level).at("compress", source)?;
    let mut encoder = encoder.ok_or_else(|| CodecError::NoFilter {
        option: "custom_compression_filter",
        path: source.to_path_buf(),
    })?;
    copy(&mut input, &mut encoder).at("compress", source)?;
    Ok(encoder.finish().at("write the compressed copy of", source)?)
}

/// Copies a stream to its end through a buffer that suits WAL segments. Returns the number of bytes.
///
/// # Errors
/// Reading or writing failed.
pub fn copy(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<u64> {
    let mut buffer = vec![0u8; 256 * 1024];
    let mut total = 0u64;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(buffer.get(..count).unwrap_or_default())?;
        total += count as u64;
    }
}

/// Writes a stream into a nameless temporary file beside `path`, rewound for reading.
fn spool(mut reader: PlainReader, path: &Path) -> Result<File, PathError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{number}.uncompressed", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .at("create", &temporary)?;
    fs::remove_file(&temporary).at("remove", &temporary)?;
    copy(&mut reader, &mut file).at("decompress", path)?;
    file.seek(SeekFrom::Start(0)).at("read", path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("barkeep-codec-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn plain_of(codec: &WalCodec, path: &Path) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        codec
            .open_plain(path)
            .map_err(io::Error::other)?
            .read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn custom(compress: &str, decompress: &str, magic: CustomMagic) -> WalCodec {
        WalCodec {
            compression: Some(Compression::Custom),
            compression_filter: Some(compress.to_owned()),
            decompression_filter: Some(decompress.to_owned()),
            custom_magic: magic,
            ..WalCodec::default()
        }
    }

    #[test]
    fn custom_filters_are_run_with_redirections() {
        let directory = scratch("custom");
        let (source, packed) = (directory.join("source"), directory.join("packed"));
        fs::write(&source, b"some wal").unwrap();
        let codec = custom("tr a-z b-za", "tr b-za a-z", CustomMagic::Everything);
        assert!(codec.compress(&source, &packed).unwrap());
        assert_eq!(fs::read(&packed).unwrap(), b"tpnf xbm");
        assert_eq!(plain_of(&codec, &packed).unwrap(), b"some wal");
        let failing = custom("false", "cat; false", CustomMagic::Everything);
        assert!(failing.compress(&source, &packed).is_err());
        fs::write(&packed, b"x").unwrap();
        assert!(plain_of(&failing, &packed).is_err(), "output of a failing filter");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_filter_that_does_not_fit_gives_way_to_the_format() {
        let directory = scratch("fallback");
        let (source, packed) = (directory.join("source"), directory.join("packed"));
        fs::write(&source, b"some wal").unwrap();
        compress_file(&source, &packed, Compression::Gzip, Level::Low).unwrap();
        let codec = custom("cat", "false", CustomMagic::Bytes(vec![1, 2, 3]));
        assert_eq!(plain_of(&codec, &packed).unwrap(), b"some wal");
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            2,
            "no temporary file is left"
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_of_the_real_tools_are_read() {
        let directory = scratch("tools");
        let source = directory.join("source");
        let plain: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        fs::write(&source, &plain).unwrap();
        for (tool, compression) in [
            ("gzip", Compression::Gzip),
            ("pigz", Compression::Gzip),
            ("bzip2", Compression::Bzip2),
            ("xz -1", Compression::Xz),
            ("zstd -q", Compression::Zstd),
            ("lz4 -q", Compression::Lz4),
        ] {
            let packed = directory.join("packed");
            let program = tool.split(' ').next().unwrap();
            if std::process::Command::new(program)
                .arg("--version")
                .output()
                .is_err()
            {
                continue;
            }
            filter::run(&format!("{tool} -c"), &source, &packed).unwrap();
            assert_eq!(
                Detector::default().inspect(&packed).unwrap().compression,
                Some(compression)
            );
            assert!(
                plain_of(&WalCodec::default(), &packed).unwrap() == plain,
                "{tool} to us"
            );
            compress_file(&source, &packed, compression, Level::Low).unwrap();
            filter::run(&format!("{program} -dc"), &packed, &directory.join("back")).unwrap();
            assert!(fs::read(directory.join("back")).unwrap() == plain, "us to {tool}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn encrypted_files_need_a_passphrase() {
        let directory = scratch("encrypted");
        let path = directory.join("wal");
        fs::write(&path, b"\x8c\x0d\x04\x09\x03\x08\x00\x00").unwrap();
        let error = WalCodec::default().open_plain(&path).err().unwrap();
        assert!(
            error.to_string().contains("encryption_passphrase_command"),
            "{error}"
        );
        fs::remove_dir_all(directory).unwrap();
    }
}
