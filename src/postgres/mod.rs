//! What PostgreSQL is on disk and on the wire: positions in the WAL, names of its files, pages, labels, manifests, and
//! the client connection.

pub mod lsn;
pub mod wal_header;
pub mod wal_name;
