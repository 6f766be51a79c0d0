//! From what an operator types to a backup (command reference §3).

use super::error::ResolveError;
use super::{BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog};

impl Catalog {
    /// The backup that `token` names: a shortcut, an id, or the name given to a backup.
    ///
    /// # Errors
    /// No backup, or several, have that name.
    pub fn resolve(&self, token: &str) -> Result<BackupId, ResolveError> {
        resolve(&self.backups_for(token)?, token, self.server())
    }
}

/// [`Catalog::resolve`] among backups already read.
///
/// # Errors
/// As there.
pub fn resolve(backups: &Backups, token: &str, server: &str) -> Result<BackupId, ResolveError> {
    let unknown = || ResolveError::Unknown {
        token: token.to_owned(),
        server: server.to_owned(),
    };
    let copied = || backups.values().filter(|info| info.status.copy_done());
    let found = match token {
        "latest" | "last" => copied().next_back(),
        "oldest" | "first" => copied().next(),
        "latest-full" | "last-full" => copied().rfind(|info| is_full(info)),
        // Barman takes any part of this word for the whole; a slip of the finger then deletes a backup.
        "last-failed" => backups.values().rfind(|info| info.status == BackupStatus::Failed),
        _ => match BackupId::parse(token) {
            Some(id) => return backups.contains_key(&id).then_some(id).ok_or_else(unknown),
            None => return named(backups, token)?.ok_or_else(unknown),
        },
    };
    found.map(|info| info.id.clone()).ok_or_else(unknown)
}

fn is_full(info: &BackupInfo) -> bool {
    matches!(info.backup_type(), BackupType::Full | BackupType::Rsync) && !info.is_incremental()
}

fn named(backups: &Backups, name: &str) -> Result<Option<BackupId>, ResolveError> {
    let mut ids: Vec<&BackupId> = backups
        .values()
        .filter(|info| info.status.copy_done() && info.backup_name.as_deref() == Some(name))
        .map(|info| &info.id)
        .collect();
    match (ids.pop(), ids.is_empty()) {
        (Some(id), true) => Ok(Some(id.clone())),
        (None, _) => Ok(None),
        (Some(last), false) => {
            ids.push(last);
            Err(ResolveError::Ambiguous {
                name: name.to_owned(),
                ids: ids.into_iter().map(ToString::to_string).collect(),
            })
        }
    }
}
