//! `barman check`: whether a server is ready to be backed up, and its backups are as they should be.
//!
//! Order, names and hints are Barman's (behaviour reference §2): monitoring reads them. Each file here holds one group of
//! checks; [`run`] puts them in order. A result goes to the [`Listener`] the moment it is known.
//!
//! The checks run on a thread of their own, because many of them wait for something that may never come: PostgreSQL, ssh,
//! a mounted directory. When the time is up, the report says so and the thread is left to itself; it stops at its next
//! step, and takes the ssh process it waits for with it.

pub mod advice;
mod archiver;
mod arrivals;
mod backups;
mod context;
mod directories;
mod executor;
mod gaps;
mod identity;
mod postgres;
mod put_aside;
mod slots;
mod space;
mod storage;
mod streaming;
mod wal;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::agent::ahead::Ahead;
use crate::base::interrupt::{self, Interrupted};
use crate::config::ServerConfig;
use crate::postgres::client::PgError;
use crate::postgres::facts::Facts;
use crate::postgres::streaming::StreamingFacts;

use advice::{Advice, Failed, Standing};
use context::Context;

/// How often the wait for results looks for signals.
const TICK: Duration = Duration::from_millis(100);

/// How long the end of the thread is waited for after the report is complete.
const FAREWELL: Duration = Duration::from_millis(500);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// Its name, as monitoring knows it.
    pub name: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// What there is to say about it; often nothing.
    pub hint: String,
    /// A number of bytes for Nagios.
    pub perfdata: Option<Perfdata>,
    /// Whether no backup may begin while this check fails.
    pub blocks_backup: bool,
    /// What to do about a failure.
    pub advice: Option<Advice>,
}

/// A figure for Nagios, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Perfdata {
    /// The size of the newest backup: `{server}={n}B`.
    BackupSize(u64),
    /// The size of the WAL since then: `{server}_wals={n}B`.
    WalSize(u64),
}

/// The checks of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The server.
    pub server: String,
    /// Whether it is in use: failures of an inactive server do not count.
    pub active: bool,
    /// The results, in order.
    pub results: Vec<CheckResult>,
    /// What disables the server; said below the check `configuration`.
    pub messages: Vec<String>,
}

impl CheckReport {
    /// Whether a check failed.
    #[must_use]
    pub fn has_issues(&self) -> bool {
        self.results.iter().any(|result| !result.ok)
    }

    /// The first failure that keeps a backup from beginning.
    #[must_use]
    pub fn obstacle(&self) -> Option<&CheckResult> {
        self.results
            .iter()
            .find(|result| !result.ok && result.blocks_backup)
    }
}

/// Who is told each result when it is known.
pub trait Listener {
    /// A check has its result.
    fn result(&self, result: &CheckResult);
    /// A message that belongs to the result just told.
    fn message(&self, message: &str);
}

/// Nobody listens: for checks before a backup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

impl Listener for Unheard {
    fn result(&self, _result: &CheckResult) {}
    fn message(&self, _message: &str) {}
}

/// What a check may do besides looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intrusion {
    /// An operator's check: as in Barman, a server that has no WAL yet gets its waiting WAL archived, and PostgreSQL is made
    /// to switch to a new segment, so that the check says whether WAL arrives.
    Operator,
    /// A monitoring system's check: nothing happens to PostgreSQL or the archive.
    Monitoring,
    /// An examination: nothing happens at all. Missing directories are reported and not created.
    Examination,
}

/// What is known already, from somebody who has asked: it is not asked again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What PostgreSQL says of itself, or why it says nothing.
    pub facts: Option<Result<Facts, PgError>>,
    /// What the replication protocol says.
    pub streaming: Option<StreamingFacts>,
    /// What came of running a command over ssh.
    pub ssh: Option<SshAnswer>,
}

/// How a command over ssh ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAnswer {
    /// Its exit code; 255 when ssh could not connect.
    pub code: i32,
    /// Whether the other host added anything to its standard output.
    pub noisy: bool,
    /// Its standard error, with ssh's own messages.
    pub stderr: String,
}

