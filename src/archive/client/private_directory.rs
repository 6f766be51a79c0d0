//! A directory that nobody else can write to, in a place where everybody may: below `/tmp`.
//!
//! What lies in it is believed: a control socket found there is spoken to, an acknowledgement found there makes
//! PostgreSQL remove WAL. So it is used only when it is a directory of this user's own, mode 700, and not a link that
//! somebody has put into its place.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is older is of no use to anybody.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A directory that was found to be private.
#[derive(Debug, Clone)]
pub(super) struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// Creates the directory unless it is there, and makes sure that it is private.
    ///
    /// # Errors
    /// It cannot be created, or it or the directory it lies in is somebody else's to change.
    pub(super) fn prepare(path: &Path) -> io::Result<PrivateDirectory> {
        create(path)?;
        check_own(path)?;
        let us = nix::unistd::geteuid().as_raw();
        // Whoever may rename what lies in the parent could put another directory here afterwards.
        if let Some(parent) = path.parent() {
            let parent_is = fs::metadata(parent)?;
            let open = parent_is.mode() & 0o022 != 0 && parent_is.mode() & 0o1000 == 0;
            if open || (parent_is.uid() != us && parent_is.uid() != 0) {
                return Err(refused(parent));
            }
        }
        Ok(PrivateDirectory(path.to_path_buf()))
    }

    /// Removes what has not been touched for a day: of archive commands that have been changed since, of a machine that lost
    /// its power.
    pub(super) fn sweep(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let age = entry
                .metadata()
                .ok()
                .and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
            if age.is_some_and(|age| age > STALE)
                && let Err(error) = fs::remove_file(entry.path())
            {
                log::debug!("cannot remove \"{}\": {error}", entry.path().display());
            }
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The path of something in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Creates a directory for this user alone, unless something of its name is there.
pub(super) fn create(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Makes sure that this is a directory of this user's own, mode 700.
pub(super) fn check_own(path: &Path) -> io::Result<()> {
    let own = fs::symlink_metadata(path)?;
    if own.is_dir() && own.uid() == nix::unistd::geteuid().as_raw() && own.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(refused(path))
    }
}

/// The error about a directory that is not safe.
pub(super) fn refused(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "\"{}\" is not a directory that only this user can write to",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::Sandbox;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_others_control_is_refused() {
        let sandbox = Sandbox::new();
        let path = sandbox.root.join("private");
        PrivateDirectory::prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        PrivateDirectory::prepare(&path).unwrap();
        for mode in [0o750, 0o707, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(PrivateDirectory::prepare(&path).is_err(), "{mode:o}");
        }
        fs::remove_dir(&path).unwrap();
        symlink(sandbox.root.join("incoming"), &path).unwrap();
        assert!(PrivateDirectory::prepare(&path).is_err());
        fs::set_permissions(sandbox.root.join("incoming"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(PrivateDirectory::prepare(&sandbox.root.join("incoming/below")).is_err());
    }
}
