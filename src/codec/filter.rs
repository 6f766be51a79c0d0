//! Custom compression: the user's own programs (`custom_compression_filter`, `custom_decompression_filter`).
//!
//! A filter is shell text that Barman ends with redirections, `filter > "$2" < "$1"`; with a pipeline they therefore
//! belong to its last program. The same text is run here, so that a filter that works there works here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::base::process::{exit_code, shell};

/// A filter with its redirections, ready to be run from `source` into `target`.
fn command(filter: &str, source: &Path, target: &Path) -> Command {
    let mut command = shell(&format!("{filter} > \"$2\" < \"$1\""));
    command.arg("filter").arg(source).arg(target);
    command.stdin(Stdio::null());
    command
}

/// Runs a filter from one file into another.
///
/// # Errors
/// The filter could not be started or ended with a code other than 0.
pub fn run(filter: &str, source: &Path, target: &Path) -> io::Result<()> {
    let output = command(filter, source, target).stdout(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the filter ended with exit code {}: {}",
        exit_code(output.status),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Runs a filter over an open file and hands its output on as a stream.
///
/// # Errors
/// The filter could not be started.
pub fn open(filter: &str, source: File) -> io::Result<FilterReader> {
    let mut command = command(filter, Path::new("/dev/stdin"), Path::new("/dev/stdout"));
    command.stdin(source).stdout(Stdio::piped()).stderr(Stdio::null());
    FilterReader::start(&mut command, "the decompression filter")
}

/// The output of a program. Its end is only reported after the program ended well: output cut short by a failing program
/// is never taken for the whole.
pub struct FilterReader {
    child: Child,
    stdout: Option<ChildStdout>,
    what: &'static str,
}

impl FilterReader {
    /// Starts a program whose standard output is piped.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn start(command: &mut Command, what: &'static str) -> io::Result<FilterReader> {
        let mut child = command.spawn()?;
        let stdout = child.stdout.take();
        Ok(FilterReader { child, stdout, what })
    }

    /// The program, to feed its other streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Read for FilterReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = self.stdout.as_mut() else {
            return Ok(0);
        };
        let count = stdout.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let status = self.child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!(
                    "{} ended with exit code {}",
                    self.what,
                    exit_code(status)
                )));
            }
            self.stdout = None;
        }
        Ok(count)
    }
}

impl Drop for FilterReader {
    fn drop(&mut self) {
        // A reader that stops early closes the pipe, which ends the program; it must not stay as a zombie.
        self.stdout = None;
        if let Ok(None) = self.child.try_wait() {
            if let Err(error) = self.child.kill() {
                log::debug!("cannot end {}: {error}", self.what);
            }
            if let Err(error) = self.child.wait() {
                log::debug!("cannot wait for {}: {error}", self.what);
            }
        }
    }
}
