//! The sending half of a worker: takes tasks, does what needs no other host, and asks for the rest.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::pending::{Basis, Expect, Pending};
use super::window::Window;
use super::{Outcome, Pull, Task, regular};
use crate::agent::connection::Requests;
use crate::agent::message::bytes_of;
use crate::agent::message::{Attributes, Checks, FetchMode, ROLLING_WINDOW, Request};
use crate::agent::{delta, source};
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::copy::CopyError;
use crate::copy::compare::{Action, delta_for, linkable};
use crate::copy::conversation::End;
use crate::copy::local;
use crate::copy::plan::Reuse;
use crate::copy::records::{FileChecksum, Form};
use crate::postgres::page::{FileKind, PAGE_SIZE, SEGMENT_PAGES, file_kind};
use crate::postgres::page_sum::PageSum;
use crate::transport::frame::FrameError;
use crate::transport::patience::Stop;

/// A local file longer than this is hashed while the request is already on its way.
const WORTH_A_FLUSH: u64 = 1 << 20;

/// Sends until there is nothing left to ask for.
pub(super) fn send(
    pull: &Pull,
    requests: &mut Requests,
    pending: Sender<Pending>,
    window: &Window,
    stop: &Stop,
    lost: &dyn Fn(FrameError) -> CopyError,
) -> Result<(), End> {
    let mut sending = Sending {
        pull,
        requests,
        pending,
        window,
        stop,
        lost,
    };
    loop {
        if !sending.window.is_open() {
            sending.flush()?;
            if !sending.window.open(stop) {
                return Ok(());
            }
        }
        let task = match pull.queue.try_next() {
            Some(task) => task,
            None => {
                sending.flush()?;
                match pull.queue.next(stop) {
                    Some(task) => task,
                    None => return Ok(()),
                }
            }
        };
        sending.start(task)?;
    }
}

/// The sending half of a worker.
pub(super) struct Sending<'a> {
    pub(super) pull: &'a Pull<'a>,
    pub(super) requests: &'a mut Requests,
    pending: Sender<Pending>,
    window: &'a Window,
    pub(super) stop: &'a Stop,
    lost: &'a dyn Fn(FrameError) -> CopyError,
}

