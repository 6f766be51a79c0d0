//! The first half of archiving a file: everything that does not change the archive.
//!
//! Several files are prepared at once. A new file is looked at, and left compressed and encrypted under a temporary name
//! beside its place; a file whose name the archive has is compared with what is there.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::archive::compare::same_content;
use crate::archive::put_wal::base_name;
use crate::base::error::{PathContext, PathError};
use crate::base::{durable, sys};
use crate::catalog::{Layout, WalEntry, modification_time};
use crate::codec::{CodecError, CustomMagic, Detector, Stored, WalCodec};
use crate::postgres::history::History;
use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader};
use crate::postgres::wal_name::WalKind;

use super::FileError;
use super::validate::{Fault, Validator};

/// A file that is due.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its name.
    pub(super) name: String,
    /// Where it arrived.
    pub(super) source: PathBuf,
    /// Where it belongs.
    pub(super) target: PathBuf,
    /// Which file it is, whatever its name.
    identity: Option<(u64, u64)>,
}

impl Item {
    /// `None` when the name is not of the WAL, which the arrivals rule out.
    pub(super) fn new(layout: &Layout, source: &Path) -> Option<Item> {
        let name = base_name(source);
        Some(Item {
            target: layout.wal_path(&name)?,
            source: source.to_path_buf(),
            identity: identity(source),
            name,
        })
    }

    /// Whether another file has been put in the place of the source meanwhile, as `rsync` does.
    pub(super) fn was_replaced(&self) -> bool {
        let now = identity(&self.source);
        now.is_some() && now != self.identity
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata()
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What is to be done with a file.
#[derive(Debug)]
pub(super) enum Prepared {
    /// The archive does not have it: store it.
    New {
        /// Its stored form under a temporary name; `None` when it is stored as it arrived.
        staged: Option<Staged>,
        /// What is to be recorded.
        entry: WalEntry,
    },
    /// The archive has it: drop it. Holds what should be recorded of the archive's file.
    Matching(WalEntry),
    /// The archive has another content under its name, or one that cannot be compared.
    Conflict(Option<String>),
    /// It is not to be archived: it is damaged, or of another cluster.
    Rejected(Fault),
    /// It is still being written.
    Incomplete(String),
    /// It is gone.
    Gone,
}

/// A file under a temporary name, removed when it is dropped before it was put in its place.
#[derive(Debug)]
pub(super) struct Staged(PathBuf);

impl Staged {
    /// The file's temporary name.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove \"{}\": {error}", self.0.display());
            }
            _ => {}
        }
    }
}

/// What files are prepared with, by several threads.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) codec: WalCodec,
    pub(super) validator: Validator,
    pub(super) layout: Layout,
}

impl Workshop {
    /// Prepares one file.
    pub(super) fn prepare(&self, item: &Item) -> Result<Prepared, FileError> {
        let metadata = match fs::metadata(&item.source) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Prepared::Gone),
            Err(error) => return Err(PathError::new("examine", &item.source, error).into()),
        };
        if let Some(reason) = incomplete(item, &metadata)? {
            return Ok(Prepared::Incomplete(reason));
        }
        if item.target.symlink_metadata().is_ok() {
            return compare(&self.codec, item);
        }
        let delivered = delivered_as(&self.codec, &item.source)?;
        let looked = self
            .validator
            .check(&self.codec, item, &metadata, delivered, &|| self.histories())?;
        match looked {
            Some(Fault::Incomplete(reason)) => Ok(Prepared::Incomplete(reason)),
            Some(fault) => Ok(Prepared::Rejected(fault)),
            None => stage(&self.codec, item, &metadata, delivered),
        }
    }

    /// The histories that are there, archived or not yet.
    fn histories(&self) -> Vec<History> {
        let directories = [&self.layout.wals, &self.layout.incoming, &self.layout.streaming];
        let entries = directories
            .into_iter()
            .filter_map(|directory| fs::read_dir(directory).ok());
        entries
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let Some(WalKind::History(timeline)) = WalKind::of(entry.file_name().to_str()?) else {
                    return None;
                };
                let mut text = String::new();
                self.codec
                    .open_plain(&entry.path())
                    .ok()?
                    .take(1 << 20)
                    .read_to_string(&mut text)
                    .ok()?;
                History::parse(timeline, &text).ok()
            })
            .collect()
    }
}

