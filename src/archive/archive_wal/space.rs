//! Room on the file system of the archive. Before it is full archiving stops, with everything recorded that is stored; the
//! files that wait are archived by the first run that finds room again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::base::error::{PathContext, PathError};
use crate::base::size;

use super::{Progress, Run};

/// What is left free: a hundredth of the file system, and at most this many bytes. The catalog lives there, too.
const MOST_LEFT_FREE: u64 = 256 << 20;

/// How many files may be staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    /// How many.
    pub(super) files: usize,
    /// Why there is room for none.
    pub(super) shortage: Option<String>,
}

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this account may still write.
    pub free: u64,
    /// Bytes that archiving leaves free.
    pub reserve: u64,
}

/// The room in the archive `wals` for files that arrive in `incoming`.
///
/// # Errors
/// The file system does not answer.
pub fn space(wals: &Path, incoming: &Path) -> Result<Space, PathError> {
    let answer = nix::sys::statvfs::statvfs(wals)
        .map_err(std::io::Error::from)
        .at("examine the file system of", wals)?;
    let unit = answer.fragment_size();
    let mut reserve = (answer.blocks().saturating_mul(unit) / 100).min(MOST_LEFT_FREE);
    if same_file_system(wals, incoming) {
        // Each file that is stored makes room: what is left free is for the ones under way.
        reserve /= 8;
    }
    Ok(Space {
        free: answer.blocks_available().saturating_mul(unit),
        reserve,
    })
}

fn same_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    device(one).is_some_and(|first| Some(first) == device(other))
}

impl Run<'_> {
    /// How many files like `source` may be staged now.
    pub(super) fn room(&self, source: &Path) -> Result<Room, PathError> {
        let unbounded = Room {
            files: usize::MAX,
            shortage: None,
        };
        let wals = &self.places.wals;
        let Ok(file) = fs::metadata(source) else {
            return Ok(unbounded);
        };
        let codec = &self.workshop.codec;
        if codec.compression.is_none() && codec.recipient.is_none() && same_file_system(wals, source) {
            // It gets a second name.
            return Ok(unbounded);
        }
        let space = space(wals, source)?;
        let usable = space.free.saturating_sub(space.reserve);
        let files = usize::try_from(usable / file.len().max(1)).unwrap_or(usize::MAX);
        let shortage = (files == 0).then(|| {
            format!(
                "the file system of \"{}\" has {} left. Archiving of server {} stops until there is room, and goes on by itself",
                wals.display(),
                size::pretty_bytes(space.free),
                self.places.server
            )
        });
        Ok(Room { files, shortage })
    }

    /// Reports that nothing more can be stored.
    pub(super) fn out_of_space(&mut self, shortage: &str) -> Progress {
        self.reporter.error(shortage);
        self.report.out_of_space = true;
        Progress::Stop
    }
}
