//! Programs run by the tests: one-shot commands, background processes, waiting for something to become true.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::cleanup;

/// An account of this machine that tests log in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// Looks the account up; `tests/setup` creates the ones that the tests use.
    pub fn named(name: &str) -> Account {
        let user = User::from_name(name).unwrap();
        let user = user.unwrap_or_else(|| panic!("no account {name}: run tests/setup"));
        Account {
            name: name.to_owned(),
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }
    }

    /// The account that owns the clusters.
    pub fn postgres() -> Account {
        Account::named("postgres")
    }

    /// The account that the backup manager runs as.
    pub fn barman() -> Account {
        Account::named("barman")
    }

    /// Makes `command` run as this account.
    pub fn applied_to(&self, mut command: Command) -> Command {
        command.uid(self.uid).gid(self.gid);
        command
    }

    /// Gives a path to this account.
    pub fn own(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }
}

/// What a finished program left: its two streams as text and its exit code (128 + n after signal n).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub stdout: String,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
    pub stderr: String,
    pub code: i32,
}

impl Finished {
    /// Fails the test unless the program ended with 0.
    #[track_caller]
    pub fn success(self) -> Finished {
        assert_eq!(
            self.code, 0,
            "the command failed\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails the test unless the program ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Finished {
        assert_eq!(
            self.code, code,
            "unexpected exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// Runs a command to its end without input.
#[track_caller]
pub fn run(command: Command) -> Finished {
    run_with_input(command, b"")
}

/// No command of a test takes longer than this; one that does is killed, and its code is 137.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a command to its end with the given standard input.
#[track_caller]
pub fn run_with_input(mut command: Command, input: &[u8]) -> Finished {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let pid = child.id();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may end without reading its input: that is its right.
        let _ = stdin.write_all(&input);
    });
    let (ended, watch) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watch.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watchdog.join().unwrap();
    writer.join().unwrap();
    finished(output)
}

fn finished(output: std::process::Output) -> Finished {
    Finished {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        bytes: output.stdout,
    }
}

/// A process in the background, ended by its pid at the latest when this value goes away.
#[derive(Debug)]
pub struct Background {
    child: Option<Child>,
    stop_signal: Signal,
}

impl Background {
    /// Starts the command; `stop_signal` is what asks it politely to end.
    pub fn start(mut command: Command, stop_signal: Signal) -> Background {
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        cleanup::watch_process(child.id());
        Background {
            child: Some(child),
            stop_signal,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits for the end and returns what it left (streams only when they were piped).
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let pid = self.pid();
        let child = self.child.take().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(child.wait_with_output());
        });
        let Ok(output) = receiver.recv_timeout(limit) else {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            panic!("process {pid} did not end within {limit:?}");
        };
        cleanup::forget_process(pid);
        let output = output.unwrap();
        finished(output)
    }

    /// Ends the process with its polite signal, then without mercy.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = child.id();
        let _ = kill(Pid::from_raw(pid as i32), self.stop_signal);
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        cleanup::forget_process(pid);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Polls until `condition` holds; fails the test after `limit`.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "after {limit:?} still waiting for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
