//! A session with a PostgreSQL server: connecting, queries that a signal or a deadline can end, health.
//!
//! The connection is libpq's, with the operator's own connection string. What is added are defaults that the string
//! may override: the application name `barman`, which operators look for in `pg_stat_activity`, and TCP keepalives,
//! so that a vanished host is noticed while a backup waits.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::base::interrupt::{self, Interrupted};

use super::conninfo::{self, InvalidConninfo};
use super::libpq::{Connection, ServerError};
use super::version::PgVersion;

pub use super::libpq::Rows;

/// How often a wait looks for signals and deadlines.
const TICK: Duration = Duration::from_millis(100);

/// A vanished host is noticed after about 30 + 6 × 10 seconds.
const KEEPALIVES: [(&str, &str); 3] = [
    ("keepalives_idle", "30"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "6"),
];

/// Why PostgreSQL did not answer. The texts are those of libpq, as psycopg2 and therefore Barman show them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PgError {
    /// The connection string is not well formed.
    #[error(transparent)]
    Conninfo(#[from] InvalidConninfo),
    /// No connection could be made.
    #[error("{0}")]
    Connect(String),
    /// The connection broke: the state of the session is gone.
    #[error("{0}")]
    Lost(String),
    /// The server refused the statement.
    #[error("{message}")]
    Refused {
        /// SQLSTATE, when the server gave one.
        sqlstate: Option<String>,
        /// The server's text.
        message: String,
    },
    /// The answer took too long.
    #[error("no answer from PostgreSQL within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The program was asked to stop while it waited.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The answer is not what the statement asks for.
    #[error("unexpected answer from PostgreSQL: {0}")]
    Unexpected(String),
}

impl PgError {
    /// Whether the server refused for want of a privilege (SQLSTATE 42501).
    #[must_use]
    pub fn lacks_privilege(&self) -> bool {
        matches!(self, PgError::Refused { sqlstate: Some(code), .. } if code == "42501")
    }

    /// Whether the session is over: a new one would have to be made.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self, PgError::Connect(_) | PgError::Lost(_))
    }
}

/// When a wait for an answer ends without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// When a signal asks the program to stop.
    UntilInterrupted,
    /// After a time, signals notwithstanding: for what has to be tidied up after a signal.
    For(Duration),
}

/// A session. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    patience: Patience,
}

impl Session {
    /// Connects with a connection string (`key=value` pairs or a URI).
    ///
    /// # Errors
    /// The string is malformed, the server cannot be reached or refuses, or a signal came first.
    pub fn connect(conninfo: &str) -> Result<Session, PgError> {
        let defaults = defaults_for(conninfo, "barman")?;
        let mut session = Self::open(conninfo, defaults)?;
        // Times are read from text: the form must not depend on settings of the role or the database.
        session.query("SET DateStyle TO 'ISO'", &[])?;
        Ok(session)
    }

