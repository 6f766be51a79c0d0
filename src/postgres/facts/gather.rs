//! The statements behind [`Facts`].

use crate::base::calendar::{self, Timestamp};

use super::{ArchiverStatistics, ConfigurationFiles, Facts, ReplicationSlot};
use crate::postgres::client::{PgError, Session};
use crate::postgres::replication::synchronous_names;
use crate::postgres::version::PgVersion;

/// Settings shown under their own names, and the version they exist from (`wal_keep_*` is one setting under two names).
fn plain_settings(version: PgVersion) -> [&'static str; 7] {
    [
        "wal_level",
        "hot_standby",
        "max_wal_senders",
        "data_checksums",
        "max_replication_slots",
        "wal_compression",
        if version.at_least(13) {
            "wal_keep_size"
        } else {
            "wal_keep_segments"
        },
    ]
}

impl Facts {
    pub(super) fn privileges(&mut self, session: &mut Session) -> Result<(), PgError> {
        if self.is_superuser {
            self.has_backup_privileges = true;
            self.has_monitoring_privileges = true;
            self.has_checkpoint_privileges = true;
            return Ok(());
        }
        if !self.version.at_least(10) {
            return Ok(()); // 9.6 has no roles for this
        }
        self.has_monitoring_privileges = optional(session.truth(MONITORING))?.unwrap_or(false);
        let functions = if self.version.at_least(15) {
            ["pg_backup_start(text,bool)", "pg_backup_stop(bool)"]
        } else {
            ["pg_start_backup(text,bool,bool)", "pg_stop_backup(bool,bool)"]
        };
        for function in functions
            .into_iter()
            .chain(["pg_switch_wal()", "pg_create_restore_point(text)"])
        {
            let allowed = session.value(
                "SELECT pg_catalog.has_function_privilege(CURRENT_USER, $1, 'EXECUTE')",
                &[function],
            );
            if optional(allowed)?.flatten().as_deref() != Some("t") {
                self.forbidden_functions.push(function);
            }
        }
        self.has_backup_privileges = self.forbidden_functions.is_empty() && self.has_monitoring_privileges;
        if self.version.at_least(14) {
            let member = "SELECT pg_catalog.pg_has_role(CURRENT_USER, 'pg_checkpoint', 'USAGE')";
            self.has_checkpoint_privileges = optional(session.truth(member))?.unwrap_or(false);
        }
        Ok(())
    }

    pub(super) fn collect_settings(&mut self, session: &mut Session) -> Result<(), PgError> {
        for name in plain_settings(self.version) {
            let value = optional(session.setting(name))?.flatten();
            self.settings.push((name, value));
        }
        // Visible to members of pg_read_all_settings only.
        self.data_directory = optional(session.setting("data_directory"))?.flatten();
        self.archive_mode = optional(session.setting("archive_mode"))?.flatten();
        self.archive_command = optional(session.setting("archive_command"))?.flatten();
        self.synchronous_standby_names = optional(session.setting("synchronous_standby_names"))?
            .flatten()
            .map_or_else(|| vec![String::new()], |setting| synchronous_names(&setting));
        let numbers = session.query(
            "SELECT name, setting, unit FROM pg_catalog.pg_settings \
             WHERE name IN ('archive_timeout', 'checkpoint_timeout', 'wal_segment_size')",
            &[],
        )?;
        for row in 0..numbers.len() {
            let number = numbers
                .get(row, "setting")
                .and_then(|text| text.parse::<i64>().ok());
            match numbers.get(row, "name") {
                Some("archive_timeout") => self.archive_timeout = number,
                Some("checkpoint_timeout") => self.checkpoint_timeout = number,
                Some("wal_segment_size") => {
                    // Bytes since version 11, pages of 8 KiB before.
                    let unit = if numbers.get(row, "unit") == Some("8kB") {
                        8192
                    } else {
                        1
                    };
                    if let Some(size) = number.and_then(|number| u64::try_from(number).ok()) {
                        self.xlog_segment_size = size * unit;
                    }
                }
                _ => {}
            }
        }
        self.files = configuration_files(session)?;
        Ok(())
    }

    pub(super) fn positions(&mut self, session: &mut Session) -> Result<(), PgError> {
        let (wal, lsn, walfile) = (
            self.version.wal_word(),
            self.version.lsn_word(),
            self.version.walfile_word(),
        );
        self.systemid = optional(session.value(
            "SELECT system_identifier::text FROM pg_catalog.pg_control_system()",
            &[],
        ))?
        .flatten();
        let statement = if self.is_in_recovery {
            format!("SELECT pg_catalog.pg_last_{wal}_replay_{lsn}()::text AS lsn, NULL AS name")
        } else {
            format!(
                "SELECT l::text AS lsn, pg_catalog.pg_{walfile}_name(l) AS name FROM pg_catalog.pg_current_{wal}_{lsn}() AS l"
            )
        };
        if let Some(rows) = optional(session.query(&statement, &[]))? {
            self.current_lsn = rows.get(0, "lsn").and_then(|text| text.parse().ok());
            self.current_xlog = rows.get(0, "name").map(str::to_owned);
        }
        self.current_size = optional(cluster_size(session))?.flatten();
        Ok(())
    }
}

