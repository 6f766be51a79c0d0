//! What the deletion of a backup removes, computed before anything is touched (behaviour reference §19).
//!
//! Pure judgement on backups already read; [`super::deletion`] carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::postgres::wal_name::{SegmentName, Timeline, WalKind};

use super::wal_entry::{WalEntry, WalLine};
use super::{
    BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog, CatalogError, KeepTarget, chains, next,
    previous,
};

/// Who asks for a deletion. The difference lies in what happens to WAL older than a backup kept for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// An operator. An older standalone backup keeps all WAL in place.
    Operator,
    /// The retention policy. The WAL of older standalone backups is kept, the WAL between them goes.
    Retention,
}

/// Why a backup is not deleted. The words are Barman's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is kept.
    #[error(
        "Skipping delete of backup {id} for server {server} as it has a current keep request. If you really want to \
         delete this backup please remove the keep and try again."
    )]
    Kept {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Too few backups would remain.
    #[error(
        "Skipping delete of backup {id} for server {server} due to minimum redundancy requirements (minimum redundancy \
         = {minimum}, current redundancy = {current})"
    )]
    MinimumRedundancy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// `minimum_redundancy`
        minimum: u32,
        /// Complete full backups now.
        current: usize,
    },
    /// Its data are snapshots in a cloud.
    #[error("Backup {id} of server {server} consists of snapshots, which this version cannot delete")]
    Snapshot {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
}

/// Which WAL a deletion takes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalRule {
    /// Segments from here on stay.
    pub cutoff: SegmentName,
    /// Timelines all of whose WAL stays.
    pub protected_timelines: BTreeSet<Timeline>,
    /// Segments that standalone backups need.
    pub protected_ranges: Vec<(SegmentName, SegmentName)>,
}

/// One backup to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletionStep {
    /// The backup, as it was when the plan was made.
    pub info: BackupInfo,
    /// The nearest older complete backup then.
    pub previous: Option<BackupId>,
    /// The nearest newer complete backup then.
    pub next: Option<BackupId>,
    /// The WAL that goes with it, in the order of the WAL database. `None` when other backups need the WAL.
    pub wal: Option<Vec<WalEntry>>,
}

/// What a deletion removes: children before their parents.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletionPlan {
    /// The backup that was asked for.
    pub id: BackupId,
    /// The backups that go, in this order.
    pub steps: Vec<DeletionStep>,
}

/// What a plan depends on besides the catalog.
#[derive(Debug, Clone, Copy)]
pub struct DeletionRules {
    /// Who asks.
    pub requester: Requester,
    /// `minimum_redundancy`
    pub minimum_redundancy: u32,
}

impl WalRule {
    /// Whether a file of the archive goes.
    #[must_use]
    pub fn removes(&self, name: &str) -> bool {
        let segment = match WalKind::of(name) {
            // Histories are small and never go; what is not of the WAL is not ours.
            None | Some(WalKind::History(_)) => return false,
            Some(WalKind::Segment(segment) | WalKind::BackupLabel(segment) | WalKind::Partial(segment)) => {
                segment
            }
        };
        let old = segment < self.cutoff;
        let needed = self.protected_timelines.contains(&segment.timeline)
            || self
                .protected_ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&segment));
        old && !needed
    }
}

/// Whether a backup may be deleted at all.
///
/// # Errors
/// Why not.
pub fn allowed(
    backups: &Backups,
    keeps: &BTreeMap<BackupId, KeepTarget>,
    info: &BackupInfo,
    rules: &DeletionRules,
    server: &str,
) -> Result<(), Refusal> {
    let (id, server) = (info.id.clone(), server.to_owned());
    if keeps.contains_key(&id) {
        return Err(Refusal::Kept { id, server });
    }
    if info.backup_type() == BackupType::Snapshot {
        return Err(Refusal::Snapshot { id, server });
    }
    let counts = |info: &BackupInfo| info.status == BackupStatus::Done && !info.is_incremental();
    let current = backups.values().filter(|info| counts(info)).count();
    if counts(info) && current <= usize::try_from(rules.minimum_redundancy).unwrap_or(usize::MAX) {
        return Err(Refusal::MinimumRedundancy {
            id,
            server,
            minimum: rules.minimum_redundancy,
            current,
        });
    }
    Ok(())
}

