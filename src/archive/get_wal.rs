//! `get-wal`: finds a WAL file wherever it is and sends what PostgreSQL wrote (behaviour reference §16).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::durable::CATALOG_FILE_MODE;
use crate::base::error::{PathContext, PathError, python_text};
use crate::codec::encode::Encoder;
use crate::codec::wal::copy;
use crate::codec::{CodecError, Compression, Level, WalCodec};
use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader};
use crate::postgres::wal_name::{SegmentName, WalKind};

use super::place::Places;

/// In which form a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As PostgreSQL wrote it.
    #[default]
    Plain,
    /// Compressed.
    Compressed(Compression),
    /// As it is stored, but never encrypted.
    Stored,
    /// As it is stored where everybody can decompress it, and as PostgreSQL wrote it elsewhere.
    Portable,
}

/// Why a file was not sent.
#[derive(Debug, thiserror::Error)]
pub enum GetWalError {
    /// Not a name of the WAL. Exit code 3.
    #[error("'{0}' is not a valid wal file name")]
    InvalidName(String),
    /// It is nowhere. Exit code 1. Clients read this text to tell a missing file from a failure.
    #[error("WAL file '{name}' not found in server '{server}'")]
    NotFound {
        /// The file.
        name: String,
        /// The server.
        server: String,
    },
    /// The output file cannot be created. Exit code 3.
    #[error("Unable to open '{}' file: {}", path.display(), python_text(source, path))]
    Output {
        /// The output file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is encrypted and cannot be decrypted here.
    #[error(
        "Encrypted WAL file '{name}' detected, but no 'encryption_passphrase_command' is configured. Please set \
         'encryption_passphrase_command' in the configuration so the correct private key can be identified for decryption."
    )]
    NoPassphrase {
        /// The file.
        name: String,
    },
    /// It was found and could not be read or sent.
    #[error("cannot send WAL file '{name}' of server '{server}': {source}")]
    Failed {
        /// The file.
        name: String,
        /// The server.
        server: String,
        /// Why.
        source: CodecError,
    },
}

impl GetWalError {
    /// The exit code of `barman get-wal`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            GetWalError::InvalidName(_) | GetWalError::Output { .. } => 3,
            _ => 1,
        }
    }
}

/// Where `name` may be, in the order of the search; with `partial` also segments that are not complete.
#[must_use]
pub fn candidates(places: &Places, name: &str, partial: bool) -> Vec<PathBuf> {
    let archived = places.archived(name);
    let mut found: Vec<PathBuf> = archived.iter().cloned().collect();
    found.push(places.incoming.join(name));
    found.push(places.streaming.join(name));
    if partial {
        let incomplete = format!("{name}.partial");
        found.push(places.streaming.join(&incomplete));
        found.push(places.streaming.join(name));
        found.extend(places.archived(&incomplete));
        found.push(places.incoming.join(&incomplete));
    }
    // Once more: a file that was in the incoming directory a moment ago may have been archived since.
    found.extend(archived);
    found
}

