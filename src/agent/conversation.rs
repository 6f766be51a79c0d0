//! The two directions of a conversation, for the verbs: requests and data come in, answers go out.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::message::{Attributes, Failure, Request};
use super::syncer::Syncer;
use crate::base::error::PathError;
use crate::transport::frame::{Frame, FrameError, FrameReader, FrameWriter, decode};

/// Frames that may wait between the reading thread and the work: bounds memory.
const READ_AHEAD: usize = 4;
/// Threads that fsync what is written here.
pub(super) const SYNC_THREADS: usize = 2;

/// What comes in.
enum Incoming {
    Request(Request),
    Data(Vec<u8>),
    Broken(FrameError),
}

/// Why a request got no answer of its own.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It could not be done; the near side is told.
    Failed(Failure),
    /// The conversation is over.
    Broken(FrameError),
}

impl From<PathError> for Stopped {
    fn from(error: PathError) -> Stopped {
        Stopped::Failed(error.into())
    }
}

impl From<FrameError> for Stopped {
    fn from(error: FrameError) -> Stopped {
        Stopped::Broken(error)
    }
}

/// The two directions of a conversation, for the verbs.
pub(super) struct Session<'a> {
    incoming: Receiver<Incoming>,
    pub(super) output: FrameWriter<Box<dyn Write + 'a>>,
    closed: Arc<AtomicBool>,
    /// A request that was read while data frames were expected.
    pub(super) syncer: Syncer,
}

impl<'a> Session<'a> {
    /// Begins to read `input` ahead, in a thread of its own.
    pub(super) fn open(
        input: impl Read + Send + 'static,
        output: impl Write + 'a,
    ) -> Result<Session<'a>, FrameError> {
        let (sender, incoming) = bounded(READ_AHEAD);
        let closed = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&closed);
        // Not joined: it waits for the input, which outlives a broken output.
        std::thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                let mut reader = FrameReader::new(input);
                loop {
                    let frame = match reader.next_frame() {
                        Ok(Some(Frame::Message(payload))) => {
                            decode(payload).map_or_else(Incoming::Broken, Incoming::Request)
                        }
                        Ok(Some(Frame::Data(payload))) => Incoming::Data(payload.to_vec()),
                        Ok(None) => break,
                        Err(error) => Incoming::Broken(error),
                    };
                    let last = matches!(frame, Incoming::Broken(_));
                    if sender.send(frame).is_err() || last {
                        break;
                    }
                }
                mark.store(true, Ordering::SeqCst);
            })?;
        let output: Box<dyn Write + 'a> = Box::new(output);
        Ok(Session {
            incoming,
            output: FrameWriter::new(output),
            closed,
            syncer: Syncer::new(SYNC_THREADS),
        })
    }

    /// The next request; `None` when the near side has closed.
    pub(super) fn next_request(&mut self) -> Result<Option<Request>, Stopped> {
        match self.receive() {
            Ok(Incoming::Request(request)) => Ok(Some(request)),
            Ok(Incoming::Data(_)) => Err(FrameError::Protocol("data without a request".to_owned()).into()),
            Ok(Incoming::Broken(error)) => Err(error.into()),
            Err(Stopped::Broken(FrameError::Closed)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn receive(&mut self) -> Result<Incoming, Stopped> {
        match self.incoming.try_recv() {
            Ok(incoming) => Ok(incoming),
            Err(TryRecvError::Disconnected) => Err(FrameError::Closed.into()),
            Err(TryRecvError::Empty) => {
                // Nobody asks for more now: let go of what is collected.
                self.output.flush()?;
                self.incoming.recv().map_err(|_| FrameError::Closed.into())
            }
        }
    }

    /// The next data frame of the request under way, or the request that ends it.
    pub(super) fn next_part(&mut self) -> Result<Part, Stopped> {
        match self.receive()? {
            Incoming::Data(data) => Ok(Part::Data(data)),
            Incoming::Request(Request::BaseEnd) => Ok(Part::BaseEnd),
            Incoming::Request(Request::Seek { bytes }) => Ok(Part::Seek(bytes)),
            Incoming::Request(Request::PutEnd { size, attributes }) => Ok(Part::PutEnd(size, attributes)),
            Incoming::Request(_) => Err(FrameError::Protocol("a request within another".to_owned()).into()),
            Incoming::Broken(error) => Err(error.into()),
        }
    }

    /// Whether the near side is still there: long work looks now and then.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.closed.load(Ordering::SeqCst) && self.incoming.is_empty() {
            return Err(FrameError::Closed.into());
        }
        Ok(())
    }
}

/// What follows a request that takes more than one frame.
pub(super) enum Part {
    Data(Vec<u8>),
    BaseEnd,
    Seek(u64),
    PutEnd(u64, Attributes),
}
