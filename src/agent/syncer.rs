//! Files made durable in the background: written back early, synced a little later, so that nobody waits for the disk file
//! by file.
//!
//! An fsync costs a flush of the disk's own cache, some milliseconds. Large files pay that one by one; the many small ones of
//! a cluster are made durable together by `syncfs`, which reports write errors since Linux 5.8 for a descriptor opened
//! before the writes. On older kernels every file is synced by itself.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::error::{PathContext, PathError};
use crate::base::sys;

/// Complete files that may wait for their fsync: bounds the open descriptors.
const WAITING: usize = 128;
/// Files from here on are synced by themselves.
const LARGE: u64 = 4 << 20;
/// The first kernel whose `syncfs` reports write errors.
const SYNCFS_REPORTS: (u32, u32) = (5, 8);

/// Threads that fsync files, and file systems that are synced as a whole.
pub struct Syncer {
    sender: Option<Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<PathError>>>,
    file_systems: Mutex<Vec<FileSystem>>,
}

/// What the threads do.
enum Work {
    Sync(File, PathBuf),
    WriteBack(File, u64, u64),
}

/// A file system with something to sync.
struct FileSystem {
    device: u64,
    /// A directory of it, opened before the writes: `syncfs` reports the errors since then.
    directory: File,
    path: PathBuf,
    dirty: AtomicBool,
}

impl Syncer {
    /// Starts `threads` threads.
    #[must_use]
    pub fn new(threads: usize) -> Syncer {
        let (sender, receiver) = bounded::<Work>(WAITING);
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
            file_systems: Mutex::default(),
        }
    }

    /// Gets ready to sync the file system of `directory` as a whole: to be called before anything is written there.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn watch(&self, directory: &Path) -> Result<(), PathError> {
        if !syncfs_reports_errors() {
            return Ok(());
        }
        let device = std::fs::metadata(directory).at("look at", directory)?.dev();
        let mut known = self.file_systems.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|known| known.device == device) {
            let opened = File::open(directory).at("open directory", directory)?;
            let path = directory.to_path_buf();
            known.push(FileSystem {
                device,
                directory: opened,
                path,
                dirty: AtomicBool::new(false),
            });
        }
        Ok(())
    }

    /// Hands over a complete file.
    ///
    /// # Errors
    /// An earlier file could not be synced.
    pub fn submit(&self, file: File, path: PathBuf) -> Result<(), PathError> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let metadata = file.metadata().at("look at", &path)?;
        if metadata.len() < LARGE && self.mark(metadata.dev()) {
            return Ok(());
        }
        match &self.sender {
            // The receivers live until the sender is dropped.
            Some(sender) => {
                let work = Work::Sync(file, path.clone());
                sender.send(work).map_err(|_| {
                    PathError::new(
                        "sync",
                        path,
                        std::io::Error::other("the syncing threads are gone"),
                    )
                })
            }
            None => file.sync_all().at("sync", path),
        }
    }

    /// Has a part of a file, in bytes, written back in the background, so that its fsync has less to do: a file system may
    /// take long to find room for scattered pages. When the threads are busy, it is left to the fsync.
    pub fn write_back(&self, file: &File, offset: u64, length: u64) {
        if let (Some(sender), Ok(file)) = (&self.sender, file.try_clone()) {
            let _ = sender.try_send(Work::WriteBack(file, offset, length));
        }
    }

    /// Names in a directory are to be durable when [`Syncer::finish`] returns.
    ///
    /// # Errors
    /// The directory cannot be synced.
    pub fn submit_directory(&self, path: &Path) -> Result<(), PathError> {
        let device = std::fs::metadata(path).at("look at", path)?.dev();
        if self.mark(device) {
            Ok(())
        } else {
            crate::base::durable::sync_dir(path)
        }
    }

    /// Waits until everything handed over is on disk.
    ///
    /// # Errors
    /// Something could not be synced.
    pub fn finish(mut self) -> Result<(), PathError> {
        self.join();
        let known = std::mem::take(&mut *self.file_systems.lock().unwrap_or_else(PoisonError::into_inner));
        for file_system in known.iter().filter(|known| known.dirty.load(Ordering::SeqCst)) {
            let synced = nix::unistd::syncfs(&file_system.directory).map_err(std::io::Error::from);
            synced.at("sync the file system of", &file_system.path)?;
        }
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Leaves it to the sync of the whole file system, if that one is watched.
    fn mark(&self, device: u64) -> bool {
        let known = self.file_systems.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().find(|known| known.device == device) {
            Some(file_system) => {
                file_system.dirty.store(true, Ordering::SeqCst);
                true
            }
            None => false,
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

fn sync_all(receiver: &Receiver<Work>, failure: &Mutex<Option<PathError>>) {
    for work in receiver {
        let (file, path) = match work {
            Work::Sync(file, path) => (file, path),
            Work::WriteBack(file, offset, length) => {
                sys::start_writeback(&file, offset, length);
                continue;
            }
        };
        if let Err(error) = file.sync_all() {
            let error = PathError::new("sync", path, error);
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }
}

/// Whether the kernel is new enough; an unreadable version counts as old.
fn syncfs_reports_errors() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release).is_some_and(|version| version >= SYNCFS_REPORTS)
}

/// The first two numbers of `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn small_files_wait_for_their_file_system() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert!(version("5.4.0") < Some(SYNCFS_REPORTS) && version("").is_none());
        let path = std::env::temp_dir().join(format!(".barkeep-syncer-{}", std::process::id()));
        let syncer = Syncer::new(2);
        syncer.watch(&std::env::temp_dir()).unwrap();
        for _ in 0..3 {
            syncer.submit(File::create(&path).unwrap(), path.clone()).unwrap();
        }
        syncer.submit_directory(&std::env::temp_dir()).unwrap();
        assert!(syncer.watch(Path::new("/nonexistent")).is_err() || !syncfs_reports_errors());
        syncer.finish().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
