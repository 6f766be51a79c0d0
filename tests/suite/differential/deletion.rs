//! What a deletion removes: the whole catalog afterwards, after Barman's deletion and after ours.

use std::path::Path;

use barkeep::base::report::Quiet;
use barkeep::catalog::{Catalog, Layout, enforcement};
use barkeep::codec::Detector;
use barkeep::config::ServerConfig;
use barkeep::hooks::HookRunner;

use super::random::{Home, Server};
use crate::conformance::normalise;
use crate::support::catalog::Backup;
use crate::support::diff;
use crate::support::random::Random;
use crate::support::tool::Tool;
use crate::support::tree::files;
use crate::support::warm_barman::WarmBarman;

/// `delete` of one backup per server after another: what is said, and what is left.
pub fn same_files_remain(random: &mut Random, barman: &WarmBarman, barkeep: &Tool) -> Vec<String> {
    let home = Home::generate(random, 30);
    let copy = home.copied("ours");
    let mut differences = Vec::new();
    for server in &home.servers {
        let mut left: Vec<&Backup> = server.backups.iter().collect();
        for _ in 0..1 + random.below(3) {
            if left.is_empty() {
                break;
            }
            // Most deletions that matter are those of the oldest backup.
            let index = if random.one_in(2) {
                0
            } else {
                random.below(left.len() as u32) as usize
            };
            let backup = left.remove(index);
            // Barman removes all WAL (differences.md, "a backup that never began").
            let complete = |other: &&&Backup| matches!(other.status, "DONE" | "WAITING_FOR_WALS");
            if backup.status == "EMPTY" && left[index..].iter().find(complete).is_none() {
                continue;
            }
            let words = ["delete", server.name.as_str(), backup.id];
            let theirs = normalise::text(&home.barman(barman, &words));
            let ours = home.barkeep_with(barkeep, &copy.config, &words);
            let ours = ours.replace(copy.home.to_str().unwrap(), home.path().to_str().unwrap());
            let ours = normalise::text(&ours);
            let mut story = format!("{} in {}\n", words.join(" "), home.time_zone);
            let said = diff::lines(&theirs, &ours).filter(|_| !is_worded_otherwise(&theirs, &ours));
            let before = differences.len();
            if let Some(text) = said {
                differences.push(format!("{server:?}{story}{text}"));
            }
            story.push_str(&theirs);
            compare(&home.path(), &copy.home, server, &mut differences, &story);
            if differences.len() > before {
                break;
            }
        }
    }
    differences
}

/// differences.md, "delete refusal".
fn is_worded_otherwise(theirs: &str, ours: &str) -> bool {
    let refusal = "ERROR: Cannot delete backup (";
    theirs.contains(refusal) && ours.contains(refusal)
}

/// The retention policies of all servers.
pub fn same_backups_survive_retention(random: &mut Random, barman: &WarmBarman) -> Vec<String> {
    let home = Home::generate(random, 90);
    let copy = home.copied("ours").home;
    let printed = home.barman(barman, &["cron"]);
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
        // cron does other things for these.
        if server.options.contains("active") || server.options.contains("primary") {
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
    differences
}

fn config(server: &Server) -> ServerConfig {
    ServerConfig {
        name: server.name.clone(),
        minimum_redundancy: server.minimum_redundancy,
        retention_policy: server.policy.map(str::to_owned),
        worm_mode: server.options.contains("worm_mode"),
        ..ServerConfig::default()
    }
}

fn catalog(home: &Path, server: &Server) -> Catalog {
    Catalog::at(Layout::under(home, &server.name), Detector::default())
}

fn compare(theirs: &Path, ours: &Path, server: &Server, differences: &mut Vec<String>, story: &str) {
    let theirs = files(&theirs.join(&server.name));
    let ours = files(&ours.join(&server.name));
    let mut lines = Vec::new();
    for (name, content) in &theirs {
        match ours.get(name) {
            None => lines.push(format!("  Barman leaves {name}")),
            Some(other) if other != content => {
                let text = diff::lines(content, other).unwrap_or_default();
                lines.push(format!("  {name} differs\n{}", diff::around_changes(&text)));
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
