//! Where a value was written.

use std::fmt;
use std::path::PathBuf;

/// The file and line of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as its path was given.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.line)
    }
}
