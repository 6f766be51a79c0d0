//! One run of `barman get-wal` on the Barman host.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::base::process::exit_code;
use crate::base::shell::quote;
use crate::codec::wal::copy;
use crate::codec::{Compression, Detector, decode};

use super::master::Master;
use super::private_directory::PrivateDirectory;
use super::recovering::check_segment;
use super::remote::{Remote, SSH_FAILED};
use super::wal_archive::Route;

/// How much of what the other side writes to its standard error is kept.
const STDERR_LIMIT: u64 = 64 * 1024;

/// How the file travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// As PostgreSQL wrote it.
    #[default]
    Plain,
    /// Compressed by the Barman host for the way.
    Compressed(Compression),
    /// As the Barman host stores it.
    Stored,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The Barman host says that there is no such file.
    #[error("Remote 'barman get-wal' command has failed!")]
    NotFound {
        /// Its exit code.
        code: i32,
        /// What it wrote.
        stderr: String,
    },
    /// The same, where several files are fetched at once.
    #[error("The required file is not available: {0}")]
    NotAvailable(String),
    /// ssh failed, so nothing is known about the file.
    #[error("Connection problem with ssh")]
    Connection,
    /// `barman get-wal` failed for another reason.
    #[error("Remote 'barman get-wal' command has failed!")]
    Remote {
        /// Its exit code.
        code: i32,
        /// What it wrote.
        stderr: String,
    },
    /// The file arrived and is not good, or could not be written.
    #[error("{0}")]
    Local(String),
}

impl Failure {
    pub(super) fn local(path: &Path, error: &io::Error) -> Failure {
        Failure::Local(format!("cannot write \"{}\": {error}", path.display()))
    }

    /// Whether it is certain that the file does not exist.
    #[must_use]
    pub(super) fn is_definite(&self) -> bool {
        matches!(self, Failure::NotFound { .. } | Failure::NotAvailable(_))
    }

    /// What a failed `get-wal` means. A Barman host that says nothing but 1 means "not found", as Barman's exit codes
    /// do; one that explains itself with something else has another problem.
    fn of_remote(code: i32, stderr: &str) -> Failure {
        let missing = stderr
            .lines()
            .any(|line| line.contains("WAL file '") && line.contains("not found in server"));
        let stderr = stderr.to_owned();
        match code {
            SSH_FAILED => Failure::Connection,
            1 if missing || stderr.trim().is_empty() => Failure::NotFound { code, stderr },
            code => Failure::Remote { code, stderr },
        }
    }
}

/// How to fetch.
pub(super) struct Fetch<'a> {
    pub(super) remote: &'a Remote,
    pub(super) server: &'a str,
    pub(super) transfer: Transfer,
    pub(super) partial: bool,
    /// The cluster that the files must be of.
    pub(super) cluster: Option<u64>,
    /// Where a connection is kept, if it is.
    pub(super) kept: Option<&'a Kept>,
}

/// The connection that all calls, and the process that fetches ahead, share.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) directory: PrivateDirectory,
    /// Seconds after its last use.
    pub(super) persist: u32,
}

impl Kept {
    fn master(&self, remote: &Remote) -> Option<Master> {
        Master::of(&self.directory, remote, self.persist)
    }
}

impl Fetch<'_> {
    /// Fetches `name` into the existing file `target`: decompressed and checked. It is not synced: PostgreSQL does that
    /// when it gives the file its own name.
    pub(super) fn to_file(&self, name: &str, target: &Path) -> Result<(), Failure> {
        let master = self.kept.and_then(|kept| kept.master(self.remote));
        let route = Route::of(master.as_ref(), self.remote);
        let begun = Instant::now();
        match self.attempt(name, target, &route) {
            Err(Failure::Connection) if route.may_be_to_blame(begun) => {
                log::debug!("the kept connection has failed: trying without it");
                self.attempt(name, target, &Route::default())
            }
            outcome => outcome,
        }
    }

    fn attempt(&self, name: &str, target: &Path, route: &Route) -> Result<(), Failure> {
        let mut running = self.start(name, route)?;
        let received = running.receive(target);
        running.end(received)?;
        check_segment(target, name, self.cluster).map_err(Failure::Local)
    }

    fn start(&self, name: &str, route: &Route) -> Result<Running, Failure> {
        let mut words = vec!["get-wal".to_owned()];
        match self.transfer {
            Transfer::Plain => {}
            Transfer::Compressed(compression) => words.push(format!("--{compression}")),
            Transfer::Stored => words.push("--keep-compression".to_owned()),
        }
        if self.partial {
            words.push("--partial".to_owned());
        }
        words.extend([quote(self.server), quote(name)]);
        let config = self
            .remote
            .config
            .as_ref()
            .map(|config| format!("--config {config}"));
        let mut command = self.remote.barman_with(route.options(), config, &words);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // An ssh older than 8.5 that stays in the background keeps its standard error: it must not be a pipe that is read
        // to its end.
        let said = match self.kept.filter(|_| !route.options().is_empty()) {
            Some(kept) => Said::in_file(&kept.directory, &mut command)
                .map_err(|error| Failure::Local(format!("cannot make a temporary file: {error}")))?,
            None => {
                command.stderr(Stdio::piped());
                Said::default()
            }
        };
        let mut child = command
            .spawn()
            .map_err(|error| Failure::Local(format!("Error executing ssh: {error}")))?;
        let said = child.stderr.take().map_or(said, Said::on_pipe);
        Ok(Running { child, said })
    }
}

