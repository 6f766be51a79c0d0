//! A file whose name is known with another content.
//!
//! Two clusters send to one server, one cluster was restored or reset and writes its history anew, or a disk has changed
//! a bit: which of the two is right cannot be told here. So nothing is replaced, and nothing is lost: the newcomer goes to
//! the errors directory, where `check` sees it, and the sender is told so with a success. A refusal would be tried again
//! for ever, until the disk that holds `pg_wal` is full.
//!
//! It is stored under the cluster that wrote it and the checksum of its content, so that the same file, sent again by a
//! client that did not hear the answer, is stored once.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::archive::place::Places;
use crate::archive::sums::Sums;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::codec::WalCodec;
use crate::codec::wal::copy;
use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader};

/// How many digits of the checksum are in the name of the file.
const DIGITS: usize = 32;

/// A file that was put into the errors directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its content as PostgreSQL wrote it, in hexadecimal.
    pub checksum: String,
    /// The same of the file that was there before.
    pub existing_checksum: String,
    /// Where it is now.
    pub kept: PathBuf,
}

/// Puts the synced file `temporary` into the errors directory, durably. The temporary name stays.
pub(super) fn keep(
    places: &Places,
    codec: &WalCodec,
    name: &str,
    temporary: &Path,
    existing: &Path,
) -> Result<Duplicate, PathError> {
    let content = Content::of(codec, temporary)?;
    let cluster = content
        .cluster
        .map_or_else(|| "unknown".to_owned(), |cluster| cluster.to_string());
    let digits = content.checksum.get(..DIGITS).unwrap_or_default();
    durable::create_dir_all(&places.errors)?;
    let kept = places.errors.join(format!("{name}.{cluster}-{digits}.duplicate"));
    match fs::hard_link(temporary, &kept) {
        // It came before, and its name says that it is the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => durable::sync_file(&kept)?,
        Err(error) => {
            log::debug!("cannot link \"{}\": {error}", kept.display());
            let unnamed = durable::sibling(&kept, ".tmp");
            fs::copy(temporary, &unnamed).at("copy to", &unnamed)?;
            durable::sync_file(&unnamed)?;
            fs::rename(&unnamed, &kept).at("rename to", &kept)?;
        }
        Ok(()) => {}
    }
    durable::sync_dir(&places.errors)?;
    Ok(Duplicate {
        name: name.to_owned(),
        checksum: content.checksum,
        existing_checksum: Content::of(codec, existing)
            .map(|content| content.checksum)
            .unwrap_or_default(),
        kept,
    })
}

/// What a file holds.
struct Content {
    checksum: String,
    cluster: Option<u64>,
}

impl Content {
    /// As PostgreSQL wrote it; as it was delivered where that cannot be had.
    fn of(codec: &WalCodec, path: &Path) -> Result<Content, PathError> {
        let plain = codec
            .open_plain(path)
            .map_err(io::Error::other)
            .and_then(|mut plain| Content::read(&mut plain));
        match plain {
            Ok(content) => Ok(content),
            Err(error) => {
                log::debug!("cannot decode \"{}\": {error}", path.display());
                Content::read(&mut fs::File::open(path).at("open", path)?).at("read", path)
            }
        }
    }

    fn read(stream: &mut dyn Read) -> io::Result<Content> {
        let mut head = Vec::new();
        stream.take(HEADER_SIZE as u64).read_to_end(&mut head)?;
        let mut sum = Sums::Sha256.begin();
        sum.update(&head);
        copy(stream, &mut sum)?;
        Ok(Content {
            checksum: sum.finish(),
            cluster: SegmentHeader::parse(&head).map(|header| header.system_identifier),
        })
    }
}
