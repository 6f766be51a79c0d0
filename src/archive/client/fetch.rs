//! One run of `barman get-wal` on the Barman host.

use std::fs::OpenOptions;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::base::process::exit_code;
use crate::base::shell::quote;
use crate::base::writeback::EarlyFile;
use crate::codec::wal::copy;
use crate::codec::{Compression, Detector, decode};

use super::master::Master;
use super::private_directory::PrivateDirectory;
use super::recovering::check_segment;
use super::remote::{Remote, SSH_FAILED};
use super::said::Said;
use super::wal_archive::Route;

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
    #[error("Connection problem with ssh (the same command with --test says why)")]
    Connection,
    /// `barman get-wal` failed for another reason.
    #[error("Remote 'barman get-wal' command has failed!")]
    Remote {
        /// Its exit code.
        code: i32,
        /// What it wrote.
        stderr: String,
    },
    /// The file arrived and is not good.
    #[error("{0}")]
    Local(String),
    /// It could not be written on this host, whatever the other side says to that.
    #[error("{0}")]
    Disk(String),
}

impl Failure {
    pub(super) fn local(path: &Path, error: &io::Error) -> Failure {
        Failure::Disk(format!("cannot write \"{}\": {error}", path.display()))
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
        let route = self.route();
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
        let mut running = self.start(name, route, Files::One)?;
        let received = running.receive(target);
        running.end(received)?;
        self.check(name, target)
    }

    /// Whether what was received may be handed to PostgreSQL.
    pub(super) fn check(&self, name: &str, target: &Path) -> Result<(), Failure> {
        check_segment(target, name, self.cluster).map_err(Failure::Local)
    }

    /// The way over the kept connection, if there is one.
    pub(super) fn route(&self) -> Route {
        let master = self.kept.and_then(|kept| kept.master(self.remote));
        Route::of(master.as_ref(), self.remote)
    }

    /// Starts `get-wal` for `name`, or for it and others.
    pub(super) fn start(&self, name: &str, route: &Route, files: Files) -> Result<Running, Failure> {
        let mut words = vec!["get-wal".to_owned()];
        if files == Files::Series {
            words.push("--series".to_owned());
        }
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
        command.stdin(files.input()).stdout(Stdio::piped());
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

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// One file.
    One,
    /// Those whose names it is told while it runs.
    Series,
}

impl Files {
    fn input(self) -> Stdio {
        match self {
            Files::One => Stdio::null(),
            Files::Series => Stdio::piped(),
        }
    }
}

/// A run under way.
pub(super) struct Running {
    pub(super) child: Child,
    said: Said,
}

impl Running {
    fn receive(&mut self, target: &Path) -> Result<(), Failure> {
        let mut stdout = self.child.stdout.take();
        let stdout = stdout
            .as_mut()
            .ok_or_else(|| Failure::Local("ssh has no output".to_owned()))?;
        receive(stdout, target)
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
            // The other side was not read to its end: that is all it can say.
            (_, Err(failure @ Failure::Disk(_))) => Err(failure),
            (code, Err(failure)) if code > 125 && code != SSH_FAILED => Err(failure),
            (code, _) => Err(Failure::of_remote(code, &stderr)),
        }
    }
}

/// Writes what arrives, decompressed when it is compressed, into the existing file `target`.
pub(super) fn receive(input: &mut (impl Read + Send), target: &Path) -> Result<(), Failure> {
    let detector = Detector::default();
    let mut head = Vec::new();
    let broken = |error: io::Error| Failure::Local(format!("cannot read the file that arrives: {error}"));
    (&mut *input)
        .take(detector.head_size() as u64)
        .read_to_end(&mut head)
        .map_err(broken)?;
    let compression = detector.recognise(&head).compression;
    let raw = Cursor::new(head).chain(input);
    let mut plain: Box<dyn Read + Send + '_> = match compression {
        None => Box::new(raw),
        Some(compression) => match decode::reader(raw, compression).map_err(broken)? {
            Some(decoder) => decoder,
            None => return Err(Failure::Local(format!("cannot decompress {compression}"))),
        },
    };
    let file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(target)
        .map_err(|error| Failure::local(target, &error))?;
    // PostgreSQL syncs each segment before it replays it, and waits for that.
    let mut file = Written {
        file: EarlyFile::new(file),
        failed: false,
    };
    match copy(&mut plain, &mut file) {
        Ok(_) => Ok(()),
        Err(error) if file.failed => Err(Failure::local(target, &error)),
        Err(error) => Err(broken(error)),
    }
}

/// A file that knows whether it could be written.
struct Written {
    file: EarlyFile,
    failed: bool,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|_| self.failed = true)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
