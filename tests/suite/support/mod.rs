//! The real parts that every suite is built from: accounts, PostgreSQL clusters, an sshd, the tools, catalogs.
//!
//! Nothing here is a mock. Whatever is started is stopped by the value that started it ([`Drop`]), and once more by
//! [`cleanup`] when the run is interrupted.

pub mod catalog;
pub mod cleanup;
pub mod cluster;
pub mod diff;
pub mod keys;
pub mod killing;
pub mod lab;
pub mod large;
pub mod manager;
pub mod mount;
pub mod process;
pub mod proof;
pub mod random;
pub mod scratch;
pub mod sshd;
pub mod stopping;
pub mod system_calls;
pub mod tool;
pub mod tree;
pub mod warm_barman;
