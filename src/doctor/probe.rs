//! Asking PostgreSQL and the other host, at the same time, and not for long.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::interrupt::{self, Interrupted};
use crate::base::process::exit_code;
use crate::check::SshAnswer;
use crate::config::{BackupMethod, ServerConfig};
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::Facts;
use crate::postgres::streaming::StreamingFacts;
use crate::transport::{Remote, SshFailure, SshOptions, run_while};

/// How often a wait looks for signals.
const TICK: Duration = Duration::from_millis(100);

/// What the other host is asked to print. What comes before the first line comes from a login script.
const QUESTIONS: &str = "echo barkeep-doctor; date +%s; id -un; command -v barman-wal-archive || command -v \
                         barkeep-wal-archive || echo; true";

/// The first line of the answer.
const MARK: &str = "barkeep-doctor";

/// The answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// PostgreSQL's; `None` where it is not asked.
    pub(super) postgres: Option<Result<Postgres, PgError>>,
    /// The replication protocol's; `None` where it is not asked.
    pub(super) streaming: Option<StreamingFacts>,
    /// The other host's; `None` where it is not asked.
    pub(super) ssh: Option<Ssh>,
}

/// What PostgreSQL says.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    pub(super) facts: Facts,
    /// Seconds that its clock is ahead of ours, and how sure that is.
    pub(super) clock: Option<Offset>,
    /// How far the slot is behind, in bytes.
    pub(super) kept: Option<u64>,
    /// `wal_status` of the slot, since version 13.
    pub(super) wal_status: Option<String>,
    /// What archives in the place of `archive_command`, since version 15.
    pub(super) archive_library: Option<String>,
}

/// How far a clock is ahead of ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offset {
    pub(super) seconds: f64,
    pub(super) uncertainty: f64,
}

/// What the other host says.
#[derive(Debug, Clone)]
pub(super) struct Ssh {
    pub(super) answer: SshAnswer,
    pub(super) clock: Option<Offset>,
    /// Who we are there.
    pub(super) user: Option<String>,
    /// Where `barman-wal-archive` is there.
    pub(super) client: Option<String>,
}

impl Answers {
    pub(super) fn facts(&self) -> Option<Result<Facts, PgError>> {
        self.postgres.as_ref().map(|answer| {
            answer
                .as_ref()
                .map(|postgres| postgres.facts.clone())
                .map_err(Clone::clone)
        })
    }

    /// PostgreSQL, when it answered.
    pub(super) fn reached(&self) -> Option<&Postgres> {
        self.postgres.as_ref()?.as_ref().ok()
    }

    pub(super) fn version(&self) -> Option<String> {
        self.reached()?.facts.version_text.clone()
    }

    /// What could not be examined because somebody did not answer.
    pub(super) fn unexamined(&self, server: &ServerConfig) -> Option<String> {
        let silent = self.postgres.as_ref().is_some_and(Result::is_err);
        (silent && server.active).then(|| {
            "roles and grants, archive_command, slots and settings: PostgreSQL does not answer".to_owned()
        })
    }
}

/// Asks whatever the configuration of a server uses.
///
/// # Errors
/// The program was asked to stop.
pub(super) fn ask(server: &ServerConfig, patience: Duration) -> Result<Answers, Interrupted> {
    let deadline = Instant::now() + patience;
    let postgres = server.usable_conninfo().map(|conninfo| {
        let (conninfo, slot) = (
            conninfo.to_owned(),
            server.slot_name.as_ref().map(|slot| slot.0.clone()),
        );
        start(move || postgres(&conninfo, slot.as_deref()))
    });
    let streaming = server.usable_streaming_conninfo().map(|conninfo| {
        let (conninfo, name) = (conninfo.to_owned(), server.streaming_archiver_name.clone());
        start(move || StreamingFacts::gather(&conninfo, &name))
    });
    // It ends the process that it waits for by itself.
    let ssh = ssh_command(server).map(|command| {
        let command = command.to_owned();
        start(move || ssh(&command, deadline))
    });
    let silent = PgError::Timeout(patience);
    Ok(Answers {
        postgres: await_answer(postgres, deadline)?
            .map(|answer| answer.unwrap_or_else(|| Err(silent.clone()))),
        streaming: await_answer(streaming, deadline)?.map(|answer| {
            answer
                .unwrap_or_else(|| Err(silent.clone()))
                .unwrap_or_else(|error| StreamingFacts {
                    connection_error: Some(error.to_string()),
                    ..StreamingFacts::default()
                })
        }),
        ssh: await_answer(ssh, deadline + TICK * 5)?.flatten().flatten(),
    })
}

/// The ssh command that the server's way of working needs.
fn ssh_command(server: &ServerConfig) -> Option<&str> {
    if !server.active {
        return None;
    }
    if let Some(command) = &server.primary_ssh_command {
        return Some(command);
    }
    match server.backup_method {
        BackupMethod::Rsync | BackupMethod::Snapshot => server.ssh_command.as_deref(),
        _ => None,
    }
}

