//! Linked backups: a file as the previous backup has it, and the pages whose LSN says that they changed since.
//!
//! Neither side hashes the old file for that. What it becomes is read back as a whole and must have the sum of what the
//! agent read: a page that changed without a new LSN, or rotted in the previous backup, shows, and then the pages are
//! compared by hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::assemble::{Assembly, Received, Receiving};
use super::listing::Scope;
use super::pending::{Basis, Expect};
use super::sending::{Begun, Prepared, Refused, Sending, read_window};
use super::{Task, blocks, regular};
use crate::agent::connection::{Answer, Answers};
use crate::agent::delta;
use crate::agent::message::{Entry, FetchMode, Response, Since};
use crate::agent::source::WINDOW;
use crate::base::error::{PathContext, PathError};
use crate::copy::compare::Action;
use crate::copy::conversation::End;
use crate::copy::records::Known;
use crate::postgres::page::{Fork, PAGE_SIZE, SEGMENT_PAGES, relation_file};

const PAGE: u64 = PAGE_SIZE as u64;

impl Scope<'_> {
    /// Whether the pages of a file that differs can be told by their LSN: those of a main fork that is stored as a whole.
    pub(super) fn pages_by_lsn(&self, entry: &Entry) -> bool {
        if self.plan.since.is_none() || self.plan.incremental.is_some() {
            return false;
        }
        let main = relation_file(&entry.path).is_some_and(|file| file.fork == Fork::Main);
        let destination = super::below(&self.item.destination, &entry.path);
        let recorded = self
            .plan
            .records
            .as_ref()
            .and_then(|records| destination.strip_prefix(&records.directory).ok());
        let known = recorded.and_then(|path| self.previous.known(blocks::relative(path)));
        main && of_pages(entry.size) && known.is_some_and(|known| known.is_whole() && of_pages(known.size))
    }
}

fn of_pages(size: u64) -> bool {
    size > 0 && size.is_multiple_of(PAGE) && size / PAGE <= u64::from(SEGMENT_PAGES)
}

fn page_count(known: &Known) -> u32 {
    u32::try_from(known.size / PAGE).unwrap_or(u32::MAX)
}

impl Sending<'_> {
    /// Asks for the pages, and prepares the file meanwhile.
    pub(super) fn pages_by_lsn(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let reference = self.pull.reference_path(task)?;
        let Some((reference, metadata)) = reference.and_then(|path| regular(&path).map(|old| (path, old)))
        else {
            return Ok(Begun::Differently(Action::Whole));
        };
        let known = self
            .pull
            .known(task)?
            .filter(|known| known.size == metadata.len());
        let (Some(known), Some(since)) = (known, self.pull.plan.since) else {
            return Ok(Begun::Differently(Action::Pages));
        };
        let since = Since {
            lsn: Some(since.0),
            blocks: page_count(known),
            longest: page_count(known),
        };
        self.fetch(task, FetchMode::Blocks(since))?;
        self.requests.flush().map_err(|error| self.broken(error))?;
        let Prepared { old, basis, shared } = self.prepare(task, &reference)?;
        if !shared {
            self.copy_pages(&old, &basis.file, &reference)?;
        }
        self.expect(task, Expect::Patches(basis, since.blocks), started)?;
        Ok(Begun::Done)
    }

    /// Copies what is not zeros: those stay holes.
    fn copy_pages(&self, old: &File, target: &File, reference: &Path) -> Result<(), PathError> {
        let mut buffer = vec![0_u8; WINDOW];
        let mut offset = 0;
        loop {
            self.stop.check().at("copy", reference)?;
            let count = read_window(old, &mut buffer, offset).at("read", reference)?;
            let content = buffer.get(..count).unwrap_or_default();
            if content.is_empty() {
                return Ok(());
            }
            if !delta::is_zero(content) {
                target.write_all_at(content, offset).at("copy", reference)?;
            }
            offset += count as u64;
        }
    }
}

