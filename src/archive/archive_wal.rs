//! `archive-wal`: moves the WAL files that have arrived into the archive (behaviour reference §13).
//!
//! The order of steps makes every crash harmless: a file is stored, made durable and recorded in the WAL database before
//! its source is removed. What a crash leaves behind is a source whose content the archive already has; the next run
//! finds it, records it if that is missing, and removes the source.
//!
//! Files are prepared (looked at, compressed, encrypted, compared) on all cores, and stored in their order, in groups that
//! share their syncs; with hook scripts they go one by one, because a script may look at what is there.

mod arrivals;
pub mod errors_directory;
mod pipeline;
mod prepare;
pub mod space;
mod store;
mod take_back;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::{PathError, strerror};
use crate::base::host;
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::base::report::Reporter;
use crate::catalog::{Catalog, CatalogError};
use crate::codec::CodecError;
use crate::config::{NotLocal, ServerConfig};
use crate::hooks::{HookError, HookEvent, HookRunner, Phase};

use super::place::{Places, wal_codec};
use arrivals::{Arrivals, Source};
use prepare::Workshop;
use validate::Validator;

/// The memory that all encoders together may take, in bytes, however many cores there are.
const ENCODER_MEMORY: u64 = 112 << 20;
/// What two of them may take, where so much memory has room for fewer: what is so slow is not left to one core.
const MEMORY_OF_TWO: u64 = 1 << 30;

/// When the headers of a run are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Always: the operator asked for the run.
    Always,
    /// Only when there is something to archive: the run is a part of another command.
    WhenBusy,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive is in an object store.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
    /// The WAL database failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A directory cannot be read, or the archive cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// This account may not work in a directory where WAL arrives.
    #[error(
        "cannot archive the WAL in \"{}\": {}. The account '{account}' must own the directory, or be allowed to read, write and \
         search it; until then WAL waits there",
        directory.display(),
        strerror(source)
    )]
    NotAccessible {
        /// The directory.
        directory: PathBuf,
        /// The account.
        account: String,
        /// What was refused.
        source: io::Error,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The run was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// Another process is archiving: nothing was done.
    pub busy: bool,
    /// How many files were stored.
    pub archived: usize,
    /// How many files were dropped because the archive has them already.
    pub matching: usize,
    /// The files that the archive has with another content, moved to the errors directory.
    pub duplicates: Vec<String>,
    /// The objects that are no WAL files, moved to the errors directory.
    pub unknown: Vec<String>,
    /// The files that are damaged or of another cluster, moved to the errors directory. Each was reported as an error.
    pub rejected: Vec<String>,
    /// The file system of the archive is nearly full: the rest waits. That was reported as an error.
    pub out_of_space: bool,
    /// The files that could not be archived and stay where they are, with the reason. Each was reported as an error.
    pub failed: Vec<(String, String)>,
}

/// Archives what has arrived for a server: what was streamed first, then what `archive_command` delivered. Takes the
/// server's archive-wal lock; when another process has it, says so and does nothing.
///
/// # Errors
/// The run could not go on. Files that could not be archived by themselves are no such error: they are reported, stay
/// where they are, and do not keep the others from being archived.
pub fn archive_wal(
    config: &ServerConfig,
    hooks: &HookRunner,
    announce: Announce,
    reporter: &dyn Reporter,
) -> Result<ArchiveReport, ArchiveError> {
    let catalog = Catalog::of(config)?;
    let _lock = match catalog.locks().archive_wal() {
        Ok(lock) => lock,
        Err(LockError::Busy { .. }) => {
            reporter.info(&format!(
                "Another archive-wal process is already running on server {}. Skipping to the next server",
                config.name
            ));
            return Ok(ArchiveReport {
                busy: true,
                ..ArchiveReport::default()
            });
        }
        Err(error) => return Err(ArchiveError::Lock(error)),
    };
    let workshop = Workshop {
        codec: wal_codec(config),
        validator: Validator::of(&catalog, config.wal_validation),
        layout: catalog.layout().clone(),
    };
    let mut run = Run {
        places: Places::of(config)?,
        workshop: Arc::new(workshop),
        durable_directories: BTreeSet::new(),
        catalog,
        hooks,
        reporter,
        announce,
        report: ArchiveReport::default(),
        denied: Vec::new(),
        explained: false,
    };
    if config.primary_ssh_command.is_some() {
        // A passive node copies the archive of its primary node.
        return Ok(run.report);
    }
    run.take_back(if config.archiver {
        Source::Incoming
    } else {
        Source::Streaming
    });
    let sources = [
        (
            Source::Streaming,
            config.streaming_archiver,
            config.streaming_archiver_batch_size,
        ),
        (Source::Incoming, config.archiver, config.archiver_batch_size),
    ];
    let mut outcome = Ok(());
    for (source, _, batch_size) in sources.into_iter().filter(|(_, used, _)| *used) {
        match run.archiver(source, batch_size) {
            // The other directory is none the worse for it.
            Err(error @ ArchiveError::NotAccessible { .. }) => outcome = outcome.and(Err(error)),
            archived => archived?,
        }
        run.report_denied();
    }
    outcome.map(|()| run.report)
}