/// Does `work` on a thread that may be left behind. `None` when there can be no thread, which is as good as no answer.
fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    let started = std::thread::Builder::new().spawn(move || drop(sender.send(work())));
    if let Err(error) = started {
        log::warn!("cannot start a thread: {error}");
    }
    receiver
}

/// The answer; the inner `None` when there was none in time.
fn await_answer<T>(
    question: Option<Receiver<T>>,
    deadline: Instant,
) -> Result<Option<Option<T>>, Interrupted> {
    let Some(receiver) = question else { return Ok(None) };
    loop {
        interrupt::check()?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(remaining.min(TICK)) {
            Ok(answer) => return Ok(Some(Some(answer))),
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(None)),
            Err(RecvTimeoutError::Timeout) if remaining.is_zero() => return Ok(Some(None)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn postgres(conninfo: &str, slot: Option<&str>) -> Result<Postgres, PgError> {
    let mut session = Session::connect(conninfo)?;
    let facts = Facts::gather(&mut session, slot)?;
    let (asked, begun) = (now(), Instant::now());
    let theirs = session.value("SELECT extract(epoch FROM clock_timestamp())", &[])?;
    let clock = theirs
        .and_then(|text| text.parse().ok())
        .map(|theirs| offset(theirs, asked, begun.elapsed(), 0.0));
    let archive_library = session
        .value("SELECT current_setting('archive_library', true)", &[])?
        .filter(|library| !library.is_empty());
    let (kept, wal_status) = slot.map_or(Ok((None, None)), |name| {
        what_the_slot_keeps(&mut session, &facts, name)
    })?;
    Ok(Postgres {
        facts,
        clock,
        kept,
        wal_status,
        archive_library,
    })
}

/// How far a slot is behind, and whether its WAL is still there.
fn what_the_slot_keeps(
    session: &mut Session,
    facts: &Facts,
    name: &str,
) -> Result<(Option<u64>, Option<String>), PgError> {
    if !facts.version.at_least(10) {
        return Ok((None, None));
    }
    let status = if facts.version.at_least(13) {
        "wal_status"
    } else {
        "NULL"
    };
    let position = if facts.is_in_recovery {
        "pg_catalog.pg_last_wal_replay_lsn()"
    } else {
        "pg_catalog.pg_current_wal_lsn()"
    };
    let statement = format!(
        "SELECT {status} AS status, pg_catalog.pg_wal_lsn_diff({position}, restart_lsn)::bigint AS kept \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = $1"
    );
    match session.query(&statement, &[name]) {
        Ok(rows) => Ok((
            rows.get(0, "kept").and_then(|text| text.parse().ok()),
            rows.get(0, "status").map(str::to_owned),
        )),
        Err(PgError::Refused { message, .. }) => {
            log::debug!("the server refused: {message}");
            Ok((None, None))
        }
        Err(error) => Err(error),
    }
}

fn ssh(command: &str, deadline: Instant) -> Option<Ssh> {
    let words = Remote::ssh(command, SshOptions::SERVER).ok()?.ssh_words();
    let (asked, begun) = (now(), Instant::now());
    let patience = || {
        if Instant::now() < deadline {
            Ok(())
        } else {
            Err(())
        }
    };
    let failed = |code, stderr: String| {
        Some(Ssh {
            answer: SshAnswer {
                code,
                noisy: false,
                stderr,
            },
            clock: None,
            user: None,
            client: None,
        })
    };
    match run_while(&words, QUESTIONS, patience) {
        Err(()) => failed(255, "no answer: timed out".to_owned()),
        Ok(Err(error)) => {
            log::warn!("cannot run \"{command}\": {error}");
            failed(127, String::new())
        }
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut lines = text.lines();
            let first = lines.next();
            let code = exit_code(output.status);
            let line = |text: Option<&str>| {
                text.map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
            };
            // A whole second, and the login took most of the time.
            let clock = lines
                .next()
                .and_then(|text| text.trim().parse::<f64>().ok())
                .map(|theirs| offset(theirs + 0.5, asked, begun.elapsed(), 0.5));
            Some(Ssh {
                answer: SshAnswer {
                    code,
                    noisy: code == 0 && first != Some(MARK),
                    stderr: SshFailure::without_learned_keys(&String::from_utf8_lossy(&output.stderr)),
                },
                clock: clock.filter(|_| first == Some(MARK)),
                user: line(lines.next()),
                client: line(lines.next()),
            })
        }
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Their clock was read somewhere in the time that the question took.
fn offset(theirs: f64, asked: f64, took: Duration, precision: f64) -> Offset {
    let half = took.as_secs_f64() / 2.0;
    Offset {
        seconds: theirs - (asked + half),
        uncertainty: half + precision,
    }
}
