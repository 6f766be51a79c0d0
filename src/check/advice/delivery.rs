//! Advice about WAL on its way here by `archive_command`, and about what the archive has.

use super::{Advice, Failed, cron_missing};
use crate::base::{calendar, directory, shell};
use crate::postgres::facts::Facts;
use crate::postgres::wal_name::WalKind;

/// What switches PostgreSQL to a new segment, so that there is one to archive.
fn switch(server: &str) -> String {
    format!("barman switch-wal --force --archive {server}")
}

/// The `archive_command` of a server whose WAL is sent to this host.
#[must_use]
pub fn proposed_command(server: &str) -> String {
    format!("barman-wal-archive {} {server} %p", crate::base::host::name())
}

/// The statements that set it.
fn set_archive_command(advice: Advice, server: &str) -> Advice {
    advice
        .sql(format!(
            "ALTER SYSTEM SET archive_command = {};",
            super::connection::literal(&proposed_command(server))
        ))
        .sql("SELECT pg_reload_conf();")
}

impl Failed<'_> {
    /// No WAL has ever been archived: why not, or that there was none yet.
    pub(super) fn no_wal(&self) -> Advice {
        let server = &self.context.server;
        if !self.context.has_postgres() {
            return Advice::not_yet("no WAL has been copied from the primary node yet")
                .here(format!("barman sync-wals {}    (says why not)", self.server()));
        }
        let waiting = self.waiting_segments();
        if waiting > 0 {
            return self.not_archived(waiting);
        }
        let Some(facts) = self.context.facts() else {
            return Advice::follows("PostgreSQL", "it does not answer, so nothing can arrive");
        };
        if server.archiver {
            self.no_delivery(facts)
        } else if server.streaming_archiver {
            self.no_stream()
        } else {
            Advice::broken("neither archiver nor streaming_archiver is on: nothing brings WAL here")
                .file(self.file_of("archiver"), "archiver = on")
        }
    }

    /// How many segments have arrived and are not in the archive.
    fn waiting_segments(&self) -> usize {
        let server = &self.context.server;
        [
            (server.archiver, &server.incoming_wals_directory),
            (server.streaming_archiver, &server.streaming_wals_directory),
        ]
        .into_iter()
        .filter(|(used, _)| *used)
        .flat_map(|(_, directory)| directory::names(directory).unwrap_or_default())
        .filter(|name| matches!(WalKind::of(name), Some(WalKind::Segment(_))))
        .count()
    }

    fn not_archived(&self, waiting: usize) -> Advice {
        if let Some(silence) = self.context.cron_silence() {
            return cron_missing(silence);
        }
        Advice::not_yet(format!(
            "{waiting} segments have arrived and are not archived yet; cron does it each minute"
        ))
        .here(format!("barman archive-wal {}", self.server()))
    }

    fn no_delivery(&self, facts: &Facts) -> Advice {
        let name = self.server();
        if facts.archive_mode.as_deref() == Some("off") {
            return Advice::follows("archive_mode", "PostgreSQL does not archive");
        }
        if facts
            .archive_command
            .as_deref()
            .is_none_or(|command| matches!(command, "" | "(disabled)"))
        {
            return Advice::follows("archive_command", "PostgreSQL does not archive");
        }
        let archiver = facts.archiver.clone().unwrap_or_default();
        if archiver.is_archiving == Some(false) {
            return Advice::follows("continuous archiving", "archive_command fails");
        }
        match (archiver.archived_count.unwrap_or(0), archiver.failed_count.unwrap_or(0)) {
            (0, 0) => Advice::not_yet("PostgreSQL has had no segment to archive yet").here(switch(name)),
            (0, _) => self.failing_archiver(),
            (sent, _) => Advice::broken(format!(
                "PostgreSQL has archived {sent} segments (the last one {}), and none arrived here: archive_command leads \
                 somewhere else",
                archiver.last_archived_wal.unwrap_or_default()
            ))
            .sql("SHOW archive_command;")
            .here(format!("barman show-servers {name} | grep incoming_wals_directory")),
        }
    }

    fn no_stream(&self) -> Advice {
        if self.receiver_runs() {
            return Advice::not_yet("receive-wal runs and has received no complete segment yet")
                .here(switch(self.server()));
        }
        Advice::follows("receive-wal running", "nothing receives WAL")
    }

    pub(super) fn archive_mode(&self) -> Advice {
        let advice =
            Advice::broken("PostgreSQL archives no WAL").sql("ALTER SYSTEM SET archive_mode = 'on';");
        set_archive_command(advice, self.server())
            .there(self.postgres_host(), "restart PostgreSQL (archive_mode needs it)")
    }

    pub(super) fn archive_command(&self) -> Advice {
        let off = self
            .context
            .facts()
            .is_some_and(|facts| facts.archive_mode.as_deref() == Some("off"));
        if off {
            return Advice::follows("archive_mode", "it is set together with archive_mode");
        }
        set_archive_command(
            Advice::broken("PostgreSQL keeps all WAL and sends none: archive_command is empty"),
            self.server(),
        )
    }

    /// `archive_command` fails: when, with which file, and how to see why.
    pub(super) fn failing_archiver(&self) -> Advice {
        let Some(facts) = self.context.facts() else {
            return Advice::follows("PostgreSQL", "it could not be asked");
        };
        if facts.archive_mode.as_deref() == Some("off") {
            return Advice::follows("archive_mode", "PostgreSQL does not archive");
        }
        let archiver = facts.archiver.clone().unwrap_or_default();
        let segment = archiver.last_failed_wal.unwrap_or_default();
        let since = archiver.last_failed_time.as_ref().map(calendar::python_str);
        let cause = format!(
            "archive_command failed for {segment} at {}, after {} failures in all",
            since.unwrap_or_else(|| "an unknown time".to_owned()),
            archiver.failed_count.unwrap_or(0)
        );
        let command = facts.archive_command.as_deref().unwrap_or_default();
        let host = self.postgres_host();
        let by_hand = by_hand(command, &segment, facts.data_directory.as_deref());
        let advice =
            Advice::broken(cause).there(host.as_str(), format!("as the user of PostgreSQL: {by_hand}"));
        advice.there(host, "its log says what the command printed")
    }

    pub(super) fn put_aside(&self) -> Advice {
        let directory = self.context.server.errors_directory.display().to_string();
        Advice::broken("files came that cannot be archived; the line above says what to do with each kind")
            .here(format!("ls -l {}", shell::quote(&directory)))
    }

    pub(super) fn queue(&self) -> Advice {
        let name = self.server();
        match self.context.cron_silence() {
            Some(silence) => cron_missing(silence),
            None => Advice::broken("WAL arrives faster than it is archived, or archiving stopped")
                .here(format!("barman archive-wal {name}")),
        }
    }

    pub(super) fn unexpected_wal(&self, option: &str) -> Advice {
        Advice::broken(format!(
            "WAL arrives although {option} is off: nobody archives it, and it stays there"
        ))
        .file(self.file_of(option), format!("{option} = on"))
        .note("or make the server stop sending it, and remove what lies there")
    }

    pub(super) fn old_wal(&self) -> Advice {
        let context = self.context;
        if context.newest().is_none() {
            return Advice::not_yet(
                "there is no backup yet, and the age of WAL is counted from the newest one on",
            );
        }
        if self.obstacles.contains(&"PostgreSQL") {
            return Advice::follows("PostgreSQL", "a server that is down writes no WAL");
        }
        let idle = "the server writes too little to fill a segment, or its WAL does not arrive";
        let Some(facts) = context.facts() else {
            return Advice::broken(idle).here(switch(self.server()));
        };
        let archiver = facts.archiver.as_ref().and_then(|archiver| archiver.is_archiving);
        if context.server.archiver && archiver == Some(false) {
            return Advice::follows("continuous archiving", "archive_command fails");
        }
        let advice = Advice::broken(idle).here(switch(self.server()));
        match facts.archive_timeout {
            Some(0) if context.server.archiver => {
                advice.sql("ALTER SYSTEM SET archive_timeout = '5min'; SELECT pg_reload_conf();")
            }
            _ => advice,
        }
    }

    pub(super) fn gaps(&self) -> Advice {
        let name = self.server();
        Advice::broken("WAL is missing: no recovery gets past the gap")
            .here(format!("barman recovery-windows {name}"))
            .here(format!("barman backup {name}"))
    }

    pub(super) fn space(&self) -> Advice {
        let wals = self
            .context
            .server
            .local_wals()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        Advice::broken(format!(
            "the file system of the WAL archive fills up: {}",
            self.hint
        ))
        .here(format!("df -h {}", shell::quote(&wals)))
        .here(format!("barman list-backups {}", self.server()))
    }
}

/// The command as PostgreSQL would run it for a segment.
fn by_hand(command: &str, segment: &str, data_directory: Option<&str>) -> String {
    let filled = command
        .replace("%p", &format!("pg_wal/{segment}"))
        .replace("%f", segment);
    match data_directory {
        Some(directory) => format!("cd {} && {filled}", shell::quote(directory)),
        None => format!("in the data directory: {filled}"),
    }
}
