//! `--help` of every command names the same options in both tools, and ours.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};
use regex::Regex;

use super::fixture::Fixtures;
use crate::support::manager::Manager;
use crate::support::process::run;
use crate::support::tool::Tool;

const DIFFERENCES: &str = include_str!("../../conformance/differences.md");

/// Options that Barman does not have, each named in differences.md.
const OURS: [(&str, &[&str]); 10] = [
    ("backup", &["--full", "--resume"]),
    ("check", &["--hints", "--no-hints"]),
    ("cron", &["--dry-run"]),
    ("delete", &["--dry-run"]),
    ("restore", &["--dry-run"]),
    ("verify-backup", &["--jobs", "-j"]),
    ("barman-wal-archive", &["--look-ahead", "--persist"]),
    ("barman-wal-restore", &["--persist", "--retry"]),
    ("sync-backup", &["--dry-run"]),
    ("sync-wals", &["--dry-run"]),
];

pub fn trial(fixtures: std::sync::Arc<Fixtures>) -> Trial {
    Trial::test("conformance::help", move || {
        let manager = Manager::new(&fixtures.scratch.join("help"));
        manager.configure("", &[]);
        let mut problems = Vec::new();
        for command in commands(&manager, &fixtures.barman) {
            let [mut theirs, ours] =
                [&fixtures.barman, &fixtures.barkeep].map(|tool| options(&help(&manager, tool, &command)));
            let own = OURS.iter().find(|(name, _)| *name == command);
            for option in own.into_iter().flat_map(|(_, options)| options.iter()) {
                if ours.contains(*option) {
                    assert!(
                        DIFFERENCES.contains(option),
                        "differences.md does not name {option}"
                    );
                    theirs.insert((*option).to_owned());
                }
            }
            if theirs != ours {
                let lacks: Vec<_> = theirs.difference(&ours).collect();
                let has: Vec<_> = ours.difference(&theirs).collect();
                problems.push(format!("{command}: lacks {lacks:?}, has {has:?}"));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Failed::from(problems.join("\n")))
        }
    })
}

/// The commands that Barman's help lists, without aliases, and the programs of the PostgreSQL host.
fn commands(manager: &Manager, barman: &Tool) -> Vec<String> {
    const ALIASES: [&str; 8] = [
        "list-backup",
        "list-process",
        "list-server",
        "recover",
        "show-backups",
        "show-server",
        "switch-xlog",
        "verify",
    ];
    let text = run(manager.command(barman, &["--help"])).success().stdout;
    let list = Regex::new(r"\{([a-z,-]+)\}").unwrap();
    let longest = list
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
        .max_by_key(String::len)
        .unwrap();
    let mut commands: Vec<String> = longest
        .split(',')
        .filter(|name| !ALIASES.contains(name))
        .map(str::to_owned)
        .collect();
    commands.extend(["", "barman-wal-archive", "barman-wal-restore"].map(str::to_owned));
    assert!(commands.len() > 35, "{commands:?}");
    commands
}

fn help(manager: &Manager, tool: &Tool, command: &str) -> String {
    let mut program = match command {
        name if name.starts_with("barman-") => manager.bare_command(tool, name),
        "" => manager.command(tool, &[]),
        name => manager.command(tool, &[name]),
    };
    program.arg("--help").env("COLUMNS", "200");
    run(program).success().stdout
}

/// The names at the beginnings of lines, and the aliases that a description names.
fn options(help: &str) -> BTreeSet<String> {
    let line = Regex::new(r"(?m)^ {1,8}(-\S.*?)(?:  .*)?$").unwrap();
    let name = Regex::new(r"(?:^|[ ,\[/])(--?[A-Za-z][\w-]*)").unwrap();
    let alias = Regex::new(r"\[alias(?:es)?: ([^\]]*)\]").unwrap();
    let heads = line.captures_iter(help).map(|found| found[1].to_owned());
    let aliases = alias.captures_iter(help).map(|found| found[1].to_owned());
    heads
        .chain(aliases)
        .flat_map(|head| {
            let names: Vec<String> = name
                .captures_iter(&head)
                .map(|found| found[1].to_owned())
                .collect();
            names
        })
        .collect()
}
