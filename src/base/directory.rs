//! What is in a directory.

use std::fs;
use std::io;
use std::path::Path;

use super::error::{PathContext, PathError};

/// The names in a directory, in the order of their bytes; none when it does not exist. Names that are not UTF-8 are none
/// of ours, and left out.
///
/// # Errors
/// The directory cannot be read.
pub fn names(directory: &Path) -> Result<Vec<String>, PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new("read directory", directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.at("read directory", directory)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn in_order_and_none_where_there_is_nothing() {
        let path = std::env::temp_dir().join(format!(".barkeep-names-{}", std::process::id()));
        assert!(names(&path).unwrap().is_empty());
        fs::create_dir(&path).unwrap();
        for name in ["b", "a", "A"] {
            fs::write(path.join(name), "").unwrap();
        }
        assert_eq!(names(&path).unwrap(), ["A", "a", "b"]);
        assert!(names(&path.join("a")).is_err());
        fs::remove_dir_all(&path).unwrap();
    }
}
