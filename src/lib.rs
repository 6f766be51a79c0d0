//! barkeep: a Barman-compatible backup and recovery manager for PostgreSQL.
//!
//! The modules are layers, and imports point downwards: first what an operator does, then how
//! bytes move, then what PostgreSQL is.
//!
//! ```text
//! cli → check, cron → sync, backup, recovery, archive → catalog, hooks
//!     → copy → agent → transport → config → codec → postgres → base
//! ```
//!
//! `output` renders the reports that the domain returns; it is the only code that prints.

pub mod agent;
pub mod archive;
pub mod backup;
pub mod base;
pub mod catalog;
pub mod changes;
pub mod check;
pub mod cli;
pub mod codec;
pub mod config;
pub mod copy;
pub mod cron;
pub mod doctor;
pub mod hooks;
pub mod merge;
pub mod output;
pub mod postgres;
pub mod recovery;
pub mod status;
pub mod sync;
pub mod tarball;
pub mod transport;

/// The Barman release whose commands, files and output this build reproduces. Scripts read it as
/// the first word of `--version` and hook scripts as `BARMAN_VERSION`.
pub const BARMAN_LEVEL: &str = "3.19.1";

/// The version of barkeep itself.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
