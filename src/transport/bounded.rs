//! Running one command through a program that may never answer, for as long as somebody wants the result.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::base::process;

/// How often the wait looks whether anybody still wants the result.
const TICK: Duration = Duration::from_millis(50);

/// Runs `words` with `what` as the last argument, for as long as `go_on` lets it; then it is killed, with everything that it
/// has started. The inner error is that of a program that cannot be run.
///
/// # Errors
/// What `go_on` says.
pub fn run_while<E>(
    words: &[String],
    what: &str,
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<io::Result<Output>, E> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the command is empty",
        )));
    };
    let started = process::command(program)
        .args(arguments)
        .arg(what)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (sender, answer) = mpsc::channel();
    let waiter = std::thread::Builder::new().spawn(move || sender.send(child.wait_with_output()));
    if let Err(error) = waiter {
        return Ok(Err(error));
    }
    loop {
        match answer.recv_timeout(TICK) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => return Ok(Err(io::Error::other("the command was lost"))),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(stop) = go_on() {
                    // The group: ssh may have started a proxy.
                    if let Ok(group) = group {
                        let _ = killpg(group, Signal::SIGKILL);
                    }
                    return Err(stop);
                }
            }
        }
    }
}
