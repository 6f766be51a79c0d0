//! One run of `pg_basebackup`.

use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::base::error::PathContext;
use crate::base::{interrupt, output_lines, process, sys};
use crate::postgres::client_program::ClientProgram;

use super::command::{CommandLine, command_line};
use super::manifest_of;
use crate::backup::error::BackupError;
use crate::backup::held::HeldSession;
use crate::backup::parent::Parent;
use crate::backup::run::Run;
use crate::backup::standby::{self, Primary};

/// How often the wait for lines looks for signals.
const TICK: Duration = Duration::from_millis(100);

/// How often a standby is asked whether it waits for its primary.
const LOOK: Duration = Duration::from_secs(2);

/// PostgreSQL's words for that, where its messages are in English.
const WAITING: &str = "waiting for required WAL segments to be archived";

impl Run<'_> {
    /// Runs the program to its end.
    pub(super) fn run_program(&self, held: &HeldSession) -> Result<(), BackupError> {
        let directory = self.catalog.layout().data_dir(&self.info.id);
        let failed = |output: String| BackupError::BaseBackup {
            directory: directory.clone(),
            output,
        };
        let program = ClientProgram::find(&["pg_basebackup"], self.config.path_prefix.as_deref())
            .ok_or_else(|| failed("pg_basebackup is neither in path_prefix nor in PATH".to_owned()))?;
        let client = program.major().ok_or_else(|| {
            failed(format!(
                "the version of \"{}\" is not known",
                program.path.display()
            ))
        })?;
        let manifest = self
            .parent
            .as_ref()
            .and_then(Parent::info)
            .map(|parent| manifest_of(&self.catalog.data_dir(&parent.id)));
        let line = command_line(
            self.config,
            &self.catalog,
            &self.info,
            client,
            manifest.as_deref(),
        )
        .map_err(|error| failed(error.to_string()))?;
        self.supervise(&program, line, held)
            .and_then(|ended| match ended {
                Ok(()) => Ok(()),
                Err(output) => Err(failed(output)),
            })
    }

    /// The inner error is what the program wrote before it failed.
    fn supervise(
        &self,
        program: &ClientProgram,
        line: CommandLine,
        held: &HeldSession,
    ) -> Result<Result<(), String>, BackupError> {
        let name = &program.path;
        let mut command = process::command(name);
        command.args(&line.arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(password) = line.password {
            command.env("PGPASSWORD", password);
        }
        log::debug!(target: "barman.command_wrappers", "Command: {:?} {:?}", name, line.arguments);
        sys::end_with_parent(&mut command, Signal::SIGINT);
        let mut child = command.spawn().at("run", name)?;
        let lines = output_lines::of(&mut child, "pg_basebackup")?;
        let mut written = Vec::new();
        let status = std::thread::scope(|scope| {
            let mut mover = Mover::default();
            let mut looked = Instant::now();
            loop {
                match lines.recv_timeout(TICK) {
                    Ok(line) => {
                        log::info!(target: "barman.backup_executor", "{line}");
                        if line.contains(WAITING) {
                            mover.start(scope, self.primary.as_ref());
                        }
                        written.push(line);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break child.wait().at("wait for", name),
                }
                if interrupt::check().is_err() {
                    // It may be gone already.
                    if let Err(error) = process::signal(child.id(), Signal::SIGINT) {
                        log::debug!(target: "barman.command_wrappers", "{error}");
                    }
                }
                if self.primary.is_some() && looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    if waits_for_wal(held) {
                        mover.start(scope, self.primary.as_ref());
                    }
                }
            }
        })?;
        interrupt::check()?;
        if status.success() {
            return Ok(Ok(()));
        }
        if written.is_empty() {
            written.push(format!("it ended with exit code {}", process::exit_code(status)));
        }
        Ok(Err(written.join("\n")))
    }
}

/// Whether a base backup of the server waits for its WAL to be archived: whatever language it speaks.
fn waits_for_wal(held: &HeldSession) -> bool {
    let mut session = held.session();
    if !session.version().at_least(13) {
        return false;
    }
    let rows = session.query(
        "SELECT 1 FROM pg_catalog.pg_stat_progress_basebackup WHERE phase = 'waiting for wal archiving to finish'",
        &[],
    );
    match rows {
        Ok(rows) => !rows.is_empty(),
        Err(error) => {
            log::debug!(target: "barman.postgres", "the progress of the backup is not known: {error}");
            false
        }
    }
}

/// Keeps the primary of a standby moving, once, until the program has ended.
#[derive(Default)]
struct Mover {
    ended: Option<Sender<()>>,
}

impl Mover {
    fn start<'scope>(
        &mut self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        primary: Option<&'scope Primary>,
    ) {
        let Some(primary) = primary.filter(|_| self.ended.is_none()) else {
            return;
        };
        let (ended, watch): (Sender<()>, Receiver<()>) = mpsc::channel();
        self.ended = Some(ended);
        scope.spawn(move || standby::keep_moving(primary, &watch));
    }
}