/// Why a file seems to be still being written: a segment that is empty, or shorter than its own header says. `cp` as
/// `archive_command` writes under the final name.
fn incomplete(item: &Item, metadata: &Metadata) -> Result<Option<String>, PathError> {
    let Some(WalKind::Segment(_)) = WalKind::of(&item.name) else {
        return Ok(None);
    };
    if metadata.len() == 0 {
        return Ok(Some("it is empty".to_owned()));
    }
    let mut head = Vec::new();
    File::open(&item.source)
        .at("open", &item.source)?
        .take(HEADER_SIZE as u64)
        .read_to_end(&mut head)
        .at("read", &item.source)?;
    Ok(SegmentHeader::parse(&head)
        .filter(|header| metadata.len() < u64::from(header.segment_size))
        .map(|header| format!("it has {} of {} bytes", metadata.len(), header.segment_size)))
}

fn compare(codec: &WalCodec, item: &Item) -> Result<Prepared, FileError> {
    match same_content(codec, &item.source, &item.target) {
        Ok(true) => Ok(Prepared::Matching(entry_of(codec, &item.name, &item.target)?)),
        Ok(false) => Ok(Prepared::Conflict(None)),
        Err(CodecError::Path(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Prepared::Gone),
        Err(error) if cannot_be_decoded(&error) => Ok(Prepared::Conflict(Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file's content, and not the access to it, is the problem: trying again would not help.
fn cannot_be_decoded(error: &CodecError) -> bool {
    match error {
        CodecError::NoPassphrase { .. } => true,
        CodecError::NoFilter { .. } => false,
        CodecError::Path(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::Other
        ),
    }
}

/// What is recorded of a file that the archive has.
fn entry_of(codec: &WalCodec, name: &str, path: &Path) -> Result<WalEntry, PathError> {
    let metadata = fs::metadata(path).at("examine", path)?;
    let stored = codec.detector().inspect(path)?;
    Ok(WalEntry {
        name: name.to_owned(),
        size: metadata.len(),
        time: modification_time(&metadata),
        compression: stored
            .compression
            .map(|compression| compression.name().to_owned()),
        encryption: stored.encrypted.then(|| "gpg".to_owned()),
    })
}

/// How a file that arrives is compressed already. Where every unknown file counts as custom-compressed, that cannot hold
/// for what PostgreSQL delivers.
fn delivered_as(codec: &WalCodec, path: &Path) -> Result<Stored, PathError> {
    match &codec.custom_magic {
        CustomMagic::Everything => Detector::default().inspect(path),
        _ => codec.detector().inspect(path),
    }
}

/// Brings a new file into the form it is stored in, with the mode and time of its source. Its content is on its way to
/// the disk; whoever puts it in its place syncs it.
fn stage(
    codec: &WalCodec,
    item: &Item,
    metadata: &Metadata,
    delivered: Stored,
) -> Result<Prepared, FileError> {
    if let Some(directory) = item.target.parent() {
        // Its own name is made durable with the first file in it.
        fs::create_dir_all(directory).at("create directory", directory)?;
    }
    let mut entry = WalEntry {
        name: item.name.clone(),
        size: metadata.len(),
        time: modification_time(metadata),
        compression: delivered
            .compression
            .map(|compression| compression.name().to_owned()),
        encryption: delivered.encrypted.then(|| "gpg".to_owned()),
    };
    let mut staged = None;
    if delivered == Stored::default() {
        let compressed = Staged(durable::sibling(&item.target, ".compressed.tmp"));
        if codec.compress(&item.source, compressed.path())? {
            entry.compression = codec.compression.map(|compression| compression.name().to_owned());
            staged = Some(compressed);
        }
    }
    if !delivered.encrypted && codec.recipient.is_some() {
        let clear = staged.as_ref().map_or(item.source.as_path(), Staged::path);
        let encrypted = Staged(durable::sibling(&item.target, ".gpg.tmp"));
        codec.encrypt(clear, encrypted.path())?;
        entry.encryption = Some("gpg".to_owned());
        staged = Some(encrypted);
    }
    if let Some(staged) = &staged {
        entry.size = copy_attributes(metadata, staged.path())?;
    }
    Ok(Prepared::New { staged, entry })
}

/// Gives `path` the mode and time of its source and sets its content on the way to the disk. Returns its size.
pub(super) fn copy_attributes(source: &Metadata, path: &Path) -> Result<u64, PathError> {
    let file = File::options().write(true).open(path).at("open", path)?;
    file.set_permissions(source.permissions())
        .at("set permissions of", path)?;
    let modified = source.modified().at("examine", path)?;
    file.set_modified(modified).at("set the time of", path)?;
    sys::start_writeback(&file, 0, 0);
    Ok(file.metadata().at("examine", path)?.len())
}
