//! What is recorded about a copy: sizes, times, corrupt pages, the manifest, the sidecar.

use std::path::Path;

use crate::base::durable;
use crate::catalog::{BackupStatus, CopyStats, ItemTimes};
use crate::copy::{self, CopyReport, Method};

use super::error::BackupError;
use super::parent::Parent;
use super::run::Run;
use super::sidecar;

/// How many corrupt pages are named on the console; the log and the sidecar name all.
const CORRUPT_PAGES_SHOWN: usize = 10;

impl Run<'_> {
    /// Records what was copied. Only here, with everything on disk, the backup becomes one to rely on.
    pub(super) fn settle(&mut self, data: &Path, label: &str, report: CopyReport) -> Result<(), BackupError> {
        let label_size = label.len() as u64;
        self.info.size = Some(report.backup_bytes + label_size);
        self.info.deduplicated_size = Some(report.stored_bytes + label_size);
        self.info.copy_stats = Some(copy_stats(&report));
        let checksums = self.info.data_checksums.as_deref() == Some("on");
        let parent = self.parent.as_ref().and_then(Parent::info);
        let incremental =
            parent.map(|parent| sidecar::incremental(&parent.id, &report.blocks, self.lsns_tell));
        let document = sidecar::document(&report, checksums, incremental);
        sidecar::write(&self.catalog.layout().sidecar_path(&self.info.id), &document)?;
        self.report_corruption(&report);
        if let Method::Rsync { reason } = &report.method {
            log::info!(target: "barman.backup", "the files were copied by rsync: {reason}");
        }
        self.write_manifest(data)?;
        durable::sync_dir(&self.catalog.layout().base_dir(&self.info.id))?;
        self.info.status = BackupStatus::WaitingForWals;
        self.catalog.save(&self.info)?;
        Ok(())
    }

    fn report_corruption(&self, report: &CopyReport) {
        if report.corrupt.is_empty() {
            return;
        }
        let shown = report.corrupt.iter().map(|page| {
            format!(
                "{}: block {} (checksum {:04X}, expected {:04X})",
                page.path.display(),
                page.block,
                page.stored,
                page.computed
            )
        });
        let mut lines: Vec<String> = shown.clone().take(CORRUPT_PAGES_SHOWN).collect();
        if report.corrupt.len() > CORRUPT_PAGES_SHOWN {
            lines.push(format!("and {} more", report.corrupt.len() - CORRUPT_PAGES_SHOWN));
        }
        for line in shown {
            log::error!(target: "barman.backup", "corrupt page in {line}");
        }
        self.reporter.error(&format!(
            "The database of server {} has {} corrupt pages. They were copied as they are into backup {}; \
             PostgreSQL has to be repaired, and older backups may have them intact:\n\t{}",
            self.config.name,
            report.corrupt.len(),
            self.info.id,
            lines.join("\n\t")
        ));
    }
}

fn copy_stats(report: &CopyReport) -> CopyStats {
    let per_item = |seconds: &dyn Fn(&copy::ItemReport) -> Option<f64>| {
        let items = report.items.iter();
        items
            .filter_map(|item| Some((item.label.clone(), seconds(item)?)))
            .collect::<Vec<_>>()
    };
    CopyStats::of_items(&ItemTimes {
        total: report.total_seconds,
        workers: report.workers as u64,
        analysis: per_item(&|item| item.analysis_seconds),
        copy: per_item(&|item| Some(item.copy_seconds)),
        serialized_copy: per_item(&|item| Some(item.serialized_copy_seconds)),
        analysis_time: report.analysis_seconds,
        copy_time: report.copy_seconds,
        serialized_copy_time: report.items.iter().map(|item| item.serialized_copy_seconds).sum(),
    })
}
