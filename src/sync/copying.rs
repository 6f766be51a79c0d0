//! The files of one backup on their way from the primary node.
//!
//! They travel as those of a backup do ([`crate::copy`]): what the previous backup here has is taken over, of large files that
//! differ only the pages that do are sent, and each file is compared with a hash of what was read there. What barkeep knows of
//! a backup besides Barman's metadata comes along when the primary node has it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::agent::host::Host;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::lock::LockFile;
use crate::base::report::{Quiet, Reporter};
use crate::base::size;
use crate::catalog::{BackupId, BackupInfo, BackupType, Catalog, MANIFEST, chains};
use crate::config::{ReuseBackup, ServerConfig};
use crate::copy::{
    self, Attempt, CopyError, CopyItem, CopyPlan, CopyReport, Filter, ItemContent, Pace, Records, Resume,
    Retries, Reuse,
};
use crate::postgres::version::PgVersion;
use crate::transport::Remote;

use super::{SyncError, Told, primary};

/// The copy of the data directory, in that of a backup.
const DATA: &str = "data";

/// Barman's old metadata of a backup, in its directory. They are not copied.
const OLD_METADATA: [&str; 2] = ["/backup.info", "/.backup.lock"];

/// One backup to be copied.
pub(super) struct Copying<'a> {
    config: &'a ServerConfig,
    catalog: &'a Catalog,
    told: &'a Told,
    info: &'a BackupInfo,
    /// The backup whose files are taken over, held against deletion.
    reference: Option<(BackupInfo, LockFile)>,
}

