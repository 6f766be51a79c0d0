//! The receiving half of a worker: turns answers into files, and proves that they are what was read at the source.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::PoisonError;

use super::pending::{Basis, Expect, Pending};
use super::window::Window;
use super::{Outcome, Pull, Task, regular};
use crate::agent::connection::{AgentError, Answer, Answers, next_answer};
use crate::agent::delta;
use crate::agent::message::{Failure, Fetched, ROLLING_WINDOW, Response};
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::copy::compare::Action;
use crate::copy::conversation::End;
use crate::copy::records::Form;
use crate::copy::report::CorruptBlock;
use crate::copy::{CopyError, local};
use crate::postgres::manifest::{Checksum, Computation};
use crate::postgres::page_sum::PageSummer;
use crate::transport::frame::FrameError;

/// How much may be written before the disk is set to work on it.
const WRITE_BACK_AFTER: u64 = 8 << 20;

/// What became of a request.
pub(super) enum Received {
    Complete(u64, Outcome),
    Vanished,
    /// It is to be done another way.
    Differently(Action),
}

/// Takes the whole answer to one request.
pub(super) fn receive(
    pull: &Pull,
    answers: &mut Answers,
    due: Pending,
    window: &Window,
    lost: &dyn Fn(FrameError) -> CopyError,
) -> Result<Received, End> {
    let Pending { task, expect, .. } = due;
    let mut receiving = Receiving {
        pull,
        task: &task,
        lost,
        taken: answers.consumed(),
        window,
        ahead: task.entry.size,
    };
    match expect {
        Expect::Hash(known) => receiving.comparison(answers, known),
        Expect::Onto(basis) => receiving.content(answers, Some(basis)),
        Expect::Content => receiving.content(answers, None),
        Expect::Blocks(old) => receiving.changes(answers, old),
        Expect::Patches(basis, pages) => receiving.patches(answers, basis, pages),
    }
}

/// The answer to one request being taken.
pub(super) struct Receiving<'a> {
    pub(super) pull: &'a Pull<'a>,
    pub(super) task: &'a Task,
    lost: &'a dyn Fn(FrameError) -> CopyError,
    taken: u64,
    window: &'a Window,
    /// Bytes of the file that are still to come.
    ahead: u64,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.window.leave(self.ahead);
    }
}

