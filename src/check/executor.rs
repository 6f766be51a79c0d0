//! What the way of taking backups needs: ssh, the client programs of PostgreSQL.

use std::process::Output;

use crate::base::process::exit_code;
use crate::base::shell;
use crate::config::BackupMethod;
use crate::postgres::client_program::ClientProgram;
use crate::transport::{Remote, SshOptions, run_while};

use super::context::Context;
use super::{Cancelled, Sink, SshAnswer};

/// A shell's exit code for a program that does not exist.
const NOT_FOUND: i32 = 127;

/// What Barman adds to every ssh command of the configuration.
const BATCH_OPTIONS: &str = "-o BatchMode=yes -o StrictHostKeyChecking=no";

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    if !server.active {
        return Ok(());
    }
    if let Some(command) = &server.primary_ssh_command {
        return ssh(context, command, "Barman primary node", sink).map(|_| ());
    }
    match server.backup_method {
        BackupMethod::Rsync | BackupMethod::Snapshot => {
            let Some(command) = &server.ssh_command else {
                return Ok(()); // said by the check "configuration"
            };
            if begun(context, sink)? || ssh(context, command, "PostgreSQL server", sink)? {
                forgotten_label(context, command, sink)?;
            }
            exclusive(context, sink)
        }
        BackupMethod::LocalRsync if server.ssh_command.is_none() => {
            sink.report("local PGDATA", true, "Access to local PGDATA")?;
            exclusive(context, sink)
        }
        BackupMethod::Postgres => pg_basebackup(context, sink),
        BackupMethod::LocalRsync | BackupMethod::LocalToCloud => Ok(()),
    }
}

/// Whether a connection that is needed later has shown already what [`ssh`] would.
fn begun(context: &Context, sink: &Sink) -> Result<bool, Cancelled> {
    let Some(begun) = &context.options.begun else {
        return Ok(false);
    };
    let works = begun.answers_quietly(&|| sink.go_on().is_ok());
    sink.go_on()?;
    if works {
        sink.report("ssh", true, "PostgreSQL server")?;
    }
    Ok(works)
}

/// Runs `true` on the other host. Says whether that worked.
fn ssh(context: &Context, command: &str, host: &str, sink: &Sink) -> Result<bool, Cancelled> {
    let answer = match &context.options.known.ssh {
        Some(answer) => answer.clone(),
        None => match remote(command, "true", sink)? {
            Ok(output) => answer(&output),
            Err(reason) => {
                context.note_ssh(NOT_FOUND, "");
                return sink.report("ssh", false, reason).map(|()| false);
            }
        },
    };
    if answer.code != 0 || answer.noisy || !answer.stderr.is_empty() {
        context.note_ssh(answer.code, &answer.stderr);
    }
    if answer.code != 0 {
        let code = answer.code;
        log::warn!(target: "Command", "{}", answer.stderr.trim_end());
        let hint = format!("Connection failed using '{command} {BATCH_OPTIONS}' return code {code}");
        return sink.report("ssh", false, hint).map(|()| false);
    }
    sink.report("ssh", true, host)?;
    if answer.noisy || !answer.stderr.is_empty() {
        let hint = "the configured ssh_command must not add anything to the remote command output";
        sink.report("ssh output clean", false, hint)?;
    }
    Ok(true)
}

/// What a command that prints nothing says about the connection.
fn answer(output: &Output) -> SshAnswer {
    SshAnswer {
        code: exit_code(output.status),
        noisy: !output.stdout.is_empty(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A `backup_label` in the data directory of a server that is down: it would start from the wrong checkpoint.
fn forgotten_label(context: &Context, command: &str, sink: &Sink) -> Result<(), Cancelled> {
    if context.facts().is_some() {
        return Ok(());
    }
    let Some(pgdata) = context
        .backups()
        .values()
        .rev()
        .find_map(|info| info.pgdata.as_deref())
    else {
        return Ok(());
    };
    let test = format!("test -e {}", shell::quote(&format!("{pgdata}/backup_label")));
    if remote(command, &test, sink)?.is_ok_and(|output| output.status.success()) {
        let hint = "Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.";
        sink.report("backup_label", false, hint)?;
    }
    Ok(())
}

/// Runs a command over ssh. The inner error is the reason why it could not be run at all.
fn remote(command: &str, what: &str, sink: &Sink) -> Result<Result<Output, String>, Cancelled> {
    let words = match Remote::ssh(command, SshOptions::SERVER) {
        Ok(remote) => remote.ssh_words(),
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(run_while(&words, what, || sink.go_on())?.map_err(|error| {
        log::error!(target: "barman.server", "cannot run \"{command}\": {error}");
        format!("Connection failed using '{command} {BATCH_OPTIONS}' return code 127")
    }))
}

/// Exclusive backups exist up to PostgreSQL 14, and on a primary only.
fn exclusive(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if !context.server.backup_options.exclusive_backup {
        return Ok(());
    }
    let Some(facts) = context.facts() else {
        sink.report("not in recovery", true, "")?;
        return sink.report(
            "exclusive backup supported",
            false,
            "unable to determine postgres version",
        );
    };
    let hint = if facts.is_in_recovery {
        "cannot perform exclusive backup on a standby"
    } else {
        ""
    };
    sink.report("not in recovery", !facts.is_in_recovery, hint)?;
    if facts.version.at_least(15) {
        let hint = format!(
            "exclusive backups not supported on PostgreSQL {}",
            facts.version.major()
        );
        return sink.report("exclusive backup supported", false, hint);
    }
    sink.report("exclusive backup supported", true, "")
}

fn pg_basebackup(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let program = ClientProgram::find(&["pg_basebackup"], context.server.path_prefix.as_deref());
    sink.report("pg_basebackup", program.is_some(), "")?;
    let (compatible, hint) = context.compatibility("pg_basebackup", program.as_ref(), "Unknown");
    sink.report("pg_basebackup compatible", compatible, hint)?;
    if context.facts().is_none() {
        return Ok(());
    }
    let hint = if program.is_some() {
        ""
    } else {
        "pg_basebackup 9.4 or higher is required for tablespaces support"
    };
    sink.report("pg_basebackup supports tablespaces mapping", true, hint)
}
