//! What `list-backups` and `show-backup` say, as values. The output layer renders them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use chrono::Utc;

use crate::base::calendar::Timestamp;
use crate::codec;
use crate::config::ServerConfig;
use crate::postgres::history::History;
use crate::postgres::wal_name::Timeline;

use super::figures::WalFigures;
use super::retention::RetentionStatus;
use super::{
    BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog, CatalogError, chains, enforcement,
    next, previous,
};

/// What `list-backups` says of a server.
#[derive(Debug)]
pub struct Listing {
    /// The backups, newest first.
    pub backups: Vec<ListedBackup>,
    /// Why further backups cannot be listed.
    pub unreadable: Vec<CatalogError>,
}

/// One line of `list-backups`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedBackup {
    /// The backup.
    pub id: BackupId,
    /// The name an operator gave.
    pub name: Option<String>,
    /// Full, incremental, over ssh, snapshot.
    pub backup_type: BackupType,
    /// Where it stands.
    pub status: BackupStatus,
    /// What is known of a backup whose copy is complete.
    pub copied: Option<ListedCopy>,
}

/// The sizes of a backup whose copy is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedCopy {
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Bytes of the backup and of the WAL it needs to be consistent.
    pub size: u64,
    /// Bytes of the WAL from there to the next backup.
    pub wal_size: u64,
    /// What the retention policy says; `None` when there is none.
    pub retention: Option<RetentionStatus>,
}

/// Everything `show-backup` says about one backup.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The backup.
    pub info: BackupInfo,
    /// What is known of a backup whose copy is complete.
    pub copied: Option<CopyReport>,
}

/// The figures of a backup whose copy is complete.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// Its WAL.
    pub wal: WalFigures,
    /// What the retention policy says; `None` when there is none (`not enforced`).
    pub retention: Option<RetentionStatus>,
    /// The nearest older complete backup.
    pub previous: Option<BackupId>,
    /// The nearest newer complete backup.
    pub next: Option<BackupId>,
    /// Timelines that can be reached from this backup, besides its own.
    pub timelines: Vec<Timeline>,
    /// The chain of an incremental backup.
    pub chain: Option<Chain>,
}

/// Where an incremental backup comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The full backup it begins with; `None` when it is missing.
    pub root: Option<BackupId>,
    /// Backups from the root to this one, both included.
    pub size: usize,
}

impl BackupReport {
    /// The part of the backup that takes no room because other backups hold it: bytes, and a share of the whole. Told for
    /// copies over ssh and incremental backups.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // as Barman computes
    pub fn resources_saved(&self) -> Option<(u64, f64)> {
        let info = &self.info;
        let whole = match info.backup_type() {
            BackupType::Rsync => info.size?,
            BackupType::Incremental => match info.cluster_size {
                Some(size) => size,
                // Nothing is known to be saved, and Barman says so.
                None => return Some((0, 0.0)),
            },
            BackupType::Full | BackupType::Snapshot => return None,
        };
        let ratio = if whole == 0 {
            0.0
        } else {
            1.0 - info.deduplicated_size? as f64 / whole as f64
        };
        let cluster = info.cluster_size.filter(|size| *size > 0).or(info.size)?;
        Some(((cluster as f64 * ratio).max(0.0) as u64, ratio))
    }

    /// Bytes of the backup that are its own: `Backup Size`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.info.deduplicated_size.or(self.info.size).unwrap_or(0)
    }

    /// [`BackupReport::size`] and the WAL that it needs to be consistent.
    #[must_use]
    pub fn size_with_wal(&self) -> u64 {
        self.size() + self.copied.as_ref().map_or(0, |copied| copied.wal.required.size)
    }

    /// Bytes per second of the copy; `None` when the copy took no time that was measured.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // a rate for people
    pub fn throughput(&self) -> Option<f64> {
        let seconds = self.info.copy_stats.as_ref()?.copy_time()?;
        (seconds > 0.0).then(|| self.size() as f64 / seconds)
    }
}

impl Catalog {
    /// The backups of the server. One whose metadata cannot be read does not keep the others from being listed.
    ///
    /// # Errors
    /// The directories or the WAL database cannot be read.
    pub fn list(&self, config: &ServerConfig) -> Result<Listing, CatalogError> {
        let (backups, unreadable) = self.readable_backups()?;
        let figures = self.wal_figures(&backups)?;
        let retention = self.retention(config, &backups)?;
        let listed = backups.into_iter().rev().map(|(id, info)| {
            let copied = figures.get(&id).map(|wal| ListedCopy {
                end_time: info.end_time,
                size: info.size.unwrap_or(0) + wal.required.size,
                wal_size: wal.until_next.size,
                retention: retention
                    .as_ref()
                    .and_then(|retention| retention.get(&id).copied()),
            });
            ListedBackup {
                backup_type: info.backup_type(),
                status: info.status,
                name: info.backup_name,
                id,
                copied,
            }
        });
        Ok(Listing {
            backups: listed.collect(),
            unreadable,
        })
    }