/// One run.
struct Run<'a> {
    places: Places,
    workshop: Arc<Workshop>,
    catalog: Catalog,
    /// Directories of the archive whose names are durable.
    durable_directories: BTreeSet<PathBuf>,
    hooks: &'a HookRunner,
    reporter: &'a dyn Reporter,
    announce: Announce,
    report: ArchiveReport,
    /// The files of one source that this account may not read or store, with the reason: one mistake, and one error.
    denied: Vec<(String, String)>,
    /// Whether it was said what to do when the WAL of another cluster is the server's own.
    explained: bool,
}

/// Why one file was not archived.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<PathError> for FileError {
    fn from(error: PathError) -> Self {
        FileError::Codec(CodecError::Path(error))
    }
}

impl FileError {
    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            FileError::Codec(CodecError::Path(error)) => Some(error.kind()),
            _ => None,
        }
    }

    /// Whether the other files would fail like this one: a full or read-only disk, a database that cannot be written.
    fn concerns_all(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
            )
        ) || matches!(self, FileError::Catalog(_))
    }
}

/// Whether a source goes on with its next group.
enum Progress {
    Continue,
    Stop,
}

impl Run<'_> {
    /// Archives what one source has.
    fn archiver(&mut self, source: Source, batch_size: u32) -> Result<(), ArchiveError> {
        let directory = source.directory(&self.places);
        let accessible = accessible(directory).map_err(|source| ArchiveError::NotAccessible {
            directory: directory.to_path_buf(),
            account: account(),
            source,
        });
        let arrivals = accessible.and_then(|()| Ok(Arrivals::of(&self.places, source, batch_size)?))?;
        let header = self.header(source, &arrivals);
        if arrivals.queue.is_empty() {
            if self.announce == Announce::Always {
                self.reporter.heading(&header);
                self.reporter.info("\tno file found");
            }
        } else {
            self.reporter.heading(&header);
            // The database must exist before files are stored: made later, it would have them already when they are
            // recorded.
            self.catalog
                .xlogdb()
                .scan(|_| Ok::<_, CatalogError>(std::ops::ControlFlow::Break(())))?;
            let progress = if self.has_hooks() {
                self.one_by_one(&arrivals.queue)?
            } else {
                self.all_at_once(&arrivals.queue)?
            };
            if let Progress::Stop = progress {
                return Ok(());
            }
        }
        self.put_aside(arrivals.unknown);
        Ok(())
    }

    fn header(&self, source: Source, arrivals: &Arrivals) -> String {
        let mut header = format!(
            "Processing xlog segments from {} for {}",
            source.description(),
            self.places.server
        );
        if !arrivals.queue.is_empty() && arrivals.total > arrivals.queue.len() {
            header.push_str(&format!(" (batch size: {})", arrivals.queue.len()));
        }
        header
    }

    fn has_hooks(&self) -> bool {
        [Phase::Pre, Phase::Post]
            .into_iter()
            .any(|phase| self.hooks.concerns(HookEvent::Archive, phase))
    }

    /// How many files are prepared at the same time.
    fn workers(&self) -> usize {
        let codec = &self.workshop.codec;
        let each = codec
            .compression
            .map_or(0, |compression| compression.encoder_memory(codec.level));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        workers(cores, each)
    }

    /// Reports a file that stays where it is.
    fn fail(&mut self, name: &str, reason: &dyn std::fmt::Display) {
        self.reporter.error(&format!(
            "cannot archive WAL file '{name}' of server '{}': {reason}",
            self.places.server
        ));
        self.report.failed.push((name.to_owned(), reason.to_string()));
    }

    /// Reports the files that this account may not read or store.
    fn report_denied(&mut self) {
        let denied = std::mem::take(&mut self.denied);
        match denied.as_slice() {
            [] => {}
            [(name, reason)] => self.fail(name, reason),
            [(name, reason), ..] => {
                self.reporter.error(&format!(
                    "cannot archive {} WAL files of server '{}', the first of them '{name}': {reason}. The account '{}' needs the \
                     permission",
                    denied.len(),
                    self.places.server,
                    account()
                ));
                self.report.failed.extend(denied);
            }
        }
    }

    /// A retry script said that this file must not be archived: the source is left for now.
    fn aborted(&self, error: &HookError) -> Result<Progress, ArchiveError> {
        match error {
            HookError::Interrupted(interrupted) => Err((*interrupted).into()),
            HookError::Aborted { .. } => {
                log::warn!(target: "barman.wal_archiver", "{error}");
                Ok(Progress::Stop)
            }
        }
    }
}

/// The account this is done as.
fn account() -> String {
    host::user().unwrap_or_else(|| nix::unistd::geteuid().to_string())
}

/// Whether files can be taken out of a directory; one that does not exist is no mistake.
fn accessible(directory: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::unistd::{AccessFlags, access};
    match access(
        directory,
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
    ) {
        Err(Errno::EACCES) => Err(Errno::EACCES.into()),
        _ => Ok(()),
    }
}

/// As many as there are cores, unless encoders of `each` bytes would take too much memory.
fn workers(cores: usize, each: u64) -> usize {
    let each = each.max(1);
    let least = (MEMORY_OF_TWO / each).clamp(1, 2);
    let most = usize::try_from((ENCODER_MEMORY / each).max(least)).unwrap_or(usize::MAX);
    cores.clamp(1, most)
}
