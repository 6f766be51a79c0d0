//! One OpenSSH master connection, started with the user's own command line and resumed through the `openssh` crate.
//!
//! `openssh`'s builder cannot carry arbitrary options or another program, so the master is started here, with our control
//! options in front of the user's words (for ssh the first value of an option wins). tokio stays inside this file: a
//! current-thread runtime that only starts sessions and collects their exit codes. Bulk data goes through pipes of our
//! own, which the master reads and writes itself.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssh::{OwningCommand, Session};
use tokio::runtime::Runtime;

use super::direct::pipe;
use super::patience::Stop;
use super::remote::{Ending, RunningCommand, SshOptions, talk, with_batch_options};
use super::{Channel, RunOutput, TransportError};
use crate::base::error::PathContext;
use crate::base::process::{self, SpawnError};
use crate::base::{host, interrupt};

/// The name of the control socket.
const SOCKET: &str = "s";
/// Seconds an idle master lives on when this process was killed before it could end it.
const PERSIST_SECONDS: u32 = 60;
/// How long a master gets to end after it was asked to.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// Twice the throughput of the default cipher on processors with AES instructions, and the same set of ciphers: `^` only
/// moves these to the front.
const AES_GCM_FIRST: &str = "Ciphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com";

/// A running master. Dropping it ends the connection and removes its socket.
#[derive(Debug)]
pub(super) struct Master {
    program: String,
    command: String,
    directory: PathBuf,
    runtime: Runtime,
    session: Option<Arc<Session>>,
}

/// A session of a master, and the master itself.
#[derive(Debug)]
pub(super) struct RemoteProcess {
    // Dropped in this order: the session first.
    child: Option<openssh::Child<Arc<Session>>>,
    master: Arc<Master>,
}

