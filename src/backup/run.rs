//! One run of a backup, from the hooks before it to the last WAL file after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::calendar::{self, Timestamp};
use crate::base::lock::LockFile;
use crate::base::report::Reporter;
use crate::base::{durable, interrupt};
use crate::catalog::{self, BackupInfo, BackupStatus, Catalog, Tablespace};
use crate::config::{BackupMethod, ServerConfig};
use crate::copy::Ahead;
use crate::hooks::{BackupVariables, HookEvent, HookRunner, HookSubject};
use crate::postgres::client::{Patience, PgError, Session};
use crate::postgres::facts::{self, Facts};
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, Timeline};
use crate::postgres::wal_switch::switch_wal;

use super::attempts::Attempts;
use super::error::BackupError;
use super::held::{self, HeldSession};
use super::options::BackupOptions;
use super::parent::{self, Parent};
use super::standby::{self, Primary};
use super::start_stop::{self, Ended};
use super::{BackupOutcome, Prepared, purge};

/// How long PostgreSQL may take to end a backup that has failed anyhow.
const TIDYING: Duration = Duration::from_secs(60);

/// A backup that is being taken.
pub(super) struct Run<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) options: &'a BackupOptions,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) catalog: Catalog,
    lock: Option<LockFile>,
    pub(super) hooks: HookRunner,
    facts: Facts,
    pub(super) primary: Option<Primary>,
    /// For an incremental backup.
    pub(super) parent: Option<Parent>,
    /// Why LSNs do not tell what changed; `Ok` when they do.
    pub(super) lsns_tell: Result<(), &'static str>,
    pub(super) info: BackupInfo,
    /// What is being done, in Barman's words, for the message of a failure.
    pub(super) action: &'static str,
    /// When PostgreSQL had begun the backup.
    pub(super) copying_since: (Timestamp, Instant),
    /// Failed backups that this one goes on from.
    pub(super) attempts: Attempts,
    /// The host of the cluster, this one for `local-rsync`.
    pub(super) source: Arc<Ahead>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        config: &'a ServerConfig,
        options: &'a BackupOptions,
        hooks: HookRunner,
        prepared: Prepared,
        reporter: &'a dyn Reporter,
    ) -> Run<'a> {
        Run {
            config,
            options,
            reporter,
            catalog: prepared.catalog,
            lock: Some(prepared.lock),
            hooks,
            primary: primary(config, &prepared.facts, reporter),
            facts: prepared.facts,
            parent: prepared.parent,
            lsns_tell: Ok(()),
            info: prepared.info,
            action: "starting backup",
            copying_since: (calendar::now(), Instant::now()),
            attempts: Attempts::default(),
            source: prepared.source,
        }
    }

    /// Takes the backup and does everything that follows, whether it succeeds or fails.
    pub(super) fn perform(mut self, session: Session) -> BackupOutcome {
        let mut held = HeldSession::new(session);
        let taken = self.take(&mut held);
        drop(held);
        interrupt::end_abandonment();
        match &taken {
            Ok(()) => {
                self.announce_end();
                if self.options.wait {
                    self.wait_for_wal();
                }
            }
            Err(reason) => self.fail(reason),
        }
        let subject = HookSubject::Backup(self.hook_variables());
        self.hooks
            .after(HookEvent::Backup, &subject, self.info.error.as_deref());
        let generates = self.config.backup_method != BackupMethod::Postgres;
        if taken.is_ok() && generates && self.config.autogenerate_manifest {
            self.reporter.info(&format!(
                "Backup manifest for backup '{}' successfully generated for server {}",
                self.info.id, self.config.name
            ));
        }
        let attempts = std::mem::take(&mut self.attempts);
        if taken.is_ok() && interrupt::check().is_ok() {
            self.delete_attempts(attempts);
        }
        drop(self.lock.take());
        // What was asked to stop does not begin anything new; cron does the rest.
        if interrupt::check().is_ok() {
            self.follow_up();
        }
        BackupOutcome {
            info: Some(self.info),
            success: taken.is_ok(),
        }
    }

    fn take(&mut self, held: &mut HeldSession) -> Result<(), BackupError> {
        let subject = HookSubject::Backup(self.hook_variables());
        self.hooks.before(HookEvent::Backup, &subject)?;
        interrupt::check()?;
        let pgdata = self.collect_metadata(held)?;
        if self.config.backup_method == BackupMethod::Postgres {
            return self.take_base_backup(held, &pgdata);
        }
        let begin = self.start(held)?;
        let copied = self.purge_old_wal().and_then(|()| self.copy(&pgdata, begin));
        held.stop_watching();
        let report = match copied {
            Ok(report) => report,
            Err(_) if held.is_lost() => return Err(BackupError::ConnectionLost),
            Err(error) => {
                self.give_up(held);
                return Err(error);
            }
        };
        self.action = "issuing stop of the backup";
        self.purge_old_wal()?;
        let mut label = self.stop(held)?;
        if let Some(parent) = &self.parent {
            label.push_str(&parent.label_lines());
            self.info.backup_label = Some(label.clone());
        }
        self.action = "writing backup label";
        let data = self.catalog.layout().data_dir(&self.info.id);
        durable::write(&data.join("backup_label"), label.as_bytes())?;
        self.create_restore_point(held);
        self.action = "calculating backup size";
        self.settle(&data, &label, report)
    }

    /// What Barman records about the server before the backup begins.
    fn collect_metadata(&mut self, held: &HeldSession) -> Result<PathBuf, BackupError> {
        self.action = "detecting data directory";
        let facts = &self.facts;
        let pgdata = facts.data_directory.clone().ok_or(BackupError::NoDataDirectory)?;
        let mut session = held.session();
        let info = &mut self.info;
        info.pgdata = Some(pgdata.clone());
        info.version = Some(facts.version.0);
        info.xlog_segment_size = facts.xlog_segment_size;
        info.config_file.clone_from(&facts.files.config_file);
        info.hba_file.clone_from(&facts.files.hba_file);
        info.ident_file.clone_from(&facts.files.ident_file);
        let included = &facts.files.included_files;
        info.included_files = (!included.is_empty()).then(|| included.clone());
        info.data_checksums = facts.setting("data_checksums").map(str::to_owned);
        let hints = session.setting("wal_log_hints")?;
        self.lsns_tell = parent::lsns_tell(facts, hints.as_deref());
        if facts.version.at_least(17) {
            info.summarize_wal = session.setting("summarize_wal")?;
        }
        self.action = "detecting tablespaces";
        info.tablespaces = tablespaces(&mut session)?;
        info.cluster_size = facts::cluster_size(&mut session)?;
        info.backup_name.clone_from(&self.options.name);
        Ok(PathBuf::from(pgdata))
    }

    /// Begins the backup in PostgreSQL, and from then on watches the connection.
    fn start(&mut self, held: &mut HeldSession) -> Result<Lsn, BackupError> {
        self.action = "issuing start backup command";
        let label = format!("Barman backup {} {}", self.config.name, self.info.id);
        let begun = start_stop::start(&mut held.session(), &label, self.config.immediate_checkpoint)?;
        self.copying_since = (calendar::now(), Instant::now());
        let interval = Duration::from_secs(self.config.keepalive_interval.into());
        held.watch(interval, || interrupt::abandon(held::LOST))
            .map_err(BackupError::Thread)?;
        let (segment, offset) = self.place(begun.timeline, begun.lsn);
        self.info.timeline = Some(begun.timeline);
        self.info.begin_xlog = Some(begun.lsn);
        self.info.begin_wal = Some(segment);
        self.info.begin_offset = Some(offset);
        self.info.begin_time = Some(begun.time);
        self.info.status = BackupStatus::Started;
        self.catalog.save(&self.info)?;
        self.reporter.info(&format!(
            "Backup start at LSN: {} ({segment}, {offset:08X})",
            begun.lsn
        ));
        Ok(begun.lsn)
    }

    pub(super) fn purge_old_wal(&self) -> Result<(), BackupError> {
        let (catalog, hooks) = (&self.catalog, &self.hooks);
        purge::purge_before_first(catalog, self.config, hooks, &self.info, true, self.reporter)?;
        Ok(())
    }

    /// Ends the backup in PostgreSQL; returns the label.
    fn stop(&mut self, held: &HeldSession) -> Result<String, BackupError> {
        self.action = "issuing stop backup command (native concurrent)";
        self.reporter
            .info("Asking PostgreSQL server to finalize the backup.");
        let ended = {
            let mut session = held.session();
            let ended = match &self.primary {
                Some(primary) => standby::stop(&mut session, primary),
                None => start_stop::stop_archived(&mut session),
            };
            ended.map_err(|error| match error {
                PgError::Lost(_) => BackupError::ConnectionLost,
                other => other.into(),
            })?
        };
        self.record_end(&ended);
        self.switch_wal(held);
        Ok(ended.label)
    }

    /// Ends a backup that has failed, if the connection is still there: waiting for its WAL would be pointless.
    fn give_up(&mut self, held: &HeldSession) {
        if self.action == "copying files" {
            self.reporter.error("The backup has failed copying files");
        }
        self.reporter
            .info("Asking PostgreSQL server to finalize the backup.");
        let ended = {
            let mut session = held.session();
            session.set_patience(Patience::For(TIDYING));
            start_stop::stop(&mut session, false)
        };
        match ended {
            Ok(ended) => self.record_end(&ended),
            Err(error) => log::warn!(
                target: "barman.backup",
                "PostgreSQL could not be told that the backup is over; it will notice when the connection ends: {error}"
            ),
        }
    }

    fn record_end(&mut self, ended: &Ended) {
        let (segment, offset) = self.place(ended.timeline, ended.lsn);
        self.info.end_xlog = Some(ended.lsn);
        self.info.end_wal = Some(segment);
        self.info.end_offset = Some(offset);
        self.info.end_time = Some(ended.time);
        self.info.backup_label = Some(ended.label.clone());
    }

    /// Has the last segment of the backup closed, so that it can be archived. The backup is good without.
    pub(super) fn switch_wal(&self, held: &HeldSession) {
        let switched = match &self.primary {
            Some(primary) => standby::switch(primary),
            None if self.facts.is_in_recovery => Ok(()),
            None => switch_wal(&mut held.session(), self.info.xlog_segment_size).map(|_| ()),
        };
        if let Err(error) = switched {
            log::warn!(target: "barman.backup", "cannot switch the WAL at the end of the backup: {error}");
        }
    }

    pub(super) fn create_restore_point(&self, held: &HeldSession) {
        let name = format!("barman_{}", self.info.id);
        if let Err(error) = start_stop::create_restore_point(&mut held.session(), &name) {
            log::warn!(target: "barman.backup", "cannot create the restore point {name}: {error}");
        }
    }

    fn hook_variables(&self) -> BackupVariables {
        let layout = self.catalog.layout();
        let id = &self.info.id;
        let (previous, next) = match self.catalog.backups() {
            Ok(backups) => (
                catalog::previous(&backups, id).map(|info| info.id.to_string()),
                catalog::next(&backups, id).map(|info| info.id.to_string()),
            ),
            Err(error) => {
                log::error!(target: "barman.backup", "the neighbours of backup {id} are not known: {error}");
                (None, None)
            }
        };
        BackupVariables {
            backup_dir: layout.base_dir(id),
            backup_info_path: layout.info_path(id),
            backup_id: id.to_string(),
            previous_id: previous,
            next_id: next,
            status: self.info.status.to_string(),
        }
    }

    /// The segment that a position lies in and the offset there. A position between two segments is the start of the
    /// second, as Barman has it for concurrent backups.
    fn place(&self, timeline: Timeline, lsn: Lsn) -> (SegmentName, u64) {
        let size = self.info.xlog_segment_size;
        (
            SegmentName::containing(timeline, lsn, size),
            lsn.offset_in_segment(size),
        )
    }
}

