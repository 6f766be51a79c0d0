//! The files of a host, whichever it is: through the agent, or through shell commands where it cannot run.

use std::path::{Path, PathBuf};

use crate::transport::{Remote, TransportError};

/// Something could not be done to a host's files.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The host could not be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host refused.
    #[error("cannot {action} \"{}\" on {host}: {reason}", path.display())]
    Refused {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Where.
        host: String,
        /// Why not, in the operating system's words.
        reason: String,
        /// The error number, when known.
        errno: Option<i32>,
    },
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Absent,
    /// A regular file of this many bytes.
    File(u64),
    /// A directory without any entry, hidden ones included.
    EmptyDirectory,
    /// A directory with entries.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something else.
    Other,
}

/// A host whose files are looked at and written to.
#[derive(Debug)]
pub struct Host<'a> {
    remote: &'a Remote,
}

impl<'a> Host<'a> {
    /// The host behind `remote`. For this host nothing is started; for another one the agent, on first use.
    #[must_use]
    pub fn new(remote: &'a Remote) -> Host<'a> {
        Host { remote }
    }

    /// What is at `path` (a symbolic link is not followed).
    ///
    /// # Errors
    /// The host cannot be reached, or refuses to look.
    pub fn look(&self, path: &Path) -> Result<PathKind, HostError> {
        self.not_yet("look at", path)
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, path: &Path) -> Result<Vec<PathBuf>, HostError> {
        self.not_yet("list", path)
    }

    /// The content of a small file (at most 64 MiB), or `None` when there is none.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, HostError> {
        self.not_yet("read", path)
    }

    /// Replaces a file, atomically and durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), HostError> {
        let _ = (content, mode);
        self.not_yet("write", path)
    }

    /// Creates a directory and its missing parents with `mode`, durably. One that exists is fine and left as it is.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create_dir_all(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        let _ = mode;
        self.not_yet("create directory", path)
    }

    /// Proves that files can be created in a directory, by creating and removing one.
    ///
    /// # Errors
    /// They cannot.
    pub fn check_writable(&self, directory: &Path) -> Result<(), HostError> {
        self.not_yet("write to", directory)
    }

    /// Creates a symbolic link, replacing one that is there already.
    ///
    /// # Errors
    /// It cannot be created, or something that is not a link is in its place.
    pub fn symlink(&self, target: &Path, link: &Path) -> Result<(), HostError> {
        let _ = target;
        self.not_yet("create link", link)
    }

    /// Removes a file, link or directory with everything in it. Nothing there is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.not_yet("remove", path)
    }

    /// Renames a file or directory, durably.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        let _ = to;
        self.not_yet("rename", from)
    }

    /// Free bytes for unprivileged users on the file system of `path` (or of its nearest existing parent).
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn free_bytes(&self, path: &Path) -> Result<u64, HostError> {
        self.not_yet("look at the file system of", path)
    }

    fn not_yet<T>(&self, action: &'static str, path: &Path) -> Result<T, HostError> {
        Err(HostError::Refused {
            action,
            path: path.to_path_buf(),
            host: self.remote.describe(),
            reason: "not complete yet".to_owned(),
            errno: None,
        })
    }
}