impl Master {
    /// Connects. `None` when the program is not OpenSSH and so has no masters.
    pub(super) fn start(
        words: &[String],
        options: SshOptions,
        stop: &Stop,
    ) -> Result<Option<Master>, TransportError> {
        let Some(program) = words.first() else {
            return Ok(None);
        };
        let name = std::slice::from_ref(program);
        if !remembered("-V", name, || is_openssh(program))? {
            log::debug!("\"{program}\" is not OpenSSH: every command is a connection of its own");
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .at("create runtime for", program)?;
        let directory = private_directory()?;
        // From here on, dropping the master removes the directory.
        let mut master = Master {
            program: program.clone(),
            command: with_batch_options(words, options).join(" "),
            directory,
            runtime,
            session: None,
        };
        master.connect(words, options, stop)?;
        Ok(Some(master))
    }

    fn connect(&mut self, words: &[String], options: SshOptions, stop: &Stop) -> Result<(), TransportError> {
        let socket = self.socket();
        let log_path = self.log_path();
        let log_file = File::create(&log_path).at("create", &log_path)?;
        let mut command = process::command(&self.program);
        command.args(["-M", "-S"]).arg(&socket).args(["-f", "-N"]);
        command.args(["-o", &format!("ControlPersist={PERSIST_SECONDS}")]);
        if options.prefer_aes_gcm && host::has_aes() && !remembered("-G", words, || chooses_cipher(words))? {
            command.args(["-o", AES_GCM_FIRST]);
        }
        command.args(with_batch_options(words, options).iter().skip(1));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .process_group(0);
        let status = wait_interruptibly(&mut command, &self.program, stop)?;
        if !status.success() {
            return Err(TransportError::Connect {
                command: self.command.clone(),
                code: process::exit_code(status),
                stderr: fs::read_to_string(&log_path).unwrap_or_default(),
            });
        }
        self.session = Some(Arc::new(Session::resume_mux(socket.into_boxed_path(), None)));
        Ok(())
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, command: &str, input: &[u8]) -> Result<RunOutput, TransportError> {
        let (child, stdin, stdout, stderr) = self.spawn(command)?;
        match talk(input, stdin, stdout, stderr) {
            Ok((stdout, stderr)) => {
                let code = exit_code(self.runtime.block_on(child.wait()), &self.command)?;
                Ok(RunOutput { stdout, stderr, code })
            }
            Err(error) => {
                interrupt::check()?;
                Err(self.lost(&error))
            }
        }
    }

    /// Whether a command that says nothing is all that is heard: no word of a shell's start file, of sshd or of ssh.
    pub(super) fn is_quiet(&self) -> bool {
        let silent =
            |output: RunOutput| output.code == 0 && output.stdout.is_empty() && output.stderr.is_empty();
        let logged = fs::metadata(self.log_path()).is_ok_and(|log| log.len() == 0);
        logged && self.run("true", &[]).is_ok_and(silent)
    }

    /// Whether the connection still stands: a master removes its socket when it ends.
    pub(super) fn is_alive(&self) -> bool {
        self.socket().exists()
    }

    /// Starts a command; the master lives as long as its channel.
    pub(super) fn open(self: Arc<Self>, command: &str) -> Result<Channel, TransportError> {
        let (child, input, output, errors) = self.spawn(command)?;
        Ok(Channel {
            input,
            output,
            errors,
            ending: Ending::new(RunningCommand::Session(RemoteProcess {
                child: Some(child),
                master: self,
            })),
        })
    }

    #[allow(clippy::type_complexity)] // a child and its three streams
    fn spawn(
        &self,
        command: &str,
    ) -> Result<
        (
            openssh::Child<Arc<Session>>,
            std::io::PipeWriter,
            std::io::PipeReader,
            std::io::PipeReader,
        ),
        TransportError,
    > {
        let session = self.session.clone().ok_or_else(|| self.lost(&"not connected"))?;
        let (their_input, input) = pipe()?;
        let (output, their_output) = pipe()?;
        let (errors, their_errors) = pipe()?;
        let mut remote: OwningCommand<Arc<Session>> = Session::to_raw_command(session, command);
        remote
            .stdin(OwnedFd::from(their_input))
            .stdout(OwnedFd::from(their_output))
            .stderr(OwnedFd::from(their_errors));
        let child = self
            .runtime
            .block_on(remote.spawn())
            .map_err(|error| self.lost(&error))?;
        Ok((child, input, output, errors))
    }

    fn lost(&self, reason: &dyn std::fmt::Display) -> TransportError {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let reason = match log.trim() {
            "" => reason.to_string(),
            text => format!("{reason}; ssh says: {text}"),
        };
        TransportError::Lost {
            peer: self.command.clone(),
            reason,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// What ssh says, from its beginning.
    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The master's process id, from the master itself.
    fn pid(&self) -> Option<u32> {
        let mut command = process::command(&self.program);
        command
            .arg("-S")
            .arg(self.socket())
            .args(["-O", "check", "master"]);
        let output = process::output(command.stdout(Stdio::null()).stderr(Stdio::piped())).ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let digits = text.split_once("pid=")?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn end(&mut self) {
        let pid = if self.session.is_some() { self.pid() } else { None };
        if let Some(session) = self.session.take().and_then(Arc::into_inner)
            && let Err(error) = self.runtime.block_on(session.close())
        {
            log::debug!("ssh master did not answer the request to end: {error}");
        }
        let Some(pid) = pid else { return };
        let start = Instant::now();
        let mut step = Duration::from_millis(1);
        let mut asked = false;
        while process::alive(pid) && start.elapsed() < END_PATIENCE * 2 {
            if start.elapsed() > END_PATIENCE && !asked {
                asked = true;
                let _ = process::signal(pid, nix::sys::signal::Signal::SIGTERM);
            }
            std::thread::sleep(step);
            step = (step * 2).min(Duration::from_millis(50));
        }
        if process::alive(pid) {
            let _ = process::signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.end();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            log::warn!("cannot remove \"{}\": {error}", self.directory.display());
        }
    }
}

impl RemoteProcess {
    /// Waits for the command's exit code. Its streams must be drained or closed already.
    pub(super) fn wait(&mut self) -> Result<i32, TransportError> {
        match self.child.take() {
            Some(child) => exit_code(self.master.runtime.block_on(child.wait()), &self.master.command),
            None => Ok(0),
        }
    }
}

fn exit_code(result: Result<ExitStatus, openssh::Error>, peer: &str) -> Result<i32, TransportError> {
    match result {
        Ok(status) => Ok(process::exit_code(status)),
        // The crate turns 127 into "not found", and a connection that ended without a status into this.
        Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(127),
        Err(openssh::Error::RemoteProcessTerminated) => Ok(255),
        Err(error) => Err(TransportError::Lost {
            peer: peer.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn wait_interruptibly(
    command: &mut Command,
    program: &str,
    stop: &Stop,
) -> Result<ExitStatus, TransportError> {
    let spawn_error = |source| SpawnError {
        program: program.to_owned(),
        source,
    };
    let mut child = command.spawn().map_err(spawn_error)?;
    let mut step = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(spawn_error)? {
            return Ok(status);
        }
        if stop.check().is_err() {
            let _ = child.kill();
            let _ = child.wait();
            interrupt::check()?;
            return Err(TransportError::Lost {
                peer: program.to_owned(),
                reason: "nobody waits for it any more".to_owned(),
            });
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(4));
    }
}

/// What a program answered to a question once, for the other connections of this process. The question is asked under
/// the lock: connections that are made side by side ask once.
fn remembered(
    question: &str,
    words: &[String],
    ask: impl FnOnce() -> Result<bool, TransportError>,
) -> Result<bool, TransportError> {
    static ANSWERS: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let key = [&[question.to_owned()], words].concat().join("\0");
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = answers.get(&key) {
        return Ok(*answer);
    }
    let answer = ask()?;
    answers.insert(key, answer);
    Ok(answer)
}

/// Whether the program has masters.
///
/// # Errors
/// It cannot be run.
pub(crate) fn is_openssh(program: &str) -> Result<bool, TransportError> {
    let output = process::output(process::command(program).arg("-V").process_group(0))?;
    Ok([output.stdout, output.stderr]
        .iter()
        .any(|text| String::from_utf8_lossy(text).contains("OpenSSH")))
}

/// The option of ssh that doubles its throughput, where this processor helps with AES and neither `words`, an ssh command
/// up to its destination, nor the configuration of ssh choose a cipher.
pub(crate) fn faster_ciphers(words: &[String]) -> Option<&'static str> {
    let chosen = !host::has_aes() || chooses_cipher(words).unwrap_or(true);
    (!chosen).then_some(AES_GCM_FIRST)
}

/// Whether the user's words or ssh configuration name ciphers: what `ssh -G` answers differs from the built-in list.
fn chooses_cipher(words: &[String]) -> Result<bool, TransportError> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(true);
    };
    let ciphers = |extra: &[&str], arguments: &[String]| -> Result<Option<String>, TransportError> {
        let output = process::output(
            process::command(program)
                .args(extra)
                .arg("-G")
                .args(arguments)
                .stderr(Stdio::null()),
        )?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix("ciphers "))
            .map(str::to_owned))
    };
    let chosen = ciphers(&[], arguments)?;
    let default = ciphers(&["-F", "none"], &["localhost".to_owned()])?;
    Ok(chosen.is_none() || chosen != default)
}

/// A directory of our own for the control socket, with a short name: socket paths end at about 100 bytes.
fn private_directory() -> Result<PathBuf, TransportError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let base = std::env::temp_dir();
    sweep(&base);
    let base = if base.as_os_str().len() > 50 {
        Path::new("/tmp").to_path_buf()
    } else {
        base
    };
    for attempt in 0..1000_u32 {
        let path = base.join(format!(".barkeep-{}-{number}-{attempt}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => {
                result.at("create directory", &path)?;
                return Ok(path);
            }
        }
    }
    Err(crate::base::error::PathError::new(
        "create directory in",
        base,
        std::io::ErrorKind::AlreadyExists.into(),
    )
    .into())
}

/// Removes directories of processes that were killed: ours, of nobody's process id, and left by their master (which takes
/// its socket away when it ends) or a day old.
fn sweep(base: &Path) {
    const LEFT: Duration = Duration::from_secs(600);
    const OLD: Duration = Duration::from_secs(86_400);
    let user = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(".barkeep-")?.split('-').next()?.parse().ok());
        let (Some(pid), Ok(metadata)) = (pid, fs::symlink_metadata(entry.path())) else {
            continue;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| time.elapsed().ok())
            .unwrap_or_default();
        let over = age > OLD || (age > LEFT && !entry.path().join(SOCKET).exists());
        if metadata.is_dir() && metadata.uid() == user && over && !process::alive(pid) {
            // Somebody else may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
