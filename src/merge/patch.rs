//! One file of the full backup becomes that of the newer one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::MergeError;
use super::checksums::{Checksums, Computed, Running};
use super::parts::{Found, Roots, TEMPORARY, Work};
use crate::agent::message::Attributes;
use crate::base::error::{PathContext, PathError};
use crate::base::sys;
use crate::copy::chain::Rebuilt;
use crate::postgres::page::PAGE_SIZE;

/// What has to be done for a file.
pub(super) enum Step {
    /// The full backup has it.
    Nothing,
    /// The newer backup has it whole: it gets a second name.
    Link,
    /// Blocks are written into the whole file that the chain builds on.
    Patch(Box<Patch>),
}

pub(super) struct Patch {
    rebuilt: Rebuilt,
    /// The whole file, of the full backup or of one in between.
    whole: PathBuf,
    whole_size: u64,
    changed: u64,
    /// Nobody else has this file under another name.
    in_place: bool,
    /// The whole file is already that of the full backup (also by another name).
    placed: bool,
}

impl Step {
    pub(super) fn of(roots: &Roots, file: &Found) -> Result<Step, MergeError> {
        let target = roots.root().join(&file.rebuilt);
        let placed = |source: &Path| same_file(source, &target);
        if !file.blocks {
            let source = roots.newest().join(&file.stored);
            return Ok(if placed(&source)? {
                Step::Nothing
            } else {
                Step::Link
            });
        }
        let relative = file.rebuilt.as_os_str().as_bytes();
        let rebuilt = Rebuilt::open(&roots.members, relative)?.ok_or_else(|| {
            let vanished = io::Error::from(io::ErrorKind::NotFound);
            PathError::new("open", roots.newest().join(&file.stored), vanished)
        })?;
        let whole = rebuilt.whole_file().1.to_path_buf();
        let metadata = fs::metadata(&whole).at("look at", &whole)?;
        let placed = placed(&whole)?;
        let changed = rebuilt.changed().count() as u64;
        if placed && changed == 0 && metadata.len() == rebuilt.size() {
            return Ok(Step::Nothing);
        }
        // Its names: its own, and after an earlier attempt that of the full backup.
        let names = if placed && whole != target { 2 } else { 1 };
        Ok(Step::Patch(Box::new(Patch {
            in_place: metadata.nlink() == names,
            whole_size: metadata.len(),
            rebuilt,
            whole,
            changed,
            placed,
        })))
    }

    /// How much that is.
    pub(super) fn work(&self) -> Work {
        let mut work = Work {
            files: 1,
            ..Work::default()
        };
        match self {
            Step::Nothing => {}
            Step::Link => work.linked = 1,
            Step::Patch(patch) => {
                work.blocks = patch.changed;
                if patch.in_place {
                    work.patched = 1;
                    work.growth = patch.rebuilt.size().saturating_sub(patch.whole_size);
                } else {
                    work.copied = 1;
                    work.copied_bytes = patch.rebuilt.size();
                }
            }
        }
        work
    }
}

/// Does it; gives the checksum of a file that was patched.
pub(super) fn apply(
    step: Step,
    roots: &Roots,
    file: &Found,
    known: &Checksums,
) -> Result<Option<Computed>, MergeError> {
    let target = roots.root().join(&file.rebuilt);
    match step {
        Step::Nothing => Ok(None),
        Step::Link => {
            make_way(&target)?;
            let source = roots.newest().join(&file.stored);
            name_also(&source, &target)?;
            Ok(None)
        }
        Step::Patch(patch) => {
            make_way(&target)?;
            let stored = roots.newest().join(&file.stored);
            let attributes = match known.attributes(&file.rebuilt) {
                Some(attributes) => attributes,
                None => Attributes::of(&fs::metadata(&stored).at("look at", &stored)?),
            };
            Ok(Some(patch.apply(&target, file, attributes, known)?))
        }
    }
}

impl Patch {
    fn apply(
        &self,
        target: &Path,
        file: &Found,
        attributes: Attributes,
        known: &Checksums,
    ) -> Result<Computed, MergeError> {
        let mut running = known.running(
            &file.rebuilt,
            self.placed && self.whole == target,
            self.whole_size,
            self.rebuilt.size(),
            self.changed,
        );
        if self.in_place {
            let open = File::options().read(true).write(true).open(&self.whole);
            let into = open.at("open", &self.whole)?;
            self.write(&into, &self.whole, attributes, running.as_mut())?;
            if !self.placed {
                name_also(&self.whole, target)?;
            }
        } else {
            let temporary = temporary(target);
            let into = copy(&self.whole, &temporary)?;
            self.write(&into, &temporary, attributes, running.as_mut())?;
            fs::rename(&temporary, target).at("rename to", target)?;
        }
        known.finish(running, &file.rebuilt, target)
    }

    /// Writes the blocks and makes them durable. What is written twice is the same.
    fn write(
        &self,
        into: &File,
        path: &Path,
        attributes: Attributes,
        mut running: Option<&mut Running>,
    ) -> Result<(), MergeError> {
        let mut page = vec![0; PAGE_SIZE];
        let mut old = vec![0; PAGE_SIZE];
        for block in self.rebuilt.changed() {
            let offset = u64::from(block) * PAGE_SIZE as u64;
            let count = self.rebuilt.read_at(&mut page, offset)?;
            let content = page.get(..count).unwrap_or_default();
            if let Some(running) = running.as_mut() {
                old.fill(0);
                if offset < self.whole_size {
                    into.read_exact_at(&mut old, offset).at("read", path)?;
                }
                running.exchange(block, &old, content);
            }
            into.write_all_at(content, offset).at("write", path)?;
        }
        into.set_len(self.rebuilt.size()).at("set the size of", path)?;
        attributes.apply(into).at("set the attributes of", path)?;
        into.sync_all().at("sync", path)?;
        Ok(())
    }
}

/// Gives a file another name, in place of what is there; copies it where the file system cannot.
fn name_also(source: &Path, target: &Path) -> Result<(), MergeError> {
    let temporary = temporary(target);
    remove(&temporary)?;
    if fs::hard_link(source, &temporary).is_err() {
        let copied = copy(source, &temporary)?;
        let metadata = fs::metadata(source).at("look at", source)?;
        Attributes::of(&metadata)
            .apply(&copied)
            .at("set the attributes of", &temporary)?;
        copied.sync_all().at("sync", &temporary)?;
    }
    fs::rename(&temporary, target).at("rename to", target)?;
    Ok(())
}

/// A new file of the same content, sharing its blocks where the file system can.
fn copy(source: &Path, target: &Path) -> Result<File, MergeError> {
    remove(target)?;
    let from = File::open(source).at("open", source)?;
    let to = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .at("create", target)?;
    if sys::reflink(&from, &to).is_err() {
        io::copy(&mut &from, &mut &to).at("copy", target)?;
    }
    Ok(to)
}

fn temporary(target: &Path) -> PathBuf {
    let mut name = TEMPORARY.as_bytes().to_vec();
    name.extend(target.file_name().unwrap_or_default().as_bytes());
    target.with_file_name(OsStr::from_bytes(&name))
}

fn remove(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PathError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// A directory of the full backup where the newer one has a file.
fn make_way(target: &Path) -> Result<(), PathError> {
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(target).at("remove", target),
        _ => Ok(()),
    }
}

fn same_file(one: &Path, other: &Path) -> Result<bool, PathError> {
    let own = fs::metadata(one).at("look at", one)?;
    match fs::symlink_metadata(other) {
        Ok(there) => Ok(own.dev() == there.dev() && own.ino() == there.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PathError::new("look at", other, error)),
    }
}
