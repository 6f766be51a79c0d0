//! Everything that is printed: lines while a command works, reports when it is done, progress on a terminal, the log.
//!
//! A command gets one [`Output`]. It is the [`Reporter`] of the domain, shows report structs through [`Render`], and
//! remembers the exit code. What it writes has no passwords in it, whatever the format.

mod advice;
pub mod backup;
pub mod backup_list;
mod backup_show;
pub mod check;
pub mod conversion;
pub mod doctor;
pub mod keep;
pub mod log_file;
mod named;
pub mod planned;
pub mod processes;
mod progress;
pub mod recovery_windows;
mod redaction;
mod replication;
mod restore;
mod screen;
pub mod servers;
mod status;
pub mod wal_archive_check;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::base::error::{PathContext, PathError};
use crate::base::json;
use crate::base::report::{Progress, Reporter, Total};

pub use named::Named;
pub use redaction::redacted;
pub use screen::Page;
use screen::{Screen, Stream};

/// A report that can be shown to people and to programs.
pub trait Render {
    /// Adds its lines for people.
    fn console(&self, page: &mut Page);
    /// Adds its members to the JSON document.
    fn json(&self, document: &mut Map<String, Value>);
}

/// What the output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Console,
    /// One JSON document at the end.
    Json,
    /// What a Nagios plugin writes: the report alone.
    Nagios,
}

/// How to write, as the command line says.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// What the output looks like.
    pub format: Format,
    /// Leave out what is neither a warning nor an error.
    pub quiet: bool,
    /// Show debugging lines.
    pub debug: bool,
    /// Colour warnings, errors and results.
    pub color: bool,
    /// Show progress bars.
    pub progress: bool,
}

/// Where a command writes.
#[derive(Debug)]
pub struct Output {
    style: Style,
    screen: Screen,
    document: Mutex<Map<String, Value>>,
    code: AtomicU8,
    /// Whether the JSON document stays unwritten.
    withheld: AtomicBool,
}

/// The logger's name for lines that are also written to the log.
const LOGGER: &str = "barman.cli";

impl Output {
    /// An output on standard output and standard error.
    #[must_use]
    pub fn new(style: Style) -> Output {
        Output {
            style,
            screen: Screen::standard(style.color),
            document: Mutex::new(Map::new()),
            code: AtomicU8::new(0),
            withheld: AtomicBool::new(false),
        }
    }

    /// Another output in the same style, for a last line before the process ends.
    #[must_use]
    pub fn for_interruption(&self) -> Output {
        Output::new(self.style)
    }

    /// Shows a report.
    pub fn show(&self, report: &dyn Render) {
        match self.style.format {
            Format::Json => report.json(&mut self.document.lock().unwrap_or_else(PoisonError::into_inner)),
            Format::Console if self.style.quiet => {}
            Format::Console | Format::Nagios => {
                let mut page = Page::new(self.style.color);
                report.console(&mut page);
                self.screen.write(Stream::Out, &redacted(page.text()));
            }
        }
    }

    /// This output, whose lines appear in the log under the name of one of Barman's loggers: people's log filters know them.
    #[must_use]
    pub fn named(&self, logger: &'static str) -> Named<'_> {
        Named { output: self, logger }
    }

    /// An error line; the exit code becomes 1 if it is still 0.
    pub fn error_line(&self, line: &str) {
        self.named(LOGGER).error(line);
    }

    /// The line of a failure that nobody foresaw; the exit code becomes 1 if it is still 0.
    pub fn exception_line(&self, line: &str) {
        log::error!(target: LOGGER, "{line}");
        self.fail_with(1);
        self.problem(
            "EXCEPTION",
            "_EXCEPTION",
            &format!("{line}\nSee log file for more details."),
        );
    }

    /// A bare text on standard error, in every format.
    pub fn plain_error(&self, text: &str) {
        self.screen.write(Stream::Err, &redacted(&format!("{text}\n")));
    }

    /// One of very many lines that make up an answer. Not logged.
    pub fn listing(&self, line: &str) {
        match self.style.format {
            Format::Console if !self.style.quiet => {
                self.screen.write(Stream::Out, &redacted(&format!("{line}\n")));
            }
            Format::Json => self.remember("_INFO", line),
            Format::Console | Format::Nagios => {}
        }
    }

    /// A document that is one text: on the console as it is, in JSON as one string among the lines. Not logged.
    pub fn document(&self, text: &str) {
        match self.style.format {
            Format::Console if !self.style.quiet => {
                self.screen.write(Stream::Out, &redacted(&format!("{text}\n")));
            }
            Format::Json => self.remember("_INFO", text),
            Format::Console | Format::Nagios => {}
        }
    }

    /// Text on standard output as it is, in every format: documents that are not reports.
    pub fn plain(&self, text: &str) {
        self.screen.write(Stream::Out, text);
    }

    /// Standard output for bytes that are not text, without a buffer. Nothing else may be written meanwhile.
    ///
    /// # Errors
    /// There is no standard output.
    pub fn bytes(&self) -> Result<File, PathError> {
        io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map(File::from)
            .at("open", "/dev/stdout")
    }

    /// Sets the exit code, unless a failure has set it already. A command's own codes (2, 3) win over 1.
    pub fn fail_with(&self, code: u8) {
        self.code.fetch_max(code, Ordering::SeqCst);
    }

    /// Leaves out the JSON document: what went wrong came before there was anything to put into it.
    pub fn withhold_document(&self) {
        self.withheld.store(true, Ordering::SeqCst);
    }

    /// The exit code so far.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code.load(Ordering::SeqCst)
    }

    /// Writes what is still to be written and says how to exit.
    #[must_use]
    pub fn finish(&self) -> u8 {
        let withheld = self.style.quiet || self.withheld.load(Ordering::SeqCst);
        if self.style.format == Format::Json && !withheld {
            let mut document = Value::Object(std::mem::take(
                &mut self.document.lock().unwrap_or_else(PoisonError::into_inner),
            ));
            redaction::redact_value(&mut document);
            match json::line(&document) {
                Ok(text) => self.screen.write(Stream::Out, &text),
                Err(error) => self.plain_error(&format!("cannot write the JSON document: {error}")),
            }
        }
        if self.screen.lost() {
            self.fail_with(1);
        }
        self.code()
    }

    /// A line that people see on standard error behind its prefix.
    fn problem(&self, prefix: &str, key: &str, line: &str) {
        match self.style.format {
            Format::Console => self.screen.problem(prefix, &redacted(line)),
            Format::Json => self.remember(key, line),
            Format::Nagios => {}
        }
    }

    /// Adds a line to a list of the JSON document.
    fn remember(&self, key: &str, line: &str) {
        let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        match document.entry(key.to_owned()).or_insert_with(|| json!([])) {
            Value::Array(lines) => lines.push(json!(line)),
            other => *other = json!([line]),
        }
    }
}

/// Lines without a logger of their own.
impl Reporter for Output {
    fn info(&self, line: &str) {
        self.named(LOGGER).info(line);
    }

    fn heading(&self, line: &str) {
        self.listing(line);
    }

    fn warning(&self, line: &str) {
        self.named(LOGGER).warning(line);
    }

    fn error(&self, line: &str) {
        self.named(LOGGER).error(line);
    }

    fn exception(&self, line: &str) {
        self.named(LOGGER).exception(line);
    }

    fn debug(&self, line: &str) {
        self.named(LOGGER).debug(line);
    }

    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress> {
        self.named(LOGGER).progress(title, total)
    }
}

#[cfg(test)]
mod tests;
