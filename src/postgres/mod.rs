//! What PostgreSQL is on disk and on the wire: positions in the WAL, names of its files, pages, labels, manifests, and
//! the client connection.

pub mod client;
pub mod client_program;
pub mod connect_failure;
pub mod conninfo;
pub mod control_file;
pub mod facts;
pub mod history;
pub mod incremental;
pub mod label;
pub mod libpq;
pub mod lsn;
pub mod manifest;
pub mod manifest_head;
pub mod page;
pub mod page_sum;
pub mod replication;
pub mod shown;
pub mod streaming;
pub mod version;
pub mod wal_header;
pub mod wal_name;
pub mod wal_records;
pub mod wal_switch;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
pub(crate) mod scratch_cluster;
