//! The copy within a run: on a parent, with a reference, from failed attempts, or alone.

use std::path::Path;
use std::time::Instant;

use crate::base::lock::LockFile;
use crate::base::{durable, duration, interrupt};
use crate::catalog::{BackupId, BackupInfo};
use crate::config::{BackupMethod, ReuseBackup};
use crate::copy::{self, CopyError, CopyReport};
use crate::postgres::lsn::Lsn;

use super::error::BackupError;
use super::parent::{self, Parent};
use super::plan;
use super::run::Run;

/// What Barman calls its own incremental backups, which are stored alike: by this it knows them.
const INCREMENTAL_MODE: &str = "postgres";

impl Run<'_> {
    /// Copies everything, in the way that the configuration and the catalog allow for.
    pub(super) fn copy(&mut self, pgdata: &Path, begin: Lsn) -> Result<CopyReport, BackupError> {
        self.action = "copying files";
        interrupt::check()?;
        let way = match self.config.backup_method {
            BackupMethod::LocalRsync => "local rsync",
            _ => "rsync/SSH",
        };
        let jobs = match self.config.parallel_jobs {
            0 | 1 => String::new(),
            jobs => format!(" ({jobs} jobs)"),
        };
        self.reporter.info(&format!(
            "Starting backup copy via {way} for {}{jobs}",
            self.info.id
        ));
        self.warn_of_external_files(pgdata);
        self.attempts = self.attempts()?;
        self.note_boot()?;
        self.enter_parent(pgdata, begin)?;
        durable::create_dir_all(&self.catalog.layout().base_dir(&self.info.id))?;
        let since = Instant::now();
        let mut copied = self.pull(pgdata, begin);
        if let Err(BackupError::Copy(CopyError::SourceNeedsAgent { .. })) = &copied
            && self.parent.as_ref().is_some_and(|parent| parent.optional)
        {
            self.leave_parent(super::MODE)?;
            self.reporter
                .warning("Incremental backups need the agent: taking a full backup");
            copied = self.pull(pgdata, begin);
        }
        let report = copied?;
        self.keep_attempts_of(&report);
        interrupt::check()?;
        self.reporter.info(&format!(
            "Copy done (time: {})",
            duration::human(since.elapsed().as_secs_f64())
        ));
        Ok(report)
    }

    fn pull(&self, pgdata: &Path, begin: Lsn) -> Result<CopyReport, BackupError> {
        // The lock keeps deletion, ours and Barman's, away from the files that are taken over (B5).
        let reference = match &self.parent {
            Some(_) => None,
            None => self.reference()?,
        };
        let parent = self.parent.as_ref();
        let incremental = parent.map(|parent| parent.incremental(&self.catalog, self.lsns_tell.is_ok()));
        let mut plan = plan::copy_plan(
            self.config,
            &self.catalog,
            &self.info,
            pgdata,
            begin,
            parent
                .and_then(Parent::info)
                .or(reference.as_ref().map(|(info, _lock)| info)),
            incremental,
        );
        if let (Ok(()), None) = (self.lsns_tell, &plan.incremental) {
            plan.since = reference.as_ref().and_then(|(info, _lock)| info.begin_xlog);
        }
        plan.resume = self.resume_plan(&self.attempts);
        Ok(copy::pull(&plan, self.source.as_ref(), self.reporter)?)
    }

    /// Makes the backup an incremental one, now that it is known where it begins. The catalog has the child before the
    /// parent names it: whenever the process ends, no parent names what does not exist.
    fn enter_parent(&mut self, pgdata: &Path, begin: Lsn) -> Result<(), BackupError> {
        let Some(parent) = &self.parent else { return Ok(()) };
        let Some(id) = parent.info().map(|info| info.id.clone()) else {
            return Ok(());
        };
        let timeline = self.info.timeline.unwrap_or_default();
        let history = || parent::history(self.source.remote(), &self.catalog, pgdata, timeline);
        if let Err(reason) = parent.leads_to(begin, timeline, history) {
            if !parent.optional {
                return Err(BackupError::Parent { id, reason });
            }
            self.reporter.warning(&format!(
                "Backup {id} cannot be the parent of an incremental backup: {reason}. Taking a full backup"
            ));
            self.parent = None;
            return Ok(());
        }
        self.info.mode = Some(INCREMENTAL_MODE.to_owned());
        self.record_parent(&id)?;
        self.reporter
            .info(&format!("Backup {} is incremental, on backup {id}", self.info.id));
        if let Err(reason) = self.lsns_tell {
            log::info!(target: "barman.backup", "changed pages are found by comparing hashes: {reason}");
        }
        Ok(())
    }

    /// Notes the parent, and this backup as a child of it.
    pub(super) fn record_parent(&mut self, id: &BackupId) -> Result<(), BackupError> {
        self.info.parent_backup_id = Some(id.clone());
        self.catalog.save(&self.info)?;
        // Whoever else changes what is known of the parent needs the lock that we share.
        if let Some(mut info) = self.catalog.load(id)? {
            let children = info.children_backup_ids.get_or_insert_default();
            if !children.contains(&self.info.id) {
                children.push(self.info.id.clone());
                self.catalog.save(&info)?;
            }
        }
        Ok(())
    }

    /// Makes the backup a full one after all, of this mode.
    pub(super) fn leave_parent(&mut self, mode: &str) -> Result<(), BackupError> {
        self.parent = None;
        let Some(id) = self.info.parent_backup_id.take() else {
            return Ok(());
        };
        if let Some(mut info) = self.catalog.load(&id)?
            && let Some(children) = &mut info.children_backup_ids
        {
            children.retain(|child| *child != self.info.id);
            if children.is_empty() {
                info.children_backup_ids = None;
            }
            self.catalog.save(&info)?;
        }
        self.info.mode = Some(mode.to_owned());
        self.catalog.save(&self.info)?;
        Ok(())
    }

    /// The newest complete full backup, held against deletion: its files can be taken over. What incremental ones have
    /// beyond it are blocks, which no other backup can share.
    fn reference(&self) -> Result<Option<(BackupInfo, LockFile)>, BackupError> {
        if matches!(self.config.reuse_backup, None | Some(ReuseBackup::Off)) {
            return Ok(None);
        }
        let backups = self.catalog.backups()?;
        let complete = |info: &BackupInfo| {
            // A backup in tar format has no files to take over.
            info.status.copy_done()
                && !info.is_incremental()
                && self.catalog.data_dir(&info.id).join("PG_VERSION").is_file()
        };
        for (id, info) in backups.range(..self.info.id.clone()).rev() {
            if !complete(info) {
                continue;
            }
            match self.catalog.locks().backup_reader(id) {
                // It may have been deleted between the listing and the lock.
                Ok(lock) if complete(info) => return Ok(Some((info.clone(), lock))),
                Ok(_) => {}
                Err(error) => {
                    log::info!(target: "barman.backup", "the files of backup {id} are not taken over: {error}");
                }
            }
        }
        Ok(None)
    }

    fn warn_of_external_files(&self, pgdata: &Path) {
        let files = plan::external_includes(&self.info, pgdata);
        if files.is_empty() || self.config.backup_options.external_configuration {
            return;
        }
        self.reporter.warning(&format!(
            "The usage of include directives is not supported for files that reside outside PGDATA.\n\
             Please manually backup the following files:\n\t{}\n",
            files.join("\n\t")
        ));
    }
}
