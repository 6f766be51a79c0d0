//! What a backup copies: tablespaces, the data directory, `pg_control`, and configuration files that lie elsewhere
//! (behaviour reference §5.1).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::catalog::{BackupId, BackupInfo, Catalog, Tablespace};
use crate::config::{ReuseBackup, ServerConfig};
use crate::copy::{
    Checksum, CopyItem, CopyPlan, Filter, Incremental, ItemContent, Pace, PageChecks, Records, Retries, Reuse,
};
use crate::postgres::lsn::Lsn;
use crate::postgres::version::PgVersion;

/// Left out of the data directory besides [`EVERYWHERE`]. `pg_control` follows when everything else has been copied.
const PGDATA: [&str; 5] = [
    "/pg_log/*",
    "/log/*",
    "/pg_xlog/*",
    "/pg_wal/*",
    "/global/pg_control",
];

/// Left out of the data directory and of tablespaces: what a restored server makes anew.
const EVERYWHERE: [&str; 16] = [
    "pgsql_tmp*",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "pg_internal.init",
    "postmaster.pid",
    "postmaster.opts",
    "recovery.conf",
    "standby.signal",
    "**/[0-9]*/t[0-9]*_[0-9]*",
    "pg_dynshmem/*",
    "pg_notify/*",
    "pg_replslot/*",
    "pg_serial/*",
    "pg_stat_tmp/*",
    "pg_snapshots/*",
    "pg_subtrans/*",
];

/// The copy of a backup that has begun at `begin`. `reference` is the backup whose unchanged files are taken over: the
/// parent of an `incremental` one.
pub(super) fn copy_plan(
    config: &ServerConfig,
    catalog: &Catalog,
    info: &BackupInfo,
    pgdata: &Path,
    begin: Lsn,
    reference: Option<&BackupInfo>,
    incremental: Option<Incremental>,
) -> CopyPlan {
    let mut items: Vec<CopyItem> = copied_tablespaces(info)
        .map(|tablespace| tablespace_item(config, catalog, info, tablespace, reference))
        .collect();
    items.push(pgdata_item(catalog, info, pgdata, reference));
    items.push(control_item(catalog, info, pgdata));
    items.extend(configuration_items(catalog, info, pgdata));
    CopyPlan {
        records: Some(Records {
            path: catalog.layout().records_path(&info.id),
            directory: catalog.layout().base_dir(&info.id),
            previous: reference.map(|reference| catalog.layout().records_path(&reference.id)),
            page_hashes: Some(catalog.layout().page_hashes_path(&info.id)),
            older_page_hashes: older_page_hashes(catalog, reference, incremental.as_ref()),
        }),
        since: None,
        reuse: reuse(config, reference, incremental.is_some()),
        incremental,
        items,
        safe_horizon: reference.and_then(begin_time),
        jobs: jobs(config),
        pace: pace(config),
        bandwidth_kib: config.bandwidth_limit.filter(|limit| *limit > 0),
        compress: config.network_compression,
        page_checks: (info.data_checksums.as_deref() == Some("on")).then_some(PageChecks { start: begin }),
        manifest: config.autogenerate_manifest.then_some(Checksum::Sha256),
        previous_manifest: reference.and_then(|reference| {
            let manifest = catalog.data_dir(&reference.id).join("backup_manifest");
            manifest.is_file().then_some(manifest)
        }),
        resume: None,
        retries: Retries {
            times: config.basebackup_retry_times,
            sleep: Duration::from_secs(config.basebackup_retry_sleep.into()),
        },
    }
}

/// The hashes of pages that the backups before this one left.
fn older_page_hashes(
    catalog: &Catalog,
    reference: Option<&BackupInfo>,
    incremental: Option<&Incremental>,
) -> Vec<PathBuf> {
    let ids: Vec<BackupId> = match incremental {
        Some(incremental) => {
            let names = incremental
                .members
                .iter()
                .filter_map(|path| path.file_name()?.to_str());
            names.filter_map(BackupId::parse).collect()
        }
        None => reference.iter().map(|reference| reference.id.clone()).collect(),
    };
    ids.iter()
        .map(|id| catalog.layout().page_hashes_path(id))
        .collect()
}

/// How many workers copy.
pub(super) fn jobs(config: &ServerConfig) -> usize {
    usize::try_from(config.parallel_jobs).unwrap_or(1).max(1)
}

/// How fast they start.
pub(super) fn pace(config: &ServerConfig) -> Pace {
    Pace::of(
        config.parallel_jobs_start_batch_size,
        config.parallel_jobs_start_batch_period,
    )
}

