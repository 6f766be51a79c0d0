//! One command after the other, by each tool on a host of its own.

use super::Host;
use crate::support::diff;
use crate::support::scratch::{Scratch, write_file};
use crate::support::tool::Tool;

/// Each line finds what those before it have left.
const COMMANDS: [&[&str]; 18] = [
    // In the file of the section, in that of [barman], in that of conf.d, in a file that is not there yet.
    &[
        "config-update",
        r#"[{"scope": "server", "server_name": "main", "description": "The main one", "compression": "zstd"},
            {"scope": "server", "server_name": "one", "description": "Größe = 1"},
            {"scope": "server", "server_name": "two", "description": "after the rest", "minimum_redundancy": "2"}]"#,
    ],
    &[
        "config-update",
        r#"[{"scope": "server", "server_name": "two", "minimum_redundancy": "3"}]"#,
    ],
    &[
        "-f",
        "json",
        "config-update",
        r#"[{"scope": "model", "model_name": "small", "parallel_jobs": "2", "bandwidth_limit": "7"}]"#,
    ],
    &[
        "config-update",
        r#"[{"scope": "model", "model_name": "new", "cluster": "main", "parallel_jobs": "5"}]"#,
    ],
    // Nothing is changed when one of several is wrong.
    &[
        "config-update",
        r#"[{"scope": "server", "server_name": "main", "description": "no"}, {"scope": "server", "server_name": "small", "description": "no"}]"#,
    ],
    &[
        "config-update",
        r#"[{"scope": "model", "model_name": "main", "parallel_jobs": "5"}]"#,
    ],
    &[
        "config-update",
        r#"[{"scope": "server", "server_name": "main", "parallel_jobs": "many"}]"#,
    ],
    &[
        "config-update",
        r#"[{"scope": "model", "model_name": "new", "incoming_wals_directory": "/x"}]"#,
    ],
    &["config-switch", "main", "foreign"],
    &["-f", "json", "config-switch", "main", "new"],
    &["config-switch", "main", "new"],
    &["config-switch", "main", "small"],
    // Of the server, while a model covers it; of the model, while it is active.
    &[
        "config-update",
        r#"[{"scope": "server", "server_name": "main", "parallel_jobs": "9"}, {"scope": "model", "model_name": "small", "parallel_jobs": "3"}]"#,
    ],
    &["show-servers", "main"],
    &["-f", "json", "list-servers"],
    &["config-switch", "--reset", "main"],
    &["config-switch", "--reset", "main"],
    &["cron"],
];

pub fn as_barman_does(barkeep: &Tool) {
    let scratch = Scratch::new("story");
    let tools = [&Tool::barman(), barkeep];
    let hosts = ["barman", "barkeep"].map(|name| Host::new(&scratch, name));
    for host in &hosts {
        let directory = host.manager.server("main");
        crate::support::scratch::make_directory(&directory, &host.manager.account);
    }
    let before = hosts[1].files();
    let mut differences = String::new();
    for words in COMMANDS {
        let outcome = |number: usize| comparable(words, &hosts[number].outcome(tools[number], words));
        let [theirs, ours] = [outcome(0), outcome(1)];
        if let Some(text) = diff::lines(&theirs, &ours) {
            differences.push_str(&format!("{}\n{}\n", words.join(" "), diff::around_changes(&text)));
        }
    }
    assert_ne!(before, hosts[1].files(), "nothing was changed");
    assert!(differences.is_empty(), "('-' Barman, '+' barkeep)\n{differences}");
}

/// Without differences.md, "order" and "receive-wal": Barman names the first server that it skips.
fn comparable(words: &[&str], outcome: &str) -> String {
    let skips = |line: &&str| words[0] == "config-update" && line.starts_with("Skipping inactive server '");
    let mut lines: Vec<&str> = outcome.lines().filter(|line| !skips(line)).collect();
    let is_change = |line: &str| line.ends_with("through the model 'small'");
    for run in lines.chunk_by_mut(|one, other| is_change(one) && is_change(other)) {
        run.sort_unstable();
    }
    lines.join("\n")
}

/// B9: sections without a blank line between them, and one that is the last line.
pub fn what_barman_corrupts(barkeep: &Tool) {
    let scratch = Scratch::new("corrupt");
    let hosts = ["barman", "barkeep"].map(|name| {
        let host = Host::new(&scratch, name);
        let text = format!(
            "[tight]\n{0}\n[last]\n{0}\n[a]\nmodel = on\ncluster = tight\n[b]\nmodel = on\ncluster = c",
            super::INACTIVE
        );
        write_file(
            &host.manager.directory.join("conf.d/c.conf"),
            text,
            0o640,
            &host.manager.account,
        );
        host
    });
    // Both options have a file already.
    let change = r#"[{"scope": "model", "model_name": "a", "cluster": "last"}, {"scope": "server", "server_name": "tight", "archiver": "off"}]"#;
    let barman = Tool::barman();
    for (host, tool) in hosts.iter().zip([&barman, barkeep]) {
        host.manager.run(tool, &["config-update", change]).success();
    }
    // Barman reads what barkeep has written.
    let shown = hosts[1]
        .manager
        .run(&barman, &["show-servers", "tight", "last"])
        .success();
    assert_eq!(shown.stderr, "", "{}", hosts[1].files());
    assert!(
        hosts[1]
            .files()
            .contains("[a]\nmodel = on\ncluster = last\n[b]\n"),
        "{}",
        hosts[1].files()
    );
}
