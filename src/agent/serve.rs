//! The agent's conversation: takes requests in order, answers each, and ends when its input ends.

use std::io::{Read, Write};

use super::conversation::{Session, Stopped};
use super::message::{BANNER, Entry, Request, Response, VERSION, path_of};
use super::{fetch, reading, simple, tree, writing};
use crate::transport::frame::FrameError;

/// Entries sent together.
const ENTRIES_AT_ONCE: usize = 400;

/// Serves one conversation.
///
/// # Errors
/// The streams broke, or the near side does not speak this protocol. The end of the input is no error.
pub fn serve(input: impl Read + Send + 'static, mut output: impl Write) -> Result<(), FrameError> {
    output.write_all(BANNER)?;
    output.write_all(format!("{VERSION}\n").as_bytes())?;
    output.flush()?;
    let mut session = Session::open(input, output)?;
    loop {
        match session.next_request() {
            Ok(Some(request)) => answer(&mut session, request)?,
            Ok(None) => return Ok(()),
            Err(Stopped::Broken(FrameError::Closed)) => return Ok(()),
            Err(Stopped::Broken(error)) => return Err(error),
            Err(Stopped::Failed(failure)) => return Err(FrameError::Protocol(failure.to_string())),
        }
    }
}

fn answer(session: &mut Session, request: Request) -> Result<(), FrameError> {
    match perform(session, request) {
        Ok(()) => Ok(()),
        Err(Stopped::Failed(failure)) => session.output.message(&Response::Failed(failure)),
        Err(Stopped::Broken(error)) => Err(error),
    }
}

fn perform(session: &mut Session, request: Request) -> Result<(), Stopped> {
    match request {
        Request::Hello { version: _, compress } => {
            let hello = Response::Hello {
                version: VERSION,
                pid: std::process::id(),
                aes: crate::base::host::has_aes(),
            };
            session.output.message(&hello)?;
            if compress {
                session.output.compress()?;
            }
            Ok(())
        }
        Request::List { root, filter, follow } => {
            let mut batch = Vec::with_capacity(ENTRIES_AT_ONCE);
            let skipped = tree::walk::<Stopped>(&path_of(root), &filter, follow, &mut |entry| {
                collect(session, &mut batch, entry)
            })?;
            session.output.message(&Response::Entries(batch))?;
            session.output.message(&Response::Listed { skipped })?;
            Ok(())
        }
        Request::Fetch { path, mode, checks } => fetch::fetch(session, &path_of(path), mode, checks),
        Request::PageHashes { path } => reading::page_hashes(session, &path_of(path)),
        Request::Put { path, patch } => writing::put(session, &path_of(path), patch),
        Request::Sync { directories } => writing::sync(session, directories),
        Request::BaseEnd | Request::Seek { .. } | Request::PutEnd { .. } => {
            Err(FrameError::Protocol("the end of something that never began".to_owned()).into())
        }
        other => simple::perform(session, other),
    }
}

fn collect(session: &mut Session, batch: &mut Vec<Entry>, entry: Entry) -> Result<(), Stopped> {
    batch.push(entry);
    if batch.len() >= ENTRIES_AT_ONCE {
        session.check()?;
        session
            .output
            .message(&Response::Entries(std::mem::take(batch)))?;
    }
    Ok(())
}