/// The size of all tablespaces in bytes, as Barman stores it in `cluster_size`.
///
/// # Errors
/// The user may not ask, or the connection broke.
pub fn cluster_size(session: &mut Session) -> Result<Option<u64>, PgError> {
    let size = session.value(
        "SELECT pg_catalog.sum(pg_catalog.pg_tablespace_size(oid))::bigint FROM pg_catalog.pg_tablespace",
        &[],
    )?;
    Ok(size.and_then(|text| text.parse().ok()))
}

/// Where the configuration files are.
///
/// # Errors
/// The connection broke.
pub fn configuration_files(session: &mut Session) -> Result<ConfigurationFiles, PgError> {
    let included = session.query(
        "SELECT DISTINCT sourcefile FROM pg_catalog.pg_settings WHERE sourcefile IS NOT NULL \
         AND sourcefile IS DISTINCT FROM pg_catalog.current_setting('config_file', true) ORDER BY 1",
        &[],
    );
    Ok(ConfigurationFiles {
        config_file: optional(session.setting("config_file"))?.flatten(),
        hba_file: optional(session.setting("hba_file"))?.flatten(),
        ident_file: optional(session.setting("ident_file"))?.flatten(),
        included_files: optional(included)?
            .unwrap_or_default()
            .iter()
            .filter_map(|row| row.first().cloned().flatten())
            .collect(),
    })
}

const MONITORING: &str = "SELECT pg_catalog.pg_has_role(CURRENT_USER, 'pg_monitor', 'MEMBER') \
     OR (pg_catalog.pg_has_role(CURRENT_USER, 'pg_read_all_settings', 'MEMBER') \
     AND pg_catalog.pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'MEMBER'))";

/// Whether the user may see the statistics and settings of others. Nobody but a superuser may before version 10.
///
/// # Errors
/// The connection broke.
pub fn may_monitor(session: &mut Session) -> Result<bool, PgError> {
    let superuser = session.truth("SELECT usesuper FROM pg_catalog.pg_user WHERE usename = CURRENT_USER")?;
    if superuser || !session.version().at_least(10) {
        return Ok(superuser);
    }
    Ok(optional(session.truth(MONITORING))?.unwrap_or(false))
}

pub(super) fn slot(session: &mut Session, name: &str) -> Result<Option<ReplicationSlot>, PgError> {
    let rows = session.query(
        "SELECT slot_name, active, restart_lsn::text FROM pg_catalog.pg_replication_slots \
         WHERE slot_type = 'physical' AND slot_name = $1",
        &[name],
    )?;
    Ok(rows.get(0, "slot_name").map(|slot_name| ReplicationSlot {
        slot_name: slot_name.to_owned(),
        active: rows.get(0, "active") == Some("t"),
        restart_lsn: rows.get(0, "restart_lsn").map(str::to_owned),
    }))
}

pub(super) fn archiver(session: &mut Session) -> Result<Option<ArchiverStatistics>, PgError> {
    let answer = session.query(
        "SELECT archived_count, last_archived_wal, last_archived_time::text, failed_count, last_failed_wal, \
         last_failed_time::text, stats_reset::text, \
         pg_catalog.current_setting('archive_mode') IN ('on', 'always') AND (last_failed_wal IS NULL \
         OR last_failed_wal LIKE '%.history' \
         AND substring(last_failed_wal FROM 1 FOR 8) <= substring(last_archived_wal FROM 1 FOR 8) \
         OR last_failed_time <= last_archived_time) AS is_archiving, \
         archived_count::numeric / NULLIF(extract(epoch FROM age(now(), stats_reset))::numeric, 0) AS rate \
         FROM pg_catalog.pg_stat_archiver",
        &[],
    );
    let Some(rows) = optional(answer)? else {
        return Ok(None);
    };
    let text = |column| rows.get(0, column).map(str::to_owned);
    let number = |column| rows.get(0, column).and_then(|text| text.parse().ok());
    let time = |column| rows.get(0, column).and_then(server_time);
    Ok(Some(ArchiverStatistics {
        archived_count: number("archived_count"),
        last_archived_wal: text("last_archived_wal"),
        last_archived_time: time("last_archived_time"),
        failed_count: number("failed_count"),
        last_failed_wal: text("last_failed_wal"),
        last_failed_time: time("last_failed_time"),
        stats_reset: time("stats_reset"),
        is_archiving: rows.get(0, "is_archiving").map(|answer| answer == "t"),
        archived_per_second: text("rate"),
    }))
}

/// A point in time as PostgreSQL writes it in the ISO date style.
#[must_use]
pub fn server_time(text: &str) -> Option<Timestamp> {
    // An offset of whole hours is written `+02`, which chrono wants as `+02:00`.
    let whole_hours = text.len() > 3
        && text
            .get(text.len() - 3..)
            .is_some_and(|end| end.starts_with(['+', '-']) && !end.ends_with('-'));
    if whole_hours {
        calendar::parse(&format!("{text}:00"))
    } else {
        calendar::parse(text)
    }
}

/// Turns "the server refused" into "unknown", and leaves the errors that end the session.
pub(super) fn optional<T>(answer: Result<T, PgError>) -> Result<Option<T>, PgError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(PgError::Refused { message, .. }) => {
            log::debug!(target: "barman.postgres", "the server refused: {message}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
