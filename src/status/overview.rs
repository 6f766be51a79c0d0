//! `status`: the state of a server, its PostgreSQL and its backups in some twenty lines.

use crate::base::calendar;
use crate::base::size;
use crate::catalog::{BackupStatus, Backups};
use crate::config::ServerConfig;
use crate::postgres::client::PgError;
use crate::postgres::facts::{ArchiverStatistics, Facts};

use super::{Remote, backups, enforced_policy};

/// One line of `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name in JSON.
    pub key: &'static str,
    /// What it is about, for people.
    pub description: &'static str,
    /// What there is to say.
    pub message: String,
}

/// What `status` says about one server.
#[derive(Debug)]
pub struct Overview {
    /// The server.
    pub server: String,
    /// The lines, in their order.
    pub items: Vec<Item>,
}

impl Overview {
    /// Collects the lines, asking PostgreSQL.
    ///
    /// # Errors
    /// The program was asked to stop.
    pub fn collect(config: &ServerConfig) -> Result<Overview, PgError> {
        let mut overview = Overview {
            server: config.name.clone(),
            items: Vec::new(),
        };
        overview.server_lines(config);
        if config.active && !config.is_passive() {
            match Remote::gather(config)?.facts {
                Some(facts) => overview.postgres_lines(config, &facts),
                None => overview.add(
                    "pg_version",
                    "PostgreSQL version",
                    "FAILED trying to get PostgreSQL version",
                ),
            }
        }
        overview.backup_lines(config, &backups(config));
        Ok(overview)
    }

    fn add(&mut self, key: &'static str, description: &'static str, message: impl ToString) {
        self.items.push(Item {
            key,
            description,
            message: message.to_string(),
        });
    }

    fn server_lines(&mut self, config: &ServerConfig) {
        if let Some(description) = &config.description {
            self.add("description", "Description", description);
        }
        self.add("active", "Active", truth(config.active));
        self.add("disabled", "Disabled", truth(config.disabled));
        self.add(
            "active_model",
            "Active configuration model",
            text_or_none(config.active_model.as_deref()),
        );
    }

    fn postgres_lines(&mut self, config: &ServerConfig, facts: &Facts) {
        self.add(
            "pg_version",
            "PostgreSQL version",
            text_or_none(facts.version_text.as_deref()),
        );
        let state = if facts.is_in_recovery {
            "in archive recovery"
        } else {
            "in production"
        };
        self.add("is_in_recovery", "Cluster state", state);
        if let Some(bytes) = facts.current_size {
            self.add("current_size", "Current data size", size::pretty_bytes(bytes));
        }
        if let Some(directory) = &facts.data_directory {
            self.add("data_directory", "PostgreSQL Data directory", directory);
        }
        if let Some(segment) = &facts.current_xlog {
            self.add("current_xlog", "Current WAL segment", segment);
        }
        if config.archiver {
            self.archiver_lines(facts);
        }
    }

    fn archiver_lines(&mut self, facts: &Facts) {
        self.add(
            "archive_command",
            "PostgreSQL 'archive_command' setting",
            text_or_none(facts.archive_command.as_deref()),
        );
        let nothing = ArchiverStatistics::default();
        let archiver = facts.archiver.as_ref().unwrap_or(&nothing);
        let last = match (&archiver.last_archived_wal, &archiver.last_archived_time) {
            (Some(segment), Some(time)) => format!("{segment}, at {}", calendar::ctime(time)),
            _ => "No WAL segment shipped yet".to_owned(),
        };
        self.add("last_archived_wal", "Last archived WAL", last);
        if let Some(count) = archiver.failed_count {
            let failures = match (&archiver.last_failed_wal, &archiver.last_failed_time) {
                (Some(segment), Some(time)) if count > 0 => {
                    format!("{count} ({segment} at {})", calendar::ctime(time))
                }
                _ => count.to_string(),
            };
            self.add("failed_count", "Failures of WAL archiver", failures);
        }
        if let Some(rate) = archiver
            .archived_per_second
            .as_ref()
            .and_then(|rate| rate.parse::<f64>().ok())
        {
            self.add(
                "server_archived_wals_per_hour",
                "Server WAL archiving rate",
                format!("{:.2}/hour", rate * 3600.0),
            );
        }
    }

    fn backup_lines(&mut self, config: &ServerConfig, backups: &Backups) {
        self.add("passive_node", "Passive node", truth(config.is_passive()));
        self.add("retention_policies", "Retention policies", retention(config));
        let done = backups
            .values()
            .filter(|backup| backup.status == BackupStatus::Done)
            .count();
        self.add("backups_number", "No. of available backups", done);
        let copied = || backups.values().filter(|backup| backup.status.copy_done());
        let first = copied().next().map(|backup| backup.id.to_string());
        let last = copied().next_back().map(|backup| backup.id.to_string());
        self.add(
            "first_backup",
            "First available backup",
            text_or_none(first.as_deref()),
        );
        self.add(
            "last_backup",
            "Last available backup",
            text_or_none(last.as_deref()),
        );
        let minimum = config.minimum_redundancy;
        // An incremental backup is worth nothing without the others, so it does not count.
        let redundancy = backups
            .values()
            .filter(|backup| backup.status == BackupStatus::Done && !backup.is_incremental())
            .count();
        let satisfied = u64::try_from(redundancy).is_ok_and(|redundancy| redundancy >= u64::from(minimum));
        let verdict = if satisfied { "satisfied" } else { "FAILED" };
        self.add(
            "minimum_redundancy",
            "Minimum redundancy requirements",
            format!("{verdict} ({redundancy}/{minimum})"),
        );
        if let Some(command) = &config.primary_ssh_command {
            self.add("primary_ssh_command", "SSH command to primary server", command);
        }
    }
}

/// The retention policies in force.
fn retention(config: &ServerConfig) -> String {
    match enforced_policy(config) {
        Some(policy) => format!(
            "enforced (mode: {}, retention: {policy}, WAL retention: {})",
            config.retention_policy_mode,
            config.wal_retention_policy.to_uppercase()
        ),
        None => "not enforced".to_owned(),
    }
}

fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn text_or_none(text: Option<&str>) -> &str {
    text.unwrap_or("None")
}
