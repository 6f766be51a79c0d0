//! What is known of a server right now: the domain side of `show-servers`, `status` and `diagnose`.
//!
//! Everything here asks and nothing changes anything. What cannot be found out is left out or shown as unknown: these
//! commands are run when something is broken.

mod backup_document;
mod client_tools;
mod diagnosis;
mod host;
mod overview;
mod remote;
pub mod replication;
mod settings;

use crate::base::calendar::{self, Timestamp};
use crate::base::duration;
use crate::catalog::retention::RetentionPolicy;
use crate::catalog::{Backups, Catalog};
use crate::config::ServerConfig;

pub use backup_document::{Dates, backup_document};
pub(crate) use diagnosis::configuration;
pub use diagnosis::diagnose;
pub use host::own_system_info;
pub use overview::{Item, Overview};
pub use remote::Remote;
pub use settings::{ServerSettings, Setting};

/// The backups of a server; none where the catalog cannot be read, which goes to the log.
fn backups(config: &ServerConfig) -> Backups {
    let read = Catalog::of(config)
        .map_err(|error| error.to_string())
        .and_then(|catalog| catalog.backups().map_err(|error| error.to_string()));
    read.unwrap_or_else(|error| {
        log::warn!(target: "barman.server", "cannot read the catalog of server '{}': {error}", config.name);
        Backups::new()
    })
}

/// The age of the newest complete backup, in words: `2 days, 3 hours`.
#[must_use]
pub fn newest_backup_age(backups: &Backups, now: &Timestamp) -> Option<String> {
    let newest = backups.values().rfind(|backup| backup.status.copy_done())?;
    let end = newest.end_time.as_ref()?;
    Some(duration::human(calendar::seconds_between(end, now)))
}

/// The retention policy in force; none when it is not set or cannot be read.
#[must_use]
pub fn enforced_policy(config: &ServerConfig) -> Option<RetentionPolicy> {
    config.retention_policy.as_deref()?.parse().ok()
}
