//! The WAL archive: how files get in and out.
//!
//! In: [`put_wal`] receives them into the incoming directory (other programs may simply copy them there), and
//! [`archive_wal`] moves them from the incoming and the streaming directory into the archive, compressed and encrypted
//! as configured. Out: [`get_wal`] finds a file wherever it is and sends what PostgreSQL wrote. [`client`] holds the
//! programs of the PostgreSQL host that talk to these.
//!
//! One rule: a file is acknowledged, and its source removed, only after content and name are on disk.

pub mod archive_wal;
pub mod client;
pub mod compare;
pub mod get_wal;
pub mod place;
pub mod put_wal;
pub mod receive_wal;
pub mod series;
pub mod sums;

pub use archive_wal::{Announce, ArchiveError, ArchiveReport, archive_wal};
pub use place::{Places, wal_codec};

#[cfg(test)]
mod sandbox;
