//! The remote status: what `check`, `show-servers`, `status` and `diagnose` say about a running server
//! (behaviour reference §3, §40, §41).

use crate::base::calendar::{self, Timestamp};

use super::client::{PgError, Session};
use super::lsn::Lsn;
use super::shown::Fact;
use super::version::{PgVersion, server_text};
use super::wal_name::DEFAULT_SEGMENT_SIZE;

/// Everything Barman wants to know about a server. What the user may not see is `None`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The version, as a number.
    pub version: PgVersion,
    /// The version, as the server spells it: `15.18`.
    pub version_text: Option<String>,
    /// Whether the version is one that can be backed up.
    pub version_supported: bool,
    /// Whether the user is a superuser.
    pub is_superuser: bool,
    /// Whether the user may start and stop backups, switch WAL and create restore points, and see all settings.
    pub has_backup_privileges: bool,
    /// Whether the user may see statistics and settings.
    pub has_monitoring_privileges: bool,
    /// Whether the user may run CHECKPOINT.
    pub has_checkpoint_privileges: bool,
    /// Whether the server is in recovery.
    pub is_in_recovery: bool,
    /// The system identifier.
    pub systemid: Option<String>,
    /// `data_directory`.
    pub data_directory: Option<String>,
    /// Settings that are shown as they are, in the order asked for: see [`Facts::setting`].
    settings: Vec<(&'static str, Option<String>)>,
    /// `archive_mode`.
    pub archive_mode: Option<String>,
    /// `archive_command`.
    pub archive_command: Option<String>,
    /// `archive_timeout` in seconds.
    pub archive_timeout: Option<i64>,
    /// `checkpoint_timeout` in seconds.
    pub checkpoint_timeout: Option<i64>,
    /// The size of a WAL segment in bytes.
    pub xlog_segment_size: u64,
    /// Where the main configuration files are.
    pub files: ConfigurationFiles,
    /// The position of the write-ahead log: written on a primary, replayed on a standby.
    pub current_lsn: Option<Lsn>,
    /// The WAL segment of that position; none on a standby.
    pub current_xlog: Option<String>,
    /// The size of all tablespaces in bytes.
    pub current_size: Option<u64>,
    /// `synchronous_standby_names`, split at commas.
    pub synchronous_standby_names: Vec<String>,
    /// The replication slot asked about, when it exists.
    pub replication_slot: Option<ReplicationSlot>,
    /// The statistics of WAL archiving.
    pub archiver: Option<ArchiverStatistics>,
}

/// Where a server's configuration files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigurationFiles {
    /// `postgresql.conf`.
    pub config_file: Option<String>,
    /// `pg_hba.conf`.
    pub hba_file: Option<String>,
    /// `pg_ident.conf`.
    pub ident_file: Option<String>,
    /// Files besides the first that settings come from.
    pub included_files: Vec<String>,
}

/// A row of `pg_replication_slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSlot {
    /// Its name.
    pub slot_name: String,
    /// Whether a client uses it now.
    pub active: bool,
    /// The oldest position it keeps; none until it was first used.
    pub restart_lsn: Option<String>,
}

