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
    if announce {
        reporter.heading("WAL segments preceding the current backup have been found:");
    }
    catalog.remove_wal(&useless, hooks, reporter, |entry| {
        say(&format!(
            "\t{} from server {} has been removed",
            entry.name, config.name
        ));
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::base::report::Quiet;
    use crate::catalog::{BackupId, BackupStatus, Layout, fixture};
    use crate::codec::Detector;
    use crate::postgres::wal_name::SegmentName;

    const FIRST: &str = "20260101T000000";

    /// The segments that are left of two, where the backup begins with the second.
    fn left(name: &str, worm_mode: bool, earlier: bool) -> Vec<u32> {
        let root = std::env::temp_dir().join(format!("barkeep-purge-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let catalog = Catalog::at(Layout::under(&root, "main"), Detector::default());
        catalog.create_directories().unwrap();
        let segment = |number: u32| format!("0000000100000000{number:08X}");
        for number in [1, 2] {
            fixture::archive(&catalog, &segment(number));
        }
        let backup = |id: &str| {
            let mut info = BackupInfo::empty(BackupId::parse(id).unwrap());
            info.status = BackupStatus::Done;
            info.begin_wal = SegmentName::parse(&segment(2));
            catalog.save(&info).unwrap();
            info
        };
        let info = backup(FIRST);
        if earlier {
            backup("20250101T000000");
        }
        let config = ServerConfig {
            name: "main".to_owned(),
            worm_mode,
            ..ServerConfig::default()
        };
        let hooks = HookRunner::of_server(&config, Path::new("/etc/barman.conf"));
        purge_before_first(&catalog, &config, &hooks, &info, true, &Quiet).unwrap();
        let there = |number: &u32| catalog.layout().wal_path(&segment(*number)).unwrap().exists();
        let left = [1, 2].into_iter().filter(there).collect();
        fs::remove_dir_all(&root).unwrap();
        left
    }

    #[test]
    fn wal_before_the_first_backup_goes_unless_it_may_not_be_changed() {
        assert_eq!(left("first", false, false), [2]);
        assert_eq!(left("worm", true, false), [1, 2]);
        assert_eq!(left("second", false, true), [1, 2]);
    }
}