impl Receiving<'_> {
    /// Takes the pages that changed; `old` is how many the file has now.
    pub(super) fn patches(&mut self, answers: &mut Answers, basis: Basis, old: u32) -> Result<Received, End> {
        let (blocks, count) = match self.next(answers)? {
            Answer::Message(Response::Changed { blocks, count }) => (blocks, count),
            Answer::Message(Response::InWhole) => return self.content(answers, None),
            Answer::Message(Response::Failed(failure)) => {
                // What was prepared is the old file.
                let path = self.pull.target_path(self.task)?;
                return self.failed(failure, Some(&path));
            }
            _ => return Err(self.nonsense()),
        };
        let numbers = self.numbers(answers, count)?;
        let ascending = numbers.is_sorted_by(|one, next| one < next);
        if !ascending || blocks > SEGMENT_PAGES || numbers.last().is_some_and(|last| *last >= blocks) {
            return Err(self.nonsense());
        }
        let path = self.pull.target_path(self.task)?;
        let mut patching = Patching {
            assembly: self.assembly(basis.file, path, Some(basis.read_back)),
            old: u64::from(old.min(blocks)) * PAGE,
            numbers: numbers.into_iter(),
        };
        loop {
            let stop = &self.pull.queue.stop;
            match self.next(answers)? {
                Answer::Data(data) if data.len().is_multiple_of(PAGE_SIZE) => {
                    for page in data.chunks_exact(PAGE_SIZE) {
                        if !patching.reach_next(&|| stop.check())? {
                            return Err(self.nonsense());
                        }
                        patching.assembly.data(page)?;
                    }
                }
                Answer::Message(Response::Zeros { bytes }) if bytes.is_multiple_of(PAGE) => {
                    for _ in 0..bytes / PAGE {
                        if !patching.reach_next(&|| stop.check())? {
                            return Err(self.nonsense());
                        }
                        patching.zero_page(&|| stop.check())?;
                    }
                }
                Answer::Message(Response::Fetched(fetched)) => {
                    let fetched = fetched.clone();
                    patching.keep_until(u64::from(blocks) * PAGE, &|| stop.check())?;
                    let received = self.finish(patching.assembly, &fetched)?;
                    self.pull.tally_blocks(|tally| match received {
                        Received::Complete(..) => {
                            tally.by_lsn += 1;
                            tally.blocks_by_lsn += u64::from(count);
                        }
                        _ => tally.lsn_refuted += 1,
                    });
                    return Ok(received);
                }
                Answer::Message(Response::Failed(failure)) => {
                    return self.failed(failure, Some(&patching.assembly.path));
                }
                _ => return Err(self.nonsense()),
            }
            self.arrived(&mut patching.assembly);
        }
    }
}

/// An old file while pages of it are replaced.
struct Patching {
    assembly: Assembly,
    /// Bytes of the old file that can stay.
    old: u64,
    /// The pages that are still to come.
    numbers: std::vec::IntoIter<u32>,
}

impl Patching {
    /// Keeps everything before the next page that changed; false when there is none.
    fn reach_next(&mut self, going_on: &dyn Fn() -> io::Result<()>) -> Result<bool, End> {
        let Some(number) = self.numbers.next() else {
            return Ok(false);
        };
        self.keep_until(u64::from(number) * PAGE, going_on)?;
        Ok(true)
    }

    /// Keeps the old content up to an offset. Pages after its end that nobody names are zeros.
    fn keep_until(&mut self, end: u64, going_on: &dyn Fn() -> io::Result<()>) -> Result<(), End> {
        let old = end.min(self.old).saturating_sub(self.assembly.offset);
        if old > 0 {
            self.assembly.same(old)?;
        }
        let zeros = end.saturating_sub(self.assembly.offset);
        if zeros > 0 {
            self.assembly.hole(zeros, going_on)?;
        }
        Ok(())
    }

    /// The next page is one of zeros: a hole where it was one.
    fn zero_page(&mut self, going_on: &dyn Fn() -> io::Result<()>) -> Result<(), End> {
        if self.assembly.offset >= self.old {
            self.assembly.hole(PAGE, going_on)?;
        } else if self.assembly.is_blank(PAGE_SIZE)? {
            self.assembly.same(PAGE)?;
        } else {
            self.assembly.zeros(PAGE, going_on)?;
        }
        Ok(())
    }
}
