//! What a node tells others about a server: the document of `sync-info` (command reference §6.33).

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::base::calendar;
use crate::catalog::python_literal::Literal;
use crate::catalog::{BackupInfo, Backups, Catalog, CatalogError, WalLine};
use crate::config::ServerConfig;
use crate::status::{self, Dates, backup_document};

use super::SyncError;

/// What a passive node has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The last file of the WAL archive that it knows of.
    pub wal: String,
    /// Where its line began in the database of WAL files, in bytes.
    pub position: Option<u64>,
}

/// The document of a server: its complete backups, and the WAL files after `since` or, without it, from the first that the
/// oldest backup needs.
///
/// # Errors
/// The catalog cannot be read, or it has nothing that could follow `since`.
pub fn report(config: &ServerConfig, since: Option<&Since>) -> Result<Literal, SyncError> {
    let catalog = Catalog::of(config)?;
    let mut backups = catalog.backups()?;
    backups.retain(|_, info| info.status.copy_done());
    let wals = Wals::read(&catalog, &backups, since)?;
    Ok(dict([
        ("last_position", number(wals.last_position)),
        ("last_name", Literal::str(wals.last_name)),
        ("backups", described(&backups)),
        ("wals", Literal::List(wals.files.into())),
        ("version", Literal::str(crate::BARMAN_LEVEL)),
        ("config", configuration(config)),
    ]))
}

/// The WAL files of the document.
#[derive(Default)]
struct Wals {
    first_name: Option<String>,
    last_name: String,
    last_position: u64,
    files: VecDeque<Literal>,
}

impl Wals {
    fn read(catalog: &Catalog, backups: &Backups, since: Option<&Since>) -> Result<Wals, SyncError> {
        let oldest = backups
            .values()
            .find_map(|info| info.begin_wal)
            .map_or_else(String::new, |segment| segment.to_string());
        let mut wals = Wals::default();
        // Whether the line of `since` was where it is said to be. Then what follows it is new, whatever its name: files
        // of an older timeline may arrive after the history of a newer one, which Barman never tells of.
        let mut found = false;
        catalog.xlogdb().scan_positions(|offset, line| {
            let wanted = match since {
                None => line.name >= oldest.as_str(),
                Some(since) if since.position == Some(offset) && since.wal == line.name => {
                    found = true;
                    wals.files.clear();
                    false
                }
                Some(since) => found || line.name > since.wal.as_str(),
            };
            if wanted {
                wals.files.push_back(file(&line));
            }
            wals.first_name.get_or_insert_with(|| line.name.to_owned());
            wals.last_position = offset;
            line.name.clone_into(&mut wals.last_name);
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        })?;
        match (since, &wals.first_name) {
            (Some(since), Some(first)) if !found && since.wal < *first => Err(SyncError::Older {
                wal: since.wal.clone(),
                first: first.clone(),
            }),
            (Some(since), Some(_)) if !found && since.wal > wals.last_name => Err(SyncError::Newer {
                wal: since.wal.clone(),
                last: wals.last_name,
            }),
            _ => Ok(wals),
        }
    }
}

fn file(line: &WalLine<'_>) -> Literal {
    let optional = |value: Option<&str>| value.map_or(Literal::None, Literal::str);
    dict([
        ("compression", optional(line.compression())),
        ("encryption", optional(line.encryption())),
        ("name", Literal::str(line.name)),
        ("size", number(line.size)),
        ("time", line.time().map_or(Literal::None, Literal::Float)),
    ])
}

fn described(backups: &Backups) -> Literal {
    let members = backups
        .values()
        .map(|info| (Literal::str(info.id.as_str()), backup(info)));
    Literal::Dict(members.collect())
}

/// A backup with the keys of its `backup.info` in their order, then its id, and its times once more in a form that can be
/// read without loss.
fn backup(info: &BackupInfo) -> Literal {
    let mut members: Vec<(Literal, Literal)> = backup_document(info, Dates::Ctime)
        .into_iter()
        .filter(|(key, _)| key != "backup_id")
        .map(|(key, value)| {
            let value = match (key.as_str(), &info.copy_stats) {
                // In the order in which they were written.
                ("copy_stats", Some(stats)) => stats.literal().clone(),
                _ => from_json(value),
            };
            (Literal::str(key), value)
        })
        .collect();
    members.push((Literal::str("backup_id"), Literal::str(info.id.as_str())));
    for (key, time) in [
        ("begin_time_iso", &info.begin_time),
        ("end_time_iso", &info.end_time),
    ] {
        let time = time.as_ref().map(calendar::python_iso);
        members.push((Literal::str(key), time.map_or(Literal::None, Literal::str)));
    }
    Literal::Dict(members)
}

/// The configuration. Passwords are of no use to the other node.
fn configuration(config: &ServerConfig) -> Literal {
    let mut members = status::configuration(config, false);
    let name = members.remove("name");
    let mut members: Vec<(Literal, Literal)> = members
        .into_iter()
        .map(|(key, value)| (Literal::str(key), from_json(value)))
        .collect();
    members.extend(name.map(|name| (Literal::str("name"), from_json(name))));
    Literal::Dict(members)
}

fn from_json(value: serde_json::Value) -> Literal {
    // Every JSON value is a literal.
    serde_json::from_value(value).unwrap_or(Literal::None)
}

fn dict<const N: usize>(members: [(&str, Literal); N]) -> Literal {
    let members = members.map(|(key, value)| (Literal::str(key), value));
    Literal::Dict(members.into())
}

fn number(number: u64) -> Literal {
    Literal::Int(number.into())
}
