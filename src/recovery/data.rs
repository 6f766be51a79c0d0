//! The base backup: which directories are copied where, and what is left out (behaviour reference §17.6).

use std::path::Path;
use std::time::Duration;

use crate::config::ServerConfig;
use crate::copy::{Filter, Pace, PushItem, Retries};

use super::options::RestoreOptions;
use super::source::BackupSource;
use super::tablespaces::Relocation;

/// What is never restored into a data directory. The signal files of a standby that was backed up would make a standby of
/// what is restored: it gets its own.
const LEFT_OUT: [&str; 9] = [
    "/pg_log/*",
    "/log/*",
    "/pg_xlog/*",
    "/pg_wal/*",
    "/postmaster.pid",
    "/recovery.conf",
    "/recovery.signal",
    "/standby.signal",
    "/tablespace_map",
];

/// The names in a data directory that are PostgreSQL's, or a restore's: only they are cleared out by a delta restore. Logs
/// and configuration files are the operator's.
const OWNED: [&str; 37] = [
    "base",
    "global",
    "pg_clog",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical",
    "pg_multixact",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_xact",
    "pg_xlog",
    "PG_VERSION",
    "backup_label",
    "backup_label.old",
    "backup_manifest",
    "backup_manifest.*",
    "barman_wal",
    "current_logfiles",
    "pgsql_tmp*",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.conf",
    "recovery.done",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
    "tablespace_map.old",
    ".barman-recover.info",
];

/// Whether a path within a data directory is none of PostgreSQL's own: that of a configuration file, perhaps.
#[must_use]
pub fn is_foreign(path: &Path) -> bool {
    let top = path.iter().next().unwrap_or_default().to_string_lossy();
    !OWNED.contains(&&*top) && !top.starts_with("pg_log")
}

/// The directory of a tablespace.
#[must_use]
pub fn tablespace_item(source: &BackupSource, relocation: &Relocation, config: &ServerConfig) -> PushItem {
    let oid = relocation.tablespace.oid.to_string();
    PushItem {
        label: relocation.tablespace.name.clone(),
        source: relocation.tablespace.directory.clone(),
        older: source.older.iter().map(|member| member.base.join(&oid)).collect(),
        prefix: format!("{oid}/"),
        destination: relocation.location.clone(),
        filter: Filter::default(),
        owned: vec!["PG_*".to_owned()],
        bandwidth_kib: config.tablespace_limit(&relocation.tablespace.name),
    }
}

/// What is left out of the data directory.
#[must_use]
pub fn left_out(destination: &Path, tablespaces: &[Relocation]) -> Filter {
    let links = tablespaces
        .iter()
        .map(|relocation| format!("/pg_tblspc/{}", relocation.tablespace.oid));
    let inside = tablespaces.iter().filter_map(|relocation| {
        let inner = relocation.location.strip_prefix(destination).ok()?;
        Some(format!("/{}", inner.display()))
    });
    Filter::default().exclude(LEFT_OUT).protect(links).protect(inside)
}

/// The data directory. Links to tablespaces, and tablespaces inside the data directory, belong to others.
#[must_use]
pub fn pgdata_item(source: &BackupSource, destination: &Path, tablespaces: &[Relocation]) -> PushItem {
    let mut filter = left_out(destination, tablespaces);
    if source.is_incremental() {
        // The label is written by itself; the manifest is that of the changed blocks, not of what they become.
        filter = filter.exclude(["/backup_manifest"]).protect(["/backup_label"]);
    }
    PushItem {
        label: "pgdata".to_owned(),
        source: source.data_directory.clone(),
        older: source
            .older
            .iter()
            .map(|member| member.data_directory.clone())
            .collect(),
        prefix: "data/".to_owned(),
        destination: destination.to_path_buf(),
        filter,
        owned: OWNED.map(str::to_owned).to_vec(),
        bandwidth_kib: None,
    }
}

/// How fast the workers may start.
#[must_use]
pub fn pace(config: &ServerConfig, options: &RestoreOptions) -> Pace {
    Pace::of(
        options
            .jobs_start_batch_size
            .unwrap_or(config.parallel_jobs_start_batch_size),
        options
            .jobs_start_batch_period
            .unwrap_or(config.parallel_jobs_start_batch_period),
    )
}

/// How often a lost connection is made again.
#[must_use]
pub fn retries(config: &ServerConfig, options: &RestoreOptions) -> Retries {
    let sleep = options.retry_sleep.unwrap_or(config.basebackup_retry_sleep);
    Retries {
        times: options.retry_times.unwrap_or(config.basebackup_retry_times),
        sleep: Duration::from_secs(u64::from(sleep)),
    }
}