    /// Connects to the replication protocol, as `pg_basebackup` would with this string.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub fn connect_replication(conninfo: &str, application_name: &str) -> Result<Session, PgError> {
        let defaults = defaults_for(conninfo, application_name)?;
        Self::open(&conninfo::for_replication(conninfo)?, defaults)
    }

    /// Sets how long the statements that follow may take.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        PgVersion(self.connection.server_version())
    }

    /// Runs a statement; `$1` and so on stand for the parameters. The answer is that of the last statement when there
    /// are several.
    ///
    /// # Errors
    /// The statement was refused, the connection broke, or the patience ended: the statement is then cancelled.
    pub fn query(&mut self, statement: &str, parameters: &[&str]) -> Result<Rows, PgError> {
        log::debug!(target: "barman.postgres", "query: {statement}");
        if let Err(error) = self.connection.send(statement, parameters) {
            return Err(self.failure(error));
        }
        let started = Instant::now();
        let mut rows = Rows::default();
        let mut failure = None;
        loop {
            self.await_result(started)?;
            match self.connection.next_result() {
                None => break,
                Some(Ok(answer)) => rows = answer,
                // When the connection ends, the server's own words come first, and only after them the end.
                Some(Err(error)) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            None => Ok(rows),
            Some(error) => Err(self.failure(error)),
        }
    }

    /// The single value of a statement that answers with one; `None` when it is null.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub fn value(&mut self, statement: &str, parameters: &[&str]) -> Result<Option<String>, PgError> {
        Ok(self.query(statement, parameters)?.first().map(str::to_owned))
    }

    /// The value of a setting, as `SHOW` gives it; `None` when this server does not know it.
    ///
    /// # Errors
    /// The server refuses to show it, or the connection broke.
    pub fn setting(&mut self, name: &str) -> Result<Option<String>, PgError> {
        self.value("SELECT pg_catalog.current_setting($1, true)", &[name])
    }

    /// Whether the server still answers.
    ///
    /// # Errors
    /// It does not.
    pub fn ping(&mut self) -> Result<(), PgError> {
        self.query("SELECT 1", &[]).map(|_| ())
    }

    /// Whether the connection is still there, as far as can be told without asking the server.
    pub fn is_alive(&mut self) -> bool {
        self.connection.look()
    }

    /// Whether the server is a standby, or otherwise in recovery.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub fn is_in_recovery(&mut self) -> Result<bool, PgError> {
        self.truth("SELECT pg_catalog.pg_is_in_recovery()")
    }

    /// The answer of a statement that says yes or no; null is no.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub fn truth(&mut self, statement: &str) -> Result<bool, PgError> {
        Ok(self.value(statement, &[])?.as_deref() == Some("t"))
    }

    fn open(conninfo: &str, defaults: Vec<(&'static str, String)>) -> Result<Session, PgError> {
        let mut options = defaults;
        // libpq lets later entries win, and expands the string where `dbname` stands.
        options.push(("dbname", conninfo.to_owned()));
        let (sender, receiver) = mpsc::channel();
        // libpq waits for the network without looking at signals: it does so on a thread that can be left behind.
        std::thread::Builder::new()
            .name("postgres-connect".to_owned())
            .spawn(move || {
                let borrowed: Vec<(&str, &str)> = options
                    .iter()
                    .map(|(keyword, value)| (*keyword, value.as_str()))
                    .collect();
                // The receiver is gone when a signal ended the wait; the connection is then closed here.
                drop(sender.send(Connection::open(&borrowed)));
            })
            .map_err(|error| PgError::Connect(format!("cannot start a thread: {error}")))?;
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(Ok(connection)) => {
                    return Ok(Session {
                        connection,
                        patience: Patience::UntilInterrupted,
                    });
                }
                Ok(Err(message)) => return Err(PgError::Connect(message)),
                Err(mpsc::RecvTimeoutError::Timeout) => interrupt::check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(PgError::Connect(
                        "the connection attempt was abandoned".to_owned(),
                    ));
                }
            }
        }
    }

    fn await_result(&mut self, started: Instant) -> Result<(), PgError> {
        loop {
            match self.connection.wait(TICK) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(PgError::Lost(error.to_string())),
            }
            let given_up = match self.patience {
                Patience::UntilInterrupted => interrupt::check().err().map(PgError::Interrupted),
                Patience::For(limit) => (started.elapsed() >= limit).then_some(PgError::Timeout(limit)),
            };
            if let Some(error) = given_up {
                self.give_up();
                return Err(error);
            }
        }
    }

    /// Cancels the running statement and takes in what the server still says about it, so that the session can be used
    /// for tidying up.
    fn give_up(&mut self) {
        if let Err(message) = self.connection.cancel() {
            log::warn!(target: "barman.postgres", "cannot cancel the running statement: {message}");
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.connection.wait(TICK), Ok(true)) && self.connection.next_result().is_none() {
                return;
            }
        }
        log::warn!(target: "barman.postgres", "the server has not confirmed the end of the cancelled statement");
    }

    fn failure(&self, error: ServerError) -> PgError {
        if self.connection.is_open() {
            PgError::Refused {
                sqlstate: error.sqlstate,
                message: error.message,
            }
        } else {
            PgError::Lost(error.message)
        }
    }
}

/// What is set unless the string sets it. A service file counts for less than these in libpq, so that with a service
/// nothing but the name is set.
fn defaults_for(conninfo: &str, application_name: &str) -> Result<Vec<(&'static str, String)>, PgError> {
    let mut defaults = vec![("application_name", application_name.to_owned())];
    if conninfo::value_of(conninfo, "service")?.is_none() {
        defaults.extend(KEEPALIVES.map(|(keyword, value)| (keyword, value.to_owned())));
    }
    Ok(defaults)
}