impl Receiving<'_> {
    fn comparison(&mut self, answers: &mut Answers, known: local::LocalHash) -> Result<Received, End> {
        let fetched = match self.next(answers)? {
            Answer::Message(Response::Fetched(fetched)) => fetched,
            Answer::Message(Response::Failed(failure)) => return self.failed(failure, None),
            _ => return Err(self.nonsense()),
        };
        self.corrupt(&fetched)?;
        let reference = self.pull.reference_path(self.task)?;
        let old = reference.as_deref().and_then(regular);
        match (reference, old) {
            (Some(reference), Some(old)) if fetched.size == known.size && fetched.sum == known.sum => {
                let linked = self
                    .pull
                    .take_over(self.task, &reference, &old, fetched.attributes)?;
                let outcome = Outcome {
                    attributes: fetched.attributes,
                    sum: Some(fetched.sum),
                    pages: self.pull.old_hashes(self.task, Some(fetched.sum))?,
                    checksum: self.pull.named(known.checksum),
                    form: Form::Whole,
                    stored: None,
                    reused: true,
                    linked,
                };
                Ok(Received::Complete(fetched.size, outcome))
            }
            _ => Ok(Received::Differently(self.pull.after_difference(self.task))),
        }
    }

    pub(super) fn content(&mut self, answers: &mut Answers, onto: Option<Basis>) -> Result<Received, End> {
        let path = self.pull.target_path(self.task)?;
        let mut assembly = match onto {
            Some(basis) => self.assembly(basis.file, path, Some(basis.read_back)),
            None => self.assembly(local::create(&path)?, path, None),
        };
        let mut old = None;
        loop {
            match self.next(answers)? {
                Answer::Data(data) => {
                    assembly.data(data)?;
                    self.arrived(&mut assembly);
                }
                Answer::Message(Response::Zeros { bytes }) => {
                    assembly.zeros(bytes, &|| self.pull.queue.stop.check())?
                }
                Answer::Message(Response::Same { bytes }) => {
                    assembly.same(bytes)?;
                    self.arrived(&mut assembly);
                }
                Answer::Message(Response::Delta { bytes }) => {
                    let Answer::Data(delta) = self.next(answers)? else {
                        return Err(self.nonsense());
                    };
                    if old.is_none() {
                        old = Some(self.open_reference()?);
                    }
                    let Some(old) = old.as_ref() else {
                        return Err(self.nonsense());
                    };
                    if !assembly.delta(old, delta, bytes)? {
                        return Err(self.nonsense());
                    }
                }
                Answer::Message(Response::Fetched(fetched)) => return self.finish(assembly, &fetched),
                Answer::Message(Response::Failed(failure)) => {
                    return self.failed(failure, Some(&assembly.path));
                }
                Answer::Message(_) => return Err(self.nonsense()),
            }
        }
    }

    /// A file to be put together.
    pub(super) fn assembly(&self, file: File, path: PathBuf, based: Option<File>) -> Assembly {
        let sum = if self.pull.keeps_hashes(self.task) {
            PageSummer::keeping_pages()
        } else {
            PageSummer::default()
        };
        Assembly::new(file, path, based, sum, self.pull.algorithm())
    }

    pub(super) fn finish(&mut self, mut assembly: Assembly, fetched: &Fetched) -> Result<Received, End> {
        self.corrupt(fetched)?;
        let (sum, pages) = std::mem::take(&mut assembly.sum).finish_pages();
        if assembly.offset != fetched.size || sum != fetched.sum {
            let error = CopyError::Mismatch { path: assembly.path };
            if self.task.action == Action::Whole {
                return Err(error.into());
            }
            if self.task.action == Action::PagesByLsn {
                log::info!(
                    "{error}: pages changed whose LSN does not say so, or the previous backup is damaged: comparing all pages"
                );
                return Ok(Received::Differently(Action::Pages));
            }
            log::warn!("{error}: fetching the whole file");
            return Ok(Received::Differently(Action::Whole));
        }
        let (file, path, checksum) = assembly.finish(fetched)?;
        self.pull.syncer.submit(file, path)?;
        let outcome = Outcome {
            attributes: fetched.attributes,
            sum: Some(fetched.sum),
            pages,
            checksum: self.pull.named(checksum),
            form: Form::Whole,
            stored: None,
            reused: false,
            linked: false,
        };
        Ok(Received::Complete(fetched.size, outcome))
    }

    /// So much of the file is here: the sending half may ask for more.
    pub(super) fn arrived(&mut self, assembly: &mut Assembly) {
        self.remain(self.task.entry.size.saturating_sub(assembly.offset));
        if let Some((offset, length)) = assembly.due() {
            self.pull.syncer.write_back(&assembly.file, offset, length);
        }
    }

    /// So much of the answer is still to come.
    pub(super) fn remain(&mut self, ahead: u64) {
        if ahead < self.ahead {
            self.window.leave(self.ahead - ahead);
            self.ahead = ahead;
        }
    }

    /// The next frame, once the bandwidth allows for it.
    pub(super) fn next<'b>(&mut self, answers: &'b mut Answers) -> Result<Answer<'b>, End> {
        let now = answers.consumed();
        self.pull
            .bandwidth
            .of(self.task.item)
            .consume(usize::try_from(now - self.taken).unwrap_or(usize::MAX));
        self.taken = now;
        next_answer(answers).map_err(|error| End::Lost((self.lost)(error)))
    }

    pub(super) fn failed(&self, failure: Failure, partial: Option<&PathBuf>) -> Result<Received, End> {
        const GONE: i32 = nix::errno::Errno::ENOENT as i32;
        if failure.errno != Some(GONE) {
            return Err(End::Fatal(AgentError::Failed(failure).into()));
        }
        if let Some(path) = partial {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(PathError::new("remove", path, error).into());
                }
                _ => {}
            }
        }
        Ok(Received::Vanished)
    }

    pub(super) fn corrupt(&self, fetched: &Fetched) -> Result<(), End> {
        if fetched.corrupt.is_empty() {
            return Ok(());
        }
        let path = self.pull.source_path(self.task)?;
        let mut tally = self.pull.tally.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is fetched another way after a comparison is read, and complained about, again.
        tally.corrupt.retain(|block| block.path != path);
        tally
            .corrupt
            .extend(fetched.corrupt.iter().map(|page| CorruptBlock {
                path: path.clone(),
                block: page.block.into(),
                computed: page.computed,
                stored: page.stored,
            }));
        Ok(())
    }

    fn open_reference(&self) -> Result<File, End> {
        match self.pull.reference_path(self.task)? {
            Some(path) => Ok(File::open(&path).at("open", &path)?),
            None => Err(self.nonsense()),
        }
    }

    pub(super) fn nonsense(&self) -> End {
        End::Lost((self.lost)(FrameError::Protocol(
            "unexpected answer to a fetch".to_owned(),
        )))
    }
}

