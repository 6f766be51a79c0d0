//! The files of a member, from its tar files or as they are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::agent::message::Attributes;
use crate::base::error::{PathContext, PathError};
use crate::codec::WalCodec;
use crate::copy::CopyError;
use crate::copy::packed::{self, Packed, PackedKind, Part};

/// What one worker unpacks.
#[derive(Debug)]
pub(super) enum Piece {
    /// A tar file.
    Packed(Part),
    /// A directory.
    Plain { directory: PathBuf, oid: Option<u32> },
}

/// The pieces of a member; the data directory is the first, because the last is taken first.
pub(super) fn pieces(data: &Path, base: &Path, oids: &[u32]) -> Result<Vec<Piece>, PathError> {
    let mut pieces: Vec<Piece> = packed::parts(data)?.into_iter().map(Piece::Packed).collect();
    if pieces.is_empty() {
        let tablespaces = oids.iter().map(|oid| (base.join(oid.to_string()), *oid));
        let present = tablespaces.filter(|(directory, _)| directory.is_dir());
        pieces.extend(present.map(|(directory, oid)| Piece::Plain {
            directory,
            oid: Some(oid),
        }));
        pieces.push(Piece::Plain {
            directory: data.to_path_buf(),
            oid: None,
        });
    }
    pieces.reverse();
    Ok(pieces)
}

impl Piece {
    pub(super) fn oid(&self) -> Option<u32> {
        match self {
            Piece::Packed(part) => part.oid,
            Piece::Plain { oid, .. } => *oid,
        }
    }

    /// Hands everything in it to `each`, until that has enough.
    pub(super) fn read(
        &self,
        codec: &WalCodec,
        each: impl FnMut(Packed, &mut dyn Read) -> Result<bool, CopyError>,
    ) -> Result<(), CopyError> {
        match self {
            Piece::Packed(part) => part.read(codec, each),
            Piece::Plain { directory, oid } => read_plain(directory, *oid, each),
        }
    }
}

fn read_plain(
    directory: &Path,
    oid: Option<u32>,
    mut each: impl FnMut(Packed, &mut dyn Read) -> Result<bool, CopyError>,
) -> Result<(), CopyError> {
    for entry in WalkDir::new(directory).min_depth(1) {
        let entry = entry.map_err(io::Error::from).at("list", directory)?;
        let metadata = entry
            .metadata()
            .map_err(io::Error::from)
            .at("look at", entry.path())?;
        let kind = if metadata.is_file() {
            PackedKind::File
        } else if metadata.is_dir() {
            PackedKind::Directory
        } else {
            PackedKind::Link
        };
        let inside = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let mut path = oid.map_or_else(Vec::new, |oid| format!("pg_tblspc/{oid}/").into_bytes());
        path.extend(inside.as_os_str().as_bytes());
        let packed = Packed {
            path,
            kind,
            size: if kind == PackedKind::File {
                metadata.len()
            } else {
                0
            },
            attributes: Attributes::of(&metadata),
        };
        let goes_on = if kind == PackedKind::File {
            let mut file = File::open(entry.path()).at("open", entry.path())?;
            each(packed, &mut file)?
        } else {
            each(packed, &mut io::empty())?
        };
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}
