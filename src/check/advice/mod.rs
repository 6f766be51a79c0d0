//! What an operator can do about a check that failed: its cause, what to repair first, and the command.
//!
//! Barman's lines stay as they are; advice is shown beside them. "Not yet" is told from "broken": on a new server nothing is
//! wrong, it only has not happened. What follows from another failure says so, so that repairs are made in their order.

mod backups;
mod connection;
mod delivery;
mod here;
mod ssh;
mod streaming;

use std::path::PathBuf;

use super::context::Context;

pub use connection::{identifier, literal};
pub use delivery::proposed_command;
pub use here::{cron_missing, cron_silence};

/// What to do about a failed check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// How bad it is.
    pub standing: Standing,
    /// Why the check failed, in one sentence.
    pub cause: String,
    /// What to do, in this order.
    pub steps: Vec<Step>,
}

/// How bad a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Something has to be repaired.
    Broken,
    /// It has not happened yet: a new server, or work that is under way.
    NotYet,
    /// It follows from the failure of the named check, which is repaired first.
    Follows(&'static str),
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// What: a command, a statement, a line of a file.
    pub action: String,
}

/// Where a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a shell of this host, by the user that Barman runs as.
    Here,
    /// In a shell of the host that PostgreSQL runs on.
    There(String),
    /// In a session of a superuser of PostgreSQL.
    Database,
    /// In a file.
    File(PathBuf),
    /// In the head of the reader.
    Anywhere,
}

impl Place {
    /// The words before the action.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Place::Here => "on this host".to_owned(),
            Place::There(host) => format!("on {host}"),
            Place::Database => "SQL, as superuser".to_owned(),
            Place::File(path) => format!("in {}", path.display()),
            Place::Anywhere => "note".to_owned(),
        }
    }
}

impl Advice {
    /// Something has to be repaired.
    #[must_use]
    pub fn broken(cause: impl Into<String>) -> Advice {
        Advice::of(Standing::Broken, cause)
    }

    /// It has not happened yet.
    #[must_use]
    pub fn not_yet(cause: impl Into<String>) -> Advice {
        Advice::of(Standing::NotYet, cause)
    }

    /// It follows from another failure.
    #[must_use]
    pub fn follows(check: &'static str, cause: impl Into<String>) -> Advice {
        Advice::of(Standing::Follows(check), cause)
    }

    fn of(standing: Standing, cause: impl Into<String>) -> Advice {
        Advice {
            standing,
            cause: cause.into(),
            steps: Vec::new(),
        }
    }

    /// With a command for this host.
    #[must_use]
    pub fn here(self, command: impl Into<String>) -> Advice {
        self.step(Place::Here, command)
    }

    /// With a command for the host of PostgreSQL.
    #[must_use]
    pub fn there(self, host: impl Into<String>, command: impl Into<String>) -> Advice {
        self.step(Place::There(host.into()), command)
    }

    /// With a statement.
    #[must_use]
    pub fn sql(self, statement: impl Into<String>) -> Advice {
        self.step(Place::Database, statement)
    }

    /// With a line for a file.
    #[must_use]
    pub fn file(self, path: impl Into<PathBuf>, line: impl Into<String>) -> Advice {
        self.step(Place::File(path.into()), line)
    }

    /// With a remark.
    #[must_use]
    pub fn note(self, text: impl Into<String>) -> Advice {
        self.step(Place::Anywhere, text)
    }

    fn step(mut self, place: Place, action: impl Into<String>) -> Advice {
        self.steps.push(Step {
            place,
            action: action.into(),
        });
        self
    }
}

/// A check that failed, among those that failed before it.
pub(super) struct Failed<'a> {
    pub(super) context: &'a Context,
    pub(super) name: &'static str,
    pub(super) hint: &'a str,
    /// The checks that failed before this one and keep backups from beginning.
    pub(super) obstacles: &'a [&'static str],
}

impl Failed<'_> {
    /// What to do about it; `None` when nothing is known but what the check says itself.
    pub(super) fn advice(&self) -> Option<Advice> {
        self.about_postgres()
            .or_else(|| self.about_wal())
            .or_else(|| self.about_this_host())
    }

    fn about_postgres(&self) -> Option<Advice> {
        Some(match self.name {
            "PostgreSQL" => self.postgres(),
            "no access to backup functions" => self.backup_functions(),
            "no access to monitoring functions" => self.monitoring_functions(),
            "PostgreSQL streaming" | "PostgreSQL streaming (WAL streaming)" => self.replication_connection(),
            "wal_level" | "wal_level (WAL streaming)" => self.wal_level(),
            "PostgreSQL server is standby"
            | "Primary server is not a standby"
            | "Primary and standby have same system ID" => self.primary(),
            "systemid coherence" | "systemid coherence (WAL streaming)" => self.identity(),
            "not in recovery" | "exclusive backup supported" => self.exclusive(),
            "ssh" => self.ssh(),
            "ssh output clean" => self.ssh_output(),
            "backup_label" => self.backup_label(),
            _ => return None,
        })
    }

    fn about_wal(&self) -> Option<Advice> {
        Some(match self.name {
            "WAL archive" => self.no_wal(),
            "archive_mode" => self.archive_mode(),
            "archive_command" => self.archive_command(),
            "continuous archiving" => self.failing_archiver(),
            "archiver errors" => self.put_aside(),
            "incoming WALs directory" | "streaming WALs directory" => self.queue(),
            "empty incoming directory" => self.unexpected_wal("archiver"),
            "empty streaming directory" => self.unexpected_wal("streaming_archiver"),
            "wal maximum age" => self.old_wal(),
            "wal gaps" => self.gaps(),
            "WAL archive space" => self.space(),
            "replication slot" | "replication slot (WAL streaming)" => self.slot(),
            "receive-wal running" => self.receiver(),
            "pg_receivexlog" => self.program("pg_receivewal"),
            "pg_basebackup" => self.program("pg_basebackup"),
            "pg_receivexlog compatible" => self.old_program("pg_receivexlog", "pg_receivewal"),
            "pg_basebackup compatible" => self.old_program("pg_basebackup", "pg_basebackup"),
            _ => return None,
        })
    }

    fn about_this_host(&self) -> Option<Advice> {
        Some(match self.name {
            "directories" => self.directories(),
            "configuration" => self.configuration(),
            "retention policy settings" => self.retention(),
            "backup maximum age" => self.old_backup(),
            "backup minimum size" => self.small_backup(),
            "failed backups" => self.failed_backups(),
            "minimum redundancy requirements" => self.too_few_backups(),
            "encryption" => self.encryption(),
            "compression settings" => Advice::broken(self.hint).file(
                self.file_of("compression"),
                "compression = zstd, or both of custom_compression_filter and custom_decompression_filter",
            ),
            "cloud storage configuration" => {
                Advice::broken(self.hint).note("use Barman's own programs for this server")
            }
            _ => return None,
        })
    }

    /// The name of the server, for commands.
    fn server(&self) -> &str {
        &self.context.server.name
    }

    /// The file that sets an option, or that should.
    fn file_of(&self, option: &str) -> PathBuf {
        let server = &self.context.server;
        [option, "conninfo", "ssh_command", "description", "active"]
            .into_iter()
            .find_map(|option| server.source(option))
            .map_or_else(
                || self.context.options.configuration.clone(),
                |source| source.file.clone(),
            )
    }
}
