//! Restoring backups in tar files: they are decrypted, decompressed and put where they belong while they are read, without
//! a staging area, here or on another host.
//!
//! A chain is put together in the order of its members: whole files first, then the changed blocks of each newer backup are
//! written into them. A manifest says of every file what it must be. Members in plain files may be among those in tar
//! files.

mod needs;
mod source;
mod writing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::agent::connection::{ConnectError, Connection};
use crate::agent::filter::{Filter, Verdict};
use crate::agent::message::Attributes;
use crate::base::bandwidth::Limits;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::base::report::{Progress, Reporter, Total};
use crate::codec::WalCodec;
use crate::postgres::incremental;
use crate::postgres::manifest::Computation;
use crate::transport::Remote;
use crate::transport::patience::Stop;

use super::CopyError;
use super::packed::{Packed, PackedKind};
use needs::{Expected, Needs};
use source::Piece;
use writing::{Writer, nowhere};

/// Paths per request to sync, which must fit into a frame.
const SYNC_AT_ONCE: usize = 100;

/// The largest file that is kept in memory, in bytes.
const LARGEST_KEPT: u64 = 16 << 20;

/// What is restored where.
#[derive(Debug)]
pub struct UnpackPlan {
    /// The data directory of the backup and of those that it builds on, the newest first, with the directory that holds those
    /// of their tablespaces.
    pub members: Vec<(PathBuf, PathBuf)>,
    /// Where the files of the data directory and of the tablespaces go.
    pub roots: Vec<Root>,
    /// Files of the data directory that are handed over instead of being written, because they have to be the last.
    pub held_back: Vec<&'static str>,
    /// Tar files unpacked at the same time.
    pub jobs: usize,
    /// The limit for all, in units of 1024 bytes per second.
    pub bandwidth_kib: Option<u64>,
    /// Whether data are compressed on their way.
    pub compress: bool,
    /// How to decrypt.
    pub codec: WalCodec,
}

/// A directory to restore into.
#[derive(Debug)]
pub struct Root {
    /// The tablespace; `None` for the data directory.
    pub oid: Option<u32>,
    /// Where it goes, absolute, on the other host.
    pub destination: PathBuf,
    /// What is left out of it.
    pub filter: Filter,
    /// Its own limit, as that for all.
    pub bandwidth_kib: Option<u64>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Bytes of the files.
    pub bytes: u64,
    /// Files that were written.
    pub files: u64,
    /// Files, as they are at the destination, that are not what the manifest says.
    pub damaged: Vec<PathBuf>,
    /// Files of the data directory outside of the directories of PostgreSQL, and those that were held back, by their paths.
    pub kept: BTreeMap<PathBuf, Kept>,
}

/// A file that was kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its content.
    pub content: Vec<u8>,
    /// Its permissions and time.
    pub attributes: Attributes,
}

