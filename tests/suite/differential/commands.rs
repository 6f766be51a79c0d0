//! What the commands print about random catalogs: both tools on the same ones, line by line and as JSON.

use crate::conformance::normalise;
use crate::support::diff;
use crate::support::tool::Tool;

use super::random::{Home, Server};
use crate::support::random::Random;

/// Details are asked of so many backups.
const DETAILS: u32 = 24;

/// `list-backups`, `status`, `check-backup` and `show-backup`.
pub fn same_words(barkeep: &Tool) {
    let mut random = Random::seeded();
    let home = Home::generate(&mut random, 60);
    let servers: Vec<&Server> = home.servers.iter().filter(|server| !spares(server)).collect();
    let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for command in ["list-backups", "status"] {
        lines.push([vec![command], names.clone()].concat());
        lines.push([vec!["-f", "json", command], names.clone()].concat());
    }
    lines.push([vec!["list-backups", "--minimal"], names.clone()].concat());
    for turn in 0..DETAILS {
        let server = random.pick(&servers);
        if server.backups.is_empty() {
            continue;
        }
        let id = server.backups[random.below(server.backups.len() as u32) as usize].id;
        let id = if random.one_in(4) {
            random.pick(&["latest", "oldest", "last-failed", "latest-full"])
        } else {
            id
        };
        let words = vec!["show-backup", server.name.as_str(), id];
        lines.push(if turn % 2 == 0 {
            words
        } else {
            [vec!["-f", "json"], words].concat()
        });
    }
    let mut differences = Vec::new();
    for words in lines {
        let [theirs, ours] = [&Tool::barman(), barkeep].map(|tool| normalise::text(&home.run(tool, &words)));
        assert!(theirs.len() > 30, "{words:?}: {theirs}");
        if let Some(text) = diff::lines(&theirs, &ours) {
            differences.push(format!("{}\n{}", words.join(" "), diff::around_changes(&text)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Whether we spare incrementals that Barman calls obsolete (differences.md, "incrementals of a standalone backup").
fn spares(server: &Server) -> bool {
    let standalone = |id: &str| {
        let mut backups = server.backups.iter();
        backups.any(|backup| backup.id == id && backup.keep == Some("standalone"))
    };
    server
        .backups
        .iter()
        .any(|backup| backup.parent.is_some_and(standalone))
}
