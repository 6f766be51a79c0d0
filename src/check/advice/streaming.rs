//! Advice about WAL streaming and the client programs of PostgreSQL.

use super::{Advice, Failed, cron_missing};
use crate::base::lock::LockFile;
use crate::config::CreateSlot;

impl Failed<'_> {
    pub(super) fn receiver_runs(&self) -> bool {
        let lock = self.context.server.lock_file("receive-wal");
        LockFile::is_held(&lock).unwrap_or(false)
    }

    /// Whether WAL has ever been streamed here.
    fn has_streamed(&self) -> bool {
        std::fs::read_dir(&self.context.server.streaming_wals_directory)
            .is_ok_and(|mut entries| entries.next().is_some())
    }

    pub(super) fn slot(&self) -> Advice {
        let name = self.server();
        let Some(facts) = self.context.facts() else {
            return Advice::follows("PostgreSQL", "it could not be asked");
        };
        let automatic = self.context.server.create_slot == CreateSlot::Auto;
        let running = self.receiver_runs();
        match &facts.replication_slot {
            _ if self.name.ends_with("(WAL streaming)") => {
                Advice::broken(self.hint).here(format!("barman receive-wal --create-slot {name}"))
            }
            None if automatic && !self.has_streamed() => {
                Advice::not_yet("receive-wal makes it when it starts (create_slot = auto)")
                    .here("barman cron")
            }
            None => Advice::broken(
                "the slot is gone, or was never made: nothing makes the server keep WAL until it is here",
            )
            .here(format!("barman receive-wal --create-slot {name}"))
            .here("barman cron"),
            Some(_) if running => Advice::not_yet("receive-wal runs, and is about to connect"),
            Some(slot) if slot.restart_lsn.is_none() => {
                Advice::not_yet("the slot is new, and nobody has read from it yet; cron starts receive-wal")
                    .here("barman cron")
            }
            Some(_) => Advice::follows(
                "receive-wal running",
                "nobody reads from the slot, and the server keeps all WAL meanwhile, until its disk is full",
            )
            .here("barman cron"),
        }
    }

    pub(super) fn receiver(&self) -> Advice {
        let name = self.server();
        let blocking = [
            "PostgreSQL",
            "PostgreSQL streaming",
            "PostgreSQL streaming (WAL streaming)",
            "pg_receivexlog",
        ];
        let unmade = self.context.server.create_slot == CreateSlot::Manual;
        let slots = ["replication slot", "replication slot (WAL streaming)"];
        let missing = self
            .context
            .facts()
            .is_some_and(|facts| facts.replication_slot.is_none());
        let first = blocking
            .into_iter()
            .chain(slots.into_iter().filter(|_| unmade && missing))
            .find(|check| self.obstacles.contains(check));
        if let Some(check) = first {
            return Advice::follows(check, "it cannot run before that").here("barman cron");
        }
        if let Some(silence) = self.context.cron_silence() {
            return cron_missing(silence);
        }
        let advice = if self.has_streamed() {
            Advice::broken("it ended; cron starts it again every minute")
        } else {
            Advice::not_yet("cron starts it within a minute")
        };
        advice.here(format!(
            "barman receive-wal {name}    (in the foreground: says why it ends)"
        ))
    }

    /// A client program that is not installed.
    pub(super) fn program(&self, program: &str) -> Advice {
        let major = self
            .context
            .facts()
            .map_or_else(|| "VERSION".to_owned(), |facts| facts.version.major().to_string());
        let (command, directory) = if std::path::Path::new("/usr/bin/apt-get").exists() {
            (
                format!("apt-get install postgresql-client-{major}"),
                format!("/usr/lib/postgresql/{major}/bin"),
            )
        } else {
            (
                format!("dnf install postgresql{major}"),
                format!("/usr/pgsql-{major}/bin"),
            )
        };
        Advice::broken(format!("{program} is neither in path_prefix nor in PATH"))
            .here(format!("{command}    (as root)"))
            .file(self.file_of("path_prefix"), format!("path_prefix = {directory}"))
    }

    /// A client program that does not fit the server.
    pub(super) fn old_program(&self, missing: &'static str, program: &str) -> Advice {
        if self.obstacles.contains(&missing) {
            return Advice::follows(missing, "there is no program to compare");
        }
        for check in ["PostgreSQL", "PostgreSQL streaming"] {
            if self.obstacles.contains(&check) {
                return Advice::follows(check, "the version of the server is not known");
            }
        }
        let mut advice = self.program(program);
        advice.cause = format!("{program} is older than the server");
        advice
    }
}
