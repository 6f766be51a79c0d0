//! One run of `barman get-wal` on the Barman host.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::base::process::exit_code;
use crate::base::shell::quote;
use crate::codec::wal::copy;
use crate::codec::{Compression, Detector, decode};

use super::recovering::check_segment;
use super::remote::{Remote, SSH_FAILED};

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
    /// The listing of the files that follow does not start with the wanted one.
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
}

impl Fetch<'_> {
    /// Fetches `name` into the existing file `target`: decompressed and checked.
    pub(super) fn to_file(&self, name: &str, target: &Path) -> Result<(), Failure> {
        let mut running = self.start(name, None)?;
        let received = running.receive(target);
        running.end(received)?;
        check_segment(target, name, self.cluster).map_err(Failure::Local)
    }

    /// The names of up to `limit` files from `name` on that exist.
    pub(super) fn peek(&self, name: &str, limit: u32) -> Result<Vec<String>, Failure> {
        let mut running = self.start(name, Some(limit))?;
        let mut text = String::new();
        let read = running.stdout().and_then(|stdout| {
            stdout
                .take(1024 * u64::from(limit.max(1)))
                .read_to_string(&mut text)
                .map_err(|error| Failure::Local(format!("cannot read the list of files: {error}")))
        });
        running.end(read.map(|_| ()))?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    fn start(&self, name: &str, peek: Option<u32>) -> Result<Running, Failure> {
        let mut words = vec!["get-wal".to_owned()];
        if let Some(limit) = peek {
            words.extend(["--peek".to_owned(), quote(&limit.to_string())]);
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
        let mut child = self
            .remote
            .barman(config, &words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Local(format!("Error executing ssh: {error}")))?;
        let stderr = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let kept = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text);
                // The rest is read and dropped, so that the other side never waits for us.
                if let Err(error) = kept.and_then(|_| io::copy(&mut stderr, &mut io::sink()).map(|_| 0)) {
                    log::debug!("cannot read what the Barman host says: {error}");
                }
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        Ok(Running { child, stderr })
    }
}

/// A run under way.
struct Running {
    child: Child,
    stderr: Option<std::thread::JoinHandle<String>>,
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
        copy(&mut plain, &mut file).map_err(|error| {
            Failure::Local(format!(
                "cannot receive the file into \"{}\": {error}",
                target.display()
            ))
        })?;
        file.sync_all().map_err(|error| Failure::local(target, &error))
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
        let stderr = self
            .stderr
            .take()
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default();
        match (exit_code(status), received) {
            (0, received) => received,
            (code, Err(failure)) if code > 125 && code != SSH_FAILED => Err(failure),
            (code, _) => Err(Failure::of_remote(code, &stderr)),
        }
    }
}
