//! The WAL of a restore: along which timelines it goes, what is delivered, and where PostgreSQL finds it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::error::PathContext;
use crate::codec::CodecError;
use crate::postgres::wal_name::Timeline;

use super::archived::{Archived, ArchivedFile};
use super::circumstances::Circumstances;
use super::configuration::WalSource;
use super::error::RestoreError;
use super::options::TargetTimeline;
use super::target::Target;
use super::timelines::{self, Histories, LARGEST_HISTORY};
use super::wal_selection::{self, Missing, Selection, Stop, Wanted};

/// The directory for WAL in the destination of a point-in-time recovery.
const STAGED_WAL: &str = "barman_wal";

/// The WAL that is delivered.
#[derive(Debug)]
pub struct WalDelivery {
    /// The files.
    pub selection: Selection,
    /// Where they go.
    pub directory: PathBuf,
    /// Whether they are marked as archived (they lie in the cluster's own WAL directory).
    pub mark_archived: bool,
    /// Whether incomplete segments were asked for.
    pub partial: bool,
}

/// The timelines that the archive knows, and which one recovery follows.
#[derive(Debug)]
pub struct Timelines {
    histories: Histories,
    /// The timeline that recovery follows.
    pub target: Timeline,
}

impl Circumstances<'_> {
    /// Reads the archive, as far as this restore may want it.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn archived(&self) -> Result<Archived, RestoreError> {
        let layout = self.catalog.layout();
        let first = self.source().begin_wal;
        let partial = self.options.partial_wal;
        if partial || self.config.streaming_archiver {
            Ok(Archived::list_with_streamed(
                &layout.wals,
                &layout.streaming,
                first,
                partial,
            )?)
        } else {
            Ok(Archived::list(&layout.wals, first)?)
        }
    }

    /// Finds the timeline that recovery follows.
    ///
    /// # Errors
    /// A history cannot be read.
    pub fn timelines(&self, archived: &Archived) -> Result<Timelines, RestoreError> {
        let histories = archived.read_histories(|file| self.read_history(file))?;
        let own = self.source().timeline;
        let newest = timelines::latest(&histories, own);
        let target = match self.targets.timeline {
            Some(TargetTimeline::Number(number)) => number,
            Some(TargetTimeline::Current) => own,
            Some(TargetTimeline::Latest) => newest,
            // From version 12 on PostgreSQL follows the newest timeline unless told otherwise, once it recovers
            // from an archive.
            None if self.configured() && self.source().version >= 120_000 => newest,
            None => own,
        };
        Ok(Timelines { histories, target })
    }

    fn read_history(&self, file: &ArchivedFile) -> Result<Vec<u8>, CodecError> {
        let mut content = Vec::new();
        self.codec
            .open_plain(&file.path)?
            .take(LARGEST_HISTORY)
            .read_to_end(&mut content)
            .at("read", &file.path)?;
        Ok(content)
    }

    /// The WAL to deliver, and whether what the backup itself needs is there.
    pub(super) fn select(
        &self,
        archived: &Archived,
        timelines: &Timelines,
        notes: &mut Vec<String>,
    ) -> Result<(Selection, bool), RestoreError> {
        if self.request.get_wal && self.options.restore_command.is_some() {
            // The operator's own command may know other places than this archive.
            return Ok((Selection::default(), true));
        }
        let source = self.source();
        let path = timelines::Path::new(
            &timelines.histories,
            source.timeline,
            source.begin_lsn,
            source.end_lsn,
            timelines.target,
        )
        .map_err(|reason| self.unreachable(timelines, reason))?;
        // Later WAL can still arrive at a server that fetches it; what was written during the backup cannot come twice.
        let stop = if self.request.get_wal {
            Stop::BackupEnd
        } else {
            self.stop()
        };
        let wanted = Wanted {
            path: &path,
            begin: source.begin_wal,
            end: source.end_wal,
            end_lsn: source.end_lsn,
            segment_size: source.segment_size,
            stop,
            partial: self.options.partial_wal && !self.request.get_wal,
            standalone: source.standalone,
        };
        if self.targets.timeline.is_none() && !self.request.get_wal {
            notes.extend(self.newer_timeline(timelines));
        }
        if self.request.get_wal {
            notes.extend(self.hole_ahead(&wanted, archived));
        }
        match wal_selection::select(&wanted, archived) {
            Ok(selection) => {
                notes.extend(selection.notes.clone());
                Ok((selection, true))
            }
            Err(missing) if self.can_wait(&missing) => {
                notes.push(format!("{missing}."));
                Ok((Selection::default(), false))
            }
            Err(missing) => Err(RestoreError::Missing { missing }),
        }
    }

    /// A newer timeline that could be followed, and is not.
    fn newer_timeline(&self, timelines: &Timelines) -> Option<String> {
        let source = self.source();
        let (begin, end) = (source.begin_lsn, source.end_lsn);
        let reachable = |timeline: Timeline| {
            timelines::Path::new(&timelines.histories, source.timeline, begin, end, timeline).is_ok()
        };
        let newer = timelines
            .histories
            .keys()
            .rev()
            .copied()
            .find(|timeline| *timeline > timelines.target && reachable(*timeline))?;
        Some(format!(
            "The archive has WAL of timeline {newer}, which this recovery does not follow: it ends with timeline {}. Use \
             --target-tli {newer} to follow it.",
            timelines.target
        ))
    }

    /// A hole that a server which fetches its WAL itself will run into: it would take it for the end of the WAL.
    fn hole_ahead(&self, wanted: &Wanted<'_>, archived: &Archived) -> Option<String> {
        let wanted = Wanted {
            stop: self.stop(),
            ..wanted.clone()
        };
        match wal_selection::select(&wanted, archived) {
            Err(missing @ Missing::BeforeTarget { .. }) => Some(format!("{missing}.")),
            _ => None,
        }
    }

    /// A server that fetches its WAL itself can wait for what has not been archived yet.
    fn can_wait(&self, missing: &Missing) -> bool {
        self.request.get_wal && missing.may_still_arrive()
    }

    fn unreachable(&self, timelines: &Timelines, source: timelines::PathError) -> RestoreError {
        let own = self.source().timeline;
        let hint = if self.targets.timeline.is_none() {
            format!(
                "PostgreSQL would follow the newest timeline of the archive and refuse to start. Give the one you \
                 want, for example --target-tli {own} for the timeline of the backup"
            )
        } else {
            format!(
                "Give another timeline (the backup is on {own}), or restore a backup that is on the way to it"
            )
        };
        RestoreError::Timeline {
            timeline: timelines.target,
            source,
            hint,
        }
    }

    fn stop(&self) -> Stop {
        match &self.targets.target {
            Some(Target::Immediate) => Stop::BackupEnd,
            Some(Target::Lsn(position, _)) => Stop::At(*position),
            Some(Target::Time(time)) => Stop::After(SystemTime::from(*time)),
            Some(Target::Xid(_) | Target::Name(_)) | None => Stop::Anywhere,
        }
    }

    pub(super) fn delivery(&self, selection: Selection, wal_directory: &Path) -> Option<WalDelivery> {
        if self.request.get_wal {
            return None;
        }
        let directory = self.staged_wal().unwrap_or_else(|| wal_directory.to_path_buf());
        let mark_archived = directory == wal_directory;
        Some(WalDelivery {
            selection,
            directory,
            mark_archived,
            partial: self.options.partial_wal,
        })
    }

    /// Where WAL is staged for a `restore_command`; `None` when it goes into the WAL directory itself. That is so for
    /// a standby too: it gets no `restore_command` (as with Barman), and staged WAL would never be read.
    fn staged_wal(&self) -> Option<PathBuf> {
        if !self.targets.is_pitr() {
            return None;
        }
        match &self.options.staging_wal_directory {
            Some(directory) => Some(self.data.join(directory)),
            None if self.options.standby_mode => None,
            None => Some(self.data.join(STAGED_WAL)),
        }
    }

    pub(super) fn wal_source(&self, wal: Option<&WalDelivery>) -> WalSource {
        match wal {
            Some(wal) if wal.mark_archived || self.options.standby_mode => WalSource::InPlace,
            Some(wal) => WalSource::Staged {
                directory: wal.directory.clone(),
            },
            None => self.fetching(),
        }
    }

    fn fetching(&self) -> WalSource {
        if let Some(command) = &self.options.restore_command {
            return WalSource::Custom(command.clone());
        }
        let server = self.config.name.clone();
        let user = self.user.to_owned();
        if self.options.remote_ssh_command.is_none() {
            return WalSource::GetWal {
                server,
                user,
                partial: !self.options.standby_mode,
            };
        }
        WalSource::WalRestore {
            server,
            user,
            host: super::this_host::name(),
            port: self.options.recovery_option_port.clone(),
            jobs: self.jobs(),
            partial: !self.options.standby_mode,
        }
    }
}
