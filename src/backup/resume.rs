//! Going on where a failed backup ended: `--resume`, `resume_failed_backups`.
//!
//! A backup cannot be continued: PostgreSQL ended it with its session, and recovery would lack the WAL in between. But
//! most of what it has copied is still what the server has. The new backup takes over those files by hard link, compares
//! what could have changed by content, and when it is complete deletes the failed ones. Killed at any point, the worst
//! that remains is a failed backup more, whose files the next attempt finds.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::base::error::{PathContext, PathError};
use crate::base::lock::LockFile;
use crate::catalog::{BackupInfo, BackupStatus, Deletion, chains};
use crate::copy::{Attempt, CopyReport, Method, Resume};
use crate::postgres::version::PgVersion;

use super::attempts::Attempts;
use super::error::BackupError;
use super::run::Run;
use super::sidecar;

/// Names the current run of the kernel: it changes when the machine starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Its key in the sidecar.
const BOOT_KEY: &str = "boot_id";

impl Run<'_> {
    /// The failed backups whose files may be taken over: those since the last complete one, of the same cluster.
    pub(super) fn attempts(&self) -> Result<Attempts, BackupError> {
        if !self.config.resume_failed_backups {
            return Ok(Attempts::default());
        }
        let mut found = Attempts::default();
        let backups = self.catalog.backups()?;
        for (id, info) in backups.range(..self.info.id.clone()).rev() {
            if info.status.copy_done() {
                break;
            }
            // Deleting it in the end would take them along.
            let has_children = chains::children(&backups, id).next().is_some();
            if has_children || !self.may_resume(info)? {
                continue;
            }
            match self.catalog.locks().backup_reader(id) {
                Ok(lock) => found.backups.push((info.clone(), lock)),
                Err(error) => {
                    log::info!(target: "barman.backup", "the files of backup {id} are not taken over: {error}");
                }
            }
        }
        self.announce_attempts(&found);
        Ok(found)
    }

    /// Nobody is at work on it: the lock of the server's backups is ours.
    fn may_resume(&self, info: &BackupInfo) -> Result<bool, BackupError> {
        let ended = matches!(info.status, BackupStatus::Failed | BackupStatus::Started);
        let major = |info: &BackupInfo| info.version.map(|version| PgVersion(version).major());
        Ok(ended
            && info.systemid.is_some()
            && info.systemid == self.info.systemid
            && major(info) == major(&self.info)
            && self.catalog.layout().data_dir(&info.id).is_dir()
            && !self
                .catalog
                .is_being_deleted(&info.id)
                .map_err(BackupError::Path)?)
    }

    fn announce_attempts(&self, attempts: &Attempts) {
        let ids: Vec<String> = attempts
            .backups
            .iter()
            .map(|(info, _)| info.id.to_string())
            .collect();
        if !ids.is_empty() {
            self.reporter.info(&format!(
                "Resuming: what failed backup {} has copied is taken over where it is still right",
                ids.join(", ")
            ));
        } else if self.options.resume {
            self.reporter
                .info("There is no failed backup to resume since the last complete one");
        }
    }

    /// What the copy engine is to know about the attempts.
    pub(super) fn resume_plan(&self, attempts: &Attempts) -> Option<Resume> {
        let layout = self.catalog.layout();
        let of = |(info, _): &(BackupInfo, LockFile)| Attempt {
            directory: layout.base_dir(&info.id),
            horizon: self.horizon(info),
        };
        (!attempts.backups.is_empty()).then(|| Resume {
            directory: layout.base_dir(&self.info.id),
            attempts: attempts.backups.iter().map(of).collect(),
        })
    }

    /// When an attempt began, if size and time of its files can be trusted at all: the server went on from there without
    /// going back in its history, and this machine was not started since. The files of an attempt that ended with the
    /// machine may have their size and time, and not their content.
    fn horizon(&self, info: &BackupInfo) -> Option<SystemTime> {
        let on_line = info.timeline == self.info.timeline && info.begin_xlog <= self.info.begin_xlog;
        let path = self.catalog.layout().sidecar_path(&info.id);
        let same_boot = match recorded_boot(&path).and_then(|then| Ok((then, boot_id()?))) {
            Ok((then, now)) => then.is_some_and(|then| then == now),
            Err(error) => {
                log::info!(target: "barman.backup", "the files of backup {} are compared by content: {error}", info.id);
                false
            }
        };
        info.begin_time
            .filter(|_| on_line && same_boot)
            .map(SystemTime::from)
    }

    /// Leaves word for whoever resumes this backup, should it fail.
    pub(super) fn note_boot(&self) -> Result<(), PathError> {
        let document = match boot_id() {
            Ok(id) => json!({"barkeep_version": crate::VERSION, BOOT_KEY: id}),
            Err(error) => {
                log::info!(target: "barman.backup", "{error}: should this backup fail, all its files will be compared by content");
                return Ok(());
            }
        };
        sidecar::write(&self.catalog.layout().sidecar_path(&self.info.id), &document)
    }

    /// What rsync copies it copies anew: then the attempts stay, for whoever wants to look at them.
    pub(super) fn keep_attempts_of(&mut self, report: &CopyReport) {
        if matches!(report.method, Method::Rsync { .. }) && !self.attempts.backups.is_empty() {
            self.reporter
                .warning("The agent cannot run: nothing was taken over from failed backups");
            self.attempts = Attempts::default();
        }
    }

    /// The backup is complete: what it went on from is not needed any more. The lock of the server's backups must be held.
    pub(super) fn delete_attempts(&self, attempts: Attempts) {
        for (info, lock) in attempts.backups {
            drop(lock);
            let deletion = Deletion::by_operator(&self.catalog, self.config, &self.hooks, self.reporter);
            let deleted = deletion.plan(&info.id).and_then(|plan| deletion.apply(&plan));
            if let Err(error) = deleted {
                self.reporter.warning(&format!(
                    "Failed backup {} is not needed any more, and cannot be deleted: {error}",
                    info.id
                ));
            }
        }
    }
}

fn boot_id() -> Result<String, PathError> {
    let path = Path::new(BOOT_ID);
    Ok(fs::read_to_string(path).at("read", path)?.trim().to_owned())
}

/// The run of the kernel in which a backup was taken; `None` when nobody has noted it (Barman does not).
fn recorded_boot(sidecar: &Path) -> Result<Option<String>, PathError> {
    let text = match fs::read_to_string(sidecar) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("read", sidecar, error)),
    };
    let document: Value = serde_json::from_str(&text)
        .map_err(std::io::Error::other)
        .at("read", sidecar)?;
    Ok(document.get(BOOT_KEY).and_then(Value::as_str).map(str::to_owned))
}
