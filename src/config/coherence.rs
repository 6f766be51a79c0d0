//! Whether the options of a server fit together: what disables a server, and what is decided for it with a warning
//! (configuration reference §4, §12).

use super::backup_compression;
use super::choices::{BackupMethod, BackupOptions, ReuseBackup};
use super::conninfo;
use super::lenient;
use super::options::ServerConfig;
use crate::postgres::conninfo::redacted;

/// Looks at a server as a whole, after its active model was applied.
pub(super) fn examine(server: &mut ServerConfig) {
    lenient::wal_retention_policy(server);
    if server.active && !server.is_passive() {
        connections(server);
        method(server);
        archivers(server);
    }
}

fn connections(server: &mut ServerConfig) {
    let valid = connection(server, "PostgreSQL", "conninfo", server.conninfo.clone());
    if valid && server.primary_conninfo.is_some() {
        connection(
            server,
            "PostgreSQL",
            "primary_conninfo",
            server.primary_conninfo.clone(),
        );
    }
    if server.backup_method == BackupMethod::Postgres || server.streaming_archiver {
        connection(
            server,
            "Streaming",
            "streaming_conninfo",
            server.streaming_conninfo.clone(),
        );
    }
}

/// Whether a connection string can be used; a server for which it cannot is disabled.
fn connection(server: &mut ServerConfig, title: &str, option: &str, conninfo: Option<String>) -> bool {
    match conninfo {
        None => server.disable(format!(
            "{title} connection: Missing '{option}' parameter for server '{}'",
            server.name
        )),
        Some(conninfo) if !conninfo::is_well_formed(&conninfo) => server.disable(format!(
            "{title} connection: Cannot connect to postgres: \"{}\" is not a valid connection string",
            redacted(&conninfo)
        )),
        Some(_) => return true,
    }
    false
}

fn method(server: &mut ServerConfig) {
    let name = server.name.clone();
    match server.backup_method {
        BackupMethod::Rsync | BackupMethod::Snapshot if server.ssh_command.is_none() => {
            server.disable(format!(
                "Missing or invalid ssh_command in barman configuration for server {name}"
            ));
        }
        BackupMethod::LocalRsync if server.ssh_command.is_some() => server.disable(format!(
            "Local copy requires ssh_command in barman configuration to be empty for server {name}"
        )),
        BackupMethod::Rsync | BackupMethod::LocalRsync => {
            if server.backup_compression.is_some() {
                server
                    .disable("backup_compression option is not supported by rsync backup_method".to_owned());
            }
            strategy(server);
        }
        BackupMethod::Postgres => {
            refuse(
                server,
                "postgres",
                &[
                    "tablespace_bandwidth_limit",
                    "reuse_backup",
                    "network_compression",
                ],
            );
            if server.backup_options.exclusive_backup {
                server.warnings.push(
                    "'exclusive_backup' is not a valid backup_option using postgres backup_method. Overriding with \
                     'concurrent_backup'."
                        .to_owned(),
                );
            }
            for issue in backup_compression::issues(server, None) {
                server.disable(issue);
            }
            server.backup_options = BackupOptions {
                concurrent_backup: true,
                exclusive_backup: false,
                ..server.backup_options
            };
        }
        BackupMethod::Snapshot => {
            snapshot(server);
            strategy(server);
        }
        BackupMethod::LocalToCloud => {}
    }
}

/// Without a strategy the concurrent one is used, and the operator is told each time.
fn strategy(server: &mut ServerConfig) {
    if server.backup_options.concurrent_backup || server.backup_options.exclusive_backup {
        return;
    }
    server.backup_options.concurrent_backup = true;
    server.warnings.push(format!(
        "No backup strategy set for server '{}' (using default 'concurrent_backup').",
        server.name
    ));
}

fn refuse(server: &mut ServerConfig, method: &str, options: &[&str]) {
    for option in options {
        let set = match *option {
            "backup_compression" => server.backup_compression.is_some(),
            "bandwidth_limit" => server.bandwidth_limit.is_some_and(|limit| limit > 0),
            "network_compression" => server.network_compression,
            "reuse_backup" => matches!(server.reuse_backup, Some(ReuseBackup::Copy | ReuseBackup::Link)),
            // Also when none of its rules can be used.
            "tablespace_bandwidth_limit" => server.tablespace_bandwidth_limit.is_some(),
            _ => false,
        };
        if set {
            server.disable(format!(
                "{option} option is not supported by {method} backup_method"
            ));
        }
    }
}

