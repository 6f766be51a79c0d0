//! `backup_method = postgres`: base backups by `pg_basebackup`, over the replication protocol (behaviour reference §8, §9,
//! §12).
//!
//! PostgreSQL begins and ends the backup, and waits for its WAL; here the program is run, tried again, and what came of it
//! is recorded: where it began by its label, where it ended by the position of the server after it.

mod command;
mod encryption;
mod parent;
mod position;
mod program;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use walkdir::WalkDir;

use crate::base::calendar;
use crate::base::error::{PathContext, PathError};
use crate::base::{durable, duration, interrupt};
use crate::catalog::{BackupStatus, CopyStats};
use crate::codec::WalCodec;
use crate::copy::packed;
use crate::postgres::client::Session;
use crate::postgres::label::BackupLabel;
use crate::postgres::manifest_head;

use super::error::BackupError;
use super::held::HeldSession;
use super::plan;
use super::run::Run;
use position::Position;

pub(super) use parent::{is_possible, objection};

/// The `mode` of these backups.
pub(super) const MODE: &str = "postgres";

/// The file that says where recovery starts, and the most bytes it may have.
const LABEL: &str = "backup_label";
const LONGEST_LABEL: u64 = 1 << 20;

const MANIFEST: &str = "backup_manifest";

impl Run<'_> {
    /// Takes the backup, from the first look at the server to the last byte on disk.
    pub(super) fn take_base_backup(
        &mut self,
        held: &mut HeldSession,
        pgdata: &Path,
    ) -> Result<(), BackupError> {
        self.begin(held)?;
        self.enter_native_parent()?;
        self.action = "copying files";
        interrupt::check()?;
        self.reporter.info(&format!(
            "Starting backup copy via pg_basebackup for {}",
            self.info.id
        ));
        self.warn_of_files_left_out(pgdata);
        let since = Instant::now();
        self.run_with_retries(held)?;
        let seconds = since.elapsed().as_secs_f64();
        self.info.copy_stats = Some(CopyStats::of_whole(seconds, seconds));
        self.reporter
            .info(&format!("Copy done (time: {})", duration::human(seconds)));
        self.action = "reading the backup label";
        self.adopt_label()?;
        self.action = "stopping postgres backup_method";
        self.reporter.info("Finalising the backup.");
        self.end(held)?;
        self.purge_old_wal()?;
        self.create_restore_point(held);
        if command::is_packed(self.config) {
            self.info.compression = self
                .config
                .backup_compression
                .map(|compression| compression.keyword().to_owned());
            self.encrypt()?;
        }
        self.action = "calculating backup size";
        self.settle_base_backup()
    }

    /// Where the server is now: begin and timeline become those of the label later.
    fn begin(&mut self, held: &HeldSession) -> Result<(), BackupError> {
        self.action = "issuing start backup command";
        self.copying_since = (calendar::now(), Instant::now());
        let position = Position::of(&mut held.session())?;
        let (segment, offset) = position.place(self.info.xlog_segment_size);
        self.info.timeline = Some(position.timeline);
        self.info.begin_xlog = Some(position.lsn);
        self.info.begin_wal = Some(segment);
        self.info.begin_offset = Some(offset);
        self.info.begin_time = Some(position.time);
        self.info.status = BackupStatus::Started;
        self.catalog.save(&self.info)?;
        self.reporter.info(&format!(
            "Backup start at LSN: {} ({segment}, {offset:08X})",
            position.lsn
        ));
        Ok(())
    }

    /// Runs the program as often as the configuration allows for, each time into empty directories.
    fn run_with_retries(&mut self, held: &HeldSession) -> Result<(), BackupError> {
        let mut attempt = 0;
        loop {
            self.make_directories()?;
            let failure = match self.run_program(held) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            interrupt::check()?;
            if !matches!(failure, BackupError::BaseBackup { .. }) {
                return Err(failure);
            }
            if self.parent.as_ref().is_some_and(|parent| parent.optional) {
                self.reporter.warning(&format!(
                    "The incremental backup could not be taken: {failure}\nTaking a full backup"
                ));
                self.leave_parent(MODE)?;
                continue;
            }
            if attempt >= self.config.basebackup_retry_times {
                return Err(failure);
            }
            self.reporter.warning(&format!(
                "Failure executing a backup using pg_basebackup (attempt {attempt})"
            ));
            let sleep = self.config.basebackup_retry_sleep;
            self.reporter.warning(&format!(
                "The files copied so far will be removed and the backup process will restart in {sleep} seconds"
            ));
            log::warn!(target: "barman.backup_executor", "{failure}");
            pause(Duration::from_secs(sleep.into()))?;
            attempt += 1;
        }
    }

    /// The directories of the backup, empty and private.
    fn make_directories(&self) -> Result<(), PathError> {
        let layout = self.catalog.layout();
        let base = layout.base_dir(&self.info.id);
        durable::create_dir_all(&base)?;
        let tablespaces =
            command::mapped(&self.info).map(|(oid, _)| layout.tablespace_dir(&self.info.id, oid));
        for directory in tablespaces.chain([layout.data_dir(&self.info.id)]) {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(PathError::new("empty", directory, error));
                }
                _ => {}
            }
            let mut builder = DirBuilder::new();
            builder.mode(0o700).create(&directory).at("create", &directory)?;
        }
        durable::sync_dir(&base)
    }

    /// Takes from the label where the backup really began.
    fn adopt_label(&mut self) -> Result<(), BackupError> {
        let data = self.catalog.layout().data_dir(&self.info.id);
        let text = read_label(&data)?;
        let label = BackupLabel::parse(&text).map_err(|error| BackupError::Label {
            directory: data,
            reason: error.to_string(),
        })?;
        self.info.begin_xlog = Some(label.start_lsn);
        self.info.begin_wal = Some(label.start_wal);
        self.info.begin_offset = Some(label.start_lsn.offset_in_segment(self.info.xlog_segment_size));
        self.info.timeline = Some(label.start_wal.timeline);
        self.info.backup_label = Some(text);
        Ok(())
    }

    /// Where the server is when the copy is over: past the end of the backup. The copy may have taken hours, so that a new
    /// connection is made.
    fn end(&mut self, held: &mut HeldSession) -> Result<(), BackupError> {
        let conninfo = self.config.conninfo.as_deref().unwrap_or_default();
        *held = HeldSession::new(Session::connect(conninfo)?);
        let mut position = Position::of(&mut held.session())?;
        // A standby may have told the end of the backup before it replayed so far.
        let manifest = self.catalog.layout().data_dir(&self.info.id).join(MANIFEST);
        if manifest.is_file() {
            let head = manifest_head::read(&manifest)?;
            if let Some(last) = head.ranges.iter().max_by_key(|range| range.end)
                && last.end > position.lsn
            {
                position.lsn = last.end;
                position.timeline = last.timeline;
            }
        }
        let (segment, offset) = position.place(self.info.xlog_segment_size);
        self.info.end_xlog = Some(position.lsn);
        self.info.end_wal = Some(segment);
        self.info.end_offset = Some(offset);
        self.info.end_time = Some(position.time);
        self.switch_wal(held);
        Ok(())
    }

    /// Records what is on disk, which it is when this is called: the program synced what it wrote.
    fn settle_base_backup(&mut self) -> Result<(), BackupError> {
        let base = self.catalog.layout().base_dir(&self.info.id);
        let size = size_of(&base)?;
        self.info.size = Some(size);
        self.info.deduplicated_size = Some(size);
        durable::sync_dir(&base)?;
        self.info.status = BackupStatus::WaitingForWals;
        self.catalog.save(&self.info)?;
        Ok(())
    }

    fn warn_of_files_left_out(&self, pgdata: &Path) {
        let info = &self.info;
        let own = [&info.config_file, &info.hba_file, &info.ident_file];
        let included = plan::external_includes(info, pgdata);
        let files: Vec<&str> = own
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|file| plan::outside(file, pgdata))
            .chain(included)
            .collect();
        if files.is_empty() || self.config.backup_options.external_configuration {
            return;
        }
        self.reporter.warning(&format!(
            "pg_basebackup does not copy the PostgreSQL configuration files that reside outside PGDATA. Please manually \
             backup the following files:\n\t{}\n",
            files.join("\n\t")
        ));
    }
}

