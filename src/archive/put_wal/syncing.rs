//! Syncing the files of a delivery while the next ones arrive.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::base::error::{PathContext, PathError};

/// How many files may wait for the disk: a slow disk slows the stream down instead of filling the memory.
const QUEUE: usize = 4;

/// A file that is complete, and its path.
type Written = (File, PathBuf);

/// The files of one delivery. The last one is synced by the caller's thread, so a delivery of one file needs no other.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    last: Option<Written>,
    others: Option<Others>,
}

/// The thread that syncs the others, and the way to it.
#[derive(Debug)]
struct Others {
    sender: SyncSender<Written>,
    thread: JoinHandle<Result<(), PathError>>,
}

impl Syncing {
    /// Takes a file that is complete.
    pub(super) fn add(&mut self, file: File, path: PathBuf) -> Result<(), PathError> {
        let Some(previous) = self.last.replace((file, path)) else {
            return Ok(());
        };
        let others = self.others.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel::<Written>(QUEUE);
            let thread = std::thread::spawn(move || receiver.into_iter().try_for_each(sync));
            Others { sender, thread }
        });
        match others.sender.send(previous) {
            Ok(()) => Ok(()),
            // It has ended with an error, which is told when it is waited for.
            Err(unsent) => self.wait().and_then(|()| sync(unsent.0)),
        }
    }

    /// Waits until every file is on disk.
    pub(super) fn finish(mut self) -> Result<(), PathError> {
        if let Some(last) = self.last.take() {
            sync(last)?;
        }
        self.wait()
    }

    fn wait(&mut self) -> Result<(), PathError> {
        let Some(Others { sender, thread }) = self.others.take() else {
            return Ok(());
        };
        drop(sender);
        thread.join().unwrap_or_else(|_| {
            Err(PathError::new(
                "sync",
                "the files received",
                std::io::ErrorKind::Other.into(),
            ))
        })
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        // Of a delivery that is given up; its files are removed next.
        if let Err(error) = self.wait() {
            log::debug!("{error}");
        }
    }
}

fn sync((file, path): Written) -> Result<(), PathError> {
    file.sync_all().at("sync", path)
}
