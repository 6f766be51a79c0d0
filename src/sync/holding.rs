//! Keeping a backup on the primary node while it is copied.
//!
//! Deletion there takes a lock that readers share. Who reads from another host has it taken there by barkeep's `sync-info
//! --hold`, which lasts as long as the connection. A Barman does not know the option; when it deletes the backup meanwhile, the
//! copy fails.

use std::io::{BufRead, BufReader, Read, Write};

use crate::base::lock::LockFile;
use crate::catalog::{BackupId, Catalog, chains};
use crate::transport::{Channel, Remote};

use super::SyncError;

/// What says that the lock is held.
const HELD: &str = "held\n";

/// Longer than any first line that could be meant for us.
const LINE_LIMIT: u64 = 4096;

/// On the primary node: holds a backup, with what it builds on, until the other side closes `input`.
///
/// # Errors
/// The catalog has no such backup, or it is being changed.
pub fn hold(
    catalog: &Catalog,
    id: &BackupId,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), SyncError> {
    let backups = catalog.backups()?;
    let mut locks: Vec<LockFile> = Vec::new();
    for member in chains::ancestry(&backups, id) {
        locks.push(catalog.locks().backup_reader(&member.id)?);
    }
    if locks.is_empty() || catalog.load(id)?.is_none() {
        return Err(SyncError::Absent {
            id: id.to_string(),
            server: catalog.server().to_owned(),
        });
    }
    // When nobody listens any more, nobody reads the backup either.
    if output
        .write_all(HELD.as_bytes())
        .and_then(|()| output.flush())
        .is_ok()
    {
        let mut ignored = [0; 256];
        while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
    }
    Ok(())
}

/// On the passive node: has a backup held by the primary node until what this returns is dropped. `None` where that is not
/// possible.
pub(super) fn ask(remote: &Remote, command: &str) -> Option<Channel> {
    let attempt = || -> Result<Option<Channel>, SyncError> {
        let channel = remote.open(command)?;
        let mut line = String::new();
        let mut reader = BufReader::new((&channel.output).take(LINE_LIMIT));
        let read = reader.read_line(&mut line);
        drop(reader);
        Ok((read.is_ok() && line == HELD).then_some(channel))
    };
    match attempt() {
        Ok(Some(channel)) => return Some(channel),
        Ok(None) => {
            log::info!(target: "barman.server", "the primary node cannot keep the backup from being deleted")
        }
        Err(error) => {
            log::info!(target: "barman.server", "the primary node does not hold the backup: {error}")
        }
    }
    None
}
