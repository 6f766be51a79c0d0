//! A command that stands still at a place of our choice, for as long as a trial looks around.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{Background, Finished, eventually};

/// How long a command may take to get there, and to its end from there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that stopped when it opened a file.
pub struct Stopped {
    pid: Pid,
    strace: Option<Background>,
}

impl Stopped {
    /// Runs `command` until it opens `path`.
    pub fn at(path: &Path, command: &Command, record: PathBuf) -> Stopped {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=openat", "-P"]).arg(path);
        strace
            .args(["-e", "inject=openat:signal=STOP:when=1", "-o"])
            .arg(&record);
        strace.arg(command.get_program()).args(command.get_args());
        strace
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let _ = std::fs::remove_file(&record);
        let mut strace = Background::start(strace, Signal::SIGTERM);
        let stopped = || {
            let text = std::fs::read_to_string(&record).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.contains("--- stopped by SIGSTOP ---"));
            line.map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        };
        eventually(
            PATIENCE,
            &format!("{command:?} to open {}", path.display()),
            || stopped().is_some() || !strace.is_running(),
        );
        let Some(thread) = stopped() else {
            let finished = strace.finish(PATIENCE);
            panic!("{command:?} never opened {}: {finished:?}", path.display());
        };
        Stopped {
            pid: process_of(thread),
            strace: Some(strace),
        }
    }

    /// Lets it go on to its end.
    pub fn finish(mut self) -> Finished {
        kill(self.pid, Signal::SIGCONT).unwrap();
        self.strace.take().unwrap().finish(PATIENCE)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if self.strace.is_some() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .unwrap();
    Pid::from_raw(line.trim().parse().unwrap())
}
