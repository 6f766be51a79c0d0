//! Blocking pipe ends that can be told to give up: waiting looks at a flag and at the signals a few times per second.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::base::interrupt;

/// How often a waiting end looks up, in milliseconds.
const LOOK_UP: u16 = 200;

/// Tells every end that shares it to give up.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    parent: Option<Arc<Stop>>,
}

impl Stop {
    /// A flag of its own that is also raised when this one is.
    #[must_use]
    pub fn child(&self) -> Stop {
        Stop {
            raised: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// From now on, waiting fails.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether it was raised, here or above.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst) || self.parent.as_ref().is_some_and(|parent| parent.is_raised())
    }

    /// Whether to go on, as an I/O error to hand upwards.
    ///
    /// # Errors
    /// The flag was raised, or the process was interrupted.
    pub fn check(&self) -> io::Result<()> {
        interrupt::check().map_err(io::Error::other)?;
        if self.is_raised() {
            Err(io::Error::other("stopped"))
        } else {
            Ok(())
        }
    }
}

/// The reading end of a pipe.
#[derive(Debug)]
pub struct PatientReader {
    pipe: PipeReader,
    stop: Stop,
}

/// The writing end of a pipe.
#[derive(Debug)]
pub struct PatientWriter {
    pipe: PipeWriter,
    stop: Stop,
}

impl PatientReader {
    /// Takes over a pipe's reading end.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn new(pipe: PipeReader, stop: Stop) -> io::Result<Self> {
        unblock(&pipe)?;
        Ok(PatientReader { pipe, stop })
    }
}

impl PatientWriter {
    /// Takes over a pipe's writing end.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn new(pipe: PipeWriter, stop: Stop) -> io::Result<Self> {
        unblock(&pipe)?;
        Ok(PatientWriter { pipe, stop })
    }
}

impl Read for PatientReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.pipe.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.pipe, PollFlags::POLLIN, &self.stop)?;
                }
                result => return result,
            }
        }
    }
}

impl Write for PatientWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.pipe, PollFlags::POLLOUT, &self.stop)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn wait(pipe: &impl AsFd, event: PollFlags, stop: &Stop) -> io::Result<()> {
    loop {
        stop.check()?;
        let mut waiting = [PollFd::new(pipe.as_fd(), event)];
        match poll(&mut waiting, PollTimeout::from(LOOK_UP)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_waiting_reader_gives_up_when_told() {
        let (reader, _writer) = io::pipe().unwrap();
        let stop = Stop::default();
        let mut patient = PatientReader::new(reader, stop.clone()).unwrap();
        let waiting = std::thread::spawn(move || patient.read(&mut [0; 1]));
        stop.raise();
        assert!(waiting.join().unwrap().is_err());
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through() {
        let (reader, writer) = io::pipe().unwrap();
        let stop = Stop::default();
        let mut reader = PatientReader::new(reader, stop.clone()).unwrap();
        let mut writer = PatientWriter::new(writer, stop).unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&vec![5; 3 << 20]));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        sender.join().unwrap().unwrap();
        assert_eq!(bytes, vec![5; 3 << 20]);
    }
}
