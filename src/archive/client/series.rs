//! A run of `get-wal` that sends one file after the other: see [`crate::archive::series`].

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};

use crate::archive::series::{End, GREETING, Incoming};

use super::fetch::{Failure, Fetch, Files, Running, receive};

/// A run that waits for the next name.
pub(super) struct Series {
    run: Running,
    names: ChildStdin,
    answers: ChildStdout,
    answered: bool,
}

impl Series {
    /// Starts a run. It fails where the other side is Barman, an older version, or allows only what it knows.
    pub(super) fn begin(fetch: &Fetch<'_>, first: &str) -> Result<Series, Failure> {
        let mut run = fetch.start(first, &fetch.route(), Files::Series)?;
        let pipes = run.child.stdin.take().zip(run.child.stdout.take());
        let (names, answers) = pipes.ok_or_else(|| Failure::Local("ssh has no pipes".to_owned()))?;
        let mut series = Series {
            run,
            names,
            answers,
            answered: false,
        };
        let mut greeting = vec![0; GREETING.len()];
        match series.answers.read_exact(&mut greeting) {
            Ok(()) if greeting == GREETING => Ok(series),
            _ => Err(Failure::Local(
                "the Barman host does not send files in series".to_owned(),
            )),
        }
    }

    /// Whether it has answered for any name. An ssh whose standard input is closed lets none through.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Fetches `name` into the existing file `target`, as [`Fetch::to_file`] does.
    ///
    /// # Errors
    /// After one that is not [`Failure::NotFound`] the series is of no use any more.
    pub(super) fn fetch(&mut self, fetch: &Fetch<'_>, name: &str, target: &Path) -> Result<(), Failure> {
        let asked = self
            .names
            .write_all(format!("{name}\n").as_bytes())
            .and_then(|()| self.names.flush());
        asked.map_err(|_| Failure::Connection)?;
        let mut incoming = Incoming::new(&mut self.answers);
        let received = receive(&mut incoming, target);
        if let Err(failure @ Failure::Disk(_)) = received {
            return Err(failure);
        }
        let end = match (incoming.end(), received) {
            (Err(_), _) => return Err(Failure::Connection),
            (Ok(End::Whole), Err(failure)) => return Err(failure),
            (Ok(end), _) => end,
        };
        self.answered = true;
        let failed = |stderr| Failure::Remote { code: 1, stderr };
        match end {
            End::Whole => fetch.check(name, target),
            End::Missing(stderr) => Err(Failure::NotFound { code: 1, stderr }),
            End::Failed(stderr) => Err(failed(stderr)),
        }
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        // It may be in the middle of a file, or its host may be out of reach: it is not waited for.
        let ended = self.run.child.kill().and_then(|()| self.run.child.wait());
        if let Err(error) = ended {
            log::debug!("cannot end ssh: {error}");
        }
    }
}
