//! Recovery: rebuilding a PostgreSQL data directory from a backup and the WAL archive.
//!
//! One pure step decides (*plan*: backup, options, the list of WAL segments that recovery needs,
//! where each tablespace goes, what is written into the configuration) and one step acts
//! (*apply*: copy, relocate, rewrite, deliver WAL). Nothing is written before the plan is complete,
//! so a recovery that cannot succeed is refused with the destination untouched.
//!
//! ```text
//! request    which backup, and whether the command line makes sense
//! fitness    whether the destination may be written to
//! target     where recovery stops         timelines      the way there
//! archived   what the archive holds       wal_selection  which of it is needed, and what is missing
//! wal_plan   the WAL to deliver           plan           all of it together
//! apply      does it
//! unpacking  the same for backups in tar files
//! holdings   the archive as runs          windows        where one can recover to, and the gaps
//! ```
//!
//! The facts are those of the behaviour reference §17; what Barman gets wrong there is told beside the code that does it
//! right.

pub mod apply;
pub mod archived;
pub mod circumstances;
pub mod configuration;
pub mod data;
pub mod destination;
pub mod error;
pub mod fitness;
pub mod holdings;
pub mod hook_variables;
pub mod options;
pub mod originals;
pub mod plan;
pub mod report;
pub mod request;
mod restore;
pub mod selection;
pub mod settings;
pub mod source;
pub mod tablespaces;
pub mod target;
pub mod target_time;
pub mod this_host;
pub mod timelines;
mod unpacking;
pub mod wal_delivery;
pub mod wal_plan;
pub mod wal_selection;
pub mod windows;

pub use error::RestoreError;
pub use options::{RestoreOptions, SnapshotArguments, TargetAction, TargetTimeline};
pub use report::RestoreReport;
pub use restore::{Context, restore};
pub use settings::{Change, Warning};
