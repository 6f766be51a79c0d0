//! The configuration files of a backup: in its data directory, or as they came out of its tar files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base::error::{PathContext, PathError};
use crate::copy::unpack::Kept;

use super::configuration::Written;

/// A configuration file larger than this is not edited (PostgreSQL would need minutes to read it).
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub enum Originals<'a> {
    /// In this directory.
    In(&'a Path),
    /// In memory, by their paths within the data directory.
    Kept(&'a BTreeMap<PathBuf, Kept>),
}

impl<'a> From<&'a Path> for Originals<'a> {
    fn from(directory: &'a Path) -> Self {
        Originals::In(directory)
    }
}

impl<'a> From<&'a PathBuf> for Originals<'a> {
    fn from(directory: &'a PathBuf) -> Self {
        Originals::In(directory)
    }
}

impl Originals<'_> {
    /// Whether there is a file at this path.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        match self {
            Originals::In(directory) => directory.join(path).is_file(),
            Originals::Kept(files) => files.contains_key(path),
        }
    }

    /// The file at a path; `None` where there is none that PostgreSQL would read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&self, path: &Path) -> Result<Option<Written>, PathError> {
        let directory = match self {
            Originals::In(directory) => directory,
            Originals::Kept(files) => {
                return Ok(files.get(path).map(|kept| Written {
                    path: path.to_path_buf(),
                    content: kept.content.clone(),
                    mode: Some(kept.attributes.mode),
                    modified: Some(kept.attributes.modified.into()),
                }));
            }
        };
        let file = directory.join(path);
        let metadata = match fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST_FILE => metadata,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PathError::new("inspect", &file, error)),
        };
        Ok(Some(Written {
            path: path.to_path_buf(),
            content: fs::read(&file).at("read", &file)?,
            mode: Some(metadata.permissions().mode() & 0o7777),
            modified: Some(metadata.modified().at("inspect", &file)?),
        }))
    }

    /// What PostgreSQL reads of an included directory: `*.conf`, not hidden, in byte order.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn listed(&self, directory: &Path) -> Result<Vec<PathBuf>, PathError> {
        let mut files = match self {
            Originals::In(root) => paths_in(root, directory)?,
            Originals::Kept(files) => {
                let inside = files.keys().filter(|path| path.parent() == Some(directory));
                inside.cloned().collect()
            }
        };
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".conf") && !name.starts_with('.')
        });
        files.sort();
        Ok(files)
    }
}

fn paths_in(root: &Path, directory: &Path) -> Result<Vec<PathBuf>, PathError> {
    let absolute = root.join(directory);
    let entries = match fs::read_dir(&absolute) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(PathError::new("read directory", &absolute, error)),
    };
    entries
        .map(|entry| Ok(directory.join(entry.at("read directory", &absolute)?.file_name())))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::message::{Attributes, Time};
    use crate::recovery::configuration;

    #[test]
    fn files_in_memory_are_edited_as_those_on_disk() {
        let root = std::env::temp_dir().join(format!(".barkeep-originals-{}", std::process::id()));
        let mut kept = BTreeMap::new();
        for (name, content) in [
            (
                "postgresql.conf",
                "archive_command = 'x'\ninclude_dir = 'conf.d'\n",
            ),
            ("conf.d/b.conf", "recovery_target_time = 'now'\n"),
            ("conf.d/.hidden.conf", "archive_command = 'y'\n"),
            ("conf.d/notes", "archive_command = 'z'\n"),
            ("pg_hba.conf", ""),
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let attributes = Attributes {
                mode: fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                modified: Time::modified(&fs::metadata(&path).unwrap()),
            };
            let content = content.as_bytes().to_vec();
            kept.insert(PathBuf::from(name), Kept { content, attributes });
        }
        let edited = |originals: Originals<'_>| {
            configuration::edit(originals, 150_018, "postgresql.auto.conf", None, false).unwrap()
        };
        let on_disk = edited(Originals::In(&root));
        assert_eq!(on_disk.changes.len(), 2);
        assert_eq!(edited(Originals::Kept(&kept)), on_disk);
        fs::remove_dir_all(&root).unwrap();
    }
}
