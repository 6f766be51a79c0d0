//! What a fetch sends and takes: runs of equal, zero and new bytes on their way out, the old copy's hashes on their way in.

use super::conversation::{Part, Session, Stopped};
use super::delta;
use super::message::{CHUNK, HASH_SIZE, ROLLING_WINDOW, Response};
use super::source::WINDOW;
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;
use crate::transport::frame::FrameError;

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
    pub(super) ended: bool,
}

impl Base {
    /// `ended` when the near side tells nothing.
    pub(super) fn new(ended: bool) -> Base {
        Base {
            hashes: Vec::new(),
            taken: 0,
            ended,
        }
    }

    pub(super) fn receive(&mut self, session: &mut Session) -> Result<Option<Vec<u8>>, Stopped> {
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
    pub(super) fn take_frame(&mut self, session: &mut Session) -> Result<Option<Vec<u8>>, Stopped> {
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

    pub(super) fn pages(
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
            if hashes.next() == Some(sum.to_bytes().as_slice()) {
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
