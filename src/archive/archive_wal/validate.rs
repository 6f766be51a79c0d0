//! Whether a file that arrived is what its name says: the WAL of this server, and whole (`wal_validation`).
//!
//! A segment that cannot be replayed is worth nothing in the archive, and worse: it takes the place of the true one. It is
//! put aside with the reason, while its source may still have a whole copy.

use std::fs::{File, Metadata};
use std::io::{self, Read};

use crate::base::error::{PathContext, PathError};
use crate::catalog::Catalog;
use crate::codec::wal::PlainReader;
use crate::codec::{CodecError, Stored, WalCodec};
use crate::config::WalValidation;
use crate::postgres::history::History;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader, version_of_magic};
use crate::postgres::wal_name::{SegmentName, Timeline, WalKind};
use crate::postgres::wal_records::{self, Records};

use super::prepare::Item;

/// No history of timelines is longer, in bytes.
const LONGEST_HISTORY: u64 = 1 << 20;

/// What a file is compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Validator {
    level: WalValidation,
    /// The cluster that the server's backups are of; unknown before the first backup.
    system_identifier: Option<u64>,
    /// Its major version.
    version: Option<String>,
}

/// Why a file is not archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not what PostgreSQL wrote.
    Damaged(String),
    /// It is of another cluster.
    Foreign(String),
    /// It is still being written.
    Incomplete(String),
}

impl Validator {
    /// What is known of a server. An identity that cannot be read is no reason not to archive.
    pub(super) fn of(catalog: &Catalog, level: WalValidation) -> Validator {
        let identity = catalog.identity().unwrap_or_else(|error| {
            log::warn!(target: "barman.wal_archiver", "{error}: segments are not compared with it");
            None
        });
        let identity = identity.as_ref();
        Validator {
            level,
            system_identifier: identity.and_then(|identity| identity.systemid.as_deref()?.parse().ok()),
            version: identity.and_then(|identity| identity.version.clone()),
        }
    }

