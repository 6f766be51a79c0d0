//! From the command line to a backup that can be restored: Barman's checks, in Barman's order and words
//! (behaviour reference §17.1).

use std::path::{Path, PathBuf};

use crate::base::report::Reporter;
use crate::catalog::chains;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog, KeepTarget};
use crate::config::{ServerConfig, StagingLocation};
use crate::copy::packed;

use super::error::RestoreError;
use super::options::RestoreOptions;
use super::selection::{self, Candidate};
use super::source::{BackupSource, Member, SourceTablespace};
use super::{tablespaces, target};

/// A restore that may be tried.
#[derive(Debug)]
pub struct Request {
    /// The backup, as the catalog knows it.
    pub info: BackupInfo,
    /// The nearest good backups before and after it.
    pub neighbours: (Option<BackupId>, Option<BackupId>),
    /// The backup, with everything a restore needs.
    pub source: BackupSource,
    /// The tablespace rules: names and locations.
    pub rules: Vec<(String, PathBuf)>,
    /// Whether the restored server fetches its WAL itself.
    pub get_wal: bool,
    /// Whether what the destination holds is reused.
    pub delta: bool,
    /// Whether data are compressed on their way.
    pub compress: bool,
}

/// Checks the command line and finds the backup. `backup` and `destination` are as typed.
///
/// # Errors
/// The first thing that is wrong.
pub fn examine(
    config: &ServerConfig,
    catalog: &Catalog,
    backup: &str,
    destination: &str,
    options: &RestoreOptions,
    reporter: &dyn Reporter,
) -> Result<Request, RestoreError> {
    target::check_single(options)?;
    let backups = catalog.backups_for(backup)?;
    let info = find(catalog, &backups, backup, options)?;
    check_staging(options)?;
    if !info.status.copy_done() {
        return Err(RestoreError::Status {
            backup: backup.to_owned(),
            server: config.name.clone(),
        });
    }
    let source = source_of(catalog, &backups, &info)?;
    let rules = tablespaces::parse_rules(&options.tablespaces, &source)?;
    if destination.contains(':') {
        return Err(RestoreError::Argument(
            "The destination directory parameter cannot contain the ':' character\n\
             HINT: If you want to do a remote recovery you have to use the --remote-ssh-command option"
                .to_owned(),
        ));
    }
    if destination.is_empty() {
        return Err(RestoreError::Argument(
            "The destination directory parameter cannot be empty".to_owned(),
        ));
    }
    let get_wal = options.get_wal.unwrap_or(config.recovery_options.get_wal);
    if options.partial_wal && get_wal {
        reporter.warning("The --partial-wal option was ignored as it only works with --no-get-wal.");
    }
    let remote = options.remote_ssh_command.is_some();
    if options.network_compression == Some(true) && !remote {
        return Err(RestoreError::Argument(
            "Network compression can only be used with remote recovery.\n\
             HINT: If you want to do a remote recovery you have to use the --remote-ssh-command option"
                .to_owned(),
        ));
    }
    check_kind(&info, options)?;
    let delta = options
        .delta_restore
        .unwrap_or(config.recovery_options.delta_restore);
    check_packed(config, &source, delta, remote)?;
    if !source.data_directory.is_dir() {
        return Err(RestoreError::NoData {
            backup: source.id,
            directory: source.data_directory,
        });
    }
    Ok(Request {
        neighbours: (
            crate::catalog::previous(&backups, &info.id).map(|info| info.id.clone()),
            crate::catalog::next(&backups, &info.id).map(|info| info.id.clone()),
        ),
        info,
        source,
        rules,
        get_wal,
        delta,
        compress: remote && options.network_compression.unwrap_or(config.network_compression),
    })
}

fn find(
    catalog: &Catalog,
    backups: &Backups,
    token: &str,
    options: &RestoreOptions,
) -> Result<BackupInfo, RestoreError> {
    let id = if token == "auto" {
        let candidates: Vec<Candidate> = backups
            .values()
            .filter(|info| info.status.copy_done())
            .map(|info| Candidate {
                id: info.id.as_str().to_owned(),
                timeline: info.timeline,
                end_time: info.end_time,
                end_lsn: info.end_xlog,
            })
            .collect();
        let chosen = selection::choose(&candidates, options)?;
        BackupId::parse(&chosen.id)
    } else {
        Some(crate::catalog::resolve(backups, token, catalog.server())?)
    };
    id.and_then(|id| backups.get(&id))
        .cloned()
        .ok_or_else(|| selection::SelectionError::NoCandidate.into())
}

fn check_staging(options: &RestoreOptions) -> Result<(), RestoreError> {
    for (kind, path) in [
        ("recovery staging path", &options.recovery_staging_path),
        ("local staging path", &options.local_staging_path),
        ("staging path", &options.staging_path),
    ] {
        if let Some(path) = path.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(RestoreError::Argument(format!(
                "Cannot parse {kind}: Invalid value : '{path}' (must be an absolute path)"
            )));
        }
    }
    if options.staging_location == Some(StagingLocation::Remote) && options.remote_ssh_command.is_none() {
        return Err(RestoreError::Argument(
            "--staging-location as remote requires --remote-ssh-command to be set".to_owned(),
        ));
    }
    Ok(())
}

