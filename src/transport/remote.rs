//! A place where commands run: this host, or another one behind the user's `ssh_command`.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::TransportError;
use super::direct;
use super::master::{Master, RemoteProcess};
use super::patience::{PatientReader, PatientWriter, Stop};
use crate::base::process::exit_code;
use crate::base::shell;

/// What Barman adds to the `ssh_command` of a server (and not to `--remote-ssh-command`).
const BATCH_OPTIONS: [&str; 4] = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];

/// How an ssh command is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SshOptions {
    /// Add `-o BatchMode=yes -o StrictHostKeyChecking=no`, as Barman does for the `ssh_command` of a server. It does not
    /// for the `--remote-ssh-command` of a restore.
    pub batch: bool,
    /// Prefer AES-GCM ciphers when this host has AES instructions and the user chose no cipher.
    pub prefer_aes_gcm: bool,
}

impl SshOptions {
    /// For the `ssh_command` of a server.
    pub const SERVER: SshOptions = SshOptions {
        batch: true,
        prefer_aes_gcm: true,
    };
    /// For the `--remote-ssh-command` of a restore.
    pub const RESTORE: SshOptions = SshOptions {
        batch: false,
        prefer_aes_gcm: true,
    };
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, including ssh's own messages.
    pub stderr: Vec<u8>,
    /// The exit code; 255 when ssh could not connect.
    pub code: i32,
}

/// A place where commands run.
#[derive(Debug)]
pub struct Remote {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Local,
    Ssh {
        words: Vec<String>,
        options: SshOptions,
        /// Started on first use; `None` inside when the program is not OpenSSH.
        master: Mutex<Option<Option<Arc<Master>>>>,
        /// Whether the other host is known to lack AES instructions.
        lacks_aes: AtomicBool,
    },
}

/// The standard streams of a running command, for blocking threads.
#[derive(Debug)]
pub struct Channel {
    /// The command's standard input.
    pub input: std::io::PipeWriter,
    /// The command's standard output.
    pub output: std::io::PipeReader,
    /// The command's standard error.
    pub errors: std::io::PipeReader,
    /// The command's end, to be waited for once its streams are closed.
    pub ending: Ending,
}

/// A running command. Dropping it waits for the end, which must be near: its standard input is closed, or it is killed.
#[derive(Debug)]
pub struct Ending {
    pub(super) process: Option<RunningCommand>,
}

impl Ending {
    pub(super) fn new(process: RunningCommand) -> Ending {
        Ending {
            process: Some(process),
        }
    }

    /// Waits for the command's exit code. Its streams must be closed or drained by then.
    ///
    /// # Errors
    /// The connection failed instead.
    pub fn wait(mut self) -> Result<i32, TransportError> {
        match self.process.take() {
            Some(process) => process.wait(),
            None => Ok(0),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // A session of ssh is not waited for: dropping it and its master ends it, even when the network is dead.
        if let Some(process @ RunningCommand::Child(_)) = self.process.take()
            && let Err(error) = process.wait()
        {
            log::debug!("{error}");
        }
    }
}

/// How long a child gets to end after its streams were closed.
const END_PATIENCE: Duration = Duration::from_secs(3);

impl RunningCommand {
    fn wait(self) -> Result<i32, TransportError> {
        match self {
            RunningCommand::Child(mut child) => {
                let start = Instant::now();
                let mut step = Duration::from_millis(1);
                let failed = |reason: std::io::Error| TransportError::Lost {
                    peer: "child".to_owned(),
                    reason: reason.to_string(),
                };
                loop {
                    if let Some(status) = child.try_wait().map_err(failed)? {
                        return Ok(exit_code(status));
                    }
                    if start.elapsed() > END_PATIENCE {
                        child.kill().map_err(failed)?;
                        return child.wait().map(exit_code).map_err(failed);
                    }
                    std::thread::sleep(step);
                    step = (step * 2).min(Duration::from_millis(50));
                }
            }
            RunningCommand::Session(mut process) => process.wait(),
        }
    }
}

/// The command behind a [`Channel`].
#[derive(Debug)]
pub(super) enum RunningCommand {
    /// A child of this process.
    Child(Child),
    /// A session of an ssh master that belongs to this channel alone.
    Session(RemoteProcess),
}

impl Remote {
    /// This host.
    #[must_use]
    pub fn local() -> Remote {
        Remote { kind: Kind::Local }
    }

    /// The host that `command` (an `ssh_command`, destination included) leads to. Nothing is started yet.
    ///
    /// # Errors
    /// The command is empty or has an unclosed quote.
    pub fn ssh(command: &str, options: SshOptions) -> Result<Remote, TransportError> {
        let words = shell::split(command).map_err(|error| TransportError::Command {
            command: command.to_owned(),
            reason: error.to_string(),
        })?;
        if words.is_empty() {
            return Err(TransportError::Command {
                command: command.to_owned(),
                reason: "it is empty".to_owned(),
            });
        }
        Ok(Remote {
            kind: Kind::Ssh {
                words,
                options,
                master: Mutex::new(None),
                lacks_aes: AtomicBool::new(false),
            },
        })
    }

    /// Whether this is the host we run on.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Local)
    }

    /// The ssh program and its arguments, with the batch options when they apply; empty for the local host.
    #[must_use]
    pub fn ssh_words(&self) -> Vec<String> {
        match &self.kind {
            Kind::Local => Vec::new(),
            Kind::Ssh { words, options, .. } => with_batch_options(words, *options),
        }
    }

