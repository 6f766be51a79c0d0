//! The plan of a restore: everything that will be done, decided before anything is.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::calendar::Timestamp;
use crate::base::error::PathError;
use crate::copy::chain::Sums;
use crate::copy::unpack::UnpackPlan;
use crate::copy::{PushItem, PushPlan};

use super::archived::Archived;
use super::circumstances::Circumstances;
use super::configuration::{self, Edits, Recovery};
use super::data;
use super::error::RestoreError;
use super::originals::Originals;
use super::source::BackupSource;
use super::tablespaces::Relocation;
use super::wal_plan::{Timelines, WalDelivery};

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

impl Circumstances<'_> {
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
