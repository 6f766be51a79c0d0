//! `diagnose`: everything that helps to find a problem, as one JSON document (behaviour reference §25).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::base::calendar;
use crate::base::directory;
use crate::base::error::{PathContext, PathError};
use crate::catalog::{Catalog, modification_time};
use crate::config::{Config, ServerConfig};
use crate::postgres::client::PgError;
use crate::postgres::wal_name::WalKind;
use crate::transport::{Remote as Host, SshOptions};

use super::host;
use super::{Dates, Remote, backup_document, backups, enforced_policy};

/// The document. `with_sources` says of every option where its value was written.
///
/// # Errors
/// The program was asked to stop. Anything else that cannot be found out is missing in the document.
pub fn diagnose(config: &Config, with_sources: bool) -> Result<Value, PgError> {
    let mut system_info = host::own_system_info();
    system_info.insert(
        "timestamp".to_owned(),
        json!(calendar::python_iso(&calendar::now())),
    );
    let mut servers = Map::new();
    for server in config.servers.values() {
        servers.insert(server.name.clone(), describe(server, with_sources)?);
    }
    let models: Map<String, Value> = config
        .models
        .values()
        .map(|model| {
            (
                model.name.clone(),
                json!({"config": model.diagnose(with_sources)}),
            )
        })
        .collect();
    Ok(json!({
        "global": {
            "config": config.diagnose_global(with_sources),
            "system_info": system_info,
        },
        "models": models,
        "servers": servers,
    }))
}

fn describe(server: &ServerConfig, with_sources: bool) -> Result<Value, PgError> {
    let status: Map<String, Value> = Remote::gather(server)?
        .shown
        .into_iter()
        .map(|(name, fact)| (name.to_owned(), fact.diagnose()))
        .collect();
    let backups: Map<String, Value> = backups(server)
        .values()
        .map(|backup| {
            (
                backup.id.to_string(),
                Value::Object(backup_document(backup, Dates::Iso)),
            )
        })
        .collect();
    let mut described = json!({
        "active_model": server.active_model,
        "backups": backups,
        "config": configuration(server, with_sources),
        "msg_list": server.msg_list,
        "status": status,
        "wals": {"last_archived_wal_per_timeline": newest_segments(server)},
    });
    if server.active
        && let (Some(command), Some(members)) = (&server.ssh_command, described.as_object_mut())
        && let Some(info) = remote_system_info(command)
    {
        members.insert("system_info".to_owned(), Value::Object(info));
    }
    Ok(described)
}

/// The configuration of a server, with its policies in their own words once they are enforced.
pub(crate) fn configuration(server: &ServerConfig, with_sources: bool) -> Map<String, Value> {
    let mut members = server.diagnose(with_sources);
    if let Some(policy) = enforced_policy(server) {
        let wal_policy = server.wal_retention_policy.to_uppercase();
        for (option, text) in [
            ("retention_policy", policy.to_string()),
            ("wal_retention_policy", wal_policy),
        ] {
            match members.get_mut(option) {
                Some(Value::Object(sourced)) => sourced.insert("value".to_owned(), json!(text)),
                _ => members.insert(option.to_owned(), json!(text)),
            };
        }
    }
    members
}

fn remote_system_info(command: &str) -> Option<Map<String, Value>> {
    match Host::ssh(command, SshOptions::SERVER) {
        Ok(host) => host::system_info(&host),
        Err(error) => {
            log::warn!(target: "barman.diagnose", "cannot use the ssh command '{command}': {error}");
            None
        }
    }
}

/// The newest archived segment of each timeline, by the timeline's eight digits.
fn newest_segments(server: &ServerConfig) -> Value {
    let found = Catalog::of(server)
        .map_err(|error| error.to_string())
        .and_then(|catalog| read_newest(&catalog).map_err(|error| error.to_string()));
    match found {
        Ok(found) => Value::Object(found),
        Err(error) => {
            log::warn!(target: "barman.diagnose", "cannot look into the archive of server '{}': {error}", server.name);
            json!({})
        }
    }
}

fn read_newest(catalog: &Catalog) -> Result<Map<String, Value>, PathError> {
    let wals = &catalog.layout().wals;
    // The directories of a timeline sort as its segments do; the newest one that holds a segment has the answer.
    let mut by_timeline: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in directory::names(wals)? {
        if let (16, Some(timeline)) = (name.len(), name.get(..8)) {
            by_timeline.entry(timeline.to_owned()).or_default().push(name);
        }
    }
    let mut newest = Map::new();
    for (timeline, directories) in by_timeline {
        for directory in directories.iter().rev() {
            let directory = wals.join(directory);
            let segment = directory::names(&directory)?
                .into_iter()
                .rfind(|name| matches!(WalKind::of(name), Some(WalKind::Segment(_))));
            if let Some(segment) = segment {
                newest.insert(
                    timeline,
                    describe_segment(catalog, &directory.join(&segment), &segment)?,
                );
                break;
            }
        }
    }
    Ok(newest)
}

fn describe_segment(catalog: &Catalog, path: &Path, name: &str) -> Result<Value, PathError> {
    let metadata = fs::metadata(path).at("look at", path)?;
    let stored = catalog.detector().inspect(path)?;
    Ok(json!({
        "compression": stored.compression.map(|compression| compression.name()),
        "encryption": stored.encrypted.then_some("gpg"),
        "name": name,
        "size": metadata.len(),
        "time": modification_time(&metadata),
    }))
}