impl<'a> Copying<'a> {
    pub(super) fn prepare(
        config: &'a ServerConfig,
        catalog: &'a Catalog,
        told: &'a Told,
        info: &'a BackupInfo,
    ) -> Result<Copying<'a>, SyncError> {
        let mut copying = Copying {
            config,
            catalog,
            told,
            info,
            reference: None,
        };
        copying.reference = copying.find_reference()?;
        Ok(copying)
    }

    /// What [`Copying::run`] would do, in a sentence.
    pub(super) fn explanation(&self) -> String {
        let size = self
            .info
            .size
            .map_or_else(String::new, |bytes| format!(" ({})", size::pretty_bytes(bytes)));
        let taken = match (&self.reference, self.reuse()) {
            (None, _) => "nothing of it is here yet".to_owned(),
            (Some((reference, _)), Reuse::Link) => {
                format!("unchanged files are linked to those of backup {}", reference.id)
            }
            (Some((reference, _)), _) => format!("unchanged files are copied from backup {}", reference.id),
        };
        format!(
            "Backup {}{size} would be copied from \"{}\" of the primary node: {taken}",
            self.info.id,
            self.source().display()
        )
    }

    /// Copies everything.
    pub(super) fn run(&self, configuration: &Path, reporter: &dyn Reporter) -> Result<(), SyncError> {
        let remote = primary::connect(self.config)?;
        let _held = primary::hold(&remote, self.config, configuration, &self.info.id);
        let resume = self.set_aside()?;
        durable::create_dir_all(&self.directory())?;
        self.copy_sidecars(&remote)?;
        let plan = self.plan(resume, &self.parts(&remote));
        let report = copy::pull(&plan, &remote, reporter).map_err(|error| self.failed(error))?;
        self.check_nothing_vanished(&report)?;
        self.link_tablespaces(self.info)?;
        self.complete_ancestors(&remote)?;
        let aside = self.aside();
        if aside.exists() {
            fs::remove_dir_all(&aside).at("remove", &aside)?;
        }
        log::info!(
            target: "barman.server",
            "backup {}: {} files, {} of them taken over; {} bytes, {} sent",
            self.info.id, report.files, report.reused_files, report.total_bytes, report.wire_bytes
        );
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        self.catalog.layout().base_dir(&self.info.id)
    }

    /// What an earlier attempt has left, out of the way and out of both tools' sight.
    fn aside(&self) -> PathBuf {
        self.catalog.layout().syncing_dir(&self.info.id)
    }

    /// Makes room for the copy. What earlier attempts have left serves it; a copy that is cut short and tried again and again
    /// comes to an end.
    fn set_aside(&self) -> Result<Option<Resume>, SyncError> {
        let (directory, aside) = (self.directory(), self.aside());
        if directory.exists() {
            if aside.exists() {
                // The later attempt has taken over what was right of the earlier one.
                fs::remove_dir_all(&aside).at("remove", &aside)?;
            }
            durable::rename(&directory, &aside)?;
        }
        let attempt = Attempt {
            directory: aside,
            // Files of which nobody knows whether they reached the disk.
            horizon: None,
        };
        Ok(attempt.directory.is_dir().then(|| Resume {
            directory,
            attempts: vec![attempt],
        }))
    }

    /// What the primary node's barkeep knows of the backup. A Barman has no such files.
    fn copy_sidecars(&self, remote: &Remote) -> Result<(), SyncError> {
        let layout = self.catalog.layout();
        let mut items = Vec::new();
        for path in [
            layout.sidecar_path(&self.info.id),
            layout.records_path(&self.info.id),
        ] {
            durable::remove(&path)?;
            if let Some(name) = path.file_name() {
                items.push(single_file(self.told.meta.join(name), path.clone()));
            }
        }
        self.copy_files(remote, items)
    }

    /// The manifest of a full backup is made when the first incremental one builds on it, which may be after it was copied.
    fn complete_ancestors(&self, remote: &Remote) -> Result<(), SyncError> {
        let Some(parent) = &self.info.parent_backup_id else {
            return Ok(());
        };
        let backups = self.catalog.backups()?;
        let lacking: Vec<&BackupInfo> = chains::ancestry(&backups, parent)
            .filter(|member| !self.catalog.data_dir(&member.id).join(MANIFEST).exists())
            .collect();
        let items = lacking.iter().map(|member| {
            let source = self
                .told
                .base
                .join(member.id.as_str())
                .join("data")
                .join(MANIFEST);
            single_file(source, self.catalog.data_dir(&member.id).join(MANIFEST))
        });
        self.copy_files(remote, items.collect())?;
        for member in lacking {
            self.link_tablespaces(member)?;
        }
        Ok(())
    }

    /// Copies single files, as far as the primary node has them.
    fn copy_files(&self, remote: &Remote, items: Vec<CopyItem>) -> Result<(), SyncError> {
        if items.is_empty() {
            return Ok(());
        }
        let plan = CopyPlan {
            items,
            ..plan_of(self.config)
        };
        // What there is to say of the connection is said once.
        copy::pull(&plan, remote, &Quiet).map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn plan(&self, resume: Option<Resume>, parts: &[String]) -> CopyPlan {
        let layout = self.catalog.layout();
        let records = layout.records_path(&self.info.id);
        let of_reference = self.reference.as_ref().map(|(reference, _)| reference);
        CopyPlan {
            items: self.items(parts),
            reuse: self.reuse(),
            safe_horizon: of_reference.and_then(|reference| self.horizon(reference)),
            resume,
            // The primary node's own records are proof of more than the way from there to here.
            records: (!records.exists()).then(|| Records {
                path: records,
                directory: self.directory(),
                previous: of_reference.map(|reference| layout.records_path(&reference.id)),
                // A passive node takes no incremental backups.
                page_hashes: None,
                older_page_hashes: Vec::new(),
            }),
            ..plan_of(self.config)
        }
    }

    /// The directories of PostgreSQL's in the backup: its tablespaces and the data directory, as far as there are any.
    fn parts(&self, remote: &Remote) -> Vec<String> {
        let tablespaces = self.info.tablespaces.iter().flatten();
        let oids = tablespaces.map(|tablespace| tablespace.oid.to_string());
        let mut parts: Vec<String> = oids.chain([DATA.to_owned()]).collect();
        match Host::new(remote).list(&self.source()) {
            Ok(names) => parts.retain(|part| names.iter().any(|name| name == Path::new(part))),
            // Whatever is wrong, the copy will say.
            Err(error) => log::debug!(target: "barman.server", "{error}"),
        }
        parts
    }

    /// One item for each part, and one for whatever else the directory of the backup may hold.
    fn items(&self, parts: &[String]) -> Vec<CopyItem> {
        let links = parts.iter().map(|oid| format!("/pg_tblspc/{oid}"));
        let data = Filter::default().protect(links);
        let rest = Filter::default()
            .protect(OLD_METADATA)
            .protect(parts.iter().map(|part| format!("/{part}")));
        let mut items: Vec<CopyItem> = parts
            .iter()
            .map(|part| match part.as_str() {
                DATA => self.item(part, ItemContent::Pgdata, data.clone()),
                part => self.item(part, ItemContent::Tablespace, Filter::default()),
            })
            .collect();
        items.push(self.item("", ItemContent::Tablespace, rest));
        items
    }

    fn item(&self, name: &str, content: ItemContent, filter: Filter) -> CopyItem {
        let of_reference = self.reference.as_ref();
        let reference = of_reference.map(|(info, _)| part(&self.catalog.layout().base_dir(&info.id), name));
        CopyItem {
            label: if name.is_empty() { "basebackup" } else { name }.to_owned(),
            content,
            source: part(&self.source(), name),
            destination: part(&self.directory(), name),
            reference: reference.filter(|path| path.is_dir()),
            filter,
            bandwidth_kib: None,
        }
    }

    /// The directory of the backup on the primary node.
    fn source(&self) -> PathBuf {
        self.told.base.join(self.info.id.as_str())
    }

    /// The backup whose files are taken over: the parent, or else the nearest older full one, or the nearest newer.
    fn find_reference(&self) -> Result<Option<(BackupInfo, LockFile)>, SyncError> {
        let backups = self.catalog.backups()?;
        let usable = |info: &BackupInfo| {
            info.status.copy_done()
                && info.systemid == self.info.systemid
                && info.id != self.info.id
                && self.catalog.data_dir(&info.id).is_dir()
        };
        let full =
            |info: &&BackupInfo| usable(info) && !info.is_incremental() && is_plain(self.catalog, &info.id);
        let own = self.info.id.clone();
        let candidates: Vec<&BackupInfo> = match &self.info.parent_backup_id {
            Some(parent) => backups
                .get(parent)
                .filter(|info| usable(info))
                .into_iter()
                .collect(),
            // In tar format there are no files to take over.
            None if self.info.compression.is_some() => Vec::new(),
            None => {
                let older = backups.range(..&own).rev().map(|(_, info)| info).find(full);
                let newer = backups.range(&own..).map(|(_, info)| info).find(full);
                older.into_iter().chain(newer).collect()
            }
        };
        for info in candidates {
            match self.catalog.locks().backup_reader(&info.id) {
                // It may have been deleted between the listing and the lock.
                Ok(lock) if usable(info) => return Ok(Some((info.clone(), lock))),
                Ok(_) => {}
                Err(error) => {
                    log::info!(target: "barman.server", "the files of backup {} are not taken over: {error}", info.id);
                }
            }
        }
        Ok(None)
    }

    /// Before the older of the two backups began, a file of equal size and time is the same in both.
    fn horizon(&self, reference: &BackupInfo) -> Option<SystemTime> {
        let older = reference.begin_time.min(self.info.begin_time)?;
        Some(SystemTime::from(older))
    }

    /// As this node is configured; where it says nothing, as the primary node, whose backups would take more room here than
    /// there otherwise. Files that are not to be shared need not be sent a second time either.
    fn reuse(&self) -> Reuse {
        let of_primary = self.told.reuse_backup.as_deref() == Some("link");
        match self.config.reuse_backup {
            Some(ReuseBackup::Link) => Reuse::Link,
            None if of_primary => Reuse::Link,
            _ => Reuse::Copy,
        }
    }

    fn check_nothing_vanished(&self, report: &CopyReport) -> Result<(), SyncError> {
        match report.vanished.first() {
            None => Ok(()),
            Some(first) => Err(SyncError::Vanished {
                id: self.info.id.clone(),
                server: self.config.name.clone(),
                count: report.vanished.len(),
                first: first.clone(),
            }),
        }
    }

    /// Gives the tablespaces their links in the data directory again, which name directories of the other host.
    /// `pg_combinebackup` and `pg_verifybackup` want them. Copies over ssh have none, but for members of chains of PostgreSQL
    /// 17 and newer.
    fn link_tablespaces(&self, info: &BackupInfo) -> Result<(), PathError> {
        let data = self.catalog.data_dir(&info.id);
        let links = data.join("pg_tblspc");
        let newer = info
            .version
            .is_some_and(|version| PgVersion(version).at_least(17));
        let wanted = info.backup_type() != BackupType::Rsync || (newer && data.join(MANIFEST).is_file());
        if !wanted || !links.is_dir() {
            return Ok(());
        }
        for tablespace in info.tablespaces.iter().flatten() {
            let target = self.catalog.tablespace_dir(&info.id, tablespace.oid);
            let link = links.join(tablespace.oid.to_string());
            let filled = fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some());
            if filled && link.symlink_metadata().is_err() {
                let target = fs::canonicalize(&target).at("look at", &target)?;
                symlink(&target, &link).at("create link", &link)?;
            }
        }
        durable::sync_dir(&links)
    }

    fn failed(&self, source: CopyError) -> SyncError {
        SyncError::Copy {
            id: self.info.id.clone(),
            server: self.config.name.clone(),
            source: Box::new(source),
        }
    }
}