/// Only backups in plain files can be restored yet.
fn check_kind(info: &BackupInfo, options: &RestoreOptions) -> Result<(), RestoreError> {
    let kind = if info.backup_type() == BackupType::Snapshot || info.snapshots_info.is_some() {
        Some("snapshot")
    } else if info
        .mode
        .as_deref()
        .is_some_and(|mode| mode.starts_with("local-to-cloud"))
    {
        Some("cloud")
    } else {
        None
    };
    if let Some(kind) = kind {
        return Err(RestoreError::Kind {
            backup: info.id.as_str().to_owned(),
            kind,
        });
    }
    let given = options.snapshot.given();
    if given.is_empty() {
        return Ok(());
    }
    Err(RestoreError::Argument(format!(
        "Backup {} is not a snapshot backup but the following snapshot arguments have been used: {}",
        info.id,
        given.join(", ")
    )))
}

/// What backups in tar files need, and cannot do.
fn check_packed(
    config: &ServerConfig,
    source: &BackupSource,
    delta: bool,
    remote: bool,
) -> Result<(), RestoreError> {
    if source.packed && delta {
        let place = if remote { "remotely" } else { "locally" };
        return Err(RestoreError::Argument(format!(
            "Cannot restore a backup {place} with delta mode when the backup is not plain."
        )));
    }
    match source.encrypted.first() {
        Some(id) if config.encryption_passphrase_command.is_none() => Err(RestoreError::Argument(format!(
            "Encrypted backup '{id}' was found for server '{}', but 'encryption_passphrase_command' is not configured \
             correctly. Please fix it before attempting a restore.",
            config.name
        ))),
        _ => Ok(()),
    }
}

/// The fields that a restore needs, all of them.
fn source_of(catalog: &Catalog, backups: &Backups, info: &BackupInfo) -> Result<BackupSource, RestoreError> {
    let lacks = |field| RestoreError::Incomplete {
        backup: info.id.as_str().to_owned(),
        field,
    };
    let tablespaces = info.tablespaces.iter().flatten();
    let older = older(catalog, backups, &info.id)?;
    let mut packed = is_packed(&catalog.data_dir(&info.id))?;
    let mut encrypted = Vec::new();
    for member in older.iter().rev() {
        packed |= is_packed(&member.data_directory)?;
        let is_encrypted = backups
            .get(&member.id)
            .is_some_and(|info| info.encryption.is_some());
        encrypted.extend(is_encrypted.then(|| member.id.as_str().to_owned()));
    }
    encrypted.extend(info.encryption.as_ref().map(|_| info.id.as_str().to_owned()));
    Ok(BackupSource {
        id: info.id.as_str().to_owned(),
        version: info.version.ok_or_else(|| lacks("version"))?,
        timeline: info.timeline.ok_or_else(|| lacks("timeline"))?,
        begin_wal: info.begin_wal.ok_or_else(|| lacks("begin_wal"))?,
        end_wal: info.end_wal.ok_or_else(|| lacks("end_wal"))?,
        begin_lsn: info.begin_xlog.ok_or_else(|| lacks("begin_xlog"))?,
        end_lsn: info.end_xlog.ok_or_else(|| lacks("end_xlog"))?,
        begin_time: info.begin_time,
        end_time: info.end_time,
        segment_size: Some(info.xlog_segment_size)
            .filter(|size| *size > 0)
            .ok_or_else(|| lacks("xlog_segment_size"))?,
        system_identifier: info.systemid.as_deref().and_then(|text| text.parse().ok()),
        tablespaces: tablespaces
            .map(|tablespace| SourceTablespace {
                name: tablespace.name.clone(),
                oid: tablespace.oid,
                location: PathBuf::from(&tablespace.location),
                directory: catalog.tablespace_dir(&info.id, tablespace.oid),
            })
            .collect(),
        data_directory: catalog.data_dir(&info.id),
        older,
        packed,
        encrypted,
        info: info.to_text().into_bytes(),
        waiting_for_wals: info.status == BackupStatus::WaitingForWals,
        standalone: catalog.keep_target(&info.id)? == Some(KeepTarget::Standalone),
    })
}

/// Whether the data of a backup are in tar files. Where there are none at all is found out later.
fn is_packed(data: &Path) -> Result<bool, RestoreError> {
    Ok(data.is_dir() && !packed::parts(data)?.is_empty())
}

/// What the backup builds on.
///
/// # Errors
/// A member of the chain is missing, or cannot be read.
pub fn older(catalog: &Catalog, backups: &Backups, id: &BackupId) -> Result<Vec<Member>, RestoreError> {
    let members = chains::members(backups, id).map_err(|source| RestoreError::Chain {
        backup: id.as_str().to_owned(),
        source,
    })?;
    let member = |info: &&BackupInfo| Member {
        id: info.id.clone(),
        data_directory: catalog.data_dir(&info.id),
        base: catalog.layout().base_dir(&info.id),
    };
    Ok(members.iter().skip(1).map(member).collect())
}
