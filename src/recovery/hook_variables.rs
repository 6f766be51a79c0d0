//! What the recovery hooks are told (behaviour reference §22).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::base::json;
use crate::catalog::Catalog;
use crate::hooks::{BackupVariables, HookSubject, RecoveryVariables};

use super::options::RestoreOptions;
use super::request::Request;

/// The variables of a restore.
#[must_use]
pub fn subject(
    catalog: &Catalog,
    request: &Request,
    destination: &str,
    options: &RestoreOptions,
) -> HookSubject {
    let id = &request.info.id;
    let (previous, next) = &request.neighbours;
    HookSubject::Recovery(RecoveryVariables {
        backup: BackupVariables {
            backup_dir: catalog.layout().base_dir(id),
            backup_info_path: info_path(catalog, request),
            backup_id: id.as_str().to_owned(),
            previous_id: previous.as_ref().map(|id| id.as_str().to_owned()),
            next_id: next.as_ref().map(|id| id.as_str().to_owned()),
            status: request.info.status.as_str().to_owned(),
        },
        destination_directory: Path::new(destination).to_path_buf(),
        tablespaces: tablespaces(&request.rules),
        remote_command: options.remote_ssh_command.clone(),
        recover_options: recover_options(options),
    })
}

fn info_path(catalog: &Catalog, request: &Request) -> PathBuf {
    let id = &request.info.id;
    let path = catalog.layout().info_path(id);
    let legacy = catalog.layout().legacy_info_path(id);
    if !path.exists() && legacy.exists() {
        legacy
    } else {
        path
    }
}

/// A JSON object of the rules, nothing without rules.
fn tablespaces(rules: &[(String, PathBuf)]) -> Option<String> {
    let object: BTreeMap<&str, String> = rules
        .iter()
        .map(|(name, location)| (name.as_str(), location.display().to_string()))
        .collect();
    if object.is_empty() { None } else { text(&object) }
}

/// A JSON object of the options that are set, nothing when none is.
fn recover_options(options: &RestoreOptions) -> String {
    let mut object = Map::new();
    let texts = [
        (
            "target_tli",
            options.target_timeline.map(|timeline| timeline.to_string()),
        ),
        ("target_time", options.target_time.clone()),
        ("target_xid", options.target_xid.clone()),
        ("target_lsn", options.target_lsn.clone()),
        ("target_name", options.target_name.clone()),
        (
            "target_action",
            options.target_action.map(|action| action.word().to_owned()),
        ),
        ("recovery_conf_filename", options.recovery_conf_filename.clone()),
        ("recovery_option_port", options.recovery_option_port.clone()),
        ("custom_restore_command", options.restore_command.clone()),
        ("recovery_instance", options.snapshot.recovery_instance.clone()),
    ];
    for (name, value) in texts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            // Barman keeps a timeline that was given as a number as one.
            let value = match value.parse::<u32>() {
                Ok(number) if name == "target_tli" => json!(number),
                _ => Value::String(value),
            };
            object.insert(name.to_owned(), value);
        }
    }
    for (name, set) in [
        ("target_immediate", options.target_immediate),
        ("exclusive", options.exclusive),
        ("standby_mode", options.standby_mode),
        ("copy_partial", options.partial_wal),
    ] {
        if set {
            object.insert(name.to_owned(), Value::Bool(true));
        }
    }
    if object.is_empty() {
        return String::new();
    }
    let sorted: BTreeMap<String, Value> = object.into_iter().collect();
    text(&sorted).unwrap_or_default()
}

fn text<T: serde::Serialize>(value: &T) -> Option<String> {
    match json::line(value) {
        Ok(text) => Some(text),
        Err(error) => {
            log::warn!(target: "barman.recovery_executor", "cannot describe the restore to its hooks: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recovery::options::{TargetAction, TargetTimeline};

    /// As Barman 3.19.1 passed them to a hook.
    #[test]
    fn options_as_barman_shows_them() {
        let options = RestoreOptions {
            target_timeline: Some(TargetTimeline::Latest),
            target_time: Some("2026-11-21 01:53:05".to_owned()),
            target_action: Some(TargetAction::Promote),
            exclusive: true,
            partial_wal: true,
            recovery_conf_filename: Some("x.conf".to_owned()),
            recovery_option_port: Some("5".to_owned()),
            restore_command: Some("x".to_owned()),
            ..RestoreOptions::default()
        };
        assert_eq!(
            recover_options(&options),
            r#"{"copy_partial": true, "custom_restore_command": "x", "exclusive": true, "recovery_conf_filename": "x.conf", "recovery_option_port": "5", "target_action": "promote", "target_time": "2026-11-21 01:53:05", "target_tli": "latest"}"#
        );
        assert_eq!(recover_options(&RestoreOptions::default()), "");
        assert_eq!(
            tablespaces(&[("ts1".to_owned(), PathBuf::from("/x"))]).unwrap(),
            r#"{"ts1": "/x"}"#
        );
        assert_eq!(tablespaces(&[]), None);
    }
}
