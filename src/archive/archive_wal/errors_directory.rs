//! The errors directory: objects that cannot be archived are put aside, never removed (catalog reference §11).

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};

use crate::archive::put_wal::base_name;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::codec::WalCodec;
use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader};

use super::Run;
use super::prepare::Item;
use super::validate::Fault;

/// Why an object was put aside: the ending of its new name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aside {
    /// The archive has another content under this name.
    Duplicate,
    /// It is not of the WAL.
    Unknown,
    /// It is not what PostgreSQL wrote.
    Damaged,
    /// It is of another cluster.
    Foreign,
}

impl Aside {
    fn ending(self) -> &'static str {
        match self {
            Aside::Duplicate => "duplicate",
            Aside::Unknown => "unknown",
            Aside::Damaged => "damaged",
            Aside::Foreign => "foreign",
        }
    }
}

/// What follows the name of an object put aside in the name of the file that says why.
pub const REASON: &str = ".reason";

/// The name that an object had before it was put aside.
#[must_use]
pub fn original_name(name: &str) -> &str {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _ending)| stem);
    stem.rsplit_once('.').map_or(stem, |(original, _stamp)| original)
}

/// The cluster that wrote a segment; `None` for what is no segment, or cannot be read.
#[must_use]
pub fn cluster_of(codec: &WalCodec, path: &Path) -> Option<u64> {
    header(codec, path).map(|header| header.system_identifier)
}

/// The first page's header of a segment in any form.
pub(super) fn header(codec: &WalCodec, path: &Path) -> Option<SegmentHeader> {
    let mut head = Vec::new();
    codec
        .open_plain(path)
        .inspect_err(|error| log::debug!("{error}"))
        .ok()?
        .take(HEADER_SIZE as u64)
        .read_to_end(&mut head)
        .ok()?;
    SegmentHeader::parse(&head)
}

impl Run<'_> {
    /// Puts a file aside that must not be archived, with the reason in a file beside it.
    pub(super) fn reject(&mut self, item: &Item, fault: &Fault) -> Result<(), PathError> {
        let (why, word, reason) = match fault {
            Fault::Foreign(reason) => (Aside::Foreign, "not of this server", reason),
            Fault::Damaged(reason) | Fault::Incomplete(reason) => (Aside::Damaged, "damaged", reason),
        };
        let moved = move_aside(&item.source, &self.places.errors, why)?;
        durable::write(
            &durable::sibling(&moved, REASON),
            format!("{reason}\n").as_bytes(),
        )?;
        let mut message = format!(
            "{} is {word}: {reason}. File moved to errors directory of server {}.",
            item.name, self.places.server
        );
        if matches!(fault, Fault::Foreign(_)) && !std::mem::replace(&mut self.explained, true) {
            message.push_str(&format!(
                " If the server was upgraded or made anew, remove \"{}\" and take a backup: the file is archived then",
                self.catalog.layout().identity_path().display()
            ));
        }
        self.reporter.error(&message);
        self.report.rejected.push(item.name.clone());
        Ok(())
    }

    /// Moves what is no WAL file to the errors directory and says so.
    pub(super) fn put_aside(&mut self, unknown: Vec<PathBuf>) {
        let mut moved = Vec::new();
        for path in unknown {
            let name = base_name(&path);
            match move_aside(&path, &self.places.errors, Aside::Unknown) {
                Ok(_) => moved.push(name),
                // Another process may have taken it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => log::debug!("{error}"),
                Err(error) => self.fail(&name, &error),
            }
        }
        if moved.is_empty() {
            return;
        }
        self.reporter.info(&format!(
            "Some unknown objects have been found while processing xlog segments for {}. Objects moved to errors directory:",
            self.places.server
        ));
        for name in &moved {
            self.reporter.info(&format!("\t{name}"));
        }
        self.report.unknown.append(&mut moved);
    }
}

/// Moves an object into the errors directory under `{name}.{time}.{ending}`, durably, and never over another one.
/// Returns its new path.
pub(super) fn move_aside(path: &Path, errors: &Path, why: Aside) -> Result<PathBuf, PathError> {
    let name = base_name(path);
    let mut time = Utc::now();
    let target = loop {
        let stamp = time.format("%Y%m%dT%H%M%SZ");
        let target = errors.join(format!("{name}.{stamp}.{}", why.ending()));
        if target.symlink_metadata().is_err() {
            break target;
        }
        time += TimeDelta::seconds(1);
    };
    match fs::rename(path, &target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices && path.is_file() => {
            fs::copy(path, &target).at("copy to", &target)?;
            durable::sync_file(&target)?;
            durable::sync_dir(errors)?;
            fs::remove_file(path).at("remove", path)?;
        }
        Err(error) => return Err(PathError::new("move aside", path, error)),
    }
    durable::sync_dir(errors)?;
    durable::sync_parent(path)?;
    log::info!(target: "barman.wal_archiver", "\"{}\" was moved to \"{}\"", path.display(), target.display());
    Ok(target)
}