/// The label of a base backup, plain or in tar files.
fn read_label(data: &Path) -> Result<String, BackupError> {
    let path = data.join(LABEL);
    let base = packed::parts(data)?.into_iter().find(|part| part.oid.is_none());
    let content = match base {
        Some(part) => part.file(&WalCodec::default(), LABEL, LONGEST_LABEL)?,
        None => Some(fs::read(&path).at("read", &path)?),
    };
    let content = content.ok_or_else(|| BackupError::Label {
        directory: data.to_path_buf(),
        reason: "it is missing".to_owned(),
    })?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Bytes of all files below a directory.
fn size_of(directory: &Path) -> Result<u64, PathError> {
    let mut size = 0;
    for entry in WalkDir::new(directory) {
        let entry = entry.map_err(io::Error::from).at("list", directory)?;
        if entry.file_type().is_file() {
            let metadata = entry.metadata().map_err(io::Error::from);
            size += metadata.at("look at", entry.path())?.len();
        }
    }
    Ok(size)
}

/// Waits, unless the process is asked to stop.
fn pause(time: Duration) -> Result<(), interrupt::Interrupted> {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        interrupt::check()?;
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    interrupt::check()
}

/// The manifest of a backup, on which PostgreSQL can build another one.
fn manifest_of(data: &Path) -> PathBuf {
    data.join(MANIFEST)
}
