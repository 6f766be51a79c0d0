//! The first backup of a server makes all WAL before it useless: it is removed (behaviour reference §43).

use crate::base::report::Reporter;
use crate::catalog::{self, BackupInfo, Catalog, WalRemovalError};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

/// Removes the WAL before `info`, unless there is an earlier backup that may need it. With `announce` it is said.
pub(super) fn purge_before_first(
    catalog: &Catalog,
    config: &ServerConfig,
    hooks: &HookRunner,
    info: &BackupInfo,
    announce: bool,
    reporter: &dyn Reporter,
) -> Result<(), WalRemovalError> {
    let Some(begin) = info.begin_wal else {
        return Ok(());
    };
    if catalog::previous(&catalog.backups()?, &info.id).is_some() {
        return Ok(());
    }
    let say = |line: &str| {
        if announce {
            reporter.info(line);
        } else {
            log::info!(target: "barman.backup", "{line}");
        }
    };
    say(&format!("This is the first backup for server {}", config.name));
    if config.worm_mode {
        say("'worm_mode' is enabled, skip purging of unused WAL files.");
        return Ok(());
    }
    let useless = catalog.wal_before(begin)?;
    if useless.is_empty() {
        return Ok(());
    }
    say("WAL segments preceding the current backup have been found:");
    catalog.remove_wal(&useless, hooks, reporter, |entry| {
        say(&format!(
            "\t{} from server {} has been removed",
            entry.name, config.name
        ));
    })
}
