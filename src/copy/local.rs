//! Taking a file from the previous backup: hard links, local copies, hashes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::agent::message::Attributes;
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::postgres::manifest::{Checksum, Computation};
use crate::postgres::page_sum::{PageSum, PageSummer};

/// The file has all the links it can have; the file system has no links; another file system.
const CANNOT_LINK: [i32; 4] = [
    nix::errno::Errno::EMLINK as i32,
    nix::errno::Errno::EPERM as i32,
    nix::errno::Errno::EOPNOTSUPP as i32,
    nix::errno::Errno::EXDEV as i32,
];

/// A file of this host, read once.
pub(super) struct LocalHash {
    pub(super) size: u64,
    pub(super) sum: PageSum,
    pub(super) checksum: Vec<u8>,
}

/// Hashes a file of this host; `going_on` is asked now and then.
pub(super) fn hash(
    path: &Path,
    checksum: Option<Checksum>,
    going_on: &dyn Fn() -> io::Result<()>,
) -> Result<LocalHash, PathError> {
    let mut file = File::open(path).at("open", path)?;
    let mut sum = PageSummer::default();
    let mut computation = checksum.map_or(Computation::None, Checksum::start);
    let mut buffer = vec![0_u8; 256 << 10];
    let mut size = 0;
    loop {
        going_on().at("read", path)?;
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok(LocalHash {
                size,
                sum: sum.finish(),
                checksum: computation.finish(),
            });
        }
        let content = buffer.get(..count).unwrap_or_default();
        sum.update(content);
        computation.update(content);
        size += count as u64;
    }
}

/// Creates a new file, in place of whatever file or link is there: nothing is ever written through a hard link.
pub(super) fn create(path: &Path) -> Result<File, PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(PathError::new("replace", path, error));
        }
        _ => {}
    }
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)
}

/// Makes `target` another name of `source`. False when the file system has no room for another link of this file, or
/// cannot link at all: a copy has to do.
pub(super) fn link(source: &Path, target: &Path) -> Result<bool, PathError> {
    let mut result = fs::hard_link(source, target);
    if matches!(&result, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
        fs::remove_file(target).at("replace", target)?;
        result = fs::hard_link(source, target);
    }
    match result {
        Ok(()) => Ok(true),
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|code| CANNOT_LINK.contains(&code)) =>
        {
            Ok(false)
        }
        Err(error) => Err(PathError::new("link to previous backup", target, error)),
    }
}

/// Where files can share their blocks: tried once for each pair of file systems, not file by file.
#[derive(Default)]
pub(super) struct Sharing {
    known: Mutex<Vec<((u64, u64), bool)>>,
}

impl Sharing {
    /// Makes `to`, a new file, share all blocks of `from` (a reflink). False when the file system cannot: `to` is still
    /// empty then.
    pub(super) fn share(&self, from: &File, to: &File, path: &Path) -> Result<bool, PathError> {
        let device = |file: &File| Ok(file.metadata().at("look at", path)?.dev());
        let pair = (device(from)?, device(to)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, can)) = known.iter().find(|(known, _)| *known == pair) {
            if !can {
                return Ok(false);
            }
            drop(known);
            // Of this file, it may be refused all the same: it has as many owners of its blocks as it can have.
            return Ok(sys::reflink(from, to).is_ok());
        }
        let tried = sys::reflink(from, to);
        if let Err(error) = &tried {
            log::debug!("files of \"{}\" share no blocks: {error}", path.display());
        }
        known.push((pair, tried.is_ok()));
        Ok(tried.is_ok())
    }
}

/// Copies a file within this host, sharing its blocks where the file system can.
pub(super) fn copy(
    source: &Path,
    target: &Path,
    attributes: Attributes,
    sharing: &Sharing,
) -> Result<File, PathError> {
    let from = File::open(source).at("open", source)?;
    let to = create(target)?;
    if !sharing.share(&from, &to, target)? {
        io::copy(&mut &from, &mut &to).at("copy", target)?;
    }
    attributes.apply(&to).at("set the attributes of", target)?;
    sys::start_writeback(&to, 0, 0);
    Ok(to)
}