/// Sends `name` to `output` in the wanted form. Returns the name that was found, which ends in `.partial` where only an
/// incomplete segment was.
///
/// # Errors
/// Nothing, or not everything, was sent.
pub fn send(
    places: &Places,
    codec: &WalCodec,
    name: &str,
    form: Form,
    partial: bool,
    output: &mut dyn Write,
) -> Result<String, GetWalError> {
    check_name(name)?;
    for path in candidates(places, name, partial) {
        let found = super::put_wal::base_name(&path);
        match open(codec, &path, form) {
            Ok((reader, encode)) => {
                transfer(reader, encode, codec.level, output).map_err(|source| GetWalError::Failed {
                    name: found.clone(),
                    server: places.server.clone(),
                    source: CodecError::from(PathError::new("send", &path, source)),
                })?;
                return Ok(found);
            }
            Err(CodecError::Path(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(CodecError::NoPassphrase { .. }) => return Err(GetWalError::NoPassphrase { name: found }),
            Err(source) => {
                return Err(GetWalError::Failed {
                    name: found,
                    server: places.server.clone(),
                    source,
                });
            }
        }
    }
    Err(GetWalError::NotFound {
        name: name.to_owned(),
        server: places.server.clone(),
    })
}

/// Sends `name` into the file `{directory}/{name}`, which exists afterwards only if it is complete. Returns
/// the name that was found and the file.
///
/// # Errors
/// As for [`send`], or the file cannot be written.
pub fn send_to_directory(
    places: &Places,
    codec: &WalCodec,
    name: &str,
    form: Form,
    partial: bool,
    directory: &Path,
) -> Result<(String, PathBuf), GetWalError> {
    check_name(name)?;
    let target = directory.join(name);
    let temporary = directory.join(format!(".{name}.{}.tmp", std::process::id()));
    let cannot_open = |source| GetWalError::Output {
        path: target.clone(),
        source,
    };
    // The directory may be one that others can write to: a name that is there already is never followed or written to.
    let mut file = match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(CATALOG_FILE_MODE)
            .open(&temporary),
    }
    .map_err(cannot_open)?;
    let sent = send(places, codec, name, form, partial, &mut file).and_then(|found| {
        file.sync_all()
            .and_then(|()| fs::rename(&temporary, &target))
            .map_err(cannot_open)?;
        Ok(found)
    });
    match sent {
        Ok(found) => Ok((found, target)),
        Err(error) => {
            if let Err(problem) = fs::remove_file(&temporary) {
                log::warn!("cannot remove \"{}\": {problem}", temporary.display());
            }
            Err(error)
        }
    }
}

/// Up to `limit` names of files that exist, from `name` on, without gaps.
///
/// The size of a segment, which decides which name follows, is read from the first segment that exists. Where it cannot
/// be read, Barman's guess is used: after a segment whose number is a power of two and that does not exist, the next
/// log may follow.
///
/// # Errors
/// `name` is not of the WAL.
pub fn peek(places: &Places, codec: &WalCodec, name: &str, limit: usize) -> Result<Vec<String>, GetWalError> {
    check_name(name)?;
    let exists = |name: &str| candidates(places, name, false).iter().any(|path| path.exists());
    let Some(WalKind::Segment(first)) = WalKind::of(name) else {
        return Ok(exists(name).then(|| name.to_owned()).into_iter().collect());
    };
    let segment_size = segment_size(places, codec, name);
    let mut names = Vec::new();
    let mut current = first;
    while names.len() < limit {
        let text = current.to_string();
        if exists(&text) {
            names.push(text);
            current = match segment_size {
                Some(size) => current.next(size),
                None => match current.segment.checked_add(1) {
                    Some(segment) => SegmentName { segment, ..current },
                    None => break,
                },
            };
        } else if segment_size.is_none() && current.segment.is_power_of_two() && current.log < u32::MAX {
            current = SegmentName {
                log: current.log + 1,
                segment: 0,
                ..current
            };
        } else {
            break;
        }
    }
    Ok(names)
}

/// The segment size that the header of the existing segment `name` states.
fn segment_size(places: &Places, codec: &WalCodec, name: &str) -> Option<u64> {
    candidates(places, name, false).iter().find_map(|path| {
        let mut head = Vec::new();
        let reader = codec.open_plain(path).ok()?;
        reader.take(HEADER_SIZE as u64).read_to_end(&mut head).ok()?;
        SegmentHeader::parse(&head).map(|header| u64::from(header.segment_size))
    })
}

fn check_name(name: &str) -> Result<(), GetWalError> {
    match WalKind::of(name) {
        Some(_) => Ok(()),
        None => Err(GetWalError::InvalidName(name.to_owned())),
    }
}

type Opened = (Box<dyn Read + Send>, Option<Compression>);

/// Opens a stored file in the wanted form, with the compression that must still be applied.
fn open(codec: &WalCodec, path: &Path, form: Form) -> Result<Opened, CodecError> {
    if path.extension().is_some_and(|extension| extension == "partial") {
        // Incomplete segments are sent as they are.
        return Ok((Box::new(File::open(path).at("open", path)?), None));
    }
    match form {
        Form::Plain => Ok((codec.open_plain(path)?, None)),
        Form::Stored => Ok((codec.open_decrypted(path)?.1, None)),
        Form::Portable if codec.decompression_filter.is_some() => Ok((codec.open_plain(path)?, None)),
        Form::Portable => match codec.open_decrypted(path)? {
            (stored, _) if stored.compression == Some(Compression::Custom) => {
                Ok((codec.open_plain(path)?, None))
            }
            (_, reader) => Ok((reader, None)),
        },
        Form::Compressed(wanted) => {
            let (stored, reader) = codec.open_decrypted(path)?;
            if stored.compression.map(Compression::format) == Some(wanted.format()) {
                return Ok((reader, None));
            }
            drop(reader);
            Ok((codec.open_plain(path)?, Some(wanted)))
        }
    }
}

fn transfer(
    mut reader: Box<dyn Read + Send>,
    encode: Option<Compression>,
    level: Level,
    output: &mut dyn Write,
) -> io::Result<()> {
    if let Some(compression) = encode
        && let Some(mut encoder) = Encoder::new(&mut *output, compression, level)?
    {
        copy(&mut reader, &mut encoder)?;
        return encoder.finish()?.flush();
    }
    copy(&mut reader, output)?;
    output.flush()
}

#[cfg(test)]
mod tests;
