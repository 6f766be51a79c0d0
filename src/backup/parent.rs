//! The parent of an incremental backup: which backups can be one, and what holds it while it is read.
//!
//! What was stored of the parent must be a state of the same cluster that lies before this backup, on the way to it: same
//! system, same major version, same page checksums, and its end on the history of the server's timeline. Everything else
//! the copy engine proves file by file.

use std::path::{Path, PathBuf};

use crate::agent::host::Host;
use crate::base::lock::LockFile;
use crate::catalog::{self, BackupId, BackupInfo, BackupType, Backups, Catalog};
use crate::copy::Incremental;
use crate::copy::chain::MOST_MEMBERS;
use crate::postgres::control_file::ControlFile;
use crate::postgres::facts::Facts;
use crate::postgres::history::History;
use crate::postgres::lsn::Lsn;
use crate::postgres::page::{PAGE_SIZE, SEGMENT_PAGES};
use crate::postgres::version::PgVersion;
use crate::postgres::wal_name::Timeline;
use crate::transport::Remote;

/// Says why a backup cannot be the parent of one that is about to be taken; `None` when nothing speaks against it.
pub(super) type Objection = fn(&Catalog, &Facts, &Backups, &BackupInfo) -> Option<String>;

/// The parent of the backup that is being taken, with all that it builds on, held against deletion.
#[derive(Debug)]
pub(super) struct Parent {
    /// The parent first, the full backup last.
    members: Vec<BackupInfo>,
    _locks: Vec<LockFile>,
    /// Whether a full backup is as good, should this parent turn out to be unsound.
    pub(super) optional: bool,
}

impl Parent {
    /// Holds the chain of `id` and makes sure that it can be built on, as far as can be told before the backup begins. The
    /// error says why it cannot.
    pub(super) fn hold(
        catalog: &Catalog,
        facts: &Facts,
        id: &BackupId,
        optional: bool,
        objection: Objection,
    ) -> Result<Parent, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let chain = |backups: &Backups| {
            let members = catalog::chains::members(backups, id).map_err(|error| text(&error))?;
            Ok::<Vec<BackupInfo>, String>(members.into_iter().cloned().collect())
        };
        let before = chain(&catalog.backups().map_err(|error| text(&error))?)?;
        let locks: Result<Vec<LockFile>, _> = before
            .iter()
            .map(|member| catalog.locks().backup_reader(&member.id))
            .collect();
        let locks = locks.map_err(|error| text(&error))?;
        // What was read before the locks were there may have been deleted meanwhile.
        let backups = catalog.backups().map_err(|error| text(&error))?;
        let members = chain(&backups)?;
        if members.len() != before.len() {
            return Err("its chain is being changed".to_owned());
        }
        let info = members.first().ok_or("it is gone")?;
        objection(catalog, facts, &backups, info).map_or(Ok(()), Err)?;
        Ok(Parent {
            members,
            _locks: locks,
            optional,
        })
    }

    /// The parent.
    pub(super) fn info(&self) -> Option<&BackupInfo> {
        self.members.first()
    }

    /// The full backup that the chain begins with.
    pub(super) fn root(&self) -> Option<&BackupInfo> {
        self.members.last()
    }

    /// Makes sure that the parent lies on the way to a backup that begins at `begin` on `timeline`.
    pub(super) fn leads_to(
        &self,
        begin: Lsn,
        timeline: Timeline,
        history: impl FnOnce() -> Result<History, String>,
    ) -> Result<(), String> {
        let parent = self.members.first().ok_or("it is gone")?;
        let end = parent.end_xlog.ok_or("its end is not known")?;
        let ended_on = parent.end_wal.map(|segment| segment.timeline);
        let ended_on = ended_on.or(parent.timeline).ok_or("its timeline is not known")?;
        if begin < end {
            return Err(format!(
                "it ended at {end}, and this backup begins at {begin}: the server is older than its backup (a standby \
                 needs a checkpoint of its primary first)"
            ));
        }
        if ended_on == timeline {
            return Ok(());
        }
        match history()?.switchpoint_of(ended_on) {
            Some(switch) if switch >= end => Ok(()),
            Some(switch) => Err(format!(
                "it ended at {end} on timeline {ended_on}, which the server left before, at {switch}"
            )),
            None => Err(format!(
                "it was taken on timeline {ended_on}, from which the server's timeline {timeline} does not descend"
            )),
        }
    }

    /// What the copy builds on. `by_lsn` as [`lsns_tell`] says.
    pub(super) fn incremental(&self, catalog: &Catalog, by_lsn: bool) -> Incremental {
        let directory = |info: &BackupInfo| catalog.layout().base_dir(&info.id);
        Incremental {
            members: self.members.iter().map(directory).collect(),
            since: self
                .members
                .first()
                .and_then(|parent| parent.begin_xlog)
                .filter(|_| by_lsn),
        }
    }

    /// The lines that PostgreSQL 17 and newer write into the label of an incremental backup.
    pub(super) fn label_lines(&self) -> String {
        let parent = self.members.first();
        let (lsn, timeline) = (
            parent.and_then(|info| info.begin_xlog),
            parent.and_then(|info| info.timeline),
        );
        match lsn.zip(timeline) {
            Some((lsn, timeline)) => {
                format!("INCREMENTAL FROM LSN: {lsn}\nINCREMENTAL FROM TLI: {timeline}\n")
            }
            None => String::new(),
        }
    }
}

