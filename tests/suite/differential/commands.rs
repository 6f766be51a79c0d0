//! What the commands print about random catalogs: both tools on the same ones, line by line and as JSON.

use crate::conformance::normalise;
use crate::support::diff;
use crate::support::random::Random;
use crate::support::tool::Tool;
use crate::support::warm_barman::WarmBarman;

use super::random::{Home, Server};

/// Details are asked of so many backups.
const DETAILS: u32 = 24;

/// `list-backups`, `status`, `check-backup` and `show-backup`.
pub fn same_words(random: &mut Random, barman: &WarmBarman, barkeep: &Tool) -> Vec<String> {
    let home = Home::generate(random, 60);
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
        let backup = &server.backups[random.below(server.backups.len() as u32) as usize];
        let id = match backup.name {
            _ if random.one_in(4) => random.pick(&SELECTORS),
            Some(name) if random.one_in(2) => name,
            _ => backup.id,
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
        let theirs = in_lines(&home.barman(barman, &words));
        let ours = in_lines(&home.barkeep(barkeep, &words));
        assert!(theirs.len() > 30, "{words:?}: {theirs}");
        if crashed(&theirs) && !crashed(&ours) {
            continue;
        }
        if let Some(text) = diff::lines(&theirs, &ours) {
            let server = words
                .iter()
                .find_map(|word| servers.iter().find(|server| server.name == **word));
            differences.push(format!(
                "{}, {}\n{}{server:?}",
                words.join(" "),
                home.time_zone,
                diff::around_changes(&text)
            ));
        }
    }
    differences
}

/// Whether a tool ended with an exception.
pub fn crashed(said: &str) -> bool {
    ["EXCEPTION", "Traceback", "panicked"]
        .iter()
        .any(|word| said.contains(word))
}

/// What a tool said, normalised; JSON with one member a line.
pub fn in_lines(said: &str) -> String {
    let text = normalise::text(said);
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(document) => serde_json::to_string_pretty(&document).unwrap(),
        Err(_) => text,
    }
}

const SELECTORS: [&str; 9] = [
    "latest",
    "oldest",
    "first",
    "last",
    "last-failed",
    "latest-full",
    "last-full",
    "first-failed",
    "nosuch",
];

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
