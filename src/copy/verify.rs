//! Trees of this host and their manifests: hash a tree for a new one, compare a tree with an existing one.
//!
//! What is compared, what is left out, and the words are those of PostgreSQL's `pg_verifybackup`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{CopyError, local};
use crate::agent::filter::Filter;
use crate::agent::message::{EntryKind, Time};
use crate::agent::tree;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::postgres::manifest::{Checksum, ManifestError, ManifestFile};

/// Files and directories that `pg_verifybackup` does not look at.
const IGNORED: [&str; 5] = [
    "backup_manifest",
    "pg_wal",
    "postgresql.auto.conf",
    "recovery.signal",
    "standby.signal",
];

/// Something that is not as the manifest says. The texts are those of `pg_verifybackup`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file of the manifest is missing.
    #[error("\"{0}\" is present in the manifest but not on disk")]
    Missing(String),
    /// A file is not in the manifest.
    #[error("\"{0}\" is present on disk but not in the manifest")]
    Extra(String),
    /// A file has another size.
    #[error("\"{path}\" has size {actual} on disk but size {expected} in the manifest")]
    Size {
        /// The file.
        path: String,
        /// Bytes on disk.
        actual: u64,
        /// Bytes in the manifest.
        expected: u64,
    },
    /// A file has another content.
    #[error("checksum mismatch for file \"{0}\"")]
    Content(String),
    /// A file cannot be read.
    #[error("could not open file \"{path}\": {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A manifest or a tree could not be looked at at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest is missing or damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The tree cannot be listed, or the work was interrupted.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Compares `directory` with the manifest at `manifest`, `jobs` files at a time. Problems come in the order of their paths.
///
/// # Errors
/// The manifest cannot be used, the directory cannot be listed, or the work was interrupted.
pub fn verify(directory: &Path, manifest: &Path, jobs: usize) -> Result<Vec<Problem>, VerifyError> {
    let mut expected = HashMap::new();
    crate::postgres::manifest::read(manifest, &mut |file| {
        expected.insert(file.path.clone().into_boxed_slice(), file);
    })?;
    let mut problems = Vec::new();
    let mut present = Vec::new();
    for (path, size) in files(directory)? {
        if is_ignored(&path) {
            expected.remove(&*path);
            continue;
        }
        let name = || String::from_utf8_lossy(&path).into_owned();
        match expected.remove(&*path) {
            None => problems.push(Problem::Extra(name())),
            Some(file) if file.size != size => {
                problems.push(Problem::Size {
                    path: name(),
                    actual: size,
                    expected: file.size,
                });
            }
            Some(file) => present.push(file),
        }
    }
    let missing = expected.keys().filter(|path| !is_ignored(path));
    problems.extend(missing.map(|path| Problem::Missing(String::from_utf8_lossy(path).into_owned())));
    let found = in_parallel(&present, jobs, |file| {
        if file.algorithm == Checksum::None {
            return Ok(None);
        }
        let path = below(directory, &file.path);
        let name = String::from_utf8_lossy(&file.path).into_owned();
        match hash(&path, file.algorithm)? {
            Ok(sum) if sum == file.checksum => Ok(None),
            Ok(_) => Ok(Some(Problem::Content(name))),
            Err(error) => Ok(Some(Problem::Unreadable {
                path: name,
                reason: error.to_string(),
            })),
        }
    })?;
    problems.extend(found.into_iter().flatten());
    problems.sort_by(|one, other| one.path().cmp(other.path()));
    Ok(problems)
}

