//! What the primary node has told: its `sync-info` document, taken apart. It comes from another host, and nothing in it may
//! name a place outside the catalog.

use std::path::PathBuf;

use crate::base::calendar;
use crate::catalog::python_literal::{Literal, repr};
use crate::catalog::{BackupId, BackupInfo, Backups, WalEntry};
use crate::postgres::wal_name::WalKind;

use super::SyncError;

/// What the primary node has told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Where the last line of its database of WAL files begins, in bytes.
    pub last_position: u64,
    /// The last file in that database; empty when there is none.
    pub last_name: String,
    /// Its complete backups.
    pub backups: Backups,
    /// WAL files in the order of archiving.
    pub wals: Vec<WalEntry>,
    /// The directory of its base backups.
    pub base: PathBuf,
    /// The directory of its WAL archive.
    pub wal_archive: PathBuf,
    /// The directory of the metadata of its backups.
    pub meta: PathBuf,
    /// Its `compression`.
    pub compression: Option<String>,
    /// Its `reuse_backup`.
    pub reuse_backup: Option<String>,
}

impl Told {
    /// Reads a document.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<Told, SyncError> {
        let document: Literal =
            serde_json::from_str(text).map_err(|error| SyncError::Answer(error.to_string()))?;
        let member = |name: &str| {
            document
                .get(name)
                .ok_or_else(|| SyncError::Answer(format!("it has no '{name}'")))
        };
        let config = member("config")?;
        let setting = |name: &str| config.get(name).and_then(Literal::as_str);
        let directory = |name: &str| {
            let path = setting(name).map(PathBuf::from).filter(|path| path.is_absolute());
            path.ok_or_else(|| SyncError::Answer(format!("its configuration says no absolute '{name}'")))
        };
        Ok(Told {
            last_position: unsigned(member("last_position")?)
                .ok_or_else(|| SyncError::Answer("'last_position' is no number".to_owned()))?,
            last_name: member("last_name")?.as_str().unwrap_or_default().to_owned(),
            backups: backups(member("backups")?)?,
            wals: wals(member("wals")?)?,
            base: directory("basebackups_directory")?,
            wal_archive: directory("wals_directory")?,
            meta: directory("backup_directory")?.join("meta"),
            compression: setting("compression").map(str::to_owned),
            reuse_backup: setting("reuse_backup").map(str::to_owned),
        })
    }
}

fn wals(list: &Literal) -> Result<Vec<WalEntry>, SyncError> {
    let items = list.items().unwrap_or_default();
    items
        .iter()
        .map(|item| {
            let text = |key: &str| item.get(key).and_then(Literal::as_str).map(str::to_owned);
            let entry = || {
                Some(WalEntry {
                    name: text("name").filter(|name| WalKind::of(name).is_some())?,
                    size: unsigned(item.get("size")?)?,
                    time: item.get("time")?.as_f64()?,
                    compression: text("compression").filter(|name| is_word(name)),
                    encryption: text("encryption").filter(|name| is_word(name)),
                })
            };
            entry().ok_or_else(|| SyncError::Answer(format!("{} is no WAL file", repr(item))))
        })
        .collect()
}

/// Whether it can be a column of the database of WAL files.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn backups(dict: &Literal) -> Result<Backups, SyncError> {
    let Literal::Dict(members) = dict else {
        return Err(SyncError::Answer("'backups' is no object".to_owned()));
    };
    let mut backups = Backups::new();
    for (key, value) in members {
        let id = key
            .as_str()
            .and_then(BackupId::from_file_name)
            .ok_or_else(|| SyncError::Answer(format!("{} cannot be the name of a backup", repr(key))))?;
        backups.insert(id.clone(), backup(id, value)?);
    }
    Ok(backups)
}

/// A backup, by way of the text that its `backup.info` would have. What newer releases may add is left out.
fn backup(id: BackupId, members: &Literal) -> Result<BackupInfo, SyncError> {
    let mut known: Vec<String> = BackupInfo::empty(id.clone())
        .to_text()
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect();
    known.extend(["backup_name", "snapshots_info"].map(str::to_owned));
    let mut text = String::new();
    for key in known {
        let iso = members.get(&format!("{key}_iso")).and_then(Literal::as_str);
        let value = match (members.get(&key), iso) {
            (_, Some(iso)) => calendar::parse(iso).map(|time| calendar::python_str(&time)),
            (Some(Literal::Str(text)), None) => Some(text.clone()),
            (Some(Literal::List(items)), None) if key == "tablespaces" => Some(tablespaces(items)),
            (Some(Literal::None) | None, None) => None,
            (Some(other), None) => Some(repr(other)),
        };
        // A line break would begin another key.
        if let Some(value) = value.filter(|value| !value.contains(['\n', '\r'])) {
            text.push_str(&format!("{key}={value}\n"));
        }
    }
    let place = PathBuf::from(format!("sync-info, backup {id}"));
    BackupInfo::from_text(id, &text, &place).map_err(|error| SyncError::Answer(error.to_string()))
}

/// JSON has no tuples.
fn tablespaces(items: &[Literal]) -> String {
    let tuples = items.iter().map(|item| match item {
        Literal::List(fields) => Literal::Tuple(fields.clone()),
        other => other.clone(),
    });
    repr(&Literal::List(tuples.collect()))
}

fn unsigned(value: &Literal) -> Option<u64> {
    match value {
        Literal::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