fn primary(config: &ServerConfig, facts: &Facts, reporter: &dyn Reporter) -> Option<Primary> {
    let conninfo = config.primary_conninfo.clone()?;
    if !facts.is_in_recovery {
        reporter.warning(
            "'primary_conninfo' is set but 'conninfo' does not point to a standby server. Ignoring 'primary_conninfo'.",
        );
        return None;
    }
    Some(Primary {
        conninfo,
        segment_size: facts.xlog_segment_size,
        checkpoint_timeout: Duration::from_secs(config.primary_checkpoint_timeout.into()),
    })
}

fn tablespaces(session: &mut Session) -> Result<Option<Vec<Tablespace>>, PgError> {
    let rows = session.query(
        "SELECT spcname, oid::text, pg_catalog.pg_tablespace_location(oid) AS location \
         FROM pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) <> '' ORDER BY spcname",
        &[],
    )?;
    let mut tablespaces = Vec::new();
    for row in 0..rows.len() {
        let text = |column| rows.get(row, column).unwrap_or_default();
        let oid = text("oid");
        tablespaces.push(Tablespace {
            name: text("spcname").to_owned(),
            oid: oid
                .parse()
                .map_err(|_| PgError::Unexpected(format!("{oid:?} instead of an oid")))?,
            location: text("location").to_owned(),
        });
    }
    Ok((!tablespaces.is_empty()).then_some(tablespaces))
}