    /// The ssh command as Barman names it in messages: `ssh postgres@pg -o BatchMode=yes …`; `local` for this host.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Local => "local".to_owned(),
            Kind::Ssh { .. } => self.ssh_words().join(" "),
        }
    }

    /// Runs a shell command line to its end. A connection that fails is not an error here: it gives code 255 and
    /// ssh's message on `stderr`.
    ///
    /// # Errors
    /// A program could not be started here, or the connection was lost while the command ran.
    pub fn run(&self, command: &str) -> Result<RunOutput, TransportError> {
        self.run_with_input(command, &[])
    }

    /// [`Remote::run`] with `input` on the command's standard input.
    ///
    /// # Errors
    /// As [`Remote::run`].
    pub fn run_with_input(&self, command: &str, input: &[u8]) -> Result<RunOutput, TransportError> {
        match self.master() {
            Ok(Some(master)) => master.run(command, input),
            Ok(None) => direct::run(&self.child_words(), command, input),
            Err(TransportError::Connect { code, stderr, .. }) => Ok(RunOutput {
                stdout: Vec::new(),
                stderr: stderr.into_bytes(),
                code,
            }),
            Err(other) => Err(other),
        }
    }

    /// Starts a command and hands out its streams: pipes of up to 1 MiB for blocking threads. The channel shares its
    /// connection with the commands of this `Remote`.
    ///
    /// # Errors
    /// The connection cannot be made or the program not be started.
    pub fn open(&self, command: &str) -> Result<Channel, TransportError> {
        match self.master()? {
            Some(master) => master.open(command),
            None => direct::open(&self.child_words(), command),
        }
    }

    /// [`Remote::open`] with a connection, and so a cipher thread, of its own: for parallel bulk data.
    ///
    /// # Errors
    /// As [`Remote::open`]; or `stop` was raised before the connection was there.
    pub fn open_own(&self, command: &str, stop: &Stop) -> Result<Channel, TransportError> {
        match self.start_master(stop)? {
            Some(master) => master.open(command),
            None => direct::open(&self.child_words(), command),
        }
    }

    /// [`Remote::open_own`], and whether `true`, run over the same connection, ended well and nothing was written by it
    /// or by ssh; `false` where connections are not shared.
    ///
    /// # Errors
    /// As [`Remote::open_own`].
    pub fn open_tried(&self, command: &str, stop: &Stop) -> Result<(Channel, bool), TransportError> {
        match self.start_master(stop)? {
            Some(master) => {
                let channel = Arc::clone(&master).open(command)?;
                Ok((channel, master.is_quiet()))
            }
            None => Ok((direct::open(&self.child_words(), command)?, false)),
        }
    }

    /// Says that the other host has no AES instructions: new connections keep ssh's own order of ciphers.
    pub fn expect_no_aes(&self) {
        if let Kind::Ssh { lacks_aes, .. } = &self.kind {
            lacks_aes.store(true, Ordering::SeqCst);
        }
    }

    /// The shared master, started on first use; `None` where there are none.
    fn master(&self) -> Result<Option<Arc<Master>>, TransportError> {
        let Kind::Ssh { master, .. } = &self.kind else {
            return Ok(None);
        };
        let mut master = master.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection that was lost is made anew.
        if let Some(Some(dead)) = master
            .as_ref()
            .filter(|master| !master.as_ref().is_none_or(|m| m.is_alive()))
        {
            log::debug!("{dead:?} has ended");
            *master = None;
        }
        match master.as_ref() {
            Some(started) => Ok(started.clone()),
            None => Ok(master.insert(self.start_master(&Stop::default())?).clone()),
        }
    }

    fn start_master(&self, stop: &Stop) -> Result<Option<Arc<Master>>, TransportError> {
        let Kind::Ssh {
            words,
            options,
            lacks_aes,
            ..
        } = &self.kind
        else {
            return Ok(None);
        };
        let prefer_aes_gcm = options.prefer_aes_gcm && !lacks_aes.load(Ordering::SeqCst);
        Ok(Master::start(
            words,
            SshOptions {
                prefer_aes_gcm,
                ..*options
            },
            stop,
        )?
        .map(Arc::new))
    }

    /// What a command is given to when there is no master.
    fn child_words(&self) -> Vec<String> {
        match &self.kind {
            Kind::Local => vec!["sh".to_owned(), "-c".to_owned()],
            Kind::Ssh { .. } => self.ssh_words(),
        }
    }
}

/// Feeds a command and collects what it says, until it closes its streams or the process is interrupted.
pub(super) fn talk(
    input: &[u8],
    stdin: PipeWriter,
    stdout: PipeReader,
    stderr: PipeReader,
) -> Result<(Vec<u8>, Vec<u8>), std::io::Error> {
    let stop = Stop::default();
    let mut stdin = PatientWriter::new(stdin, stop.clone())?;
    let mut stdout = PatientReader::new(stdout, stop.clone())?;
    let mut stderr = PatientReader::new(stderr, stop)?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that stops reading early has its reasons: its exit code tells.
            let _ = stdin.write_all(input);
        });
        let errors = scope.spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut output = Vec::new();
        stdout.read_to_end(&mut output)?;
        let errors = errors
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the reading thread failed")))?;
        Ok((output, errors))
    })
}

pub(super) fn with_batch_options(words: &[String], options: SshOptions) -> Vec<String> {
    let mut all = words.to_vec();
    if options.batch {
        all.extend(BATCH_OPTIONS.map(str::to_owned));
    }
    all
}
