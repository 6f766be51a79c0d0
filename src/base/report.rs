//! How domain code talks to the person at the terminal while it works.
//!
//! Domain code never prints. It hands lines to a [`Reporter`], which the output layer implements for the console,
//! JSON and Nagios, and which also writes each line to the log file at the same level.

/// Where the live lines of an operation go.
pub trait Reporter: Sync {
    /// A line of progress or result (stdout on the console, `_INFO` in JSON).
    fn info(&self, line: &str);
    /// A line of progress that the log does without, as in Barman: a heading of lines that it has.
    fn heading(&self, line: &str) {
        self.info(line);
    }
    /// A warning: never changes the exit code (stderr, `_WARNING`).
    fn warning(&self, line: &str);
    /// An error: the command will exit with 1 (stderr, `_ERROR`).
    fn error(&self, line: &str);
    /// What nobody foresaw, in one part of the work: the command goes on and will exit with 1 (stderr, `_EXCEPTION`).
    fn exception(&self, line: &str) {
        self.error(line);
    }
    /// A line for `--debug` only (stderr, `_DEBUG`).
    fn debug(&self, line: &str);
    /// Starts a measured piece of work; shown as a bar on a terminal and as nothing elsewhere.
    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress>;
}

/// How much work lies ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Bytes to go through.
    pub bytes: u64,
    /// Files to go through.
    pub files: u64,
}

/// A piece of work under way. Dropping it ends the display.
pub trait Progress: Send + Sync {
    /// More bytes and files have been dealt with.
    fn advance(&self, bytes: u64, files: u64);
}

/// A reporter that drops everything: for work done inside another command (Barman's "quiet" runs).
/// Warnings and errors still reach the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Reporter for Quiet {
    fn info(&self, line: &str) {
        log::info!(target: "barman.server", "{line}");
    }
    fn heading(&self, _line: &str) {}
    fn warning(&self, line: &str) {
        log::warn!(target: "barman.server", "{line}");
    }
    fn error(&self, line: &str) {
        log::error!(target: "barman.server", "{line}");
    }
    fn debug(&self, line: &str) {
        log::debug!(target: "barman.server", "{line}");
    }
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
        Box::new(NoProgress)
    }
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _bytes: u64, _files: u64) {}
}
