//! The agent's conversation: takes requests in order, answers each, and ends when its input ends.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::message::{BANNER, Entry, Failure, Request, Response, VERSION};
use super::syncer::Syncer;
use super::{reading, simple, tree, writing};
use crate::base::error::PathError;
use crate::transport::frame::{Frame, FrameError, FrameReader, FrameWriter, decode};

/// Frames that may wait between the reading thread and the work: bounds memory.
const READ_AHEAD: usize = 4;
/// Entries sent together.
const ENTRIES_AT_ONCE: usize = 400;
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

/// Serves one conversation.
///
/// # Errors
/// The streams broke, or the near side does not speak this protocol. The end of the input is no error.
pub fn serve(input: impl Read + Send + 'static, mut output: impl Write) -> Result<(), FrameError> {
    output.write_all(BANNER)?;
    output.write_all(format!("{VERSION}\n").as_bytes())?;
    output.flush()?;
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
    let output: Box<dyn Write + '_> = Box::new(output);
    let mut session = Session {
        incoming,
        output: FrameWriter::new(output),
        closed,
        syncer: Syncer::new(SYNC_THREADS),
    };
    loop {
        match session.next_request() {
            Ok(Some(request)) => session.answer(request)?,
            Ok(None) => return Ok(()),
            Err(Stopped::Broken(FrameError::Closed)) => return Ok(()),
            Err(Stopped::Broken(error)) => return Err(error),
            Err(Stopped::Failed(failure)) => return Err(FrameError::Protocol(failure.to_string())),
        }
    }
}

impl Session<'_> {
    fn next_request(&mut self) -> Result<Option<Request>, Stopped> {
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

    fn answer(&mut self, request: Request) -> Result<(), FrameError> {
        match self.perform(request) {
            Ok(()) => Ok(()),
            Err(Stopped::Failed(failure)) => self.output.message(&Response::Failed(failure)),
            Err(Stopped::Broken(error)) => Err(error),
        }
    }

    fn perform(&mut self, request: Request) -> Result<(), Stopped> {
        match request {
            Request::Hello { version: _, compress } => {
                let hello = Response::Hello {
                    version: VERSION,
                    pid: std::process::id(),
                    aes: crate::base::host::has_aes(),
                };
                self.output.message(&hello)?;
                if compress {
                    self.output.compress()?;
                }
                Ok(())
            }
            Request::List { root, filter, follow } => {
                let mut batch = Vec::with_capacity(ENTRIES_AT_ONCE);
                let skipped = tree::walk::<Stopped>(&path_of(root), &filter, follow, &mut |entry| {
                    self.collect(&mut batch, entry)
                })?;
                self.output.message(&Response::Entries(batch))?;
                self.output.message(&Response::Listed { skipped })?;
                Ok(())
            }
            Request::Fetch { path, mode, checks } => reading::fetch(self, &path_of(path), mode, checks),
            Request::PageHashes { path } => reading::page_hashes(self, &path_of(path)),
            Request::Put { path, patch } => writing::put(self, &path_of(path), patch),
            Request::Sync { directories } => writing::sync(self, directories),
            Request::BaseEnd | Request::Seek { .. } | Request::PutEnd { .. } => {
                Err(FrameError::Protocol("the end of something that never began".to_owned()).into())
            }
            other => simple::perform(self, other),
        }
    }

    fn collect(&mut self, batch: &mut Vec<Entry>, entry: Entry) -> Result<(), Stopped> {
        batch.push(entry);
        if batch.len() >= ENTRIES_AT_ONCE {
            self.check()?;
            self.output.message(&Response::Entries(std::mem::take(batch)))?;
        }
        Ok(())
    }
}

/// What follows a request that takes more than one frame.
pub(super) enum Part {
    Data(Vec<u8>),
    BaseEnd,
    Seek(u64),
    PutEnd(u64, super::message::Attributes),
}

/// A path of the wire as a path of this host.
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(
        bytes,
    ))
}

/// A path of this host as bytes for the wire.
pub fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
