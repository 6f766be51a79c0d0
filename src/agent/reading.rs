//! The verbs that read files: fetch (whole, changed pages, rolling delta, hash alone) and page hashes.

use std::path::Path;

use super::message::{CHUNK, Checks, FetchMode, HASH_SIZE, ROLLING_WINDOW, Response};
use super::serve::{Part, Session, Stopped};
use super::source::{SourceFile, WINDOW};
use super::{blocks, delta};
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;
use crate::transport::frame::FrameError;

/// Answers [`super::message::Request::Fetch`].
pub(super) fn fetch(
    session: &mut Session,
    path: &Path,
    mode: FetchMode,
    checks: Option<Checks>,
) -> Result<(), Stopped> {
    let mut base = Base {
        hashes: Vec::new(),
        taken: 0,
        ended: match mode {
            FetchMode::Whole | FetchMode::HashOnly => true,
            FetchMode::Pages | FetchMode::Rolling => false,
            FetchMode::Blocks(since) => since.lsn.is_some(),
        },
    };
    let fetched = match mode {
        FetchMode::Blocks(since) => blocks::send(session, path, since, checks, &mut base),
        _ => send(session, path, mode, checks, &mut base),
    };
    // Whatever happened, the description of the old file is still to be taken off the stream.
    if !matches!(fetched, Err(Stopped::Broken(_))) {
        while !base.ended {
            base.receive(session)?;
        }
    }
    fetched
}

fn send(
    session: &mut Session,
    path: &Path,
    mode: FetchMode,
    checks: Option<Checks>,
    base: &mut Base,
) -> Result<(), Stopped> {
    let mut source = SourceFile::open(path, checks)?;
    let mut buffer = vec![0_u8; window_for(source.size())];
    let mut spans = Spans::default();
    loop {
        session.check()?;
        let count = source.read(&mut buffer)?;
        let content = buffer.get(..count).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        match mode {
            FetchMode::HashOnly => {}
            FetchMode::Whole | FetchMode::Blocks(_) => spans.new_content(session, content)?,
            FetchMode::Pages => {
                let wanted = content.len().div_ceil(PAGE_SIZE) * HASH_SIZE;
                let hashes = base.take(session, wanted)?;
                spans.pages(session, content, source.pages(), &hashes)?;
            }
            FetchMode::Rolling => match base
                .take_frame(session)?
                .and_then(|old| delta::delta(&old, content))
            {
                Some(delta) => {
                    session.output.message(&Response::Delta {
                        bytes: content.len() as u64,
                    })?;
                    session.output.data(&delta)?;
                }
                None => spans.new_content(session, content)?,
            },
        }
    }
    spans.flush(session)?;
    session.output.message(&Response::Fetched(source.finish()))?;
    Ok(())
}

/// Sends all of a file.
pub(super) fn whole(session: &mut Session, path: &Path, checks: Option<Checks>) -> Result<(), Stopped> {
    let mut none = Base {
        hashes: Vec::new(),
        taken: 0,
        ended: true,
    };
    send(session, path, FetchMode::Whole, checks, &mut none)
}

/// Answers [`super::message::Request::PageHashes`].
pub(super) fn page_hashes(session: &mut Session, path: &Path) -> Result<(), Stopped> {
    let mut source = SourceFile::open(path, None)?;
    let mut buffer = vec![0_u8; window_for(source.size())];
    loop {
        session.check()?;
        let count = source.read(&mut buffer)?;
        let content = buffer.get(..count).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        let mut hashes = Vec::with_capacity(count.div_ceil(PAGE_SIZE) * HASH_SIZE);
        delta::page_hashes(content, &mut hashes);
        session.output.data(&hashes)?;
    }
    session.output.message(&Response::Fetched(source.finish()))?;
    Ok(())
}

/// A buffer no larger than the file needs: most files of a cluster are small.
pub(super) fn window_for(size: u64) -> usize {
    const { assert!(WINDOW == ROLLING_WINDOW && WINDOW.is_multiple_of(PAGE_SIZE)) };
    let pages = size.div_ceil(PAGE_SIZE as u64).max(1) * PAGE_SIZE as u64;
    usize::try_from(pages).unwrap_or(WINDOW).min(WINDOW)
}

/// What the near side tells about its old copy, as it arrives.
pub(super) struct Base {
    hashes: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Base {
    fn receive(&mut self, session: &mut Session) -> Result<Option<Vec<u8>>, Stopped> {
        match session.next_part()? {
            Part::Data(data) => Ok(Some(data)),
            Part::BaseEnd => {
                self.ended = true;
                Ok(None)
            }
            _ => Err(FrameError::Protocol("unexpected part of a fetch".to_owned()).into()),
        }
    }

    /// The next `wanted` bytes of hashes, fewer when the old file is shorter.
    pub(super) fn take(&mut self, session: &mut Session, wanted: usize) -> Result<Vec<u8>, Stopped> {
        while !self.ended && self.hashes.len() - self.taken < wanted {
            if let Some(data) = self.receive(session)? {
                self.hashes.drain(..self.taken);
                self.taken = 0;
                self.hashes.extend_from_slice(&data);
            }
        }
        let end = (self.taken + wanted).min(self.hashes.len());
        let taken = self.hashes.get(self.taken..end).unwrap_or_default().to_vec();
        self.taken = end;
        Ok(taken)
    }

    /// The next whole frame: the signature of one window.
    fn take_frame(&mut self, session: &mut Session) -> Result<Option<Vec<u8>>, Stopped> {
        if self.ended {
            Ok(None)
        } else {
            self.receive(session)
        }
    }
}

/// Runs of equal, zero and new bytes on their way out.
#[derive(Default)]
pub(super) struct Spans {
    same: u64,
    zeros: u64,
}

impl Spans {
    pub(super) fn new_content(&mut self, session: &mut Session, content: &[u8]) -> Result<(), Stopped> {
        for chunk in content.chunks(CHUNK) {
            if delta::is_zero(chunk) {
                self.send_same(session)?;
                self.zeros += chunk.len() as u64;
            } else {
                self.flush(session)?;
                session.output.data(chunk)?;
            }
        }
        Ok(())
    }

    fn pages(
        &mut self,
        session: &mut Session,
        content: &[u8],
        sums: &[PageSum],
        hashes: &[u8],
    ) -> Result<(), Stopped> {
        let mut changed = 0..0;
        let mut hashes = hashes.chunks(HASH_SIZE);
        let mut offset = 0;
        for (page, sum) in content.chunks(PAGE_SIZE).zip(sums) {
            let end = offset + page.len();
            if hashes.next() == Some(sum.0.to_le_bytes().as_slice()) {
                self.new_content(session, content.get(changed).unwrap_or_default())?;
                changed = end..end;
                self.send_zeros(session)?;
                self.same += page.len() as u64;
            } else {
                changed.end = end;
            }
            offset = end;
        }
        self.new_content(session, content.get(changed).unwrap_or_default())
    }

    pub(super) fn flush(&mut self, session: &mut Session) -> Result<(), Stopped> {
        self.send_same(session)?;
        self.send_zeros(session)
    }

    fn send_same(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if self.same > 0 {
            session.output.message(&Response::Same {
                bytes: std::mem::take(&mut self.same),
            })?;
        }
        Ok(())
    }

    fn send_zeros(&mut self, session: &mut Session) -> Result<(), Stopped> {
        if self.zeros > 0 {
            session.output.message(&Response::Zeros {
                bytes: std::mem::take(&mut self.zeros),
            })?;
        }
        Ok(())
    }
}