/// How to check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// The time all checks of the server may take; `None` for no limit.
    pub timeout: Option<Duration>,
    /// What they may do besides looking.
    pub intrusion: Intrusion,
    /// The main configuration file, for hook scripts.
    pub configuration: PathBuf,
    /// What need not be asked.
    pub known: Known,
    /// Whether a backup is to begin: what does not keep it from that is ignored in the log.
    pub before_backup: bool,
    /// Connections to the server's host that are being made anyway, for what comes after the checks: if they stand, ssh
    /// works.
    pub begun: Option<Arc<Ahead>>,
}

impl CheckOptions {
    /// With the time limit of the server's configuration, or another one; 0 is no limit.
    #[must_use]
    pub fn new(
        server: &ServerConfig,
        timeout: Option<u32>,
        intrusion: Intrusion,
        configuration: PathBuf,
    ) -> CheckOptions {
        let seconds = timeout.unwrap_or(server.check_timeout);
        CheckOptions {
            timeout: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
            intrusion,
            configuration,
            known: Known::default(),
            before_backup: false,
            begun: None,
        }
    }

    /// The check that a backup begins with.
    #[must_use]
    pub fn before_backup(mut self) -> CheckOptions {
        self.before_backup = true;
        self
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The program was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The thread of the checks could not be started.
    #[error("cannot start a thread for the checks: {0}")]
    Thread(std::io::Error),
    /// The thread ended without an answer, which is a defect of this program.
    #[error("the checks of server {0} ended unexpectedly: see the log")]
    Lost(String),
}

/// Checks a server.
///
/// # Errors
/// The program was asked to stop. What is wrong with the server is in the report.
pub fn check(
    server: &ServerConfig,
    options: &CheckOptions,
    listener: &dyn Listener,
) -> Result<CheckReport, CheckError> {
    let (sender, events) = mpsc::channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    let cancelled_by_us = Arc::clone(&cancelled);
    let (config, options_of_thread) = (server.clone(), options.clone());
    std::thread::Builder::new()
        .name(format!("check {}", server.name))
        .spawn(move || {
            let context = Context::new(config, options_of_thread);
            let sink = Sink {
                context: &context,
                obstacles: RefCell::default(),
                sender,
                cancelled: cancelled_by_us,
            };
            if run(&context, &sink).is_ok() {
                sink.done();
            }
        })
        .map_err(CheckError::Thread)?;
    let outcome = collect(server, &events, options.timeout, listener);
    cancelled.store(true, Ordering::SeqCst);
    // The thread ends the ssh process it may be waiting for; give it the time for that.
    let farewell = Instant::now() + FAREWELL;
    while events
        .recv_timeout(farewell.saturating_duration_since(Instant::now()))
        .is_ok()
    {}
    outcome
}

/// All checks, in Barman's order.
fn run(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    arrivals::check(context, sink)?;
    postgres::check(context, sink)?;
    slots::check(context, sink)?;
    directories::check(context, sink)?;
    backups::check_age_and_size(context, sink)?;
    storage::check_encryption(context, sink)?;
    wal::check(context, sink)?;
    storage::check_compression(context, sink)?;
    backups::check_number(context, sink)?;
    executor::check(context, sink)?;
    identity::check(context, sink)?;
    streaming::check(context, sink)?;
    archiver::check(context, sink)?;
    gaps::check(context, sink)?;
    space::check(context, sink)
}

/// Receives the results until the checks are done or the time is up.
fn collect(
    server: &ServerConfig,
    events: &mpsc::Receiver<Event>,
    timeout: Option<Duration>,
    listener: &dyn Listener,
) -> Result<CheckReport, CheckError> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut report = CheckReport {
        server: server.name.clone(),
        active: server.active,
        results: Vec::new(),
        messages: Vec::new(),
    };
    loop {
        interrupt::check()?;
        let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if remaining == Some(Duration::ZERO) {
            let result = CheckResult {
                name: "check timeout",
                ok: false,
                hint: "barman check command timed out".to_owned(),
                perfdata: None,
                blocks_backup: true,
                advice: Some(out_of_time(server)),
            };
            log_failure(&server.name, &result);
            listener.result(&result);
            report.results.push(result);
            return Ok(report);
        }
        match events.recv_timeout(remaining.map_or(TICK, |remaining| remaining.min(TICK))) {
            Ok(Event::Result(result)) => {
                listener.result(&result);
                report.results.push(result);
            }
            Ok(Event::Message(message)) => {
                listener.message(&message);
                report.messages.push(message);
            }
            Ok(Event::Done) => return Ok(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                interrupt::check()?;
                return Err(CheckError::Lost(server.name.clone()));
            }
        }
    }
}

