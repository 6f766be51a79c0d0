//! The plan of a restore: everything that will be done, decided before anything is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::base::calendar::Timestamp;
use crate::base::error::{PathContext, PathError};
use crate::catalog::Catalog;
use crate::codec::{CodecError, WalCodec};
use crate::config::ServerConfig;
use crate::copy::chain::Sums;
use crate::copy::unpack::UnpackPlan;
use crate::copy::{PushItem, PushPlan};
use crate::postgres::wal_name::Timeline;

use super::archived::{Archived, ArchivedFile};
use super::configuration::{self, Edits, Recovery, WalSource};
use super::data;
use super::error::RestoreError;
use super::options::{RestoreOptions, TargetTimeline};
use super::originals::Originals;
use super::request::Request;
use super::source::BackupSource;
use super::tablespaces::Relocation;
use super::target::{Target, Targets};
use super::timelines::{self, Histories, LARGEST_HISTORY};
use super::wal_selection::{self, Missing, Selection, Stop, Wanted};

/// The directory for WAL in the destination of a point-in-time recovery.
const STAGED_WAL: &str = "barman_wal";

/// Everything that a restore will do.
#[derive(Debug)]
pub struct RestorePlan {
    /// The data directory, absolute, on the destination host.
    pub data: PathBuf,
    /// Where each tablespace goes.
    pub tablespaces: Vec<Relocation>,
    /// What is copied.
    pub push: PushPlan,
    /// The WAL that is delivered; `None` when the restored server fetches it.
    pub wal: Option<WalDelivery>,
    /// The WAL directory of the cluster.
    pub wal_directory: PathBuf,
    /// Whether recovery needs a configuration.
    pub configured: bool,
    /// The `restore_command` line of the operator's own command.
    pub custom_command: Option<String>,
    /// How the files of the backup are unpacked, when they are in tar files: then nothing of `push` is done.
    pub unpack: Option<UnpackPlan>,
    /// How the configuration files are edited.
    pub wish: ConfigurationWish,
    /// What is written into the data directory; nothing yet for a backup in tar files.
    pub edits: Edits,
    /// What the operator should know beforehand.
    pub notes: Vec<String>,
    /// Whether the WAL that the backup needs is all there, or will be fetched.
    pub complete: bool,
    /// The label of the restored cluster, when it is not the file of the backup.
    pub label: Option<Vec<u8>>,
}

/// How the configuration files of the backup are edited.
#[derive(Debug)]
pub struct ConfigurationWish {
    /// `server_version_num`.
    pub version: u32,
    /// The file for the recovery configuration.
    pub file_name: String,
    /// The recovery configuration; `None` when recovery needs none.
    pub lines: Option<Vec<String>>,
    /// `--standby-mode`
    pub standby: bool,
}

impl ConfigurationWish {
    /// What is written.
    ///
    /// # Errors
    /// A configuration file of the backup cannot be read.
    pub fn edits(&self, originals: Originals<'_>) -> Result<Edits, PathError> {
        let lines = self.lines.as_deref();
        configuration::edit(originals, self.version, &self.file_name, lines, self.standby)
    }
}

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

/// What a plan is made from.
#[derive(Debug)]
pub struct Circumstances<'a> {
    /// The server.
    pub config: &'a ServerConfig,
    /// Its catalog.
    pub catalog: &'a Catalog,
    /// How its WAL is read.
    pub codec: &'a WalCodec,
    /// The restore.
    pub request: &'a Request,
    /// The command line.
    pub options: &'a RestoreOptions,
    /// The targets.
    pub targets: &'a Targets,
    /// The data directory, absolute, on the destination host.
    pub data: &'a Path,
    /// Where each tablespace goes.
    pub tablespaces: &'a [Relocation],
    /// The user that Barman runs as.
    pub user: &'a str,
}

/// The timelines that the archive knows, and which one recovery follows.
#[derive(Debug)]
pub struct Timelines {
    histories: Histories,
    /// The timeline that recovery follows.
    pub target: Timeline,
}