    /// Everything about one backup; `None` when the catalog has no such backup.
    ///
    /// # Errors
    /// The catalog or the WAL database cannot be read.
    pub fn report(&self, config: &ServerConfig, id: &BackupId) -> Result<Option<BackupReport>, CatalogError> {
        let (backups, unreadable) = self.readable_backups()?;
        for error in unreadable {
            log::error!(target: "barman.backup", "{error}");
        }
        let Some(info) = backups.get(id).cloned() else {
            return Ok(None);
        };
        let copied = if info.status.copy_done() {
            Some(self.copy_report(config, &backups, &info)?)
        } else {
            None
        };
        Ok(Some(BackupReport { info, copied }))
    }

    /// What the retention policy says of each backup; `None` when there is none, or one that does not parse.
    ///
    /// # Errors
    /// An annotation cannot be read.
    pub fn retention(
        &self,
        config: &ServerConfig,
        backups: &Backups,
    ) -> Result<Option<BTreeMap<BackupId, RetentionStatus>>, CatalogError> {
        let Some(policy) = enforcement::policy(config) else {
            return Ok(None);
        };
        let keeps = self.keeps(backups)?;
        Ok(Some(policy.statuses(
            backups,
            &keeps,
            config.minimum_redundancy,
            Utc::now(),
        )))
    }

    fn copy_report(
        &self,
        config: &ServerConfig,
        backups: &Backups,
        info: &BackupInfo,
    ) -> Result<CopyReport, CatalogError> {
        let id = &info.id;
        let retention = self.retention(config, backups)?;
        Ok(CopyReport {
            wal: self.wal_figures(backups)?.remove(id).unwrap_or_default(),
            retention: retention.and_then(|retention| retention.get(id).copied()),
            previous: previous(backups, id).map(|info| info.id.clone()),
            next: next(backups, id).map(|info| info.id.clone()),
            timelines: self.reachable_timelines(info),
            chain: info.is_incremental().then(|| Chain {
                root: chains::root(backups, id).map(|root| root.id.clone()),
                size: chains::ancestry(backups, id).count(),
            }),
        })
    }

    /// The timelines that branched off the backup's own after its end. Histories are looked at from the next timeline on,
    /// up to the first that is missing.
    fn reachable_timelines(&self, info: &BackupInfo) -> Vec<Timeline> {
        let Some((timeline, end)) = info.timeline.zip(info.end_xlog) else {
            return Vec::new();
        };
        let mut reachable = Vec::new();
        for child in timeline.saturating_add(1).. {
            let Some(history) = self.history(child) else { break };
            if history
                .switchpoint_of(timeline)
                .is_some_and(|switchpoint| switchpoint >= end)
            {
                reachable.push(child);
            }
        }
        reachable
    }

    /// The history of a timeline in the archive; `None` when it is not there, or cannot be read.
    fn history(&self, timeline: Timeline) -> Option<History> {
        let path = self.layout.wals.join(History::file_name(timeline));
        if !path.is_file() {
            return None;
        }
        match self
            .read_history(&path)
            .map(|text| History::parse(timeline, &text))
        {
            Ok(Ok(history)) => Some(history),
            Ok(Err(error)) => {
                log::warn!("\"{}\": {error}", path.display());
                None
            }
            Err(error) => {
                log::warn!("cannot read \"{}\": {error}", path.display());
                None
            }
        }
    }

    fn read_history(&self, path: &std::path::Path) -> std::io::Result<String> {
        const LARGEST: u64 = 1 << 20;
        let stored = self.detector.inspect(path).map_err(|error| error.source)?;
        let file = File::open(path)?;
        let reader: Box<dyn Read + Send> = match stored.compression {
            _ if stored.encrypted => return Err(std::io::Error::other("it is encrypted")),
            None => Box::new(file),
            Some(compression) => codec::decode::reader(file, compression)?
                .ok_or_else(|| std::io::Error::other("it is compressed by a program of the user's"))?,
        };
        let mut text = Vec::new();
        reader.take(LARGEST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