/// The [`Objection`] of the methods that copy files.
pub(super) fn objection(
    catalog: &Catalog,
    facts: &Facts,
    backups: &Backups,
    info: &BackupInfo,
) -> Option<String> {
    if !info.status.copy_done() {
        return Some(format!("its status is {}", info.status));
    }
    if info.backup_type() == BackupType::Snapshot {
        return Some("it is a snapshot".to_owned());
    }
    if info.compression.is_some() || info.encryption.is_some() {
        return Some("it is compressed or encrypted".to_owned());
    }
    let members = match catalog::chains::plain_members(backups, &info.id) {
        Ok(members) => members,
        Err(error) => return Some(error.to_string()),
    };
    if members.len() >= MOST_MEMBERS {
        return Some(format!(
            "its chain has {} backups: merge some of them",
            members.len()
        ));
    }
    of_another_cluster(facts, info).or_else(|| {
        members
            .iter()
            .find_map(|member| without_files(catalog, facts, member))
    })
}

pub(super) fn of_another_cluster(facts: &Facts, info: &BackupInfo) -> Option<String> {
    match (&info.systemid, &facts.systemid) {
        (Some(then), Some(now)) if then == now => {}
        (Some(then), Some(now)) => {
            return Some(format!(
                "it is of another cluster (system identifier {then}, now {now})"
            ));
        }
        _ => return Some("its system identifier is not known".to_owned()),
    }
    let then = info.version.map(|version| PgVersion(version).major());
    if then.as_deref() != Some(&*facts.version.major()) {
        return Some(format!(
            "it is of PostgreSQL {}, and the server runs {}",
            then.as_deref().unwrap_or("of unknown version"),
            facts.version.major()
        ));
    }
    None
}

/// What is wrong with the files of a member.
fn without_files(catalog: &Catalog, facts: &Facts, member: &BackupInfo) -> Option<String> {
    let id = &member.id;
    let data = catalog.layout().data_dir(id);
    let complete = ["PG_VERSION", "backup_label"]
        .iter()
        .all(|name| data.join(name).is_file());
    if !complete {
        return Some(format!(
            "\"{}\" does not hold the files of backup {id}",
            data.display()
        ));
    }
    let tablespaces = member.tablespaces.iter().flatten();
    let mut missing = tablespaces
        .filter(|tablespace| tablespace.location.starts_with('/'))
        .map(|tablespace| catalog.layout().tablespace_dir(id, tablespace.oid))
        .filter(|directory| !directory.is_dir());
    if let Some(directory) = missing.next() {
        return Some(format!("\"{}\" of backup {id} is missing", directory.display()));
    }
    let path = data.join("global/pg_control");
    let control = std::fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|content| ControlFile::parse(&content).map_err(|error| error.to_string()));
    let control = match control {
        Ok(control) => control,
        Err(error) => return Some(format!("\"{}\" cannot be used: {error}", path.display())),
    };
    if control.block_size as usize != PAGE_SIZE || control.segment_pages != SEGMENT_PAGES {
        return Some(format!(
            "the cluster has pages of {} bytes and files of {} pages, which incremental backups do not know",
            control.block_size, control.segment_pages
        ));
    }
    let now = facts.setting("data_checksums") == Some("on");
    if control.data_checksums != now {
        let (then, now) = (on_or_off(control.data_checksums), on_or_off(now));
        return Some(format!(
            "page checksums were {then} in backup {id}, and are {now}"
        ));
    }
    None
}