impl Circumstances<'_> {
    fn source(&self) -> &BackupSource {
        &self.request.source
    }

    /// Whether PostgreSQL starts with a signal file (or `recovery.conf`).
    fn configured(&self) -> bool {
        self.targets.is_pitr() || self.request.get_wal || self.options.standby_mode
    }

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

    /// Decides everything.
    ///
    /// # Errors
    /// The restore cannot reach its target, and why.
    pub fn plan(&self, archived: &Archived, timelines: &Timelines) -> Result<RestorePlan, RestoreError> {
        let mut notes = Vec::new();
        let (selection, complete) = self.select(archived, timelines, &mut notes)?;
        let wal_directory = self.data.join(self.source().wal_directory_name());
        let wal = self.delivery(selection, &wal_directory);
        let recovery = Recovery {
            version: self.source().version,
            targets: self.targets,
            standby: self.options.standby_mode,
            wal: self.wal_source(wal.as_ref()),
        };
        let wish = ConfigurationWish {
            version: self.source().version,
            file_name: self
                .options
                .recovery_conf_filename
                .clone()
                .unwrap_or_else(|| "postgresql.auto.conf".to_owned()),
            lines: self.configured().then(|| recovery.lines()),
            standby: self.options.standby_mode,
        };
        // What is in tar files is only known when it has been unpacked.
        let edits = match self.source().packed {
            true => Edits::default(),
            false => wish.edits(Originals::In(&self.source().data_directory))?,
        };
        let lines = wish.lines.as_deref();
        Ok(RestorePlan {
            data: self.data.to_path_buf(),
            tablespaces: self.tablespaces.to_vec(),
            push: self.push(),
            wal,
            wal_directory,
            custom_command: self.custom_command(lines),
            configured: lines.is_some(),
            unpack: self.unpack_plan(),
            wish,
            edits,
            notes,
            complete,
            label: self.source().own_label()?,
        })
    }

    fn custom_command(&self, lines: Option<&[String]>) -> Option<String> {
        let custom = self.request.get_wal && self.options.restore_command.is_some();
        lines.filter(|_| custom)?.first().cloned()
    }

    /// The WAL to deliver, and whether what the backup itself needs is there.
    fn select(
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

    fn delivery(&self, selection: Selection, wal_directory: &Path) -> Option<WalDelivery> {
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

    fn wal_source(&self, wal: Option<&WalDelivery>) -> WalSource {
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

    /// Parallel workers.
    #[must_use]
    pub fn jobs(&self) -> u32 {
        self.options.jobs.unwrap_or(self.config.parallel_jobs).max(1)
    }

    /// The limit, in units of 1024 bytes per second.
    #[must_use]
    pub fn bandwidth(&self) -> Option<u64> {
        self.options.bandwidth_limit.or(self.config.bandwidth_limit)
    }

    fn push(&self) -> PushPlan {
        let tablespace = |relocation| data::tablespace_item(self.source(), relocation, self.config);
        let mut items: Vec<PushItem> = self.tablespaces.iter().map(tablespace).collect();
        items.push(data::pgdata_item(self.source(), self.data, self.tablespaces));
        PushPlan {
            items,
            delta: self.request.delta,
            jobs: usize::try_from(self.jobs()).unwrap_or(1),
            pace: data::pace(self.config, self.options),
            bandwidth_kib: self.bandwidth(),
            compress: self.request.compress,
            retries: data::retries(self.config, self.options),
            sums: self
                .catalog
                .records(&self.request.info.id)
                .map(|records| Arc::new(records) as Arc<dyn Sums>),
        }
    }
}

/// The earlier begin time of this backup and of the one that a previous restore left in the destination: Barman's safe
/// horizon, shown for a delta restore. `None` when no restore has been there.
#[must_use]
pub fn safe_horizon(source: &BackupSource, previous: Option<&[u8]>) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(previous?).into_owned();
    let begin = text
        .lines()
        .find_map(|line| line.strip_prefix("begin_time="))
        .and_then(crate::base::calendar::parse)?;
    source.begin_time.map(|own| own.min(begin))
}

/// Whether a directory of the backup exists; a tablespace without one cannot be restored.
///
/// # Errors
/// A directory is missing.
pub fn check_directories(source: &BackupSource) -> Result<(), RestoreError> {
    let tablespaces = source.tablespaces.iter().filter(|_| !source.packed);
    let directories = tablespaces.map(|tablespace| &tablespace.directory);
    let older = source.older.iter().map(|member| &member.data_directory);
    for directory in directories.chain([&source.data_directory]).chain(older) {
        if !fs::metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(RestoreError::NoData {
                backup: source.id.clone(),
                directory: directory.clone(),
            });
        }
    }
    Ok(())
}
