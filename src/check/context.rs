//! What several checks need to know, found out once and only when the first of them asks.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, Catalog};
use crate::config::{BackupMethod, NotLocal, ServerConfig};
use crate::postgres::client::{PgError, Session};
use crate::postgres::client_program::ClientProgram;
use crate::postgres::facts::Facts;
use crate::postgres::streaming::StreamingFacts;

use super::CheckOptions;

/// The server to check.
pub(super) struct Context {
    pub(super) server: ServerConfig,
    pub(super) options: CheckOptions,
    /// Not there when backups or WAL are kept in an object store.
    pub(super) catalog: Result<Catalog, NotLocal>,
    facts: OnceCell<Option<Facts>>,
    streaming: OnceCell<Option<StreamingFacts>>,
    backups: OnceCell<Result<Backups, String>>,
}

impl Context {
    pub(super) fn new(server: ServerConfig, options: CheckOptions) -> Context {
        Context {
            catalog: Catalog::of(&server),
            server,
            options,
            facts: OnceCell::new(),
            streaming: OnceCell::new(),
            backups: OnceCell::new(),
        }
    }

    /// Whether this host talks to PostgreSQL itself.
    pub(super) fn has_postgres(&self) -> bool {
        self.server.active && !self.server.is_passive()
    }

    /// What PostgreSQL says of itself; `None` when there is no answer.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts
            .get_or_init(|| {
                let conninfo = self.server.conninfo.as_deref().filter(|_| self.has_postgres())?;
                gather(conninfo, self.slot_name())
            })
            .as_ref()
    }

    /// What the replication protocol says; `None` when the server has no use for it.
    pub(super) fn streaming(&self) -> Option<&StreamingFacts> {
        self.streaming
            .get_or_init(|| {
                let used =
                    self.server.backup_method == BackupMethod::Postgres || self.server.streaming_archiver;
                let conninfo = self.server.streaming_conninfo.as_deref();
                conninfo
                    .filter(|_| used && self.has_postgres())
                    .map(|conninfo| gather_streaming(conninfo, &self.server.streaming_archiver_name))
            })
            .as_ref()
    }

    pub(super) fn slot_name(&self) -> Option<&str> {
        self.server.slot_name.as_ref().map(|slot| slot.0.as_str())
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

    /// The server at the other end of the replication connection.
    pub(super) fn streaming_server(&self) -> Option<&Facts> {
        self.streaming()
            .filter(|streaming| streaming.supported.is_some())
            .and_then(|_| self.facts())
    }

    /// The newest complete backup.
    pub(super) fn newest(&self) -> Option<(&BackupId, &BackupInfo)> {
        self.backups()
            .iter()
            .rev()
            .find(|(_, info)| info.status.copy_done())
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
    Session::connect(conninfo)
        .and_then(|mut session| Facts::gather(&mut session, slot_name))
        .map_err(|error| no_answer(&error))
        .ok()
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
        error.to_string().trim_end()
    );
}

/// Whether a client program can talk to a server, and the hint of the check that says so.
pub(super) fn compatibility(
    name: &str,
    program: Option<&ClientProgram>,
    unknown: &str,
    server: Option<&Facts>,
) -> (bool, String) {
    let fits = program
        .zip(server)
        .is_some_and(|(program, server)| program.fits(server.version) == Some(true));
    if fits {
        return (true, String::new());
    }
    let server = server.and_then(|server| server.version_text.as_deref());
    let version = program.and_then(|program| program.version.as_deref());
    let hint = format!(
        "PostgreSQL version: {}, {name} version: {}",
        server.unwrap_or("None"),
        version.unwrap_or(unknown)
    );
    (false, hint)
}
