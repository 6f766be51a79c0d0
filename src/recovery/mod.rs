//! Recovery: rebuilding a PostgreSQL data directory from a backup and the WAL archive.
//!
//! One pure step decides (*plan*: backup, options, the list of WAL segments that recovery needs,
//! where each tablespace goes, what is written into the configuration) and one step acts
//! (*apply*: copy, relocate, rewrite, deliver WAL). Nothing is written before the plan is complete,
//! so a recovery that cannot succeed is refused with the destination untouched.
pub mod archived;
pub mod configuration;
pub mod options;
pub mod selection;
pub mod settings;
pub mod source;
pub mod tablespaces;
pub mod target;
pub mod target_time;
pub mod timelines;
pub mod wal_selection;
