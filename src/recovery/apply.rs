//! Doing what the plan says, and nothing else.

use std::path::{Path, PathBuf};

use crate::base::bandwidth::Bandwidth;
use crate::base::report::{Reporter, Total};
use crate::base::size;
use crate::codec::WalCodec;
use crate::copy;

use super::configuration::{Edits, Written};
use super::destination::Destination;
use super::error::RestoreError;
use super::plan::RestorePlan;
use super::source::BackupSource;
use super::wal_delivery::Deliverer;
use super::wal_plan::WalDelivery;
use super::wal_selection::Delivery;

/// What was done, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// Bytes of the base backup.
    pub bytes: u64,
    /// Files that are not what they were when the backup was taken.
    pub damaged: Vec<PathBuf>,
    /// WAL files.
    pub wal_files: u64,
    /// What was written into the data directory.
    pub edits: Edits,
}

/// Which WAL is delivered, and why that.
fn wal_words(wal: Option<&WalDelivery>) -> String {
    let Some(wal) = wal else {
        return "deliver no WAL: PostgreSQL fetches it from here while it recovers".to_owned();
    };
    let names = || {
        wal.selection
            .files
            .iter()
            .chain(&wal.selection.partials)
            .map(|file| &file.name)
    };
    match names().min().zip(names().max()) {
        Some((first, last)) => format!(
            "deliver {} WAL files, {first} to {last}, to {}: what recovery reads from the begin of the backup to its target",
            names().count(),
            wal.directory.display()
        ),
        None => "deliver no WAL: the archive has none that recovery reads".to_owned(),
    }
}

/// Carries a plan out on one host.
pub struct Applier<'a> {
    /// The plan.
    pub plan: &'a RestorePlan,
    /// The server.
    pub server: &'a str,
    /// The backup.
    pub source: &'a BackupSource,
    /// The host.
    pub destination: &'a Destination,
    /// How WAL is read.
    pub codec: &'a WalCodec,
    /// Who is told.
    pub reporter: &'a dyn Reporter,
}