    /// Looks at a file that the archive does not have, delivered in the form `delivered`. `histories` reads those of the
    /// archive.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn check(
        &self,
        codec: &WalCodec,
        item: &Item,
        metadata: &Metadata,
        delivered: Stored,
        histories: &dyn Fn() -> Vec<History>,
    ) -> Result<Option<Fault>, CodecError> {
        let kind = WalKind::of(&item.name).filter(|kind| !matches!(kind, WalKind::BackupLabel(_)));
        let Some(kind) = kind.filter(|_| self.level != WalValidation::Off && !delivered.encrypted) else {
            return Ok(None);
        };
        let opened = if delivered.compression.is_none() {
            let file = File::open(&item.source).at("open", &item.source)?;
            Ok(Box::new(file) as PlainReader)
        } else {
            codec.open_plain(&item.source)
        };
        let looked = match opened {
            Ok(plain) => {
                let mut plain = Counted {
                    inner: plain,
                    bytes: 0,
                };
                match kind {
                    WalKind::Segment(name) => {
                        let length = delivered.compression.is_none().then_some(metadata.len());
                        self.segment(name, &mut plain, length, histories)
                    }
                    WalKind::Partial(_) => self.partial(&mut plain),
                    WalKind::History(timeline) => history(timeline, &mut plain),
                    WalKind::BackupLabel(_) => Ok(None),
                }
            }
            Err(CodecError::Path(error)) if undecodable(error.kind()) => {
                Ok(Some(Fault::Damaged(error.to_string())))
            }
            Err(error) => return Err(error),
        };
        match looked {
            Ok(fault) => Ok(fault),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let what = format!("its content goes on behind its {} bytes", metadata.len());
                Ok(Some(Fault::Incomplete(what)))
            }
            Err(error) if undecodable(error.kind()) => Ok(Some(Fault::Damaged(error.to_string()))),
            Err(error) => Err(PathError::new("read", &item.source, error).into()),
        }
    }

    fn segment(
        &self,
        name: SegmentName,
        plain: &mut Counted,
        length: Option<u64>,
        histories: &dyn Fn() -> Vec<History>,
    ) -> io::Result<Option<Fault>> {
        let mut head = [0; HEADER_SIZE];
        plain.read_exact(&mut head)?;
        let Some(header) = SegmentHeader::parse(&head) else {
            let what = "it does not begin as a WAL segment does";
            return Ok(Some(Fault::Damaged(what.to_owned())));
        };
        if let Some(fault) = self.foreign(&header) {
            return Ok(Some(fault));
        }
        if !header.belongs_to(name) {
            let (own, there) = (name.start(u64::from(header.segment_size)), Lsn(header.start));
            let what =
                format!("its first page is the one of {there}, and that of {name} is the one of {own}");
            return Ok(Some(Fault::Damaged(what)));
        }
        let size = u64::from(header.segment_size);
        let of_size = |bytes: u64| {
            (bytes != size).then(|| Fault::Damaged(format!("it has {bytes} bytes instead of {size}")))
        };
        if self.level != WalValidation::Full {
            return Ok(length.and_then(of_size));
        }
        let records = wal_records::check(&header, (&head[..]).chain(&mut *plain))?;
        // What cannot be decoded to its end is damaged, too.
        io::copy(plain, &mut io::sink())?;
        if let Some(fault) = of_size(plain.bytes) {
            return Ok(Some(fault));
        }
        let (at, what) = match records {
            Records::Whole | Records::Unknown => return Ok(None),
            Records::EndEarly(at) => (at, format!("nothing was written to it from {at} on")),
            Records::Damaged { at, what } => (at, format!("at {at}: {what}")),
        };
        // Where a timeline ends, so does its last segment.
        let left_here = histories()
            .iter()
            .filter_map(|history| history.switchpoint_of(name.timeline))
            .any(|switch| switch <= at && SegmentName::containing(name.timeline, switch, size) == name);
        Ok((!left_here).then_some(Fault::Damaged(what)))
    }

    /// An incomplete segment may be empty still: `pg_receivewal` fills the file with zeros when it begins it.
    fn partial(&self, plain: &mut dyn Read) -> io::Result<Option<Fault>> {
        let mut head = Vec::new();
        plain.take(HEADER_SIZE as u64).read_to_end(&mut head)?;
        Ok(SegmentHeader::parse(&head).and_then(|header| self.foreign(&header)))
    }

    /// Whether a segment with this header is certainly the server's own.
    pub(super) fn is_own(&self, header: &SegmentHeader) -> bool {
        self.system_identifier.is_some() && self.foreign(header).is_none()
    }

    fn foreign(&self, header: &SegmentHeader) -> Option<Fault> {
        let (found, own) = (header.system_identifier, self.system_identifier?);
        if found != own {
            return Some(Fault::Foreign(format!(
                "it is of the cluster with the system identifier {found}, and this server is the one with {own}"
            )));
        }
        // Only a number that is known to be another version's says anything.
        let (version, own) = (version_of_magic(header.magic)?, self.version.as_deref()?);
        (version != own).then(|| {
            Fault::Foreign(format!(
                "it was written by PostgreSQL {version}, and this server is of version {own}"
            ))
        })
    }
}

/// A stream that knows how much of it was read.
struct Counted {
    inner: PlainReader,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// PostgreSQL refuses a history that it cannot read, and every recovery to the timeline ends there.
fn history(timeline: Timeline, plain: &mut dyn Read) -> io::Result<Option<Fault>> {
    let mut text = Vec::new();
    plain.take(LONGEST_HISTORY).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(Some(Fault::Incomplete("it is empty".to_owned())));
    }
    match History::parse(timeline, &String::from_utf8_lossy(&text)) {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(Fault::Damaged(error.to_string()))),
    }
}

/// Whether the content, and not the access to it, is the problem.
fn undecodable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other
    )
}
