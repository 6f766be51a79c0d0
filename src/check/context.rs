//! What several checks need to know, found out once and only when the first of them asks.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, Catalog};
use crate::config::{BackupMethod, Ends, NotLocal, ServerConfig};
use crate::postgres::client::{PgError, Session};
use crate::postgres::client_program::ClientProgram;
use crate::postgres::facts::Facts;
use crate::postgres::streaming::StreamingFacts;
use crate::postgres::wal_name::DEFAULT_SEGMENT_SIZE;

use super::{CheckOptions, Intrusion, advice};

/// The server to check.
pub(super) struct Context {
    pub(super) server: ServerConfig,
    pub(super) options: CheckOptions,
    /// Not there when backups or WAL are kept in an object store.
    pub(super) catalog: Result<Catalog, NotLocal>,
    facts: OnceCell<Option<Result<Facts, PgError>>>,
    streaming: OnceCell<Option<StreamingFacts>>,
    backups: OnceCell<Result<Backups, String>>,
    /// What ssh said when it did not connect, or said too much.
    ssh: OnceCell<(i32, String)>,
    /// How long cron has not run.
    silence: Option<String>,
}

impl Context {
    pub(super) fn new(server: ServerConfig, options: CheckOptions) -> Context {
        let known = options.known.clone();
        let facts = known
            .facts
            .map_or_else(OnceCell::new, |facts| OnceCell::from(Some(facts)));
        let streaming = known
            .streaming
            .map_or_else(OnceCell::new, |facts| OnceCell::from(Some(facts)));
        // Before the checks take locks themselves.
        let silence = advice::cron_silence(&server);
        Context {
            catalog: Catalog::of(&server).map(|catalog| match options.intrusion {
                Intrusion::Examination => catalog.looking_only(),
                Intrusion::Operator | Intrusion::Monitoring => catalog,
            }),
            server,
            options,
            facts,
            streaming,
            backups: OnceCell::new(),
            ssh: OnceCell::new(),
            silence,
        }
    }

    /// Whether this host talks to PostgreSQL itself.
    pub(super) fn has_postgres(&self) -> bool {
        self.server.active && !self.server.is_passive()
    }

    /// What PostgreSQL says of itself; `None` when there is no answer.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.answer()?.as_ref().ok()
    }

    /// Why PostgreSQL says nothing; `None` also where it is not asked.
    pub(super) fn no_answer(&self) -> Option<&PgError> {
        self.answer()?.as_ref().err()
    }

    fn answer(&self) -> Option<&Result<Facts, PgError>> {
        self.facts
            .get_or_init(|| Some(ask(self.server.usable_conninfo()?, self.slot_name())))
            .as_ref()
    }

    /// Notes what ssh said, for advice.
    pub(super) fn note_ssh(&self, code: i32, stderr: &str) {
        let _ = self.ssh.set((code, stderr.to_owned()));
    }

    /// What ssh said when it did not connect, or said too much.
    pub(super) fn ssh_refusal(&self) -> Option<&(i32, String)> {
        self.ssh.get()
    }

    /// How long cron has certainly not run, in words; `None` when it may have run a moment ago.
    pub(super) fn cron_silence(&self) -> Option<&str> {
        self.silence.as_deref()
    }

    /// What the replication protocol says; `None` when the server has no use for it.
    pub(super) fn streaming(&self) -> Option<&StreamingFacts> {
        self.streaming
            .get_or_init(|| {
                let conninfo = self.server.usable_streaming_conninfo()?;
                Some(gather_streaming(conninfo, &self.server.streaming_archiver_name))
            })
            .as_ref()
    }

    pub(super) fn slot_name(&self) -> Option<&str> {
        self.server.slot_name.as_ref().map(|slot| slot.0.as_str())
    }

    /// The versions of both ends of a base backup that is compressed; `None` when there is none, or one is not known.
    pub(super) fn base_backup_ends(&self) -> Option<Ends> {
        let server = &self.server;
        if server.backup_method != BackupMethod::Postgres || server.backup_compression.is_none() {
            return None;
        }
        let program = ClientProgram::find(&["pg_basebackup"], server.path_prefix.as_deref())?;
        Some(Ends {
            client: program.major()?,
            server: self.facts()?.version.0 / 10_000,
        })
    }

    /// Every backup; none when the catalog cannot be read.
    pub(super) fn backups(&self) -> &Backups {
        static NONE: Backups = BTreeMap::new();
        self.read_backups().as_ref().unwrap_or(&NONE)
    }

    /// Why the catalog cannot be read.
    pub(super) fn unreadable(&self) -> Option<&str> {
        self.read_backups().as_ref().err().map(String::as_str)
    }

    fn read_backups(&self) -> &Result<Backups, String> {
        self.backups.get_or_init(|| {
            let catalog = self.catalog.as_ref().map_err(ToString::to_string)?;
            catalog.backups().map_err(|error| error.to_string())
        })
    }

    /// The newest complete backup.
    pub(super) fn newest(&self) -> Option<(&BackupId, &BackupInfo)> {
        self.backups()
            .iter()
            .rev()
            .find(|(_, info)| info.status.copy_done())
    }

    /// Bytes of a WAL segment.
    pub(super) fn segment_size(&self) -> u64 {
        self.newest()
            .map_or(DEFAULT_SEGMENT_SIZE, |(_, info)| info.xlog_segment_size)
    }

    /// How many backups have a status.
    pub(super) fn count(&self, status: BackupStatus) -> usize {
        self.backups()
            .values()
            .filter(|info| info.status == status)
            .count()
    }
}

/// Connects and asks. No answer is a line in the log.
pub(super) fn gather(conninfo: &str, slot_name: Option<&str>) -> Option<Facts> {
    ask(conninfo, slot_name).ok()
}

fn ask(conninfo: &str, slot_name: Option<&str>) -> Result<Facts, PgError> {
    Session::connect(conninfo)
        .and_then(|mut session| Facts::gather(&mut session, slot_name))
        .inspect_err(no_answer)
}

/// Connects and asks by the replication protocol.
pub(super) fn gather_streaming(conninfo: &str, application_name: &str) -> StreamingFacts {
    StreamingFacts::gather(conninfo, application_name).unwrap_or_else(|error| {
        no_answer(&error);
        StreamingFacts {
            connection_error: Some(error.to_string()),
            ..StreamingFacts::default()
        }
    })
}

fn no_answer(error: &PgError) {
    log::warn!(
        target: "barman.postgres",
        "Error retrieving PostgreSQL status: {}",
        error.to_string().lines().next().unwrap_or_default()
    );
}

impl Context {
    /// Whether a client program can talk to the server at the other end of the replication connection, and the hint of
    /// the check that says so. `unknown` stands for the version of a program that was not found.
    pub(super) fn compatibility(
        &self,
        name: &str,
        program: Option<&ClientProgram>,
        unknown: &str,
    ) -> (bool, String) {
        let streaming = self.streaming();
        let server = streaming
            .filter(|streaming| streaming.supported.is_some())
            .and_then(|_| self.facts());
        let fits = program
            .zip(server)
            .is_some_and(|(program, server)| program.fits(server.version) == Some(true));
        if fits {
            return (true, String::new());
        }
        // Barman's words for a server that does not answer and for one that cannot be asked.
        let silent = if streaming.is_some() { "None" } else { "Unknown" };
        let server = server.and_then(|server| server.version_text.as_deref());
        let version = program.and_then(|program| program.version.as_deref());
        let hint = format!(
            "PostgreSQL version: {}, {name} version: {}",
            server.unwrap_or(silent),
            version.unwrap_or(unknown)
        );
        (false, hint)
    }
}
