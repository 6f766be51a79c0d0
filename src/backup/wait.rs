//! Waiting for a WAL file: `backup --wait` and `switch-wal --archive`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::archive::{self, Announce, ArchiveError, ArchiveReport};
use crate::base::interrupt::{self, Interrupted};
use crate::base::report::{Progress, Reporter, Total};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

/// How often the incoming files are looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for has happened.
    Arrived,
    /// The time is over.
    TimedOut,
    /// A signal ended the wait.
    Interrupted(Interrupted),
}

/// Archives what arrives until `arrived` says that it is enough, a signal comes, or `timeout` is over. `arrived` is
/// asked before anything is archived, and after each run with its report.
pub(super) fn archive_until(
    config: &ServerConfig,
    hooks: &HookRunner,
    timeout: Option<Duration>,
    reporter: &dyn Reporter,
    mut arrived: impl FnMut(Option<&ArchiveReport>) -> bool,
) -> Result<Waited, ArchiveError> {
    let started = Instant::now();
    let patient = Patient {
        reporter,
        said: Mutex::default(),
        header: Mutex::default(),
    };
    if arrived(None) {
        return Ok(Waited::Arrived);
    }
    loop {
        let report = match archive::archive_wal(config, hooks, Announce::WhenBusy, &patient) {
            Ok(report) => report,
            Err(ArchiveError::Interrupted(signal)) => return Ok(Waited::Interrupted(signal)),
            Err(error) => return Err(error),
        };
        if arrived(Some(&report)) {
            return Ok(Waited::Arrived);
        }
        if timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Ok(Waited::TimedOut);
        }
        if let Err(signal) = interrupt::check() {
            return Ok(Waited::Interrupted(signal));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the archive has this file.
pub(super) fn is_archived(path: Option<&Path>) -> bool {
    path.is_some_and(Path::is_file)
}

/// A timeout of the command line: 0 means no limit.
pub(super) fn limit(seconds: Option<u32>) -> Option<Duration> {
    seconds
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.into()))
}

/// What archiving has to say again ten times a second is said once.
struct Patient<'a> {
    reporter: &'a dyn Reporter,
    said: Mutex<HashSet<String>>,
    /// The header of a run, to be shown when something follows it.
    header: Mutex<Option<String>>,
}

impl Patient<'_> {
    fn is_new(&self, line: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(line.to_owned())
    }
}

impl Reporter for Patient<'_> {
    fn info(&self, line: &str) {
        if !line.starts_with("Another archive-wal process is already running") {
            let header = self.header.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(header) = header {
                self.reporter.heading(&header);
            }
            self.reporter.info(line);
        }
    }
    fn heading(&self, line: &str) {
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.to_owned());
    }
    fn warning(&self, line: &str) {
        if self.is_new(line) {
            self.reporter.warning(line);
        }
    }
    fn error(&self, line: &str) {
        if self.is_new(line) {
            self.reporter.error(line);
        }
    }
    fn debug(&self, line: &str) {
        self.reporter.debug(line);
    }
    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress> {
        self.reporter.progress(title, total)
    }
}
