//! Waiting for a WAL file: `backup --wait` and `switch-wal --archive`.

use std::path::Path;
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
    let patient = Patient(reporter);
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

/// Another process that archives meanwhile is no news, ten times a second.
struct Patient<'a>(&'a dyn Reporter);

impl Reporter for Patient<'_> {
    fn info(&self, line: &str) {
        if !line.starts_with("Another archive-wal process is already running") {
            self.0.info(line);
        }
    }
    fn warning(&self, line: &str) {
        self.0.warning(line);
    }
    fn error(&self, line: &str) {
        self.0.error(line);
    }
    fn debug(&self, line: &str) {
        self.0.debug(line);
    }
    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress> {
        self.0.progress(title, total)
    }
}
