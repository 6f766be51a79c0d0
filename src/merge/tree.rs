//! The directory of the full backup becomes what the newer one is.
//!
//! The newer backup's own directory is only read. What it has whole gets a second name (or a copy, where the file system
//! cannot link), what it has as changed blocks is patched, what it does not have is removed. The label and the manifest of
//! the full backup stay until the very end: `pg_combinebackup` wants them to fit the chain.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::checksums::{self, Checksums, Computed};
use super::parts::{Found, Roots, Work};
use super::patch::{self, Step};
use super::{Merge, MergeError, MergePlan, MergeReport};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::base::parallel;
use crate::base::report::Total;
use crate::copy::chain;
use crate::postgres::incremental;

/// What stays as it is until the end.
const LAST: [&str; 2] = ["data/backup_label", "data/backup_manifest"];
/// Files looked at together.
const BATCH: usize = 1024;

/// How much there is to do.
pub(super) fn measure(roots: &Roots, jobs: usize) -> Result<Work, MergeError> {
    let mut work = Work::default();
    each_batch(roots, &mut |_| Ok(()), &mut |files| {
        for done in parallel::try_map(files, jobs, |file| Step::of(roots, file).map(|step| step.work())) {
            work.add(done?);
        }
        Ok(())
    })?;
    work.removed = superfluous(roots)?.len() as u64;
    Ok(work)
}

/// Does it.
pub(super) fn bring_up_to(merge: &Merge<'_>, plan: &MergePlan) -> Result<MergeReport, MergeError> {
    let roots = plan.roots(merge);
    check_room(plan, roots.root())?;
    let records = plan.records(merge);
    let known = Checksums::load(&roots, &records, plan.resumed)?;
    let mut report = MergeReport::default();
    let mut computed: HashMap<u128, Computed> = HashMap::new();
    let progress = merge.reporter.progress(
        "Merging",
        Total {
            bytes: 0,
            files: plan.work.files,
        },
    );
    let progress = progress.as_ref();
    each_batch(
        &roots,
        &mut |directory| make_directory(&roots, directory),
        &mut |files| {
            let done = parallel::try_map(files, merge.jobs, |file| {
                interrupt::check()?;
                let step = Step::of(&roots, file)?;
                let work = step.work();
                let result = patch::apply(step, &roots, file, &known)?;
                progress.advance(0, 1);
                Ok::<_, MergeError>((work, result))
            });
            for (file, done) in files.iter().zip(done) {
                let (work, result) = done?;
                report.work.add(work);
                if let Some(result) = result {
                    if result.damaged {
                        report.damaged.push(file.rebuilt.display().to_string());
                    }
                    computed.insert(checksums::key(&file.rebuilt), result);
                }
            }
            Ok(())
        },
    )?;
    report.work.removed = remove_superfluous(&roots)?;
    checksums::write_manifest(&roots, &known, &computed)?;
    checksums::write_records(&roots, &records, &known, &computed)?;
    sync_directories(roots.root())?;
    Ok(report)
}

fn check_room(plan: &MergePlan, directory: &Path) -> Result<(), MergeError> {
    let room = nix::sys::statvfs::statvfs(directory)
        .map_err(std::io::Error::from)
        .at("look at", directory)?;
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    // Copies may share their blocks: only what must be written counts for sure.
    let needed = plan.work.growth;
    if needed > free {
        return Err(MergeError::Room {
            directory: directory.to_path_buf(),
            needed,
            free,
        });
    }
    Ok(())
}

/// Goes through the newer backup: directories in their order, files some at a time.
fn each_batch(
    roots: &Roots,
    directory: &mut dyn FnMut(&Path) -> Result<(), MergeError>,
    files: &mut dyn FnMut(&[Found]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let newest = roots.newest();
    let mut batch = Vec::with_capacity(BATCH);
    for entry in WalkDir::new(newest).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from).at("read directory", newest)?;
        let relative = inside(newest, &entry);
        if entry.file_type().is_dir() {
            directory(relative)?;
        } else if entry.file_type().is_file() && !LAST.iter().any(|last| relative == Path::new(last)) {
            batch.push(Found::new(relative));
            if batch.len() == BATCH {
                files(&batch)?;
                batch.clear();
            }
        }
    }
    files(&batch)
}

impl Found {
    fn new(stored: &Path) -> Found {
        let bytes = stored.as_os_str().as_bytes();
        // The first component is the data directory or a tablespace.
        let within = bytes
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let rebuilt = bytes.get(within..).and_then(chain::rebuilt_path);
        let prefix = bytes.get(..within).unwrap_or_default();
        Found {
            stored: stored.to_path_buf(),
            blocks: rebuilt.is_some(),
            rebuilt: match rebuilt {
                Some(rebuilt) => PathBuf::from(OsStr::from_bytes(&[prefix, &rebuilt].concat())),
                None => stored.to_path_buf(),
            },
        }
    }
}

fn inside<'a>(root: &Path, entry: &'a DirEntry) -> &'a Path {
    entry.path().strip_prefix(root).unwrap_or(entry.path())
}

fn make_directory(roots: &Roots, relative: &Path) -> Result<(), MergeError> {
    let target = roots.root().join(relative);
    match fs::symlink_metadata(&target) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(&target).at("remove", &target)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(PathError::new("look at", target, error).into()),
    }
    let source = roots.newest().join(relative);
    let mode = fs::metadata(&source).at("look at", &source)?.mode() & 0o7777;
    fs::create_dir(&target).at("create directory", &target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(mode)).at("set the permissions of", &target)?;
    Ok(())
}

/// What the full backup has and the newer one does not, a directory before what is in it; what is left of earlier attempts
/// included. Symbolic links come later, see [`super::finish`].
fn superfluous(roots: &Roots) -> Result<Vec<PathBuf>, MergeError> {
    let root = roots.root();
    let mut found: Vec<PathBuf> = Vec::new();
    let mut walk = WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(std::io::Error::from).at("read directory", root)?;
        let relative = inside(root, &entry);
        if entry.file_type().is_symlink() || LAST.iter().any(|last| relative == Path::new(last)) {
            continue;
        }
        if is_wanted(roots.newest(), relative, entry.file_type().is_dir())? {
            continue;
        }
        found.push(entry.path().to_path_buf());
        if entry.file_type().is_dir() {
            walk.skip_current_dir();
        }
    }
    Ok(found)
}

fn is_wanted(newest: &Path, relative: &Path, directory: bool) -> Result<bool, MergeError> {
    let there = |path: &Path| match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir() == directory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PathError::new("look at", path, error)),
    };
    if there(&newest.join(relative))? {
        return Ok(true);
    }
    let blocks = incremental::incremental_path(relative.as_os_str().as_bytes());
    Ok(!directory && there(&newest.join(OsStr::from_bytes(&blocks)))?)
}

fn remove_superfluous(roots: &Roots) -> Result<u64, MergeError> {
    let found = superfluous(roots)?;
    for path in &found {
        let removed = if fs::symlink_metadata(path).at("look at", path)?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.at("remove", path)?;
    }
    Ok(found.len() as u64)
}

/// Makes every name in the tree durable.
fn sync_directories(root: &Path) -> Result<(), MergeError> {
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(std::io::Error::from).at("read directory", root)?;
        if entry.file_type().is_dir() {
            durable::sync_dir(entry.path())?;
        }
    }
    Ok(())
}
