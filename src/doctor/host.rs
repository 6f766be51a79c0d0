//! This host: who owns what, room, cron.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, access};

use super::Finding;
use crate::base::lock::LockFile;
use crate::base::{directory, host, shell, size};
use crate::catalog::{BackupId, BackupStatus, Catalog, Layout};
use crate::check::advice::{Advice, cron_missing, cron_silence};
use crate::config::{ReuseBackup, ServerConfig};

pub(super) fn examine(server: &ServerConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.active && !server.disabled {
        findings.extend(cron_silence(server).map(|silence| Finding::new("cron", cron_missing(&silence))));
    }
    let Ok(catalog) = Catalog::of(server) else {
        return findings;
    };
    findings.extend(ownership(catalog.layout()));
    findings.extend(locks(server));
    findings.extend(room(server, &catalog));
    findings.extend(abandoned(server, &catalog));
    findings
}

/// Directories and files that this user cannot work with.
fn ownership(layout: &Layout) -> Option<Finding> {
    let files = [layout.xlogdb_path(), layout.identity_path()];
    let wrong: Vec<PathBuf> = layout
        .directories()
        .into_iter()
        .map(Path::to_path_buf)
        .chain(files)
        .filter(|path| path.exists() && !is_usable(path))
        .collect();
    let first = wrong.first()?;
    let user = host::user().unwrap_or_else(|| "barman".to_owned());
    let cause = match fs::metadata(first) {
        Ok(metadata) => format!(
            "{user} cannot write to {}: it belongs to {}, mode {:o}",
            first.display(),
            owner(&metadata),
            metadata.mode() & 0o7777
        ),
        Err(error) => format!("{user} cannot look at {}: {error}", first.display()),
    };
    let advice = wrong.iter().fold(Advice::broken(cause), |advice, path| {
        let path = shell::quote(&path.display().to_string());
        advice.here(format!(
            "sudo chown -R {user}: {path}; sudo chmod -R u+rwX {path}"
        ))
    });
    Some(Finding::new("ownership", advice))
}

/// Whether this user may change what is there. Root may always, and what it makes others cannot change: that is seen by
/// those.
fn is_usable(path: &Path) -> bool {
    let wanted = if path.is_dir() {
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK
    } else {
        AccessFlags::R_OK | AccessFlags::W_OK
    };
    access(path, wanted).is_ok()
}

fn owner(metadata: &Metadata) -> String {
    nix::unistd::User::from_uid(Uid::from_raw(metadata.uid()))
        .ok()
        .flatten()
        .map_or_else(|| metadata.uid().to_string(), |user| user.name)
}

/// Lock files that another user made: the command that needs one ends with "Permission denied".
fn locks(server: &ServerConfig) -> Option<Finding> {
    let directory = &server.barman_lock_directory;
    let prefix = format!(".{}-", server.name);
    let foreign: Vec<PathBuf> = directory::names(directory)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.starts_with(&prefix) && name.ends_with(".lock"))
        .map(|name| directory.join(name))
        .filter(|path| access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_err())
        .collect();
    let first = foreign.first()?;
    let user = host::user().unwrap_or_else(|| "barman".to_owned());
    let whose = fs::metadata(first).map_or_else(|error| error.to_string(), |metadata| owner(&metadata));
    let paths: Vec<String> = foreign.iter().map(|path| path.display().to_string()).collect();
    let advice = Advice::broken(format!(
        "{} belongs to {whose}: barman was run by another user, and {user} cannot use it now",
        first.display()
    ));
    Some(Finding::new(
        "lock files",
        advice.here(format!("sudo chown {user}: {}", shell::join(&paths))),
    ))
}

/// Backups that were begun and that nobody is taking: their process was killed, or the host went down. No check counts them.
fn abandoned(server: &ServerConfig, catalog: &Catalog) -> Option<Finding> {
    if LockFile::is_held(&server.lock_file("backup")).ok()? {
        return None;
    }
    let backups = catalog.readable_backups().ok()?.0;
    let begun: Vec<&BackupId> = backups
        .values()
        .filter(|info| matches!(info.status, BackupStatus::Empty | BackupStatus::Started))
        .map(|info| &info.id)
        .collect();
    let newest = begun.last()?;
    let advice = Advice::broken(format!(
        "backup {newest} was begun, and nobody is taking it any more: its process was killed, or this host went down"
    ));
    Some(Finding::new(
        "abandoned backups",
        begun.iter().fold(advice, |advice, id| {
            advice.here(format!("barman delete {} {id}", server.name))
        }),
    ))
}

/// Whether the next backup has room, judged by the newest one.
fn room(server: &ServerConfig, catalog: &Catalog) -> Option<Finding> {
    let base = &catalog.layout().base;
    let answer = nix::sys::statvfs::statvfs(base.as_path()).ok()?;
    let free = answer.blocks_available().saturating_mul(answer.fragment_size());
    let backups = catalog.readable_backups().ok()?.0;
    let newest = backups.values().rev().find(|info| info.status.copy_done())?;
    let shares = matches!(server.reuse_backup, Some(ReuseBackup::Link));
    let needed = newest.deduplicated_size.filter(|_| shares).or(newest.size)?;
    (free < needed).then(|| {
        let path = base.display().to_string();
        let advice = Advice::broken(format!(
            "{} are free for backups, and the newest one ({}) took {}",
            size::pretty_bytes(free),
            newest.id,
            size::pretty_bytes(needed)
        ));
        Finding::new(
            "disk",
            advice
                .here(format!("df -h {}", shell::quote(&path)))
                .here(format!(
                    "barman cron --dry-run    (what the retention policy of {} would remove)",
                    server.name
                )),
        )
    })
}