/// The files outside the data directory that a configuration includes, which nobody copies.
pub(super) fn external_includes<'a>(info: &'a BackupInfo, pgdata: &Path) -> Vec<&'a str> {
    let included = info.included_files.iter().flatten();
    included
        .map(String::as_str)
        .filter(|file| outside(file, pgdata))
        .collect()
}

/// The tablespaces that lie outside `pg_tblspc`. One made for developers lies within (`allow_in_place_tablespaces`),
/// has a relative location, and is copied with the data directory.
fn copied_tablespaces(info: &BackupInfo) -> impl Iterator<Item = &Tablespace> {
    let all = info.tablespaces.iter().flatten();
    all.filter(|tablespace| tablespace.location.starts_with('/'))
}

fn tablespace_item(
    config: &ServerConfig,
    catalog: &Catalog,
    info: &BackupInfo,
    tablespace: &Tablespace,
    reference: Option<&BackupInfo>,
) -> CopyItem {
    // A tablespace directory is shared by versions of PostgreSQL, each with a directory of its own.
    let own = format!("/PG_{}_*", PgVersion(info.version.unwrap_or_default()).major());
    CopyItem {
        label: tablespace.name.clone(),
        content: ItemContent::Tablespace,
        source: PathBuf::from(&tablespace.location),
        destination: catalog.layout().tablespace_dir(&info.id, tablespace.oid),
        reference: reference
            .map(|reference| catalog.tablespace_dir(&reference.id, tablespace.oid))
            .filter(|directory| directory.is_dir()),
        filter: Filter::default()
            .include([own])
            .exclude(["/*"])
            .exclude(EVERYWHERE),
        bandwidth_kib: config.tablespace_limit(&tablespace.name),
    }
}

fn pgdata_item(
    catalog: &Catalog,
    info: &BackupInfo,
    pgdata: &Path,
    reference: Option<&BackupInfo>,
) -> CopyItem {
    let links = copied_tablespaces(info).map(|tablespace| format!("/pg_tblspc/{}", tablespace.oid));
    let inside = copied_tablespaces(info).filter_map(|tablespace| {
        let relative = Path::new(&tablespace.location).strip_prefix(pgdata).ok()?;
        Some(format!("/{}", relative.display()))
    });
    CopyItem {
        label: "pgdata".to_owned(),
        content: ItemContent::Pgdata,
        source: pgdata.to_path_buf(),
        destination: catalog.layout().data_dir(&info.id),
        reference: reference.map(|reference| catalog.data_dir(&reference.id)),
        filter: Filter::default()
            .exclude(PGDATA)
            .exclude(EVERYWHERE)
            .protect(links.chain(inside)),
        bandwidth_kib: None,
    }
}

fn control_item(catalog: &Catalog, info: &BackupInfo, pgdata: &Path) -> CopyItem {
    CopyItem {
        label: "pg_control".to_owned(),
        content: ItemContent::Control,
        source: pgdata.join("global/pg_control"),
        destination: catalog.layout().data_dir(&info.id).join("global/pg_control"),
        reference: None,
        filter: Filter::default(),
        bandwidth_kib: None,
    }
}

fn configuration_items(catalog: &Catalog, info: &BackupInfo, pgdata: &Path) -> Vec<CopyItem> {
    let files = [
        ("config_file", &info.config_file, false),
        ("hba_file", &info.hba_file, false),
        ("ident_file", &info.ident_file, true),
    ];
    let item = |label: &str, file: &str, optional| {
        let source = PathBuf::from(file);
        let name = source.file_name()?.to_owned();
        Some(CopyItem {
            label: label.to_owned(),
            content: ItemContent::Config { optional },
            destination: catalog.layout().data_dir(&info.id).join(name),
            source,
            reference: None,
            filter: Filter::default(),
            bandwidth_kib: None,
        })
    };
    files
        .into_iter()
        .filter_map(|(label, file, optional)| {
            let file = file.as_deref().filter(|file| outside(file, pgdata))?;
            item(label, file, optional)
        })
        .collect()
}

/// Barman's test for a file outside the data directory is one of prefixes.
pub(super) fn outside(file: &str, pgdata: &Path) -> bool {
    !file.starts_with(&*pgdata.to_string_lossy())
}

fn reuse(config: &ServerConfig, reference: Option<&BackupInfo>, incremental: bool) -> Reuse {
    match (reference, config.reuse_backup) {
        (Some(_), Some(ReuseBackup::Link)) => Reuse::Link,
        (Some(_), Some(ReuseBackup::Copy)) => Reuse::Copy,
        (Some(_), _) if incremental => Reuse::Copy,
        _ => Reuse::Off,
    }
}

fn begin_time(info: &BackupInfo) -> Option<SystemTime> {
    info.begin_time.map(SystemTime::from)
}