/// A file being put together from its start to its end.
pub(super) struct Assembly {
    file: File,
    pub(super) path: PathBuf,
    /// Where old content is read, when there is some in the file.
    based: Option<File>,
    pub(super) offset: u64,
    written_back: u64,
    sum: PageSummer,
    checksum: Computation,
    buffer: Vec<u8>,
}

impl Assembly {
    fn new(
        file: File,
        path: PathBuf,
        based: Option<File>,
        sum: PageSummer,
        checksum: Option<Checksum>,
    ) -> Assembly {
        Assembly {
            file,
            path,
            based,
            offset: 0,
            written_back: 0,
            sum,
            checksum: checksum.map_or(Computation::None, Checksum::start),
            buffer: Vec::new(),
        }
    }

    pub(super) fn data(&mut self, data: &[u8]) -> Result<(), PathError> {
        self.file
            .write_all_at(data, self.offset)
            .at("write", &self.path)?;
        self.take_in(data);
        Ok(())
    }

    /// Zeros after the end of the old content: a hole.
    pub(super) fn hole(
        &mut self,
        bytes: u64,
        going_on: &dyn Fn() -> io::Result<()>,
    ) -> Result<(), PathError> {
        self.blank(bytes, false, going_on)
    }

    /// Whether the old content has so many zeros here.
    pub(super) fn is_blank(&self, bytes: usize) -> Result<bool, PathError> {
        let mut content = vec![0; bytes];
        let from = self.based.as_ref().unwrap_or(&self.file);
        from.read_exact_at(&mut content, self.offset)
            .at("read back", &self.path)?;
        Ok(delta::is_zero(&content))
    }

    /// Zeros become a hole, or blank the old content.
    pub(super) fn zeros(
        &mut self,
        bytes: u64,
        going_on: &dyn Fn() -> io::Result<()>,
    ) -> Result<(), PathError> {
        self.blank(bytes, self.based.is_some(), going_on)
    }

    fn blank(
        &mut self,
        bytes: u64,
        write: bool,
        going_on: &dyn Fn() -> io::Result<()>,
    ) -> Result<(), PathError> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut left = bytes;
        while left > 0 {
            going_on().at("write", &self.path)?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            let zeros = ZEROS.get(..count).unwrap_or_default();
            if write {
                self.file
                    .write_all_at(zeros, self.offset)
                    .at("write", &self.path)?;
            }
            self.take_in(zeros);
            left -= count as u64;
        }
        Ok(())
    }

    /// Old content that stays: read back, so that the hash covers what is really in the file.
    pub(super) fn same(&mut self, bytes: u64) -> Result<(), PathError> {
        let mut left = bytes;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(256 << 10, 0);
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let content = buffer.get_mut(..count).unwrap_or_default();
            let from = self.based.as_ref().unwrap_or(&self.file);
            from.read_exact_at(content, self.offset)
                .at("read back", &self.path)?;
            self.take_in(content);
            left -= count as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// The next window, made from the old file's; false when the delta does not fit it.
    fn delta(&mut self, old: &File, delta: &[u8], bytes: u64) -> Result<bool, PathError> {
        let Ok(size) = usize::try_from(bytes) else {
            return Ok(false);
        };
        if size > ROLLING_WINDOW {
            return Ok(false);
        }
        let mut window = vec![0_u8; ROLLING_WINDOW];
        let mut filled = 0;
        while let Some(rest) = window.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match old
                .read_at(rest, self.offset + filled as u64)
                .at("read previous backup's", &self.path)?
            {
                0 => break,
                count => filled += count,
            }
        }
        window.truncate(filled);
        match delta::apply(&window, delta, size) {
            Some(content) => self.data(&content).map(|()| true),
            None => Ok(false),
        }
    }

    fn take_in(&mut self, content: &[u8]) {
        self.sum.update(content);
        self.checksum.update(content);
        self.offset += content.len() as u64;
    }

    /// What is to be written back by now, in bytes: offset and length.
    fn due(&mut self) -> Option<(u64, u64)> {
        let length = self.offset - self.written_back;
        (length >= WRITE_BACK_AFTER).then(|| (std::mem::replace(&mut self.written_back, self.offset), length))
    }

    fn finish(self, fetched: &Fetched) -> Result<(File, PathBuf, Vec<u8>), PathError> {
        self.file
            .set_len(fetched.size)
            .at("set the size of", &self.path)?;
        fetched
            .attributes
            .apply(&self.file)
            .at("set the attributes of", &self.path)?;
        sys::start_writeback(&self.file, self.written_back, 0);
        Ok((self.file, self.path, self.checksum.finish()))
    }
}
