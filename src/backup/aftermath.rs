//! What follows when a backup has been taken or has failed: messages, waiting, archiving, completion.

use crate::archive::{self, Announce};
use crate::base::{duration, interrupt, size};
use crate::catalog::BackupStatus;
use crate::config::ReuseBackup;

use super::error::BackupError;
use super::purge;
use super::run::Run;
use super::wait::{self, Waited};

/// Barman's words.
const WAITING: &str = "IMPORTANT: this backup is classified as WAITING_FOR_WALS, meaning that Barman has not received \
                       yet all the required WAL files for the backup consistency.\n\
                       This is a common behaviour in concurrent backup scenarios, and Barman automatically set the \
                       backup as DONE once all the required WAL files have been archived.\n\
                       Hint: execute the backup command with '--wait'";

impl Run<'_> {
    pub(super) fn announce_end(&self) {
        let info = &self.info;
        let (total, stored) = (info.size.unwrap_or(0), info.deduplicated_size.unwrap_or(0));
        if self.config.reuse_backup == Some(ReuseBackup::Link) {
            self.reporter.info(&format!(
                "Backup size: {}. Actual size on disk: {} (-{:.2}% deduplication ratio).",
                size::pretty_bytes(total),
                size::pretty_bytes(stored),
                deduplication(total, stored)
            ));
        } else {
            self.reporter
                .info(&format!("Backup size: {}", size::pretty_bytes(total)));
        }
        if let (Some(lsn), Some(segment), Some(offset)) = (info.end_xlog, info.end_wal, info.end_offset) {
            self.reporter
                .info(&format!("Backup end at LSN: {lsn} ({segment}, {offset:08X})"));
        }
        let (began, since) = &self.copying_since;
        self.reporter.info(&format!(
            "Backup completed (start time: {}, elapsed time: {})",
            began.format("%Y-%m-%d %H:%M:%S%.6f"),
            duration::human(since.elapsed().as_secs_f64())
        ));
    }

    /// `--wait`: archives until the last segment of the backup is there.
    pub(super) fn wait_for_wal(&mut self) {
        let Some(segment) = self.info.end_wal else { return };
        let timeout = wait::limit(self.options.wait_timeout);
        let limit = timeout.map_or(String::new(), |limit| {
            format!(" (max: {} seconds)", limit.as_secs())
        });
        self.reporter.info(&format!(
            "Waiting for the WAL file {segment} from server '{}'{limit}",
            self.config.name
        ));
        let path = self.catalog.layout().wal_path(&segment.to_string());
        let waited = wait::archive_until(self.config, &self.hooks, timeout, self.reporter, |_| {
            wait::is_archived(path.as_deref())
        });
        match waited {
            Ok(Waited::Arrived) => self.check_completion(),
            Ok(Waited::TimedOut) => self.reporter.error(&format!(
                "The WAL file {segment} has not been received in {} seconds",
                timeout.unwrap_or_default().as_secs()
            )),
            Ok(Waited::Interrupted(interrupt::Interrupted::Keyboard)) => {
                interrupt::clear();
                self.reporter.info(&format!(
                    "Got CTRL-C. Continuing without waiting for '{segment}' to be archived"
                ));
            }
            Ok(Waited::Interrupted(signal)) => self.reporter.warning(&format!(
                "{signal}: the WAL file {segment} is no longer waited for; cron completes the backup"
            )),
            Err(error) => self.reporter.error(&error.to_string()),
        }
    }

    /// What follows the backup itself: archiving, and perhaps its completion.
    pub(super) fn follow_up(&mut self) {
        let archived = archive::archive_wal(self.config, &self.hooks, Announce::WhenBusy, self.reporter);
        if let Err(error) = archived {
            self.reporter.error(&error.to_string());
        }
        if self.info.status == BackupStatus::WaitingForWals {
            // What is shown of the backup is its state now; the entry in the catalog may go further.
            let shown = self.info.clone();
            self.check_completion();
            if self.info.status == BackupStatus::WaitingForWals {
                self.reporter.warning(WAITING);
            }
            self.info = shown;
        }
        let (catalog, hooks) = (&self.catalog, &self.hooks);
        if self.info.status.copy_done()
            && let Err(error) =
                purge::purge_before_first(catalog, self.config, hooks, &self.info, false, self.reporter)
        {
            self.reporter.error(&error.to_string());
        }
    }

    fn check_completion(&mut self) {
        match self.catalog.check_backup(&self.info.id) {
            Ok(checked) => {
                self.info.status = checked.after;
                if let Some(reason) = checked.failure() {
                    self.reporter.error(&reason);
                }
            }
            Err(error) => self.reporter.error(&error.to_string()),
        }
    }

    pub(super) fn fail(&mut self, reason: &BackupError) {
        let text = reason.to_string();
        let text = text.trim_end();
        let first = text.lines().next().unwrap_or_default();
        self.info.error = Some(format!("failure {} ({first})", self.action));
        self.info.status = BackupStatus::Failed;
        self.reporter
            .error(&format!("Backup failed {}.\nDETAILS: {text}", self.action));
        if let Err(error) = self.catalog.save_failed(&self.info) {
            self.reporter.error(&error.to_string());
        }
    }
}

#[allow(clippy::cast_precision_loss)] // a percentage with two digits
fn deduplication(total: u64, stored: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    (1.0 - stored as f64 / total as f64) * 100.0
}