/// Computes the manifest entries of every file below `directory`, `jobs` files at a time, in the order of the walk. A
/// `backup_manifest` at the top is left out.
///
/// # Errors
/// A file cannot be read, or the work was interrupted.
pub fn checksums(directory: &Path, algorithm: Checksum, jobs: usize) -> Result<Vec<ManifestFile>, CopyError> {
    let mut files = files(directory)?;
    files.retain(|(path, _)| **path != *b"backup_manifest");
    in_parallel(&files, jobs, |(path, _)| {
        let full = below(directory, path);
        let modified = Time::modified(&fs::metadata(&full).at("look at", &full)?).seconds;
        let sum = local::hash(&full, Some(algorithm), &|| {
            interrupt::check().map_err(std::io::Error::other)
        });
        interrupt::check()?;
        let sum = sum?;
        Ok(ManifestFile {
            path: path.to_vec(),
            size: sum.size,
            modified,
            algorithm,
            checksum: sum.checksum,
        })
    })
}

impl Problem {
    /// The file it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Problem::Missing(path) | Problem::Extra(path) | Problem::Content(path) => path,
            Problem::Size { path, .. } | Problem::Unreadable { path, .. } => path,
        }
    }
}

/// Paths and sizes of the regular files; tablespaces are followed through their links.
#[allow(clippy::type_complexity)] // a path and a size
fn files(directory: &Path) -> Result<Vec<(Box<[u8]>, u64)>, CopyError> {
    let mut files = Vec::new();
    tree::walk::<CopyError>(directory, &Filter::default(), true, &mut |entry| {
        interrupt::check()?;
        if entry.kind == EntryKind::File {
            files.push((entry.path, entry.size));
        }
        Ok(())
    })?;
    Ok(files)
}

fn is_ignored(path: &[u8]) -> bool {
    IGNORED.iter().any(|ignored| {
        path.strip_prefix(ignored.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// The inner result is about this file, the outer one about the whole work.
fn hash(path: &Path, algorithm: Checksum) -> Result<Result<Vec<u8>, PathError>, CopyError> {
    let sum = local::hash(path, Some(algorithm), &|| {
        interrupt::check().map_err(std::io::Error::other)
    });
    interrupt::check()?;
    Ok(sum.map(|sum| sum.checksum))
}

/// Applies `work` to every item with `jobs` threads; results in the order of the items. The first failure ends it.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> Result<R, CopyError> + Sync,
) -> Result<Vec<R>, CopyError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    items.get(index).map(|item| (index, item))
                } {
                    match work(item) {
                        Ok(result) => results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result)),
                        Err(error) => {
                            failure
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .get_or_insert(error);
                            next.store(usize::MAX / 2, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn below(directory: &Path, path: &[u8]) -> PathBuf {
    directory.join(std::ffi::OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::postgres::manifest::{Layout, ManifestWriter};

    #[test]
    fn every_kind_of_problem_is_found() {
        let root = std::env::temp_dir().join(format!(".barkeep-verify-{}", std::process::id()));
        fs::create_dir_all(root.join("base/1")).unwrap();
        fs::create_dir_all(root.join("pg_wal")).unwrap();
        for name in ["PG_VERSION", "base/1/1", "base/1/2", "base/1/3", "base/1/4"] {
            fs::write(root.join(name), format!("content of {name}")).unwrap();
        }
        let manifest = root.join("backup_manifest");
        let mut writer = ManifestWriter::new(fs::File::create(&manifest).unwrap(), Layout::Barman).unwrap();
        for file in checksums(&root, Checksum::Crc32c, 3).unwrap() {
            writer.file(&file).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(verify(&root, &manifest, 2).unwrap(), []);
        fs::write(root.join("base/1/1"), "CONTENT of base/1/1").unwrap();
        fs::write(root.join("base/1/2"), "longer").unwrap();
        fs::remove_file(root.join("base/1/3")).unwrap();
        fs::write(root.join("base/1/new"), "").unwrap();
        fs::write(root.join("pg_wal/ignored"), "").unwrap();
        fs::write(root.join("standby.signal"), "").unwrap();
        let problems = verify(&root, &manifest, 2).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            problems,
            [
                Problem::Content("base/1/1".to_owned()),
                Problem::Size {
                    path: "base/1/2".to_owned(),
                    actual: 6,
                    expected: 19
                },
                Problem::Missing("base/1/3".to_owned()),
                Problem::Extra("base/1/new".to_owned()),
            ]
        );
    }
}
