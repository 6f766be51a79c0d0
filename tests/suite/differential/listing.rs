//! What `list-backups` says.

use std::collections::BTreeMap;

use barkeep::catalog::retention::{RetentionPolicy, RetentionStatus};
use barkeep::catalog::{Backups, Catalog, KeepTarget, Layout};
use barkeep::codec::Detector;

use super::random::{Home, Server};
use crate::support::random::Random;

pub fn catalog(home: &Home, server: &Server) -> Catalog {
    Catalog::at(Layout::under(&home.path(), &server.name), Detector::default())
}

pub fn keeps(catalog: &Catalog, backups: &Backups) -> BTreeMap<barkeep::catalog::BackupId, KeepTarget> {
    backups
        .keys()
        .filter_map(|id| Some((id.clone(), catalog.keep_target(id).unwrap()?)))
        .collect()
}

pub fn same_retention_and_sizes() {
    let home = Home::generate(&mut Random::seeded(), 150);
    let printed = home.barman(&home.config(), &["-f", "json", "list-backups", "all"]);
    let theirs: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let mut compared = 0;
    let mut differences = Vec::new();
    for server in &home.servers {
        let ours = our_listing(&home, server);
        let listed = theirs[&server.name].as_array().cloned().unwrap_or_default();
        assert_eq!(listed.len(), ours.len(), "{server:#?}");
        for (theirs, ours) in listed.iter().zip(&ours) {
            for (key, value) in ours.as_object().unwrap() {
                if &theirs[key] != value && !spared(server, ours, key, theirs) {
                    differences.push(format!(
                        "{} {key}: {} but Barman says {}\n{server:?}",
                        ours["backup_id"], value, theirs[key]
                    ));
                }
                compared += 1;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 1000, "only {compared} values were compared");
}

/// The one intended difference (differences.md, "incrementals of a standalone backup"): we spare what Barman removes.
fn spared(server: &Server, ours: &serde_json::Value, key: &str, theirs: &serde_json::Value) -> bool {
    let find = |id: &str| server.backups.iter().find(|backup| backup.id == id);
    let mut root = find(ours["backup_id"].as_str().unwrap());
    let incremental = root.is_some_and(|backup| backup.parent.is_some());
    while let Some(parent) = root.and_then(|backup| backup.parent) {
        root = find(parent);
    }
    key == "retention_status"
        && theirs[key] == "OBSOLETE"
        && incremental
        && root.is_some_and(|root| root.keep == Some("standalone"))
        && server.policy.is_some_and(|policy| policy.starts_with("RECOVERY"))
}

/// The same keys as Barman's JSON, newest first.
fn our_listing(home: &Home, server: &Server) -> Vec<serde_json::Value> {
    let catalog = catalog(home, server);
    let backups = catalog.backups().unwrap();
    let figures = catalog.wal_figures(&backups).unwrap();
    let policy: Option<RetentionPolicy> = server.policy.map(|text| text.parse().unwrap());
    let statuses = policy.map(|policy| {
        policy.statuses(
            &backups,
            &keeps(&catalog, &backups),
            server.minimum_redundancy,
            chrono::Utc::now(),
        )
    });
    backups
        .values()
        .rev()
        .map(|info| {
            let mut shown = serde_json::json!({
                "backup_id": info.id.as_str(),
                "backup_type": info.backup_type().as_str(),
                "status": info.status.as_str(),
            });
            if info.status.copy_done() {
                let wal = &figures[&info.id];
                let status = statuses.as_ref().map(|statuses| statuses[&info.id]);
                shown["size_bytes"] = (info.size.unwrap() + wal.required.size).into();
                shown["wal_size_bytes"] = wal.until_next.size.into();
                shown["retention_status"] = match status {
                    None | Some(RetentionStatus::Valid | RetentionStatus::None) => "-".into(),
                    Some(status) => status.as_str().into(),
                };
            }
            shown
        })
        .collect()
}

pub fn backup_info_is_rewritten_byte_for_byte() {
    let home = Home::generate(&mut Random::seeded(), 40);
    // Barman rewrites the files of the backups that it checks.
    let mut compared = 0;
    for server in home.servers.iter().take(4) {
        for backup in &server.backups {
            if backup.status == "WAITING_FOR_WALS" || backup.status == "DONE" {
                home.barman(&home.config(), &["check-backup", &server.name, backup.id]);
            }
        }
    }
    for server in &home.servers {
        let catalog = catalog(&home, server);
        for (id, info) in catalog.backups().unwrap() {
            let written = std::fs::read_to_string(catalog.layout().info_path(&id)).unwrap();
            assert_eq!(info.to_text(), written);
            compared += 1;
        }
    }
    assert!(compared > 80, "only {compared} files were compared");
}
