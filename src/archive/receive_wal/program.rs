//! `pg_receivewal`: finding it, its arguments, and watching over it.

use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::base::error::PathContext;
use crate::base::interrupt::{self, Interrupted};
use crate::base::report::Reporter;
use crate::base::{output_lines, process, sys};
use crate::config::ServerConfig;
use crate::postgres::client_program::ClientProgram;
use crate::postgres::conninfo;
use crate::postgres::facts::Facts;

use super::ReceiveError;

/// The program's names since PostgreSQL 10 and before.
const NAMES: [&str; 2] = ["pg_receivewal", "pg_receivexlog"];

/// How often the wait for lines looks for signals.
const TICK: Duration = Duration::from_millis(100);

/// The program that is to receive WAL.
pub(super) fn find(config: &ServerConfig, facts: &Facts) -> Result<ClientProgram, ReceiveError> {
    let program = ClientProgram::find(&NAMES, config.path_prefix.as_deref())
        .ok_or_else(|| ReceiveError::Failed("pg_receivewal not present in $PATH".to_owned()))?;
    if program.fits(facts.version) == Some(true) {
        return Ok(program);
    }
    let name = name_of(&program);
    Err(ReceiveError::Failed(format!(
        "{name} version not compatible with PostgreSQL server version"
    )))
}

fn name_of(program: &ClientProgram) -> String {
    program
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The command line, as Barman's. Passwords of the connection string are in the environment instead. `synchronous`: commits
/// wait until what they wrote is on disk here.
pub(super) fn command(
    config: &ServerConfig,
    program: &ClientProgram,
    synchronous: bool,
) -> Result<Command, ReceiveError> {
    let conninfo = config.streaming_conninfo.as_deref().unwrap_or_default();
    let (shown, password) = conninfo::without_secrets(&conninfo::for_replication(conninfo)?)?;
    let name = [(
        "application_name".to_owned(),
        config.streaming_archiver_name.clone(),
    )];
    let name = conninfo::keyword_value(name.into_iter());
    let mut command = process::command(&program.path);
    command
        .arg(format!("--dbname={shown} {name}"))
        .args(["--verbose", "--no-loop", "--no-password"])
        .arg(directory_option(&config.streaming_wals_directory));
    if let Some(slot) = &config.slot_name {
        command.arg(format!("--slot={slot}"));
    }
    // Without it a commit that waits for us would wait until its segment is complete.
    if synchronous {
        command.arg("--synchronous");
    }
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ok(command)
}

fn directory_option(directory: &std::path::Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from("--directory=");
    option.push(directory);
    option
}

/// How the program came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It had nothing more to do.
    ByItself,
    /// It was stopped because `outdated` said that it has to be started in another way.
    Outdated,
}

/// Runs the program to its end and passes its lines on. A signal to us ends it; so does our own end, whatever its reason:
/// two receivers must never write to one directory.
pub(super) fn supervise(
    server: &str,
    mut command: Command,
    outdated: impl Fn() -> bool,
    reporter: &dyn Reporter,
) -> Result<Ended, ReceiveError> {
    let name = std::path::PathBuf::from(command.get_program());
    let shown = name
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::end_with_parent(&mut command, Signal::SIGINT);
    let mut child = command.spawn().at("run", &name)?;
    let (mut signalled, mut stopped) = (None, false);
    let status = {
        let lines = output_lines::of(&mut child, "pg_receivewal")?;
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) if signalled.is_none() && !stopped => reporter.info(&format!("{server}: {line}")),
                Ok(line) => log::info!(target: "barman.command_wrappers", "{server}: {line}"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break child.wait().at("wait for", &name)?,
            }
            if let (None, Err(signal)) = (&signalled, interrupt::check()) {
                announce(signal, reporter);
                signalled = Some(signal);
            }
            stopped |= outdated();
            if stopped || signalled.is_some() {
                // Again and again: pg_receivewal looks at its flag before it waits for the server, and a signal that comes
                // between the two is noticed ten seconds later.
                process::signal(child.id(), Signal::SIGINT).at("stop", &name)?;
            }
        }
    };
    if let Some(signal) = signalled.or(interrupt::check().err()) {
        return Err(signal.into());
    }
    if stopped {
        return Ok(Ended::Outdated);
    }
    if status.success() {
        return Ok(Ended::ByItself);
    }
    Err(ReceiveError::Failed(format!(
        "{shown} terminated with error code: {}",
        process::exit_code(status)
    )))
}

fn announce(signal: Interrupted, reporter: &dyn Reporter) {
    match signal {
        Interrupted::Keyboard => reporter.info("SIGINT received. Terminate gracefully."),
        other => log::info!(target: "barman.wal_archiver", "{other}: stopping"),
    }
}