impl std::fmt::Debug for Applier<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Applier")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Applier<'_> {
    /// Restores the data, then the WAL, then the configuration.
    ///
    /// # Errors
    /// The first thing that could not be done. What was written stays, for a later delta restore.
    pub fn apply(&self) -> Result<Done, RestoreError> {
        let mut done = self.restore_data()?;
        done.wal_files = self.restore_wal()?;
        self.configure(&done.edits)?;
        Ok(done)
    }

    /// Says what [`Applier::apply`] would do, and does nothing.
    ///
    /// # Errors
    /// The backup or the destination cannot be looked at.
    pub fn describe(&self) -> Result<(), RestoreError> {
        let plan = self.plan;
        if let Some(unpack) = &plan.unpack {
            self.describe_unpacking(unpack);
            return Ok(());
        }
        let prepared = copy::prepare_push(&plan.push, self.destination.remote(), self.reporter)?;
        self.reporter
            .info("Nothing is written (--dry-run). The restore would do this:");
        for path in &prepared.deletions {
            self.reporter.info(&format!(
                "\tremove {}: the backup does not have it",
                path.display()
            ));
        }
        for item in &plan.push.items {
            self.reporter.info(&format!(
                "\t{} {} from {}",
                if plan.push.delta {
                    "bring up to date"
                } else {
                    "fill"
                },
                item.destination.display(),
                item.source.display()
            ));
        }
        self.reporter.info(&format!(
            "\tcopy or compare {} files, {}",
            prepared.files,
            size::pretty_bytes(prepared.bytes)
        ));
        self.reporter.info(&format!("\t{}", wal_words(plan.wal.as_ref())));
        for file in &plan.edits.files {
            self.reporter
                .info(&format!("\twrite {}", plan.data.join(&file.path).display()));
        }
        for change in &plan.edits.changes {
            self.reporter.info(&format!(
                "\tset {} = {} in line {} of {}: it is the old server's",
                change.key,
                change.value.as_deref().unwrap_or("nothing"),
                change.line,
                change.file
            ));
        }
        Ok(())
    }

    fn restore_data(&self) -> Result<Done, RestoreError> {
        let plan = self.plan;
        self.reporter.info("Copying the base backup.");
        for id in &self.source.encrypted {
            self.reporter.info(&format!(
                "Decrypting files from backup '{id}' for server '{}'.",
                self.server
            ));
        }
        for relocation in &plan.tablespaces {
            self.destination.create_private(&relocation.location)?;
            self.destination.check_writable(&relocation.location)?;
        }
        self.destination.create_private(&plan.data)?;
        self.destination.check_writable(&plan.data)?;
        for relocation in &plan.tablespaces {
            let tablespace = &relocation.tablespace;
            self.reporter.info(&format!(
                "\t{}, {}, {}",
                tablespace.oid,
                tablespace.name,
                relocation.location.display()
            ));
        }
        if let Some(unpack) = &plan.unpack {
            return self.unpack(unpack);
        }
        let prepared = copy::prepare_push(&plan.push, self.destination.remote(), self.reporter)?;
        self.announce_deletions(&prepared.deletions);
        if plan.push.delta {
            // Old and new files are about to be mixed. Without this file no server starts on them, should the restore be
            // cut short.
            self.destination.remove(&plan.data.join("global/pg_control"))?;
        }
        if let Some(label) = &plan.label {
            // Before the control file: with that and without a label, a server would start from the wrong point.
            self.write_label(label)?;
        }
        let report = prepared.apply(self.reporter)?;
        self.link_tablespaces()?;
        self.write(".barman-recover.info", &self.source.info)?;
        self.destination.rename(
            &plan.data.join("backup_manifest"),
            &plan.data.join(format!("backup_manifest.{}", self.source.id)),
        )?;
        self.tell_of_damage(&report.damaged);
        Ok(Done {
            bytes: report.total_bytes,
            damaged: report.damaged,
            wal_files: 0,
            edits: plan.edits.clone(),
        })
    }

    pub(super) fn link_tablespaces(&self) -> Result<(), RestoreError> {
        for relocation in &self.plan.tablespaces {
            self.destination
                .link(&relocation.location, &relocation.link(&self.plan.data))?;
        }
        Ok(())
    }

    pub(super) fn tell_of_damage(&self, damaged: &[PathBuf]) {
        for path in damaged {
            self.reporter.error(&format!(
                "\"{}\" is not what it was when backup {} was taken: the backup is damaged",
                path.display(),
                self.source.id
            ));
        }
    }

    fn write_label(&self, label: &[u8]) -> Result<(), RestoreError> {
        let file = Written {
            path: "backup_label".into(),
            content: label.to_vec(),
            mode: Some(0o600),
            modified: None,
        };
        self.destination.write(&self.plan.data, &file)
    }

    /// A delta restore removes what is not in the backup: at least it says so.
    fn announce_deletions(&self, deletions: &[std::path::PathBuf]) {
        if deletions.is_empty() {
            return;
        }
        for path in deletions {
            log::info!(target: "barman.recovery_executor", "delta restore removes \"{}\"", path.display());
        }
        self.reporter.debug(&format!(
            "delta restore removes {} files and directories that are not in the backup (they are listed in the log)",
            deletions.len()
        ));
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), RestoreError> {
        let file = Written {
            path: name.into(),
            content: content.to_vec(),
            mode: None,
            modified: None,
        };
        self.destination.write(&self.plan.data, &file)
    }

    fn restore_wal(&self) -> Result<u64, RestoreError> {
        self.destination.create_private(&self.plan.wal_directory)?;
        let Some(wal) = &self.plan.wal else {
            self.destination
                .create(&self.plan.wal_directory.join("archive_status"))?;
            return Ok(0);
        };
        self.reporter.info("Copying required WAL segments.");
        self.destination.create_private(&wal.directory)?;
        self.deliver(&wal.directory, &wal.selection.files)?;
        if wal.partial && !wal.selection.partials.is_empty() {
            self.reporter.info("Copying .partial WAL files.");
            self.deliver(&wal.directory, &wal.selection.partials)?;
        }
        let status = wal.directory.join("archive_status");
        if wal.mark_archived && !self.destination.is_local() {
            self.destination.create_private(&status)?;
        } else {
            self.destination.create(&status)?;
        }
        if wal.mark_archived {
            self.reporter.info("Generating archive status files");
            self.destination.touch(&status, &archived_marks(wal))?;
        }
        Ok((wal.selection.files.len() + wal.selection.partials.len()) as u64)
    }

    fn deliver(&self, directory: &Path, files: &[Delivery]) -> Result<(), RestoreError> {
        if files.is_empty() {
            return Ok(());
        }
        let total = Total {
            bytes: files.iter().map(|file| file.file.size).sum(),
            files: files.len() as u64,
        };
        let bandwidth = Bandwidth::kib_per_second(self.plan.push.bandwidth_kib);
        let progress = self.reporter.progress("WAL", total);
        Deliverer {
            destination: self.destination,
            directory,
            codec: self.codec,
            segment_size: self.source.segment_size,
            system_identifier: self.source.system_identifier,
            bandwidth: &bandwidth,
            progress: progress.as_ref(),
        }
        .deliver(files, self.plan.push.jobs)
    }

    fn configure(&self, edits: &Edits) -> Result<(), RestoreError> {
        if self.plan.configured {
            self.reporter.info("Generating recovery configuration");
            if let Some(line) = &self.plan.custom_command {
                self.reporter
                    .info(&format!("Custom restore command override: {line}"));
            }
        }
        self.reporter
            .info("Identify dangerous settings in destination directory.");
        for file in &edits.files {
            self.destination.write(&self.plan.data, file)?;
        }
        Ok(())
    }
}

/// The marks that tell PostgreSQL that the files need not be archived again.
fn archived_marks(wal: &WalDelivery) -> Vec<String> {
    let whole = wal
        .selection
        .files
        .iter()
        .map(|file| format!("{}.done", file.name));
    let partial = wal
        .selection
        .partials
        .iter()
        .map(|file| format!("{}.done", file.file.name));
    whole.chain(partial).collect()
}
