//! Whether a backup of the primary node is to be copied (behaviour reference §39).

use chrono::Utc;

use crate::catalog::retention::RetentionStatus;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, Catalog, enforcement};
use crate::config::ServerConfig;

use super::{SyncError, Told};

/// What is to be done about a backup.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is to be copied.
    Copy(Box<BackupInfo>),
    /// What there is of it here is to be deleted: the primary node does not have it any more. Why, in Barman's words.
    Purge(String),
    /// Nothing. Why, in Barman's words.
    Nothing(String),
}

/// Decides about one backup. `local` are the backups of this node.
///
/// # Errors
/// Neither node has it, or the catalog cannot be read.
pub fn decide(
    catalog: &Catalog,
    config: &ServerConfig,
    told: &Told,
    local: &Backups,
    id: &BackupId,
) -> Result<Decision, SyncError> {
    let server = &config.name;
    let here = local.get(id).map(|info| info.status);
    Ok(match (told.backups.get(id), here) {
        (None, None) => {
            return Err(SyncError::Absent {
                id: id.to_string(),
                server: server.clone(),
            });
        }
        (None, Some(status)) if status.copy_done() => Decision::Nothing(format!(
            "Backup {id} is absent on {server} server, but present locally (local copy only)"
        )),
        (None, Some(_)) => Decision::Purge(format!(
            "Backup {id} is absent on {server} server and is incomplete locally, purging local backup"
        )),
        (Some(_), Some(status)) if status.copy_done() => {
            Decision::Nothing(format!("Backup {id} is already synced with {server} server"))
        }
        (Some(info), _) if is_obsolete(catalog, config, local, info)? => Decision::Nothing(format!(
            "Remote backup {server}/{id} is obsolete for local retention policies."
        )),
        (Some(info), _) => Decision::Copy(Box::new(info.clone())),
    })
}

/// Whether the retention policy of this node would remove a backup as soon as it was here.
fn is_obsolete(
    catalog: &Catalog,
    config: &ServerConfig,
    local: &Backups,
    info: &BackupInfo,
) -> Result<bool, SyncError> {
    let Some(policy) = enforcement::policy(config) else {
        return Ok(false);
    };
    let keeps = catalog.keeps(local)?;
    let mut with_it = local.clone();
    // It would be complete.
    let complete = BackupInfo {
        status: BackupStatus::Done,
        ..info.clone()
    };
    with_it.insert(info.id.clone(), complete);
    let statuses = policy.statuses(&with_it, &keeps, config.minimum_redundancy, Utc::now());
    Ok(statuses.get(&info.id) == Some(&RetentionStatus::Obsolete))
}
