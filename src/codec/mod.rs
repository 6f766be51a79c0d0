//! Compression and encryption of WAL files.
//!
//! Archived WALs keep their plain name whatever was done to them, so what a file is, is told from its first bytes
//! ([`detect`]), in Barman's order (catalog reference §7.3). [`encode`] and [`decode`] are the streams; both hold a few
//! buffers, never a whole file. [`wal`] puts them together for the files of one server.

pub mod algorithm;
pub mod decode;
pub mod detect;
pub mod encode;
pub mod filter;
pub mod gpg;
pub mod openpgp;
pub mod wal;

pub use algorithm::{Compression, Level};
pub use detect::{CustomMagic, Detector, Stored};
pub use wal::{CodecError, WalCodec};