/// A directory of a backup; the backup itself without a name.
fn part(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() {
        root.to_path_buf()
    } else {
        root.join(name)
    }
}

/// A file that may be missing.
fn single_file(source: PathBuf, destination: PathBuf) -> CopyItem {
    CopyItem {
        label: "metadata".to_owned(),
        content: ItemContent::Config { optional: true },
        source,
        destination,
        reference: None,
        filter: Filter::default(),
        bandwidth_kib: None,
    }
}

/// A plan of nothing, with what the configuration says of copies.
pub(super) fn plan_of(config: &ServerConfig) -> CopyPlan {
    CopyPlan {
        items: Vec::new(),
        reuse: Reuse::Off,
        safe_horizon: None,
        jobs: usize::try_from(config.parallel_jobs).unwrap_or(1).max(1),
        pace: Pace::of(
            config.parallel_jobs_start_batch_size,
            config.parallel_jobs_start_batch_period,
        ),
        bandwidth_kib: config.bandwidth_limit.filter(|limit| *limit > 0),
        compress: config.network_compression,
        page_checks: None,
        manifest: None,
        previous_manifest: None,
        resume: None,
        records: None,
        since: None,
        incremental: None,
        retries: Retries {
            times: config.basebackup_retry_times,
            sleep: Duration::from_secs(config.basebackup_retry_sleep.into()),
        },
    }
}

/// Whether a backup has its files as they were in the data directory.
fn is_plain(catalog: &Catalog, id: &BackupId) -> bool {
    catalog.data_dir(id).join("PG_VERSION").is_file()
}