fn snapshot(server: &mut ServerConfig) {
    refuse(
        server,
        "snapshot",
        &[
            "backup_compression",
            "bandwidth_limit",
            "network_compression",
            "tablespace_bandwidth_limit",
            "reuse_backup",
        ],
    );
    let required = [
        ("snapshot_disks", server.snapshot_disks.is_none()),
        ("snapshot_instance", server.snapshot_instance.is_none()),
        ("snapshot_provider", server.snapshot_provider.is_none()),
    ];
    for (option, _) in required.iter().filter(|(_, missing)| *missing) {
        server.disable(format!("{option} option is required by snapshot backup_method"));
    }
    match server.snapshot_provider.as_deref() {
        Some("aws") => aws_lock(server),
        Some("azure" | "gcp") => {}
        other => {
            let provider = other.unwrap_or("None");
            server.disable(format!(
                "Error initialising snapshot provider {provider}: Unsupported snapshot provider: {provider}"
            ));
        }
    }
}

fn aws_lock(server: &mut ServerConfig) {
    let mut faults: Vec<String> = Vec::new();
    let duration = server.aws_snapshot_lock_duration.filter(|days| *days > 0);
    let date = server.aws_snapshot_lock_expiration_date.clone();
    if let Some(mode) = &server.aws_snapshot_lock_mode {
        if !matches!(mode.as_str(), "governance" | "compliance") {
            faults.push(
                "Invalid AWS snapshot lock mode. Please specify either 'governance' or 'compliance'. Ensure that the \
                 mode you choose aligns with your snapshot locking requirements."
                    .to_owned(),
            );
        }
        if duration.is_none() && date.is_none() {
            faults.push(
                "'aws_snapshot_lock_mode' is set, you must specify 'aws_snapshot_lock_duration' or \
                 'aws_snapshot_lock_expiration_date'."
                    .to_owned(),
            );
        }
        if mode == "governance" && server.aws_snapshot_lock_cool_off_period.is_some() {
            faults.push(
                "'aws_snapshot_lock_cool_off_period' cannot be used with 'aws_snapshot_lock_mode' = 'governance'."
                    .to_owned(),
            );
        }
    }
    if duration.is_some() && date.is_some() {
        faults.push(
            "You must specify either 'aws_snapshot_lock_duration' or 'aws_snapshot_lock_expiration_date' in the \
             configuration, but not both."
                .to_owned(),
        );
    }
    if server
        .aws_snapshot_lock_cool_off_period
        .is_some_and(|hours| !(1..=72).contains(&hours))
    {
        faults.push("aws_snapshot_lock_cool_off_period must be between 1 and 72 hours.".to_owned());
    }
    if duration.is_some_and(|days| days > 36_500) {
        faults.push("aws_snapshot_lock_duration must be between 1 and 36,500 days.".to_owned());
    }
    if let Some(date) =
        date.filter(|date| chrono::NaiveDateTime::parse_from_str(date, "%Y-%m-%dT%H:%M:%S%.fZ").is_err())
    {
        faults.push(format!(
            "Invalid date: '{date}'. Expected format is '%Y-%m-%dT%H:%M:%S.%fZ'."
        ));
    }
    for fault in faults {
        server.disable(fault);
    }
}

/// WAL must come from somewhere.
fn archivers(server: &mut ServerConfig) {
    if server.streaming_archiver && !server.archiver && server.slot_name.is_none() {
        server.disable(
            "Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly configured"
                .to_owned(),
        );
    }
    if !server.streaming_archiver && !server.archiver {
        server.archiver = true;
        server.warnings.push(format!(
            "No archiver enabled for server '{}'. Please turn on 'archiver', 'streaming_archiver' or both",
            server.name
        ));
        server.warnings.push("Forcing 'archiver = on'".to_owned());
    }
}
