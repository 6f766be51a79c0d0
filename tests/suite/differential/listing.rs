//! What `list-backups` says.

use std::collections::BTreeMap;

use barkeep::catalog::retention::{RetentionPolicy, RetentionStatus};
use barkeep::catalog::{Backups, Catalog, KeepTarget, Layout};
use barkeep::codec::Detector;

use super::commands::{crashed, in_lines};
use super::random::{Home, Server};
use crate::support::diff;
use crate::support::random::Random;
use crate::support::tool::Tool;
use crate::support::warm_barman::WarmBarman;

pub fn catalog(home: &Home, server: &Server) -> Catalog {
    Catalog::at(Layout::under(&home.path(), &server.name), Detector::default())
}

pub fn keeps(catalog: &Catalog, backups: &Backups) -> BTreeMap<barkeep::catalog::BackupId, KeepTarget> {
    backups
        .keys()
        .filter_map(|id| Some((id.clone(), catalog.keep_target(id).unwrap()?)))
        .collect()
}

pub fn same_retention_and_sizes(random: &mut Random, barman: &WarmBarman) -> Vec<String> {
    let home = Home::generate(random, 150);
    let names = home.servers.iter().map(|server| server.name.as_str());
    let words: Vec<&str> = ["-f", "json", "list-backups"].into_iter().chain(names).collect();
    let printed = home.barman(barman, &words);
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
    assert!(compared > 1000, "only {compared} values were compared");
    differences
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
        && server
            .policy
            .is_some_and(|policy| policy.to_uppercase().starts_with("RECOVERY"))
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

/// `check-backup`: what is said, and what both write into `backup.info`.
pub fn backup_info_is_rewritten_byte_for_byte(
    random: &mut Random,
    barman: &WarmBarman,
    barkeep: &Tool,
) -> Vec<String> {
    let home = Home::generate(random, 12);
    let copy = home.copied("ours");
    let mut compared = 0;
    let mut differences = Vec::new();
    for server in &home.servers {
        for backup in &server.backups {
            let words = ["check-backup", server.name.as_str(), backup.id];
            let theirs = home.barman(barman, &words);
            let ours = home.barkeep_with(barkeep, &copy.config, &words);
            let ours = ours.replace(copy.home.to_str().unwrap(), home.path().to_str().unwrap());
            let said = diff::lines(&in_lines(&theirs), &in_lines(&ours));
            let file = format!("{}/meta/{}-backup.info", server.name, backup.id);
            let [written, rewritten] = [home.path(), copy.home.clone()]
                .map(|home| without_nothing(&std::fs::read_to_string(home.join(&file)).unwrap()));
            let said = said.filter(|_| !crashed(&theirs) || crashed(&ours));
            for text in [said, diff::lines(&written, &rewritten)].into_iter().flatten() {
                differences.push(format!("{words:?}\n{text}\n{server:?}"));
            }
            compared += 1;
        }
    }
    assert!(compared > 20, "only {compared} files were compared");
    differences
}

/// Barman writes every file anew that it has looked at, with the keys that older files lack.
fn without_nothing(text: &str) -> String {
    text.split_inclusive('\n')
        .filter(|line| !line.ends_with("=None\n"))
        .collect()
}