impl Sending<'_> {
    /// Begins a task. One that fails before its answer is awaited goes back to the queue here.
    fn start(&mut self, task: Task) -> Result<(), End> {
        let started = Instant::now();
        let result = match task.action {
            Action::Reuse => self.reuse(&task, started),
            Action::Compare => self.compare(&task, started),
            Action::Pages => self.pages(&task, started),
            Action::PagesByLsn => self.pages_by_lsn(&task, started),
            Action::Rolling => self.rolling(&task, started),
            Action::Whole => self.whole(&task, started),
            Action::Stub => self.stub(&task, started),
            Action::BlocksByLsn => self.blocks_by_lsn(&task, started),
            Action::BlocksByHash => self.blocks_by_hash(&task, started),
        };
        match result {
            Ok(Begun::Done) => Ok(()),
            Ok(Begun::Differently(action)) => {
                self.pull.queue.again(Task { action, ..task });
                Ok(())
            }
            Err(Refused::Before(end)) => {
                self.pull.queue.again(task);
                Err(end)
            }
            // The receiving half has the task, and gives it back.
            Err(Refused::After(end)) => Err(end),
        }
    }

    fn reuse(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let Some(reference) = self.pull.reference_path(task)? else {
            return Ok(Begun::Differently(Action::Whole));
        };
        // It may be gone since it was looked at: somebody deletes the previous backup.
        let Some(old) = regular(&reference) else {
            return Ok(Begun::Differently(Action::Whole));
        };
        let attributes = task.entry.attributes;
        let (mut sum, mut checksum) = self.pull.known_content(task, old.len(), attributes)?;
        // Of the files of a failed attempt nothing is recorded. Reading them here is cheaper than what it would cost the next
        // incremental backup not to know them.
        let unknown = task.attempt.is_some() && self.pull.plan.records.is_some();
        if unknown || (self.pull.plan.manifest.is_some() && checksum.is_none()) {
            let found = local::hash(&reference, self.pull.algorithm(), &|| self.stop.check())?;
            sum = Some(found.sum);
            checksum = self.pull.named(found.checksum);
        }
        let linked = self
            .pull
            .take_over(task, &reference, &old, task.entry.attributes)?;
        let outcome = Outcome {
            attributes,
            pages: self.pull.old_hashes(task, sum)?,
            sum,
            checksum,
            form: Form::Whole,
            stored: None,
            reused: true,
            linked,
        };
        self.pull.complete(task, old.len(), started, outcome)?;
        Ok(Begun::Done)
    }

    /// The file that the new one may be like.
    fn old_file(&self, task: &Task) -> Result<Option<PathBuf>, CopyError> {
        let reference = self.pull.reference_path(task)?;
        Ok(reference.filter(|path| regular(path).is_some()))
    }

    fn compare(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let Some(reference) = self.old_file(task)? else {
            return Ok(Begun::Differently(Action::Whole));
        };
        self.fetch(task, FetchMode::HashOnly)?;
        if task.entry.size >= WORTH_A_FLUSH {
            self.requests.flush().map_err(|error| self.broken(error))?;
        }
        let hash = local::hash(&reference, self.pull.algorithm(), &|| self.stop.check())?;
        self.expect(task, Expect::Hash(hash), started)?;
        Ok(Begun::Done)
    }

    /// The previous backup's pages are written to the new file while they are described, so that the answer only patches.
    fn pages(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let Some(reference) = self.old_file(task)? else {
            return Ok(Begun::Differently(Action::Whole));
        };
        let Prepared { old, basis, shared } = self.prepare(task, &reference)?;
        let target = basis.file.try_clone().at("open", &reference)?;
        self.expect(task, Expect::Onto(basis), started)?;
        let described = self.describe_pages(task, &old, &target, shared);
        described.map_err(Refused::after)?;
        Ok(Begun::Done)
    }

    /// Creates the new file: as long as the old one, and with its content where the two can share their blocks.
    pub(super) fn prepare(&self, task: &Task, reference: &Path) -> Result<Prepared, CopyError> {
        let path = self.pull.target_path(task)?;
        let old = File::open(reference).at("open", reference)?;
        let file = local::create(&path)?;
        let shared = self.pull.sharing.share(&old, &file, &path)?;
        if shared {
            sys::reserve_for_copies(&file, PAGE_SIZE as u32);
        }
        // Pages of zeros stay holes, which must be there to be read back.
        let length = old.metadata().at("look at", reference)?.len();
        file.set_len(length).at("set the size of", &path)?;
        // Shared blocks are the same blocks; read through the old file, they are in the page cache already.
        let read_back = if shared { &old } else { &file };
        let read_back = read_back.try_clone().at("open", reference)?;
        let basis = Basis { file, read_back };
        Ok(Prepared { old, basis, shared })
    }

    fn describe_pages(
        &mut self,
        task: &Task,
        old: &File,
        target: &File,
        shared: bool,
    ) -> Result<(), Refused> {
        self.fetch(task, FetchMode::Pages)?;
        let path = self.pull.target_path(task)?;
        let wanted = task.entry.size.div_ceil(PAGE_SIZE as u64) * PAGE_SIZE as u64;
        let mut buffer = vec![0_u8; source::WINDOW.min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        let mut hashes = Vec::new();
        let mut offset = 0;
        while offset < wanted {
            let count = read_window(old, &mut buffer, offset).at("read previous backup's", &path)?;
            let content = buffer.get(..count).unwrap_or_default();
            if content.is_empty() {
                break;
            }
            if !shared && !delta::is_zero(content) {
                target.write_all_at(content, offset).at("write", &path)?;
            }
            hashes.clear();
            delta::page_sums(offset / PAGE_SIZE as u64, content, &mut hashes);
            self.tell(task, &hashes)?;
            if count == source::WINDOW {
                // Long files: the other side works on this window while we read the next.
                self.requests.flush().map_err(|error| self.broken(error))?;
            }
            offset += count as u64;
        }
        self.send_message(&Request::BaseEnd)
    }

    fn rolling(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let Some(reference) = self.old_file(task)? else {
            return Ok(Begun::Differently(Action::Whole));
        };
        let mut old = File::open(&reference).at("open", &reference)?;
        self.expect(task, Expect::Content, started)?;
        let described = self.describe_rolling(task, &mut old);
        described.map_err(Refused::after)?;
        Ok(Begun::Done)
    }

    fn describe_rolling(&mut self, task: &Task, old: &mut File) -> Result<(), Refused> {
        self.fetch(task, FetchMode::Rolling)?;
        let path = self.pull.target_path(task)?;
        let windows = task.entry.size.div_ceil(ROLLING_WINDOW as u64);
        for _ in 0..windows {
            let mut window = Vec::new();
            old.take(ROLLING_WINDOW as u64)
                .read_to_end(&mut window)
                .at("read previous backup's", &path)?;
            if window.is_empty() {
                break;
            }
            self.tell(task, &delta::signature(&window))?;
        }
        self.send_message(&Request::BaseEnd)
    }

    /// Sends a part of the description of an old file. The limit of the bandwidth counts both directions.
    pub(super) fn tell(&mut self, task: &Task, part: &[u8]) -> Result<(), Refused> {
        self.requests.data(part).map_err(|error| self.broken(error))?;
        self.pull.bandwidth.of(task.item).consume(part.len());
        Ok(())
    }

    fn whole(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        self.expect(task, Expect::Content, started)?;
        self.fetch(task, FetchMode::Whole).map_err(Refused::after)?;
        Ok(Begun::Done)
    }

    pub(super) fn fetch(&mut self, task: &Task, mode: FetchMode) -> Result<(), Refused> {
        let path = bytes_of(&self.pull.source_path(task)?);
        let checks = self
            .pull
            .plan
            .page_checks
            .and_then(|checks| match file_kind(&task.entry.path) {
                FileKind::Relation { segment } => Some(Checks {
                    start: checks.start.0,
                    first_block: segment.wrapping_mul(SEGMENT_PAGES),
                }),
                _ => None,
            });
        self.send_message(&Request::Fetch { path, mode, checks })
    }

    pub(super) fn expect(&mut self, task: &Task, expect: Expect, started: Instant) -> Result<(), Refused> {
        let mut due = Pending {
            task: task.clone(),
            expect,
            started,
        };
        self.window.enter(task.entry.size);
        loop {
            // The receiving half needs what is in the buffer before it can take another one.
            match self.pending.try_send(due) {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::TrySendError::Full(back)) => {
                    self.requests.flush().map_err(|error| self.broken(error))?;
                    match self
                        .pending
                        .send_timeout(back, std::time::Duration::from_millis(100))
                    {
                        Ok(()) => return Ok(()),
                        Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => due = back,
                        Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => {
                            return Err(self.broken(FrameError::Closed));
                        }
                    }
                    self.stop
                        .check()
                        .map_err(|error| self.broken(FrameError::Io(error)))?;
                }
                Err(crossbeam_channel::TrySendError::Disconnected(_)) => {
                    return Err(self.broken(FrameError::Closed));
                }
            }
        }
    }

    pub(super) fn send_message(&mut self, request: &Request) -> Result<(), Refused> {
        self.requests.message(request).map_err(|error| self.broken(error))
    }

    fn flush(&mut self) -> Result<(), End> {
        self.requests
            .flush()
            .map_err(|error| End::Lost((self.lost)(error)))
    }

    pub(super) fn broken(&self, error: FrameError) -> Refused {
        Refused::Before(End::Lost((self.lost)(error)))
    }
}

