//! The remote status: what `check`, `show-servers`, `status` and `diagnose` say about a running server
//! (behaviour reference §3, §40, §41).

mod gather;

use crate::base::calendar::Timestamp;

use super::client::{PgError, Session};
use super::lsn::Lsn;
use super::shown::Fact;
use super::version::{PgVersion, server_text};
use super::wal_name::DEFAULT_SEGMENT_SIZE;
use gather::{archiver, optional, slot};

pub use gather::{cluster_size, configuration_files, may_monitor, server_time};

/// Everything Barman wants to know about a server. What the user may not see is `None`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The version, as a number.
    pub version: PgVersion,
    /// The version, as the server spells it: `15.18`.
    pub version_text: Option<String>,
    /// Whether the version is one that can be backed up.
    pub version_supported: bool,
    /// The role that asks.
    pub user: Option<String>,
    /// Whether the user is a superuser.
    pub is_superuser: bool,
    /// Whether the user may start and stop backups, switch WAL and create restore points, and see all settings.
    pub has_backup_privileges: bool,
    /// The functions that backups need and the user may not execute, with the types of their arguments.
    pub forbidden_functions: Vec<&'static str>,
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
    /// The names in `synchronous_standby_names`.
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
        facts.user = optional(session.value("SELECT CURRENT_USER", &[]))?.flatten();
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