/// Which WAL goes with a backup when it is deleted from this catalog. `None`: an older backup needs the WAL.
#[must_use]
pub fn wal_rule(
    backups: &Backups,
    keeps: &BTreeMap<BackupId, KeepTarget>,
    info: &BackupInfo,
    rules: &DeletionRules,
) -> Option<WalRule> {
    let mut protected_ranges = Vec::new();
    for older in backups
        .range(..&info.id)
        .map(|(_, older)| older)
        .filter(|older| older.status.copy_done())
    {
        let standalone = keeps.get(&older.id) == Some(&KeepTarget::Standalone);
        if !standalone || rules.requester == Requester::Operator {
            return None;
        }
        protected_ranges.extend(older.begin_wal.zip(older.end_wal));
    }
    // Without a next one the WAL from the backup's own begin stays. A backup that does not say where its WAL begins: nobody
    // can tell what it needs.
    let reference = next(backups, &info.id).unwrap_or(info);
    let cutoff = reference.begin_wal?;
    let protected_timelines = backups
        .values()
        .filter(|other| other.id != info.id && other.status != BackupStatus::Failed)
        .filter_map(|other| other.timeline)
        .filter(|timeline| Some(*timeline) != reference.timeline)
        .collect();
    Some(WalRule {
        cutoff,
        protected_timelines,
        protected_ranges,
    })
}

impl Catalog {
    /// What deleting a backup would remove. Reads the catalog and the WAL database, changes nothing.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn plan_deletion(&self, id: &BackupId, rules: &DeletionRules) -> Result<DeletionPlan, CatalogError> {
        self.plan_deletion_in(self.backups()?, id, rules, &Backups::new())
    }

    /// As [`Catalog::plan_deletion`], for a catalog that holds `backups`, and a run of the retention policy that has deleted
    /// `gone` already: WAL that stayed because one of these came before or after another goes now.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub(super) fn plan_deletion_in(
        &self,
        backups: Backups,
        id: &BackupId,
        rules: &DeletionRules,
        gone: &Backups,
    ) -> Result<DeletionPlan, CatalogError> {
        let keeps = self.keeps(&backups)?;
        let order = chains::post_order(&backups, id);
        let mut left = backups.clone();
        let mut steps = Vec::new();
        let mut wal_rules = Vec::new();
        for id in &order {
            let Some(info) = left.get(id).cloned() else {
                continue;
            };
            wal_rules.push(match rules.requester {
                Requester::Operator => wal_rule(&left, &keeps, &info, rules).into_iter().collect(),
                Requester::Retention => Vec::new(),
            });
            steps.push(DeletionStep {
                previous: previous(&left, id).map(|info| info.id.clone()),
                next: next(&left, id).map(|info| info.id.clone()),
                info,
                wal: None,
            });
            left.remove(id);
        }
        if rules.requester == Requester::Retention
            && let Some(last) = wal_rules.last_mut()
        {
            let mut doomed: Vec<BackupId> = order.iter().chain(gone.keys()).cloned().collect();
            doomed.sort();
            let mut before = backups;
            before.extend(gone.clone());
            *last = oldest_first(before, &keeps, &doomed, rules);
        }
        self.select_wal(&mut steps, &wal_rules)?;
        Ok(DeletionPlan {
            id: id.clone(),
            steps,
        })
    }

    /// The backups kept by an operator.
    ///
    /// # Errors
    /// An annotation cannot be read.
    pub fn keeps(&self, backups: &Backups) -> Result<BTreeMap<BackupId, KeepTarget>, CatalogError> {
        let mut keeps = BTreeMap::new();
        for id in backups.keys() {
            if let Some(target) = self.keep_target(id)? {
                keeps.insert(id.clone(), target);
            }
        }
        Ok(keeps)
    }

    /// Gives each WAL file to the first step that takes it. The database is read only if one may take any.
    fn select_wal(&self, steps: &mut [DeletionStep], rules: &[Vec<WalRule>]) -> Result<(), CatalogError> {
        for (step, rules) in steps.iter_mut().zip(rules) {
            step.wal = (!rules.is_empty()).then(Vec::new);
        }
        if rules.iter().all(Vec::is_empty) {
            return Ok(());
        }
        self.xlogdb().scan(|line| {
            let taker = steps
                .iter_mut()
                .zip(rules)
                .find(|(_, rules)| rules.iter().any(|rule| rule.removes(line.name)));
            if let Some((step, _)) = taker
                && let Some(wal) = &mut step.wal
            {
                wal.push(entry(&line));
            }
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        })
    }
}

/// The rules of all backups that go. Barman's retention removes them one by one, the oldest first, and each takes its
/// WAL along; we remove whole chains, children first, but the same WAL. Each rule is that of a catalog without the older
/// ones, so it holds no sooner than they are gone.
fn oldest_first(
    mut left: Backups,
    keeps: &BTreeMap<BackupId, KeepTarget>,
    doomed: &[BackupId],
    rules: &DeletionRules,
) -> Vec<WalRule> {
    doomed
        .iter()
        .filter_map(|id| {
            let info = left.get(id).cloned()?;
            let rule = wal_rule(&left, keeps, &info, rules);
            left.remove(id);
            rule
        })
        .collect()
}

/// A time that is no number is of no importance for what goes.
fn entry(line: &WalLine<'_>) -> WalEntry {
    line.to_entry().unwrap_or_else(|| WalEntry {
        name: line.name.to_owned(),
        size: line.size,
        time: 0.0,
        compression: line.compression().map(str::to_owned),
        encryption: line.encryption().map(str::to_owned),
    })
}