/// A new file that is to begin with the content of an old one.
pub(super) struct Prepared {
    pub(super) old: File,
    pub(super) basis: Basis,
    /// Whether it has that content already.
    pub(super) shared: bool,
}

/// What became of a task here.
pub(super) enum Begun {
    Done,
    Differently(Action),
}

/// A task that could not be begun; whether somebody else has it already.
pub(super) enum Refused {
    Before(End),
    After(End),
}

impl Refused {
    pub(super) fn after(self) -> Refused {
        match self {
            Refused::Before(end) | Refused::After(end) => Refused::After(end),
        }
    }
}

impl<E: Into<CopyError>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Before(End::Fatal(error.into()))
    }
}

pub(super) fn read_window(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Pull<'_> {
    /// Sum and checksum of a file that is unchanged, as far as they are known.
    fn known_content(
        &self,
        task: &Task,
        size: u64,
        attributes: Attributes,
    ) -> Result<(Option<PageSum>, Option<FileChecksum>), CopyError> {
        // Of the files of a failed attempt nothing is recorded.
        let path = self.recorded_path(task)?.filter(|_| task.attempt.is_none());
        let Some(path) = path else {
            return Ok((None, None));
        };
        let sum = self
            .previous
            .known(&path)
            .filter(|known| known.size == size && known.modified == attributes.modified)
            .and_then(|known| known.sum);
        let required = self.plan.manifest;
        let checksum = self
            .previous
            .checksum(&path, size, attributes.modified)
            .filter(|checksum| required.is_none_or(|algorithm| algorithm == checksum.algorithm));
        Ok((sum, checksum))
    }

    /// Takes an unchanged file from the previous backup; whether it is a hard link now.
    pub(super) fn take_over(
        &self,
        task: &Task,
        reference: &std::path::Path,
        old: &std::fs::Metadata,
        attributes: crate::agent::message::Attributes,
    ) -> Result<bool, PathError> {
        let target = self
            .target_path(task)
            .map_err(|_| PathError::new("place", reference, io::ErrorKind::InvalidInput.into()))?;
        if task.attempt.is_some() {
            if let Some(shared) = self.move_over(old, reference, &target, attributes)? {
                return Ok(shared);
            }
        } else if self.plan.reuse == Reuse::Link
            && linkable(attributes, old)
            && local::link(reference, &target)?
        {
            return Ok(true);
        }
        let file = local::copy(reference, &target, attributes, &self.sharing)?;
        self.syncer.submit(file, target)?;
        Ok(false)
    }

    /// How a file that turned out to differ is fetched.
    pub(super) fn after_difference(&self, task: &Task) -> Action {
        delta_for(&task.entry, task.entry.size)
    }
}