/// Unpacks a backup. When this returns `Ok`, everything but what was held back is on disk at the destination. `keeps` says
/// of which files of the data directory the content is wanted.
///
/// # Errors
/// What could not be read, written or reached, and what is missing.
pub fn unpack(
    plan: &UnpackPlan,
    destination: &Remote,
    keeps: &(dyn Fn(&Path) -> bool + Sync),
    reporter: &dyn Reporter,
) -> Result<Unpacked, CopyError> {
    let members: Vec<PathBuf> = plan.members.iter().map(|(data, _)| data.clone()).collect();
    let needs = Needs::of(&members)?;
    let total = Total {
        bytes: needs.bytes,
        files: needs.files,
    };
    let unpacking = Unpacking {
        plan,
        destination,
        keeps,
        needs,
        limits: Limits::new(
            plan.bandwidth_kib,
            plan.roots.iter().map(|root| root.bandwidth_kib),
        ),
        stop: Stop::default(),
        done: Mutex::default(),
        progress: reporter.progress("Copying", total),
    };
    for index in (0..plan.members.len()).rev() {
        unpacking.member(index)?;
    }
    Ok(unpacking
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

struct Unpacking<'a> {
    plan: &'a UnpackPlan,
    destination: &'a Remote,
    keeps: &'a (dyn Fn(&Path) -> bool + Sync),
    needs: Needs,
    limits: Limits,
    stop: Stop,
    done: Mutex<Unpacked>,
    progress: Box<dyn Progress>,
}

/// What the manifest of a member says of files that have not been seen yet.
type Unseen = Mutex<Option<HashMap<Vec<u8>, Expected>>>;

impl Unpacking<'_> {
    /// Puts the files of one member in their places.
    fn member(&self, index: usize) -> Result<(), CopyError> {
        let Some((data, base)) = self.plan.members.get(index) else {
            return Ok(());
        };
        let unseen: Unseen = Mutex::new(needs::expected(data)?);
        let oids: Vec<u32> = self.plan.roots.iter().filter_map(|root| root.oid).collect();
        let pieces = Mutex::new(source::pieces(data, base, &oids)?);
        let failure = Mutex::new(None);
        let workers = self.plan.jobs.max(1);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(piece) = take(&pieces) {
                        if let Err(error) = self.piece(index, &piece, &unseen) {
                            lock(&failure).get_or_insert(error);
                            self.stop.raise();
                            return;
                        }
                    }
                });
            }
        });
        if let Some(error) = lock(&failure).take() {
            interrupt::check()?;
            return Err(error);
        }
        let unseen = lock(&unseen).take().unwrap_or_default();
        match unseen.into_keys().find(|path| self.is_due(index, path)) {
            Some(path) => Err(CopyError::NotPacked {
                directory: data.clone(),
                file: String::from_utf8_lossy(&path).into_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Whether the member has to have this file.
    fn is_due(&self, index: usize, path: &[u8]) -> bool {
        let whole = incremental::stands_for(path).unwrap_or_else(|| path.to_vec());
        self.needs.wants(index, &whole) && self.place(&whole).is_some()
    }

    fn piece(&self, index: usize, piece: &Piece, unseen: &Unseen) -> Result<(), CopyError> {
        let connection = Connection::open_own(self.destination, self.plan.compress, &self.stop);
        let connection = connection.map_err(|error| self.unreachable(error))?;
        let root = self.root_of(piece.oid());
        let mut placing = Placing {
            unpacking: self,
            index,
            unseen,
            writer: Writer::new(connection, self.limits.of(root)),
            made: HashSet::new(),
            directories: Vec::new(),
        };
        piece.read(&self.plan.codec, |packed, input| {
            interrupt::check()?;
            self.stop.check().map_err(stopped)?;
            placing.place(packed, input)
        })?;
        placing.finish()
    }

    fn unreachable(&self, error: ConnectError) -> CopyError {
        match error {
            ConnectError::Transport(error) => error.into(),
            ConnectError::Path(error) => error.into(),
            ConnectError::CannotRun { reason, .. } => CopyError::NeedsAgent {
                host: self.destination.describe(),
                reason,
            },
        }
    }

    fn root_of(&self, oid: Option<u32>) -> usize {
        let found = self.plan.roots.iter().position(|root| root.oid == oid);
        found.unwrap_or_default()
    }

    /// Where a file goes, by its path in a manifest; `None` for one that is left out.
    fn place(&self, path: &[u8]) -> Option<(&Root, Vec<u8>)> {
        let linked = path.strip_prefix(b"pg_tblspc/").and_then(|inside| {
            let end = inside
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(inside.len());
            let (oid, rest) = inside.split_at(end);
            let oid: u32 = std::str::from_utf8(oid).ok()?.parse().ok()?;
            let root = self.plan.roots.iter().find(|root| root.oid == Some(oid))?;
            Some((root, rest.strip_prefix(b"/").unwrap_or(rest).to_vec()))
        });
        let (root, inside) = match linked {
            Some(found) => found,
            None => (
                self.plan.roots.iter().find(|root| root.oid.is_none())?,
                path.to_vec(),
            ),
        };
        // A rule may be about a directory above.
        let ends = inside.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let left_out = ends
            .map(|(end, _)| (end, true))
            .chain([(inside.len(), false)])
            .any(|(end, above)| {
                let part = inside.get(..end).unwrap_or_default();
                !part.is_empty() && root.filter.verdict(part, above) != Verdict::Take
            });
        (!left_out).then_some((root, inside))
    }
}

/// The files of one piece on their way.
struct Placing<'a> {
    unpacking: &'a Unpacking<'a>,
    index: usize,
    unseen: &'a Unseen,
    writer: Writer<'a>,
    made: HashSet<PathBuf>,
    /// With the attributes they get in the end.
    directories: Vec<(PathBuf, Option<Attributes>)>,
}

impl Placing<'_> {
    fn place(&mut self, packed: Packed, input: &mut dyn Read) -> Result<bool, CopyError> {
        let blocks = incremental::stands_for(&packed.path).filter(|_| packed.kind == PackedKind::File);
        let whole = blocks.as_ref().unwrap_or(&packed.path);
        let Some((root, inside)) = self.unpacking.place(whole) else {
            return Ok(true);
        };
        let target = match inside.is_empty() {
            true => root.destination.clone(),
            false => root.destination.join(OsStr::from_bytes(&inside)),
        };
        match packed.kind {
            PackedKind::Link => Ok(true),
            PackedKind::Directory if self.index == 0 => {
                self.make(&target, Some(packed.attributes))?;
                Ok(true)
            }
            PackedKind::Directory => Ok(true),
            PackedKind::File if !self.unpacking.needs.wants(self.index, whole) => Ok(true),
            PackedKind::File if inside.is_empty() => Err(nowhere(&packed.path)),
            PackedKind::File => {
                let relative = root.oid.is_none().then(|| Path::new(OsStr::from_bytes(&inside)));
                self.file(&packed, blocks.is_some(), relative, &target, input)?;
                Ok(true)
            }
        }
    }

    fn file(
        &mut self,
        packed: &Packed,
        blocks: bool,
        relative: Option<&Path>,
        target: &Path,
        input: &mut dyn Read,
    ) -> Result<(), CopyError> {
        let expected = lock(self.unseen)
            .as_mut()
            .and_then(|unseen| unseen.remove(&packed.path));
        let unlisted = expected.is_none() && lock(self.unseen).is_some();
        let mut input = Summed {
            input,
            computation: expected
                .as_ref()
                .map_or(Computation::None, |expected| expected.algorithm.start()),
        };
        let held_back = relative.filter(|path| {
            self.unpacking
                .plan
                .held_back
                .iter()
                .any(|held| path == &Path::new(held))
        });
        if held_back.is_none()
            && let Some(parent) = target.parent()
        {
            self.make(parent, None)?;
        }
        let kept = relative.filter(|path| {
            held_back.is_some() || (!blocks && packed.size <= LARGEST_KEPT && (self.unpacking.keeps)(path))
        });
        if let Some(path) = kept {
            let mut content = Vec::new();
            (&mut input)
                .take(packed.size)
                .read_to_end(&mut content)
                .at("read", path)?;
            if held_back.is_none() {
                let size = content.len() as u64;
                self.writer
                    .whole(target, &mut content.as_slice(), size, packed.attributes)?;
            }
            let attributes = packed.attributes;
            let kept = Kept { content, attributes };
            lock(&self.unpacking.done).kept.insert(path.to_path_buf(), kept);
        } else if blocks {
            self.writer
                .patch(target, &mut input, packed.size, packed.attributes)?;
        } else {
            self.writer
                .whole(target, &mut input, packed.size, packed.attributes)?;
        }
        let right = expected.is_none_or(|expected| {
            expected.size == packed.size && expected.checksum == input.computation.finish()
        });
        let mut done = lock(&self.unpacking.done);
        if (!right || unlisted) && !done.damaged.iter().any(|known| known == target) {
            done.damaged.push(target.to_path_buf());
        }
        done.files += 1;
        done.bytes += packed.size;
        drop(done);
        self.unpacking.progress.advance(packed.size, 1);
        Ok(())
    }

    fn make(&mut self, directory: &Path, attributes: Option<Attributes>) -> Result<(), CopyError> {
        let new = self.made.insert(directory.to_path_buf());
        if new {
            self.writer.directory(directory)?;
        }
        if new || attributes.is_some() {
            self.directories.push((directory.to_path_buf(), attributes));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), CopyError> {
        let directories = std::mem::take(&mut self.directories);
        for (path, attributes) in &directories {
            if let Some(attributes) = attributes {
                self.writer.attributes(path, *attributes)?;
            }
        }
        let mut paths: Vec<PathBuf> = directories.into_iter().map(|(path, _)| path).collect();
        paths.sort();
        paths.dedup();
        self.writer.finish(&paths)?;
        Ok(())
    }
}

/// A stream whose bytes are summed up.
struct Summed<'a> {
    input: &'a mut dyn Read,
    computation: Computation,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.computation.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn take<T>(queue: &Mutex<Vec<T>>) -> Option<T> {
    lock(queue).pop()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(error: std::io::Error) -> CopyError {
    PathError::new("go on with", "the restore", error).into()
}
