//! Commands as child processes: on this host, and over ssh programs that are not OpenSSH.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};

use super::remote::{Ending, RunningCommand, talk};
use super::{Channel, RunOutput, TransportError};
use crate::base::error::PathError;
use crate::base::interrupt;
use crate::base::process::{self, SpawnError};

/// The size asked for the pipes of bulk data: the default of 64 KiB halves the throughput of ssh.
const PIPE_BYTES: i32 = 1 << 20;

/// Runs `words… command` to its end.
pub(super) fn run(words: &[String], command: &str, input: &[u8]) -> Result<RunOutput, TransportError> {
    let Channel {
        input: stdin,
        output,
        errors,
        ending,
    } = open(words, command)?;
    match talk(input, stdin, output, errors) {
        Ok((stdout, stderr)) => Ok(RunOutput {
            stdout,
            stderr,
            code: ending.wait()?,
        }),
        Err(error) => {
            interrupt::check()?;
            Err(TransportError::Lost {
                peer: words.join(" "),
                reason: error.to_string(),
            })
        }
    }
}

/// Starts `words… command` with our pipes as its standard streams.
pub(super) fn open(words: &[String], command: &str) -> Result<Channel, TransportError> {
    let mut child = prepare(words, command);
    let (their_input, input) = pipe()?;
    let (output, their_output) = pipe()?;
    let (errors, their_errors) = pipe()?;
    child
        .stdin(Stdio::from(their_input))
        .stdout(Stdio::from(their_output))
        .stderr(Stdio::from(their_errors));
    let spawned = child.spawn();
    let process = spawned.map_err(|source| SpawnError {
        program: words.first().cloned().unwrap_or_default(),
        source,
    })?;
    Ok(Channel {
        input,
        output,
        errors,
        ending: Ending::new(RunningCommand::Child(process)),
    })
}

fn prepare(words: &[String], command: &str) -> Command {
    let (program, arguments) = words
        .split_first()
        .map_or(("sh", [].as_slice()), |(p, a)| (p.as_str(), a));
    let mut child = process::command(program);
    // Ctrl-C goes to the foreground group: our children are ended by us, in order.
    child.args(arguments).arg(command).process_group(0);
    child
}

/// A pipe of up to 1 MiB (less where `/proc/sys/fs/pipe-max-size` says so).
pub(crate) fn pipe() -> Result<(PipeReader, PipeWriter), TransportError> {
    let (reader, writer) = std::io::pipe().map_err(|source| PathError::new("create", "pipe", source))?;
    widen(&reader);
    Ok((reader, writer))
}

/// Makes a pipe as large as [`pipe`] does, if it is one. A smaller one is slower, not wrong.
pub(crate) fn widen(pipe: impl AsFd) {
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
}
