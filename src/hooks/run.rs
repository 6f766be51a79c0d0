//! Runs one script: its environment, its output in the log, its repetition.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::base::error::PathError;
use crate::base::interrupt;
use crate::base::process;

use super::{CannotRun, HookError, HookEvent, HookRunner, HookSubject, Phase, option_name};

/// Ends a retry script and goes on.
const ABORT_CONTINUE: i32 = 62;
/// Ends a retry script and, before the event, the event.
const ABORT_STOP: i32 = 63;

/// How long to wait between the runs of a retry script that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause after a failure.
    pub pause: Duration,
    /// How many failures in a row lead to a long pause.
    pub failures: u32,
    /// The long pause.
    pub long_pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            pause: Duration::from_secs(3),
            failures: 6,
            long_pause: Duration::from_secs(60),
        }
    }
}

impl HookRunner {
    /// Runs the standard script of an event. Its exit code is logged and changes nothing.
    pub(super) fn standard(
        &self,
        event: HookEvent,
        phase: Phase,
        subject: &HookSubject,
        error: Option<&str>,
    ) {
        let option = option_name(event, phase, false);
        let Some(script) = self.scripts.get(&option) else {
            return;
        };
        let environment = self.environment(event, phase, false, subject, error);
        match self.attempt(&option, script, &environment) {
            Ok(0) => {}
            Ok(code) => log_code(script, code),
            Err(reason) => log::error!(target: "barman.hooks", "{option} could not be run: {reason}"),
        }
    }

    /// Runs the retry script of an event until it says what to do.
    pub(super) fn with_retries(
        &self,
        event: HookEvent,
        phase: Phase,
        subject: &HookSubject,
        error: Option<&str>,
    ) -> Result<(), HookError> {
        let option = option_name(event, phase, true);
        let Some(script) = self.scripts.get(&option) else {
            return Ok(());
        };
        let environment = self.environment(event, phase, true, subject, error);
        let mut failures = 0;
        loop {
            let code = match self.attempt(&option, script, &environment) {
                Ok(0) => return Ok(()),
                Ok(ABORT_CONTINUE) => {
                    log_code(script, ABORT_CONTINUE);
                    log::warn!(
                        target: "barman.hooks",
                        "{script} was aborted (got exit status {ABORT_CONTINUE}, Barman resumes)"
                    );
                    return Ok(());
                }
                Ok(ABORT_STOP) => {
                    log_code(script, ABORT_STOP);
                    log::error!(
                        target: "barman.hooks",
                        "{script} was aborted (got exit status {ABORT_STOP}, Barman requested to stop)"
                    );
                    return Err(HookError::Aborted {
                        hook: option,
                        command: script.clone(),
                    });
                }
                Ok(code) => {
                    log_code(script, code);
                    code.to_string()
                }
                Err(reason) => reason.to_string(),
            };
            failures += 1;
            let long = failures % self.pace.failures.max(1) == 0;
            let pause = if long {
                self.pace.long_pause
            } else {
                self.pace.pause
            };
            log::warn!(
                target: "barman.hooks",
                "{option} failed ({code}), {failures} times so far; it runs again in {} seconds. \
                 Exit codes 0, 62 and 63 end this; so does a signal to process {}. Script: {script}",
                pause.as_secs(),
                std::process::id()
            );
            nap(pause)?;
        }
    }

    /// Runs a script once, to its exit code.
    fn attempt(&self, option: &str, script: &str, environment: &[(&str, String)]) -> Result<i32, CannotRun> {
        log::debug!(target: "barman.hooks", "Attempt to run '{option}: {script}'");
        let mut command = process::shell(script);
        command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(prefix) = &self.path_prefix {
            command.env("PATH", process::prefixed(OsStr::new(prefix)));
        }
        let status = run(option, &mut command).map_err(|source| PathError::new("run", "sh", source))?;
        log::debug!(target: "barman.hooks", "{option} returned {}", process::exit_code(status));
        Ok(process::exit_code(status))
    }
}

/// Barman's words, which monitoring looks for.
fn log_code(script: &str, code: i32) {
    log::warn!(target: "barman.hooks", "{script} returned {code}");
}

/// Runs a command while its output goes to the log line by line. A signal that reaches this process meanwhile is
/// passed on as SIGTERM, once: Ctrl-C reaches the script anyhow, a signal to this process alone would not.
fn run(option: &str, command: &mut Command) -> std::io::Result<ExitStatus> {
    let stopped_before = interrupt::check().is_err();
    let mut child = command.spawn()?;
    let pid = child.id();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        if let Some(stdout) = stdout {
            scope.spawn(move || log_lines(option, log::Level::Debug, stdout));
        }
        if let Some(stderr) = stderr {
            scope.spawn(move || log_lines(option, log::Level::Warn, stderr));
        }
        let (sender, receiver) = mpsc::channel();
        scope.spawn(move || drop(sender.send(child.wait())));
        let mut told = stopped_before;
        loop {
            match receiver.recv_timeout(Duration::from_millis(200)) {
                Ok(status) => return status,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(std::io::Error::other(
                        "the thread that waits for the script ended",
                    ));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if !told && interrupt::check().is_err() {
                        told = true;
                        if let Err(error) = process::signal(pid, Signal::SIGTERM) {
                            log::warn!(target: "barman.hooks", "cannot stop {option} (process {pid}): {error}");
                        }
                    }
                }
            }
        }
    })
}

fn log_lines(option: &str, level: log::Level, output: impl Read) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // A script may write without end and without newlines: a line is cut at this length.
    const LONGEST: u64 = 64 * 1024;
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                log::log!(target: "barman.hooks", level, "{option}: {}", text.trim_end());
            }
            Err(error) => {
                log::warn!(target: "barman.hooks", "cannot read the output of {option}: {error}");
                return;
            }
        }
    }
}

/// Waits, unless a signal asks the program to stop.
fn nap(pause: Duration) -> Result<(), HookError> {
    let deadline = Instant::now() + pause;
    loop {
        interrupt::check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(200)));
    }
}
