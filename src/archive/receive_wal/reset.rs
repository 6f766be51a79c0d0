//! The place in the directory of streamed WAL where `pg_receivewal` goes on: its newest `.partial` file.
//!
//! Barman removes that file on a reset. Here it stays when it holds WAL, and `archive-wal` archives it as it is: with
//! synchronous replication it may hold the only other copy of commits that were acknowledged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::report::Reporter;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, WalKind};

use super::ReceiveError;
use super::readiness::Ready;

/// Puts the position to where the server can deliver from: where its slot begins, or else the segment it writes.
pub(super) fn reset(streaming: &Path, ready: &Ready, reporter: &dyn Reporter) -> Result<(), ReceiveError> {
    let facts = &ready.facts;
    let size = facts.xlog_segment_size;
    let current = current_segment(ready)?;
    let slot = facts
        .replication_slot
        .as_ref()
        .and_then(|slot| slot.restart_lsn.as_deref()?.parse::<Lsn>().ok());
    let from = slot.map_or(current, |lsn| {
        SegmentName::containing(current.timeline, lsn, size)
    });
    let directory = Received::of(streaming)?;
    let Some(position) = directory.position(size) else {
        reporter.info("Nothing to do. Position of receive-wal is aligned.");
        return Ok(());
    };
    if number(position) > number(current) {
        let mut shown = position.to_string();
        if directory.newest_partial.is_some_and(|name| name == position) {
            shown.push_str(".partial");
        }
        return Err(ReceiveError::Ahead {
            position: shown,
            current: current.to_string(),
        });
    }
    if position.timeline == current.timeline && number(position) >= number(from) {
        reporter.info("Nothing to do. Position of receive-wal is aligned.");
        return Ok(());
    }
    reporter.info("Resetting receive-wal directory status");
    let partial = directory.newest_partial.map(|name| partial_path(streaming, name));
    if let Some(old) = partial {
        give_up(&old, reporter)?;
    }
    let new = partial_path(streaming, from);
    reporter.info(&format!("Creating status file {}", new.display()));
    File::create_new(&new).at("create", &new)?;
    durable::sync_dir(streaming)?;
    if number(position) < number(from) {
        reporter.warning(&format!(
            "WAL between {position} and {from} is not streamed. Unless archive_command delivers it, take a new backup: \
             no older one can be recovered beyond {position}"
        ));
    }
    Ok(())
}

/// The segment that a server writes; on a standby, the one it replays.
fn current_segment(ready: &Ready) -> Result<SegmentName, ReceiveError> {
    let facts = &ready.facts;
    let lsn = facts.current_lsn.ok_or_else(|| {
        ReceiveError::Failed("the server does not say at which position of the WAL it is".to_owned())
    })?;
    let timeline = ready.timeline.unwrap_or(1);
    Ok(SegmentName::containing(timeline, lsn, facts.xlog_segment_size))
}

fn give_up(partial: &Path, reporter: &dyn Reporter) -> Result<(), PathError> {
    if fs::metadata(partial).at("examine", partial)?.len() == 0 {
        reporter.info(&format!("Removing status file {}", partial.display()));
        return fs::remove_file(partial).at("remove", partial);
    }
    reporter.info(&format!(
        "Keeping status file {}: archive-wal archives what it holds",
        partial.display()
    ));
    Ok(())
}

/// `pg_receivewal` refuses to go on with a file that is neither empty nor of the size of a segment, which it never leaves
/// behind by itself: it gives a file its size before it writes WAL to it. The server sends that segment again.
pub(super) fn truncate_damaged(
    streaming: &Path,
    segment_size: u64,
    reporter: &dyn Reporter,
) -> Result<(), PathError> {
    let Some(name) = Received::of(streaming)?.newest_partial else {
        return Ok(());
    };
    let path = partial_path(streaming, name);
    let size = fs::metadata(&path).at("examine", &path)?.len();
    if size == 0 || size == segment_size {
        return Ok(());
    }
    reporter.info(&format!(
        "Truncating partial file {} that has wrong size {size} while {segment_size} was expected.",
        path.display()
    ));
    let file = File::options().write(true).open(&path).at("open", &path)?;
    file.set_len(0).at("truncate", &path)?;
    file.sync_all().at("sync", &path)
}

/// What the directory holds.
#[derive(Debug, Default)]
struct Received {
    newest_partial: Option<SegmentName>,
    newest_complete: Option<SegmentName>,
}

impl Received {
    fn of(streaming: &Path) -> Result<Received, PathError> {
        let mut received = Received::default();
        let entries = match fs::read_dir(streaming) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(received),
            Err(error) => return Err(PathError::new("read directory", streaming, error)),
        };
        for entry in entries {
            let name = entry.at("read directory", streaming)?.file_name();
            match WalKind::of(&name.to_string_lossy()) {
                Some(WalKind::Partial(name)) => {
                    received.newest_partial = received.newest_partial.max(Some(name));
                }
                Some(WalKind::Segment(name)) => {
                    received.newest_complete = received.newest_complete.max(Some(name));
                }
                _ => {}
            }
        }
        Ok(received)
    }

    /// The segment that `pg_receivewal` would ask for; `None` when it would ask the server where to begin.
    fn position(&self, segment_size: u64) -> Option<SegmentName> {
        let next = self.newest_complete.map(|name| name.next(segment_size));
        match (self.newest_partial, next) {
            (Some(partial), Some(next)) if number(next) > number(partial) => Some(next),
            (Some(partial), _) => Some(partial),
            (None, next) => next,
        }
    }
}

/// The place of a segment in the WAL, whatever its timeline.
fn number(name: SegmentName) -> (u32, u32) {
    (name.log, name.segment)
}

fn partial_path(streaming: &Path, name: SegmentName) -> PathBuf {
    streaming.join(format!("{name}.partial"))
}
