//! Standard output and standard error, shared by lines and progress bars.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The two streams, and the progress bars drawn on the second.
pub(super) struct Screen {
    color: bool,
    pub(super) bars: MultiProgress,
    streams: Mutex<Streams>,
    lost: AtomicBool,
}

struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// The reader of standard output has gone (`barman list-files … | head`): the rest is for nobody.
    closed: bool,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Screen")
            .field("color", &self.color)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// The streams of this process.
    pub(super) fn standard(color: bool) -> Screen {
        Screen::of(Box::new(io::stdout()), Box::new(io::stderr()), color)
    }

    /// Any two streams.
    pub(super) fn of(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, color: bool) -> Screen {
        Screen {
            color,
            bars: MultiProgress::new(),
            streams: Mutex::new(Streams {
                out,
                err,
                closed: false,
            }),
            lost: AtomicBool::new(false),
        }
    }

    /// Writes a text, above the progress bars if there are any.
    pub(super) fn write(&self, stream: Stream, text: &str) {
        self.bars.suspend(|| self.write_now(stream, text));
    }

    /// Writes `PREFIX: line` to standard error, in the colour of the prefix.
    pub(super) fn problem(&self, prefix: &str, line: &str) {
        let color = match prefix {
            "WARNING" => YELLOW,
            "ERROR" | "EXCEPTION" => RED,
            _ => "",
        };
        if self.color && !color.is_empty() {
            self.write(Stream::Err, &format!("{color}{prefix}: {line}{PLAIN}\n"));
        } else {
            self.write(Stream::Err, &format!("{prefix}: {line}\n"));
        }
    }

    /// Whether something written to standard output was lost for another reason than a reader that went away.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    fn write_now(&self, stream: Stream, text: &str) {
        let Ok(mut streams) = self.streams.lock() else {
            return;
        };
        if stream == Stream::Err {
            // There is nowhere left to complain about a standard error that cannot be written to.
            let _ = streams.err.write_all(text.as_bytes());
            return;
        }
        if streams.closed {
            return;
        }
        let written = streams
            .out
            .write_all(text.as_bytes())
            .and_then(|()| streams.out.flush());
        if let Err(error) = written {
            streams.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.lost.store(true, Ordering::SeqCst);
                log::error!("cannot write to standard output: {error}");
                let _ = writeln!(streams.err, "ERROR: cannot write to standard output: {error}");
            }
        }
    }
}

/// Lines of a report, collected before they are written.
#[derive(Debug)]
pub struct Page {
    text: String,
    color: bool,
}

impl Page {
    /// An empty page, for a terminal with colours or without.
    #[must_use]
    pub fn new(color: bool) -> Page {
        Page {
            text: String::new(),
            color,
        }
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A word in green, where there are colours.
    #[must_use]
    pub fn good(&self, word: &str) -> String {
        self.colored(GREEN, word)
    }

    /// A word in red, where there are colours.
    #[must_use]
    pub fn bad(&self, word: &str) -> String {
        self.colored(RED, word)
    }

    /// What has been collected.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn colored(&self, color: &str, word: &str) -> String {
        if self.color {
            format!("{color}{word}{PLAIN}")
        } else {
            word.to_owned()
        }
    }
}
