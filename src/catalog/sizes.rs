//! How much room a backup takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::WalkDir;

use crate::base::error::PathError;

/// The sizes of a backup in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All files: `size`.
    pub total: u64,
    /// The files that no other backup shares: `deduplicated_size`.
    pub unshared: u64,
}

/// Adds up the files below a directory. Symbolic links are not followed; a file that vanishes meanwhile does not count.
///
/// # Errors
/// A directory cannot be read.
pub fn measure(directory: &Path) -> Result<Sizes, PathError> {
    let mut sizes = Sizes::default();
    for entry in WalkDir::new(directory) {
        let metadata = match entry.and_then(|entry| entry.metadata()) {
            Ok(metadata) => metadata,
            Err(error)
                if error
                    .io_error()
                    .is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound) =>
            {
                continue;
            }
            Err(error) => {
                let path = error.path().unwrap_or(directory).to_path_buf();
                return Err(PathError::new("examine", path, error.into()));
            }
        };
        if metadata.is_file() {
            sizes.total += metadata.len();
            if metadata.nlink() == 1 {
                sizes.unshared += metadata.len();
            }
        }
    }
    Ok(sizes)
}