/// What the other side and ssh write to their standard error.
#[derive(Default)]
enum Said {
    #[default]
    Nothing,
    File(File),
    Pipe(std::thread::JoinHandle<String>),
}

impl Said {
    fn in_file(directory: &PrivateDirectory, command: &mut Command) -> io::Result<Said> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(&format!(".said.{}.{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        command.stderr(file.try_clone()?);
        Ok(Said::File(file))
    }

    fn on_pipe(mut stderr: ChildStderr) -> Said {
        Said::Pipe(std::thread::spawn(move || {
            let mut text = Vec::new();
            let kept = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text);
            // The rest is read and dropped, so that the other side never waits for us.
            if let Err(error) = kept.and_then(|_| io::copy(&mut stderr, &mut io::sink()).map(|_| 0)) {
                log::debug!("cannot read what the Barman host says: {error}");
            }
            String::from_utf8_lossy(&text).into_owned()
        }))
    }

    /// The text, when ssh has ended.
    fn text(self) -> String {
        match self {
            Said::Nothing => String::new(),
            Said::Pipe(reader) => reader.join().unwrap_or_default(),
            Said::File(mut file) => {
                let mut text = Vec::new();
                let read = file
                    .rewind()
                    .and_then(|()| file.take(STDERR_LIMIT).read_to_end(&mut text));
                if let Err(error) = read {
                    log::debug!("cannot read what the Barman host says: {error}");
                }
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }
}

/// A run under way.
struct Running {
    child: Child,
    said: Said,
}

impl Running {
    fn stdout(&mut self) -> Result<impl Read + Send + use<>, Failure> {
        self.child
            .stdout
            .take()
            .ok_or_else(|| Failure::Local("ssh has no output".to_owned()))
    }

    /// Writes what arrives, decompressed when it is compressed, into the existing file `target`.
    fn receive(&mut self, target: &Path) -> Result<(), Failure> {
        let mut stdout = self.stdout()?;
        let detector = Detector::default();
        let mut head = Vec::new();
        let broken = |error: io::Error| Failure::Local(format!("cannot read the file that arrives: {error}"));
        (&mut stdout)
            .take(detector.head_size() as u64)
            .read_to_end(&mut head)
            .map_err(broken)?;
        let compression = detector.recognise(&head).compression;
        let raw = Cursor::new(head).chain(stdout);
        let mut plain: Box<dyn Read + Send> = match compression {
            None => Box::new(raw),
            Some(compression) => match decode::reader(raw, compression).map_err(broken)? {
                Some(decoder) => decoder,
                None => return Err(Failure::Local(format!("cannot decompress {compression}"))),
            },
        };
        let mut file: File = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(target)
            .map_err(|error| Failure::local(target, &error))?;
        copy(&mut plain, &mut file).map(|_| ()).map_err(|error| {
            Failure::Local(format!(
                "cannot receive the file into \"{}\": {error}",
                target.display()
            ))
        })
    }

    /// Waits for the end. What the other side says counts more than what was received: a stream that breaks off is
    /// mostly the consequence.
    fn end(mut self, received: Result<(), Failure>) -> Result<(), Failure> {
        if received.is_err() {
            // Ends a side that is still sending; one that has failed by itself has done so by now or will be noticed.
            drop(self.child.stdout.take());
        }
        let status = self
            .child
            .wait()
            .map_err(|error| Failure::Local(format!("Error executing ssh: {error}")))?;
        let stderr = std::mem::take(&mut self.said).text();
        match (exit_code(status), received) {
            (0, received) => received,
            (code, Err(failure)) if code > 125 && code != SSH_FAILED => Err(failure),
            (code, _) => Err(Failure::of_remote(code, &stderr)),
        }
    }
}
