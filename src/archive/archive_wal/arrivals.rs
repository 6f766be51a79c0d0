//! What has arrived in one of the two directories, and what of it is due.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::place::Places;
use crate::base::error::{PathContext, PathError};
use crate::postgres::wal_name::WalKind;

/// Where files arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From `pg_receivewal`.
    Streaming,
    /// From `archive_command`.
    Incoming,
}

impl Source {
    /// Barman's words for it.
    pub(super) fn description(self) -> &'static str {
        match self {
            Source::Streaming => "streaming",
            Source::Incoming => "file archival",
        }
    }

    /// The directory.
    pub(super) fn directory(self, places: &Places) -> &Path {
        match self {
            Source::Streaming => &places.streaming,
            Source::Incoming => &places.incoming,
        }
    }
}

/// The content of a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// The files to archive, in the order of their names.
    pub(super) queue: Vec<PathBuf>,
    /// What is no WAL file.
    pub(super) unknown: Vec<PathBuf>,
    /// How many entries the directory has.
    pub(super) total: usize,
}

impl Arrivals {
    /// Looks at the first `batch_size` entries in the order of names (0: at all of them). Hidden files, and those that
    /// end in `.tmp`, are still being written and left alone. What `pg_receivewal` needs is found out among all entries: the
    /// newest of a batch is not the newest there is.
    pub(super) fn of(places: &Places, source: Source, batch_size: u32) -> Result<Arrivals, PathError> {
        let directory = source.directory(places);
        let names = names(directory)?;
        let due = match batch_size {
            0 => names.len(),
            size => names.len().min(size as usize),
        };
        let mut arrivals = Arrivals {
            total: names.len(),
            ..Arrivals::default()
        };
        let (mut complete, mut partial) = (Vec::new(), Vec::new());
        let looked_at = match source {
            Source::Streaming => names.len(),
            Source::Incoming => due,
        };
        for name in names
            .iter()
            .take(looked_at)
            .filter(|name| !name.ends_with(".tmp"))
        {
            let path = directory.join(name);
            match WalKind::of(name) {
                Some(kind) if path.is_file() => match kind {
                    WalKind::Partial(_) if source == Source::Streaming => partial.push(path),
                    _ => complete.push(path),
                },
                _ => arrivals.unknown.push(path),
            }
        }
        if source == Source::Streaming {
            keep_newest(&mut complete, &mut partial);
        }
        complete.append(&mut partial);
        complete.truncate(due);
        arrivals.queue = complete;
        Ok(arrivals)
    }
}

/// Leaves `pg_receivewal` what it is writing: the newest incomplete segment. When there is none it may be between two
/// segments, and finds its place by the newest complete one.
fn keep_newest(complete: &mut Vec<PathBuf>, partial: &mut Vec<PathBuf>) {
    if partial.pop().is_some() {
        return;
    }
    let newest = complete.iter().rposition(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        matches!(WalKind::of(name), Some(WalKind::Segment(_)))
    });
    if let Some(newest) = newest {
        complete.remove(newest);
    }
}

/// The names in a directory, without the hidden ones, in the order of their bytes.
fn names(directory: &Path) -> Result<Vec<String>, PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Barman looks for a pattern, and finds nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new("read directory", directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.at("read directory", directory)?.file_name();
        match name.into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => names.push(name),
            Err(name) => log::warn!("ignoring {name:?} in \"{}\"", directory.display()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::Sandbox;

    fn names_of(paths: &[PathBuf]) -> Vec<&str> {
        paths
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect()
    }

    #[test]
    fn streaming_leaves_the_newest() {
        let sandbox = Sandbox::new();
        let places = sandbox.places();
        let look = || Arrivals::of(&places, Source::Streaming, 0).unwrap();
        for name in [
            "000000010000000000000001",
            "000000010000000000000002",
            "00000002.history",
        ] {
            sandbox.write(&format!("streaming/{name}"), b"");
        }
        // No incomplete segment: the newest complete one stays.
        assert_eq!(
            names_of(&look().queue),
            ["000000010000000000000001", "00000002.history"]
        );
        for name in [
            "000000010000000000000003.partial",
            "000000020000000000000003.partial",
        ] {
            sandbox.write(&format!("streaming/{name}"), b"");
        }
        assert_eq!(
            names_of(&look().queue),
            [
                "000000010000000000000001",
                "000000010000000000000002",
                "00000002.history",
                "000000010000000000000003.partial"
            ]
        );
    }

    #[test]
    fn a_batch_of_streamed_segments_is_not_taken_for_the_newest() {
        let sandbox = Sandbox::new();
        let places = sandbox.places();
        for name in [
            "000000010000000000000001",
            "000000010000000000000002",
            "000000010000000000000003.partial",
        ] {
            sandbox.write(&format!("streaming/{name}"), b"");
        }
        let look = |size| Arrivals::of(&places, Source::Streaming, size).unwrap();
        assert_eq!(names_of(&look(1).queue), ["000000010000000000000001"]);
        assert_eq!(look(1).total, 3);
        assert_eq!(look(5).queue.len(), 2);
    }

    #[test]
    fn what_is_being_written_is_left_alone_and_the_rest_is_unknown() {
        let sandbox = Sandbox::new();
        for name in [
            ".hidden",
            "a.tmp",
            "junk",
            "000000010000000000000001",
            "000000010000000000000002",
        ] {
            sandbox.write(&format!("incoming/{name}"), b"");
        }
        fs::create_dir(sandbox.root.join("incoming/000000010000000000000000")).unwrap();
        let places = sandbox.places();
        let all = Arrivals::of(&places, Source::Incoming, 0).unwrap();
        assert_eq!(
            names_of(&all.queue),
            ["000000010000000000000001", "000000010000000000000002"]
        );
        assert_eq!(names_of(&all.unknown), ["000000010000000000000000", "junk"]);
        assert_eq!(all.total, 5);
        let first = Arrivals::of(&places, Source::Incoming, 2).unwrap();
        assert_eq!(names_of(&first.queue), ["000000010000000000000001"]);
        assert_eq!(names_of(&first.unknown), ["000000010000000000000000"]);
    }
}
