//! The file that is restored: one of the backup, or put together from a chain of backups while it is read.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Task;
use crate::agent::source::SourceFile;
use crate::base::error::PathError;
use crate::copy::CopyError;
use crate::copy::chain::Rebuilt;
use crate::copy::plan::PushPlan;
use crate::postgres::page_sum::{PageSum, PageSummer};

/// A file being read from its start to its end.
pub(super) struct Reading {
    content: Content,
    expected: Option<(PageSum, PageSummer)>,
}

enum Content {
    Whole(Box<SourceFile>),
    Blocks { rebuilt: Box<Rebuilt>, offset: u64 },
}

/// A file that was read to its end.
pub(super) struct Read {
    pub(super) size: u64,
    /// It is not what it was when the backup was taken.
    pub(super) damaged: bool,
}

impl Reading {
    pub(super) fn open(plan: &PushPlan, task: &Task) -> Result<Reading, CopyError> {
        let (Some(item), Some(relative)) = (plan.items.get(task.item), relative(plan, task)) else {
            let nowhere = std::io::Error::other("it is outside of the destination");
            return Err(PathError::new("restore", &task.target, nowhere).into());
        };
        let content = if task.blocks {
            let members: Vec<PathBuf> = std::iter::once(&item.source)
                .chain(&item.older)
                .cloned()
                .collect();
            let rebuilt = Rebuilt::open(&members, relative)?
                .ok_or_else(|| PathError::new("open", &task.source, std::io::ErrorKind::NotFound.into()))?;
            Content::Blocks {
                rebuilt: Box::new(rebuilt),
                offset: 0,
            }
        } else {
            Content::Whole(Box::new(SourceFile::open(&task.source, None)?))
        };
        let known = plan
            .sums
            .as_ref()
            .and_then(|sums| sums.sum(&[item.prefix.as_bytes(), relative].concat()));
        Ok(Reading {
            content,
            expected: known.map(|sum| (sum, PageSummer::default())),
        })
    }

    /// Reads the next bytes: as many as fit into `buffer` (whole pages), less only at the end, where it gives 0.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PathError> {
        let count = match &mut self.content {
            Content::Whole(file) => file.read(buffer)?,
            Content::Blocks { rebuilt, offset } => {
                let count = rebuilt.read_at(buffer, *offset)?;
                *offset += count as u64;
                count
            }
        };
        if let Some((_, summer)) = &mut self.expected {
            summer.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }

    /// What was read, all of it.
    pub(super) fn finish(self) -> Read {
        let size = match self.content {
            Content::Whole(file) => file.finish().size,
            Content::Blocks { offset, .. } => offset,
        };
        let damaged = self
            .expected
            .is_some_and(|(expected, summer)| summer.finish() != expected);
        Read { size, damaged }
    }
}

/// The path within the item.
fn relative<'a>(plan: &PushPlan, task: &'a Task) -> Option<&'a [u8]> {
    let item = plan.items.get(task.item)?;
    let relative = task.target.strip_prefix(&item.destination).ok()?;
    Some(relative.as_os_str().as_bytes())
}
