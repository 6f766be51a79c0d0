//! PostgreSQL: what it allows, what the slot keeps, and what could be better.

use super::Finding;
use super::probe::{Answers, Postgres};
use crate::base::size;
use crate::check::advice::Advice;
use crate::config::{BackupMethod, ServerConfig};

/// More than these bytes kept by the slot are worth a line.
const MUCH: u64 = 5 << 30;

pub(super) fn examine(server: &ServerConfig, answers: &Answers) -> Vec<Finding> {
    let Some(postgres) = answers.reached() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    findings.extend(senders(server, postgres));
    findings.extend(slots(server, postgres));
    findings.extend(lost_slot(server, postgres));
    findings.extend(stuck_archiver(server, postgres));
    findings
}

/// An `archive_command` that does not lead here, and does not work: `check` does not look at it where WAL is streamed, and
/// yet PostgreSQL keeps all WAL for it, and a base backup ends only when its WAL is archived there.
fn stuck_archiver(server: &ServerConfig, postgres: &Postgres) -> Option<Finding> {
    let facts = &postgres.facts;
    if server.archiver || !matches!(facts.archive_mode.as_deref(), Some("on" | "always")) {
        return None;
    }
    let command = facts.archive_command.as_deref().unwrap_or_default();
    let by_library = postgres.archive_library.is_some();
    let idle = !by_library && matches!(command, "" | "(disabled)");
    let fails = facts.archiver.as_ref()?.is_archiving == Some(false);
    if !idle && !fails {
        return None;
    }
    let fault = if idle { "is empty" } else { "fails" };
    let advice = Advice::broken(format!(
        "archive_mode is on, and archive_command {fault}: PostgreSQL keeps all WAL until its disk is full, and backups wait at their end"
    ));
    Some(Finding::new(
        "continuous archiving",
        advice
            .sql("SHOW archive_command; SELECT last_failed_wal, last_failed_time FROM pg_stat_archiver;")
            .note("repair archive_command; when nothing needs it, since WAL is streamed here, '/bin/true' will do"),
    ))
}

fn number(postgres: &Postgres, setting: &str) -> Option<u64> {
    postgres.facts.setting(setting)?.parse().ok()
}

/// Connections for replication: one for `receive-wal`, two for `pg_basebackup`.
fn senders(server: &ServerConfig, postgres: &Postgres) -> Option<Finding> {
    let needed =
        u64::from(server.streaming_archiver) + 2 * u64::from(server.backup_method == BackupMethod::Postgres);
    let allowed = number(postgres, "max_wal_senders")?;
    too_few("max_wal_senders", allowed, needed)
}

fn slots(server: &ServerConfig, postgres: &Postgres) -> Option<Finding> {
    let needed = u64::from(server.streaming_archiver && server.slot_name.is_some());
    let allowed = number(postgres, "max_replication_slots")?;
    too_few("max_replication_slots", allowed, needed)
}

fn too_few(setting: &'static str, allowed: u64, needed: u64) -> Option<Finding> {
    (allowed < needed).then(|| {
        let advice = Advice::broken(format!(
            "{setting} = {allowed}, and this server alone needs {needed}"
        ));
        Finding::new(
            setting,
            advice
                .sql(format!("ALTER SYSTEM SET {setting} = 10;"))
                .note("PostgreSQL has to be restarted for it"),
        )
    })
}

/// A slot whose WAL the server has removed (`max_slot_wal_keep_size`): streaming cannot go on from there.
fn lost_slot(server: &ServerConfig, postgres: &Postgres) -> Option<Finding> {
    let name = &server.name;
    if postgres.wal_status.as_deref() != Some("lost") {
        return None;
    }
    let advice = Advice::broken("the server has removed WAL that the slot was to keep (max_slot_wal_keep_size): the archive has a gap")
        .here(format!("barman receive-wal --stop {name}"))
        .here(format!("barman receive-wal --drop-slot {name} && barman receive-wal --create-slot {name}"))
        .here(format!("barman receive-wal --reset {name}; barman cron"))
        .here(format!("barman backup {name}"));
    Some(Finding::new("lost slot", advice))
}

pub(super) fn remarks(server: &ServerConfig, answers: &Answers) -> Vec<Finding> {
    let Some(postgres) = answers.reached() else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    if let Some(kept) = postgres.kept.filter(|kept| *kept > MUCH) {
        let cause = format!(
            "the slot makes the server keep {} of WAL: is receive-wal fast enough?",
            size::pretty_bytes(kept)
        );
        remarks.push(Finding::new(
            "replication slot",
            Advice::broken(cause).here(format!("barman replication-status {}", server.name)),
        ));
    }
    let facts = &postgres.facts;
    if facts.version.at_least(15) && !facts.has_checkpoint_privileges {
        let role = facts.user.as_deref().unwrap_or("barman");
        let cause = format!("role {role} may not run CHECKPOINT, which 'switch-wal --force' does");
        remarks.push(Finding::new(
            "privileges",
            Advice::broken(cause).sql(format!(
                "GRANT pg_checkpoint TO {};",
                crate::check::advice::identifier(role)
            )),
        ));
    }
    remarks
}
