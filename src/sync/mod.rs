//! Passive nodes: copies of the backups and the WAL archive of another backup host, the primary node (behaviour reference
//! §23, §39).
//!
//! The two hosts talk in Barman's words: the passive node runs `barman sync-info` on the primary node over
//! `primary_ssh_command`, keeps the answer ([`primary`]), and copies what it does not have, one backup at a time
//! ([`backup`]) and the WAL ([`wals`]). Each end may be either tool.

pub mod backup;
pub mod holding;
pub mod primary;
pub mod wals;

mod copying;
mod decision;
mod error;
mod report;
mod told;

pub use decision::{Decision, decide};
pub use error::SyncError;
pub use report::{Since, report};
pub use told::Told;

#[cfg(test)]
mod tests;
