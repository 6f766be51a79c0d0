//! What an incremental copy asks for: stubs for what did not change, the changed blocks of the rest.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::blocks::Old;
use super::pending::Expect;
use super::sending::{Begun, Refused, Sending};
use super::{Outcome, Pull, Task, stubs};
use crate::agent::message::{CHUNK, FetchMode, HASH_SIZE, Request, Since};
use crate::agent::{delta, source};
use crate::base::error::PathError;
use crate::copy::CopyError;
use crate::copy::chain::Rebuilt;
use crate::copy::compare::Action;
use crate::copy::records::{Form, Known};
use crate::postgres::incremental::incremental_path;
use crate::postgres::page::{Fork, PAGE_SIZE, relation_file};
use crate::postgres::page_sum::PageSum;

impl Sending<'_> {
    /// A relation file that is as the parent has it.
    pub(super) fn stub(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let attributes = task.entry.attributes;
        let size = task.entry.size;
        let blocks = u32::try_from(size / PAGE_SIZE as u64).unwrap_or(u32::MAX);
        let path = self.pull.incremental_target(task)?;
        let linked = self.pull.stubs.place(blocks, &path, &self.pull.syncer)?;
        let known = self.pull.known(task)?;
        let outcome = Outcome {
            attributes,
            sum: known.and_then(|known| known.sum),
            // Those of the older backups of the chain stay valid.
            pages: Vec::new(),
            checksum: self
                .pull
                .algorithm()
                .map(|algorithm| stubs::checksum(blocks, algorithm)),
            form: Form::Blocks {
                longest: known.map_or(blocks, |known| known.longest().max(blocks)),
            },
            stored: Some(stubs::content(blocks).len() as u64),
            reused: true,
            linked,
        };
        self.pull.tally_blocks(|blocks| blocks.unchanged += 1);
        self.pull.complete(task, size, started, outcome)?;
        Ok(Begun::Done)
    }

    pub(super) fn blocks_by_lsn(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let incremental = self.pull.plan.incremental.as_ref();
        let lsn = incremental.and_then(|incremental| incremental.since);
        let (Some(known), Some(lsn)) = (self.pull.known(task)?, lsn) else {
            return Ok(Begun::Differently(Action::BlocksByHash));
        };
        let old = Old {
            blocks: u32::try_from(known.size / PAGE_SIZE as u64).unwrap_or(u32::MAX),
            longest: known.longest(),
            sum: known.sum,
            pages: Arc::default(),
        };
        let since = Since {
            lsn: Some(lsn.0),
            blocks: old.blocks,
            longest: old.longest,
        };
        self.look_up(task, &old)?;
        self.expect(task, Expect::Blocks(old), started)?;
        self.fetch(task, FetchMode::Blocks(since))
            .map_err(Refused::after)?;
        Ok(Begun::Done)
    }

    pub(super) fn blocks_by_hash(&mut self, task: &Task, started: Instant) -> Result<Begun, Refused> {
        let relative = self.pull.recorded_path(task)?.unwrap_or_default();
        let chain = self.pull.members.get(1..).unwrap_or_default();
        let rebuilt = match Rebuilt::open(chain, &relative) {
            Ok(Some(rebuilt)) if rebuilt.size().is_multiple_of(PAGE_SIZE as u64) => rebuilt,
            Ok(_) => return Ok(Begun::Differently(Action::Whole)),
            Err(error) => {
                self.pull.parent_is_damaged(task, &error.to_string())?;
                return Ok(Begun::Differently(Action::Whole));
            }
        };
        let known = self.pull.known(task)?;
        let old = Old {
            blocks: u32::try_from(rebuilt.size() / PAGE_SIZE as u64).unwrap_or(u32::MAX),
            longest: rebuilt.longest(),
            sum: known
                .filter(|known| known.size == rebuilt.size())
                .and_then(|known| known.sum),
            pages: Arc::default(),
        };
        self.look_up(task, &old)?;
        self.expect(task, Expect::Blocks(old.clone()), started)?;
        let described = self.describe_rebuilt(task, &rebuilt, &old);
        described.map_err(Refused::after)?;
        Ok(Begun::Done)
    }

    /// Looks whether an older backup left the hashes of the old file's pages. They stand for a file that must still be
    /// there as a whole.
    fn look_up(&self, task: &Task, old: &Old) -> Result<(), CopyError> {
        let pages = self.pull.old_hashes(task, old.sum)?;
        if pages.is_empty() {
            return Ok(());
        }
        let relative = self.pull.recorded_path(task)?.unwrap_or_default();
        let chain = self.pull.members.get(1..).unwrap_or_default();
        let size = u64::from(old.blocks) * PAGE_SIZE as u64;
        if Rebuilt::open(chain, &relative).is_ok_and(|found| found.is_some_and(|old| old.size() == size)) {
            // Nobody else has set them.
            let _ = old.pages.set(pages);
        }
        Ok(())
    }

    fn describe_rebuilt(&mut self, task: &Task, rebuilt: &Rebuilt, old: &Old) -> Result<(), Refused> {
        self.fetch(
            task,
            FetchMode::Blocks(Since {
                lsn: None,
                blocks: old.blocks,
                longest: old.longest,
            }),
        )?;
        let wanted = task.entry.size.min(rebuilt.size());
        match old.pages.get() {
            Some(pages) => self.tell_hashes(task, pages, wanted)?,
            None => self.read_hashes(task, rebuilt, old, wanted)?,
        }
        self.send_message(&Request::BaseEnd)
    }

    /// Sends the hashes of the first `wanted` bytes' pages.
    fn tell_hashes(&mut self, task: &Task, pages: &[PageSum], wanted: u64) -> Result<(), Refused> {
        let count = usize::try_from(wanted / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        for part in pages.get(..count).unwrap_or(pages).chunks(CHUNK / HASH_SIZE) {
            let bytes: Vec<u8> = part.iter().flat_map(|hash| hash.to_bytes()).collect();
            self.tell(task, &bytes)?;
        }
        Ok(())
    }

    /// Reads the old file, and sends the hashes of its first `wanted` bytes' pages.
    fn read_hashes(&mut self, task: &Task, rebuilt: &Rebuilt, old: &Old, wanted: u64) -> Result<(), Refused> {
        let mut pages = Vec::new();
        let mut buffer = vec![0_u8; source::WINDOW.min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        let mut hashes = Vec::new();
        let mut offset = 0;
        while offset < wanted {
            let count = rebuilt.read_at(&mut buffer, offset)?;
            let content = buffer.get(..count).unwrap_or_default();
            if content.is_empty() {
                break;
            }
            hashes.clear();
            delta::page_sums(offset / PAGE_SIZE as u64, content, &mut hashes);
            self.tell(task, &hashes)?;
            if count == source::WINDOW {
                self.requests.flush().map_err(|error| self.broken(error))?;
            }
            pages.extend(PageSum::all_of(&hashes));
            offset += count as u64;
        }
        if self.pull.keeps_hashes(task) {
            // Nobody else has set them.
            let _ = old.pages.set(pages);
        }
        Ok(())
    }
}

impl Pull<'_> {
    /// What the previous backup's records say about a file.
    pub(super) fn known(&self, task: &Task) -> Result<Option<&Known>, CopyError> {
        let path = self.recorded_path(task)?;
        Ok(path.and_then(|path| self.previous.known(&path)))
    }

    /// Where the changed blocks of a file go.
    pub(super) fn incremental_target(&self, task: &Task) -> Result<PathBuf, CopyError> {
        let destination = &self.item(task)?.destination;
        Ok(super::below(destination, &incremental_path(&task.entry.path)))
    }

    /// The parent's form of a file is not what it was: nothing can build on it.
    pub(super) fn parent_is_damaged(&self, task: &Task, reason: &str) -> Result<(), CopyError> {
        self.reporter.warning(&format!(
            "\"{}\" is copied whole, because its parent cannot be relied on ({reason}): verify the older backups of this \
             server",
            self.source_path(task)?.display()
        ));
        self.tally_blocks(|blocks| blocks.parent_damaged += 1);
        Ok(())
    }

    /// Removes what an attempt that was broken off left of a file in the form that it does not get in the end: nothing may
    /// have two forms in an incremental backup.
    pub(super) fn remove_remains(&self, task: &Task, form: Option<Form>) -> Result<(), CopyError> {
        let main = relation_file(&task.entry.path).is_some_and(|file| file.fork == Fork::Main);
        if self.plan.incremental.is_none() || !main {
            return Ok(());
        }
        let forms = [
            (self.target_path(task)?, matches!(form, Some(Form::Whole))),
            (
                self.incremental_target(task)?,
                matches!(form, Some(Form::Blocks { .. })),
            ),
        ];
        for (path, _) in forms.iter().filter(|(_, stays)| !stays) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PathError::new("remove", path, error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
