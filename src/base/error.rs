//! An I/O error that says what was being done, and to which path.

use std::io;
use std::path::{Path, PathBuf};

/// An operation of the file system that failed. `std::io::Error` knows neither the path nor the action.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} \"{}\": {}", path.display(), strerror(source))]
pub struct PathError {
    /// What was being done, as an infinitive that fits after "cannot": `open`, `write`, `rename`.
    pub action: &'static str,
    /// What it was being done to.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl PathError {
    /// Attaches `action` and `path` to an I/O error.
    pub fn new(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        PathError {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// The kind of the underlying error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the file system is full, or this user's share of it.
    #[must_use]
    pub fn is_lack_of_room(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// The operating system's words for an error without Rust's `(os error 2)` suffix, as Barman prints them.
#[must_use]
pub fn strerror(error: &io::Error) -> String {
    match error.raw_os_error().or_else(|| of_a_walk(error)) {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// `walkdir` wraps the error, with a path that our own message names already.
fn of_a_walk(error: &io::Error) -> Option<i32> {
    let walk = error.get_ref()?.downcast_ref::<walkdir::Error>()?;
    walk.io_error()?.raw_os_error()
}

/// An error of the operating system about a file as Python writes it, where that is part of a line of Barman's.
#[must_use]
pub fn python_text(error: &io::Error, path: &Path) -> String {
    match error.raw_os_error() {
        Some(code) => format!("[Errno {code}] {}: '{}'", strerror(error), path.display()),
        None => error.to_string(),
    }
}

/// Attaches an action and a path to the error of an I/O result.
pub trait PathContext<T> {
    /// Turns `io::Error` into [`PathError`].
    ///
    /// # Errors
    /// The same failure, with its action and path.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T> PathContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|source| PathError::new(action, path, source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_path_and_the_words_of_the_operating_system() {
        let path = "/nonexistent/here";
        let walk = walkdir::WalkDir::new(path)
            .into_iter()
            .next()
            .unwrap()
            .unwrap_err();
        let error = PathError::new("read directory", path, walk.into());
        assert_eq!(
            error.to_string(),
            "cannot read directory \"/nonexistent/here\": No such file or directory"
        );
        assert_eq!(
            python_text(&std::fs::read(path).unwrap_err(), Path::new(path)),
            "[Errno 2] No such file or directory: '/nonexistent/here'"
        );
    }
}