/// A row of `pg_stat_archiver` with what Barman derives from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArchiverStatistics {
    /// How many files were archived.
    pub archived_count: Option<i64>,
    /// The last one.
    pub last_archived_wal: Option<String>,
    /// When.
    pub last_archived_time: Option<Timestamp>,
    /// How many attempts failed.
    pub failed_count: Option<i64>,
    /// The file of the last failure.
    pub last_failed_wal: Option<String>,
    /// When.
    pub last_failed_time: Option<Timestamp>,
    /// Since when this is counted.
    pub stats_reset: Option<Timestamp>,
    /// Whether archiving works: on, and nothing failed since the last success. `None` when nothing was archived yet.
    pub is_archiving: Option<bool>,
    /// Archived files per second, the server's decimal number.
    pub archived_per_second: Option<String>,
}

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
    /// Asks the server for everything. What this user may not ask is left out; anything else that goes wrong is an
    /// error.
    ///
    /// # Errors
    /// The connection broke or the program was asked to stop.
    pub fn gather(session: &mut Session, slot_name: Option<&str>) -> Result<Facts, PgError> {
        let version = session.version();
        let mut facts = Facts {
            version,
            version_supported: version >= PgVersion::MINIMAL,
            xlog_segment_size: DEFAULT_SEGMENT_SIZE,
            ..Facts::default()
        };
        facts.version_text = optional(session.value("SELECT version()", &[]))?
            .flatten()
            .and_then(|text| server_text(&text));
        facts.is_superuser =
            session.truth("SELECT usesuper FROM pg_catalog.pg_user WHERE usename = CURRENT_USER")?;
        facts.is_in_recovery = session.is_in_recovery()?;
        if !facts.version_supported {
            return Ok(facts);
        }
        facts.privileges(session)?;
        facts.collect_settings(session)?;
        facts.positions(session)?;
        if let Some(name) = slot_name {
            facts.replication_slot = slot(session, name)?;
        }
        facts.archiver = archiver(session)?;
        Ok(facts)
    }

    /// One of the settings `wal_level`, `hot_standby`, `max_wal_senders`, `data_checksums`, `max_replication_slots`,
    /// `wal_compression`, `wal_keep_size`, `wal_keep_segments`, as the server shows it.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings
            .iter()
            .find(|(known, _)| *known == name)
            .and_then(|(_, value)| value.as_deref())
    }

    /// The remote status under Barman's names, as `show-servers` and `diagnose` list it.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, Fact)> {
        let mut shown: Vec<(&'static str, Fact)> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, Fact::text(value.as_ref())))
            .collect();
        if self.has_backup_privileges {
            shown.push(("data_directory", Fact::text(self.data_directory.as_ref())));
        }
        shown.extend([
            ("is_superuser", Fact::Bool(self.is_superuser)),
            ("has_backup_privileges", Fact::Bool(self.has_backup_privileges)),
            (
                "has_monitoring_privileges",
                Fact::Bool(self.has_monitoring_privileges),
            ),
            ("is_in_recovery", Fact::Bool(self.is_in_recovery)),
            ("server_txt_version", Fact::text(self.version_text.as_ref())),
            ("version_supported", Fact::Bool(self.version_supported)),
            ("current_lsn", Fact::text(self.current_lsn.as_ref())),
            ("current_xlog", Fact::text(self.current_xlog.as_ref())),
            (
                "current_size",
                self.current_size
                    .map_or(Fact::Null, |size| Fact::Decimal(size.to_string())),
            ),
            ("archive_timeout", Fact::integer(self.archive_timeout)),
            ("checkpoint_timeout", Fact::integer(self.checkpoint_timeout)),
            (
                "xlog_segment_size",
                Fact::integer(i64::try_from(self.xlog_segment_size).ok()),
            ),
            ("replication_slot_support", Fact::Bool(true)),
            (
                "replication_slot",
                self.replication_slot
                    .as_ref()
                    .map_or(Fact::Null, ReplicationSlot::shown),
            ),
            (
                "synchronous_standby_names",
                Fact::List(self.synchronous_standby_names.clone()),
            ),
            ("postgres_systemid", Fact::text(self.systemid.as_ref())),
            ("config_file", Fact::text(self.files.config_file.as_ref())),
            ("hba_file", Fact::text(self.files.hba_file.as_ref())),
            ("ident_file", Fact::text(self.files.ident_file.as_ref())),
        ]);
        if !self.files.included_files.is_empty() {
            shown.push(("included_files", Fact::List(self.files.included_files.clone())));
        }
        shown
    }

    /// What `archiver = on` adds to [`Facts::shown`].
    #[must_use]
    pub fn shown_archiver(&self) -> Vec<(&'static str, Fact)> {
        let mut shown = vec![
            ("archive_mode", Fact::text(self.archive_mode.as_ref())),
            ("archive_command", Fact::text(self.archive_command.as_ref())),
        ];
        if let Some(archiver) = &self.archiver {
            shown.extend(archiver.shown());
        }
        shown
    }

    /// What is listed about a server that cannot be reached, the same names for every reason. The last two belong to
    /// `archiver = on`.
    pub const UNREACHABLE: [&'static str; 12] = [
        "current_xlog",
        "data_directory",
        "is_in_recovery",
        "is_superuser",
        "postgres_systemid",
        "replication_slot",
        "replication_slot_support",
        "server_txt_version",
        "synchronous_standby_names",
        "version_supported",
        "archive_mode",
        "archive_command",
    ];

    fn privileges(&mut self, session: &mut Session) -> Result<(), PgError> {
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
        let mut may_execute = true;
        for function in functions
            .into_iter()
            .chain(["pg_switch_wal()", "pg_create_restore_point(text)"])
        {
            let allowed = session.value(
                "SELECT pg_catalog.has_function_privilege(CURRENT_USER, $1, 'EXECUTE')",
                &[function],
            );
            may_execute &= optional(allowed)?.flatten().as_deref() == Some("t");
        }
        self.has_backup_privileges = may_execute && self.has_monitoring_privileges;
        if self.version.at_least(14) {
            let member = "SELECT pg_catalog.pg_has_role(CURRENT_USER, 'pg_checkpoint', 'USAGE')";
            self.has_checkpoint_privileges = optional(session.truth(member))?.unwrap_or(false);
        }
        Ok(())
    }

    fn collect_settings(&mut self, session: &mut Session) -> Result<(), PgError> {
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
            .unwrap_or_default()
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
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

    fn positions(&mut self, session: &mut Session) -> Result<(), PgError> {
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

impl ReplicationSlot {
    fn shown(&self) -> Fact {
        Fact::Record(
            "Record",
            vec![
                ("slot_name", Fact::Text(self.slot_name.clone())),
                ("active", Fact::Bool(self.active)),
                ("restart_lsn", Fact::text(self.restart_lsn.as_ref())),
            ],
        )
    }
}

impl ArchiverStatistics {
    fn shown(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("archived_count", Fact::integer(self.archived_count)),
            ("last_archived_wal", Fact::text(self.last_archived_wal.as_ref())),
            ("last_archived_time", Fact::time(self.last_archived_time)),
            ("failed_count", Fact::integer(self.failed_count)),
            ("last_failed_wal", Fact::text(self.last_failed_wal.as_ref())),
            ("last_failed_time", Fact::time(self.last_failed_time)),
            ("stats_reset", Fact::time(self.stats_reset)),
            ("is_archiving", self.is_archiving.map_or(Fact::Null, Fact::Bool)),
            (
                "current_archived_wals_per_second",
                self.archived_per_second.clone().map_or(Fact::Null, Fact::Decimal),
            ),
        ]
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

fn slot(session: &mut Session, name: &str) -> Result<Option<ReplicationSlot>, PgError> {
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

fn archiver(session: &mut Session) -> Result<Option<ArchiverStatistics>, PgError> {
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
fn optional<T>(answer: Result<T, PgError>) -> Result<Option<T>, PgError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(PgError::Refused { message, .. }) => {
            log::debug!(target: "barman.postgres", "the server refused: {message}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
