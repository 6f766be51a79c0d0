//! What a deletion removes: the whole catalog afterwards, after Barman's deletion and after ours.

use std::path::Path;

use crate::support::tree::{copy_of, files};
use barkeep::base::report::Quiet;
use barkeep::catalog::{BackupId, Catalog, Deletion, DeletionError, Layout, enforcement};
use barkeep::codec::Detector;
use barkeep::config::ServerConfig;
use barkeep::hooks::HookRunner;

use super::random::{Home, Server};
use crate::support::random::Random;

/// `barman delete` of one backup per server.
pub fn same_files_remain() {
    let mut random = Random::seeded();
    let home = Home::generate(&mut random, 60);
    let copy = copy_of(&home.path(), &home.scratch.join("ours"));
    let mut differences = Vec::new();
    for server in home.servers.iter().filter(|server| !server.backups.is_empty()) {
        let index = random.below(server.backups.len() as u32) as usize;
        // Most deletions that matter are those of the oldest backup.
        let index = if random.one_in(2) { 0 } else { index };
        let id = server.backups[index].id;
        // Barman removes all WAL (differences.md, "a backup that never began").
        if server.backups[index].status == "EMPTY" && next_complete(server, index).is_none() {
            continue;
        }
        let printed = home.barman(&home.config(), &["delete", &server.name, id]);
        let outcome = delete(&copy, server, id);
        compare(
            &home.path(),
            &copy,
            server,
            &mut differences,
            &format!("{id}\n{printed}{outcome:?}"),
        );
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The retention policies of all servers.
pub fn same_backups_survive_retention() {
    let home = Home::generate(&mut Random::seeded(), 90);
    let copy = copy_of(&home.path(), &home.scratch.join("ours"));
    let printed = home.barman(&home.config(), &["cron"]);
    let mut differences = Vec::new();
    for server in &home.servers {
        // Barman removes incrementals of standalone backups (differences.md, "incrementals of a standalone backup").
        let standalone = |id: &str| {
            server
                .backups
                .iter()
                .any(|backup| backup.id == id && backup.keep == Some("standalone"))
        };
        if server
            .backups
            .iter()
            .any(|backup| backup.parent.is_some_and(standalone))
        {
            continue;
        }
        // Barman's cron also sets the status of these, at some time.
        if server
            .backups
            .iter()
            .any(|backup| backup.status == "WAITING_FOR_WALS")
        {
            continue;
        }
        let config = config(server);
        let hooks = HookRunner::of_server(&config, Path::new("/nowhere"));
        enforcement::enforce(&catalog(&copy, server), &config, &hooks, &Quiet).unwrap();
        let theirs: Vec<&str> = printed
            .lines()
            .filter(|line| line.ends_with(&server.name))
            .collect();
        compare(&home.path(), &copy, server, &mut differences, &theirs.join("\n"));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The next complete backup.
fn next_complete(server: &Server, index: usize) -> Option<&'static str> {
    let mut newer = server.backups[index + 1..].iter();
    newer
        .find(|backup| matches!(backup.status, "DONE" | "WAITING_FOR_WALS"))
        .map(|backup| backup.id)
}

fn config(server: &Server) -> ServerConfig {
    ServerConfig {
        name: server.name.clone(),
        minimum_redundancy: server.minimum_redundancy,
        retention_policy: server.policy.map(str::to_owned),
        ..ServerConfig::default()
    }
}

fn catalog(home: &Path, server: &Server) -> Catalog {
    Catalog::at(Layout::under(home, &server.name), Detector::default())
}

fn delete(home: &Path, server: &Server, id: &str) -> Result<(), Box<DeletionError>> {
    let catalog = catalog(home, server);
    let config = config(server);
    let hooks = HookRunner::of_server(&config, Path::new("/nowhere"));
    Deletion::by_operator(&catalog, &config, &hooks, &Quiet)
        .run(&BackupId::parse(id).unwrap())
        .map_err(Box::new)
}

fn compare(theirs: &Path, ours: &Path, server: &Server, differences: &mut Vec<String>, story: &str) {
    let theirs = files(&theirs.join(&server.name));
    let ours = files(&ours.join(&server.name));
    let mut lines = Vec::new();
    for (name, content) in &theirs {
        match ours.get(name) {
            None => lines.push(format!("  Barman leaves {name}")),
            Some(other) if other != content => {
                lines.push(format!(
                    "  {name} differs\n--- Barman\n{content}\n--- ours\n{other}"
                ));
            }
            Some(_) => {}
        }
    }
    lines.extend(
        ours.keys()
            .filter(|name| !theirs.contains_key(*name))
            .map(|name| format!("  we leave {name}")),
    );
    if !lines.is_empty() {
        differences.push(format!("{server:?}{story}\n{}\n", lines.join("\n")));
    }
}