fn on_or_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// Whether every change of a page since the parent leaves a new LSN in it; the error says why not. Only then is it worth
/// while to look at LSNs: the copy engine would notice every page that they do not tell of.
pub(super) fn lsns_tell(facts: &Facts, wal_log_hints: Option<&str>) -> Result<(), &'static str> {
    if facts.setting("data_checksums") == Some("on") || wal_log_hints == Some("on") {
        return Ok(());
    }
    Err("hint bits change pages without a new LSN: the cluster has neither page checksums nor wal_log_hints")
}

/// The history of the server's timeline: as the server has it, else as it was archived.
pub(super) fn history(
    remote: &Remote,
    catalog: &Catalog,
    pgdata: &Path,
    timeline: Timeline,
) -> Result<History, String> {
    let name = format!("{timeline:08X}.history");
    let text = |content: Vec<u8>| String::from_utf8_lossy(&content).into_owned();
    let parse = |content: String| {
        History::parse(timeline, &content).map_err(|error| format!("{name} cannot be used: {error}"))
    };
    let at_server = pgdata.join("pg_wal").join(&name);
    match Host::new(remote).read(&at_server) {
        Ok(Some(content)) => return parse(text(content)),
        Ok(None) => {}
        Err(error) => log::info!(target: "barman.backup", "{error}"),
    }
    let archived: Option<PathBuf> = catalog.layout().wal_path(&name);
    let content = archived.and_then(|path| std::fs::read(path).ok());
    match content {
        Some(content) => parse(text(content)),
        None => Err(format!(
            "{name}, which says how the server came to its timeline, is neither in its pg_wal nor in the archive"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::postgres::wal_name::SegmentName;

    fn parent(timeline: Timeline, begin: u64, end: u64) -> Parent {
        let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
        info.timeline = Some(timeline);
        info.begin_xlog = Some(Lsn(begin));
        info.end_xlog = Some(Lsn(end));
        info.end_wal = Some(SegmentName::containing(timeline, Lsn(end), 16 << 20));
        Parent {
            members: vec![info],
            _locks: Vec::new(),
            optional: false,
        }
    }

    fn history(text: &str) -> Result<History, String> {
        Ok(History::parse(3, text).unwrap())
    }

    #[test]
    fn only_what_lies_on_the_way() {
        let no_need = || Err("not needed".to_owned());
        let parent = parent(1, 0x100, 0x200);
        assert_eq!(parent.leads_to(Lsn(0x200), 1, no_need), Ok(()));
        assert!(
            parent
                .leads_to(Lsn(0x1ff), 1, no_need)
                .unwrap_err()
                .contains("older")
        );
        let later = || history("1\t0/200\treason\n2\t0/300\treason\n");
        assert_eq!(parent.leads_to(Lsn(0x400), 3, later), Ok(()));
        let before = || history("1\t0/1FF\treason\n2\t0/300\treason\n");
        assert!(
            parent
                .leads_to(Lsn(0x400), 3, before)
                .unwrap_err()
                .contains("left before")
        );
        let elsewhere = || history("2\t0/300\treason\n");
        assert!(
            parent
                .leads_to(Lsn(0x400), 3, elsewhere)
                .unwrap_err()
                .contains("descend")
        );
        assert!(parent.leads_to(Lsn(0x400), 3, no_need).is_err());
        assert_eq!(
            parent.label_lines(),
            "INCREMENTAL FROM LSN: 0/100\nINCREMENTAL FROM TLI: 1\n"
        );
    }
}