/// Something waits for an answer that does not come.
fn out_of_time(server: &ServerConfig) -> Advice {
    Advice::broken("something did not answer in time; what was checked before it is above")
        .here(format!("barman doctor {}", server.name))
}

fn log_failure(server: &str, result: &CheckResult) {
    log::error!(target: "barman.server", "Check '{}' failed for server '{server}'", result.name);
}

/// What the thread of the checks says.
enum Event {
    Result(CheckResult),
    Message(String),
    Done,
}

/// Nobody waits for further results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cancelled;

/// Where the checks put their results.
struct Sink<'a> {
    context: &'a Context,
    /// The checks that failed and keep backups from beginning, each after the one that it follows from.
    obstacles: RefCell<Vec<&'static str>>,
    sender: mpsc::Sender<Event>,
    cancelled: Arc<AtomicBool>,
}

impl Sink<'_> {
    /// A result that keeps a backup from beginning when it is a failure.
    fn report(&self, name: &'static str, ok: bool, hint: impl Into<String>) -> Result<(), Cancelled> {
        self.send(name, ok, hint.into(), None, true)
    }

    /// A result that says nothing about the next backup.
    fn note(&self, name: &'static str, ok: bool, hint: impl Into<String>) -> Result<(), Cancelled> {
        self.send(name, ok, hint.into(), None, false)
    }

    /// As [`Self::note`], with a figure.
    fn measure(&self, name: &'static str, ok: bool, hint: String, figure: Perfdata) -> Result<(), Cancelled> {
        self.send(name, ok, hint, Some(figure), false)
    }

    fn send(
        &self,
        name: &'static str,
        ok: bool,
        hint: String,
        perfdata: Option<Perfdata>,
        blocks_backup: bool,
    ) -> Result<(), Cancelled> {
        let mut result = CheckResult {
            name,
            ok,
            hint,
            perfdata,
            blocks_backup,
            advice: None,
        };
        self.go_on()?;
        if !ok {
            self.advise(&mut result);
        }
        let server = &self.context.server.name;
        if ok {
            log::debug!(target: "barman.server", "Check '{name}' succeeded for server '{server}'");
        } else if self.context.options.before_backup && !blocks_backup {
            log::info!(target: "barman.server", "Ignoring failed check '{name}' for server '{server}'");
        } else {
            log_failure(server, &result);
        }
        self.sender.send(Event::Result(result)).map_err(|_| Cancelled)
    }

    /// Adds what can be done about a failure.
    fn advise(&self, result: &mut CheckResult) {
        let mut obstacles = self.obstacles.borrow_mut();
        result.advice = Failed {
            context: self.context,
            name: result.name,
            hint: &result.hint,
            obstacles: &obstacles,
        }
        .advice();
        if !result.blocks_backup {
            return;
        }
        if let Some(Standing::Follows(root)) = result.advice.as_ref().map(|advice| advice.standing)
            && !obstacles.contains(&root)
        {
            obstacles.push(root);
        }
        if !obstacles.contains(&result.name) {
            obstacles.push(result.name);
        }
    }

    /// A message that belongs to the last result.
    fn message(&self, message: &str) -> Result<(), Cancelled> {
        self.go_on()?;
        self.sender
            .send(Event::Message(message.to_owned()))
            .map_err(|_| Cancelled)
    }

    fn done(&self) {
        // Nobody may be waiting any more, and that is fine.
        let _ = self.sender.send(Event::Done);
    }

    /// Whether anybody waits for further results.
    fn go_on(&self) -> Result<(), Cancelled> {
        if self.cancelled.load(Ordering::SeqCst) || interrupt::check().is_err() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}
