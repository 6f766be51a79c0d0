//! Files made durable in the background: written back early, fsynced a little later, so that nobody waits for the disk
//! file by file and the last fsync is short.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::error::{PathContext, PathError};

/// Complete files that may wait for their fsync: bounds the open descriptors.
const WAITING: usize = 128;

/// Threads that fsync files.
pub struct Syncer {
    sender: Option<Sender<(File, PathBuf)>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<PathError>>>,
}

impl Syncer {
    /// Starts `threads` threads.
    #[must_use]
    pub fn new(threads: usize) -> Syncer {
        let (sender, receiver) = bounded::<(File, PathBuf)>(WAITING);
        let failure = Arc::new(Mutex::new(None));
        let threads = (0..threads.max(1))
            .map(|_| {
                let (receiver, failure) = (receiver.clone(), Arc::clone(&failure));
                std::thread::spawn(move || sync_all(&receiver, &failure))
            })
            .collect();
        Syncer {
            sender: Some(sender),
            threads,
            failure,
        }
    }

    /// Hands over a complete file.
    ///
    /// # Errors
    /// An earlier file could not be synced.
    pub fn submit(&self, file: File, path: PathBuf) -> Result<(), PathError> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        match &self.sender {
            // The receivers live until the sender is dropped.
            Some(sender) => sender.send((file, path)).map_err(|refused| {
                PathError::new(
                    "sync",
                    refused.into_inner().1,
                    std::io::Error::other("the syncing threads are gone"),
                )
            }),
            None => file.sync_all().at("sync", path),
        }
    }

    /// Waits until everything handed over is on disk.
    ///
    /// # Errors
    /// A file could not be synced.
    pub fn finish(mut self) -> Result<(), PathError> {
        self.join();
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn join(&mut self) {
        self.sender = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                let error = PathError::new("sync", "", std::io::Error::other("a syncing thread failed"));
                self.failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.join();
    }
}

fn sync_all(receiver: &Receiver<(File, PathBuf)>, failure: &Mutex<Option<PathError>>) {
    for (file, path) in receiver {
        if let Err(error) = file.sync_all() {
            let error = PathError::new("sync", path, error);
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }
}
