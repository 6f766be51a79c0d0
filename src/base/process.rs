//! Child processes and the processes of others.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{PoisonError, RwLock};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program could not be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run \"{program}\": {source}")]
pub struct SpawnError {
    /// The program's name (never its arguments: they may hold secrets).
    pub program: String,
    /// Why.
    pub source: io::Error,
}

/// See [`search_first`].
static PREFIX: RwLock<Option<OsString>> = RwLock::new(None);

/// From here on every program is looked for in these directories, separated by colons, before those of `PATH`, and so does
/// the program itself: `path_prefix` of the server that is being worked on. One server is worked on at a time.
pub fn search_first(directories: Option<&str>) {
    let prefix = directories
        .filter(|directories| !directories.is_empty())
        .map(OsString::from);
    *PREFIX.write().unwrap_or_else(PoisonError::into_inner) = prefix;
}

/// A program that is looked for as [`search_first`] says.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some(prefix) = &*PREFIX.read().unwrap_or_else(PoisonError::into_inner) {
        command.env("PATH", prefixed(prefix));
    }
    command
}

/// `PATH` with `prefix` before it.
#[must_use]
pub fn prefixed(prefix: &OsStr) -> OsString {
    let mut path = prefix.to_owned();
    if let Some(inherited) = std::env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    path
}

/// The file that `program` means: itself when it has a slash, else the first of that name in `PATH` that can be run.
#[must_use]
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
        })
}

/// Runs a program to its end and collects what it wrote.
///
/// # Errors
/// The program could not be started.
pub fn output(command: &mut Command) -> Result<Output, SpawnError> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| spawn_error(command, source))
}

/// Runs a program to its end with `input` on its standard input.
///
/// # Errors
/// The program could not be started or fed.
pub fn output_with_input(command: &mut Command, input: &[u8]) -> Result<Output, SpawnError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| spawn_error(command, source))?;
    let stdin = child.stdin.take();
    // A thread feeds the program, which may answer before it has read everything.
    let fed = std::thread::scope(|scope| {
        let feeder = scope.spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input)));
        let output = child.wait_with_output();
        // A program that stops reading early has its reasons: its exit code tells.
        let _ = feeder.join();
        output
    });
    fed.map_err(|source| spawn_error(command, source))
}

/// `sh -c {script}`, the way hook scripts and filters are run.
#[must_use]
pub fn shell(script: &str) -> Command {
    let mut command = command("sh");
    command.arg("-c").arg(script);
    command
}

/// Starts a process that outlives this one: its own session, no standard streams.
///
/// # Errors
/// The program could not be started.
pub fn spawn_detached(command: &mut Command) -> Result<Child, SpawnError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| spawn_error(command, source))
}

/// The exit code as a shell sees it: 128 + n after signal n.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Whether a process with this pid runs. One that has ended and waits for its parent to take notice does not: in
/// containers, the first process may take seconds for that, or never do it.
#[must_use]
pub fn alive(pid: u32) -> bool {
    let Ok(id) = i32::try_from(pid) else { return false };
    match kill(Pid::from_raw(id), None) {
        Ok(()) | Err(Errno::EPERM) => !has_ended(pid),
        Err(_) => false,
    }
}

/// Whether `/proc` calls it a zombie; the name in parentheses before the state may hold anything.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .iter()
        .rposition(|byte| *byte == b')')
        .and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'Z' | b'X'))
}

/// Sends a signal to one process.
///
/// # Errors
/// The process does not exist or belongs to somebody else.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
}

fn spawn_error(command: &Command, source: io::Error) -> SpawnError {
    SpawnError {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_nobody_waited_for_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        while alive(child.id()) {
            std::thread::yield_now();
        }
        // It is still there, as a zombie.
        assert!(kill(Pid::from_raw(child.id().cast_signed()), None).is_ok());
        assert!(child.wait().unwrap().success());
        assert!(alive(std::process::id()));
    }
    #[test]
    fn programs_are_looked_for_in_the_prefix_first() {
        let directory = std::env::temp_dir().join(format!("barkeep-prefix-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        // A link: a file that was just written may be busy.
        std::os::unix::fs::symlink("/usr/bin/env", directory.join("barkeep-only-here")).unwrap();
        let run = || output(command("barkeep-only-here").args(["sh", "-c", "echo \"$PATH\""]));
        assert!(run().is_err());
        search_first(directory.to_str());
        let path = String::from_utf8(run().unwrap().stdout).unwrap();
        assert!(
            path.starts_with(directory.to_str().unwrap()) && path.contains(":/"),
            "{path}"
        );
        search_first(Some(""));
        assert!(run().is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
