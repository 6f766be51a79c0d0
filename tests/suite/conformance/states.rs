//! The states of `tests/conformance/states.txt`: which server, with which options, changed how.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::fixture::recent_ids;
use super::runner::Site;
use crate::support::catalog::{delivered_content, set_time};

const TEXT: &str = include_str!("../../conformance/states.txt");

/// What a command finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub name: String,
    /// The server of the synthetic catalog.
    pub server: String,
    /// What `{id}` stands for.
    pub ids: Vec<String>,
    /// Lines of the server's section.
    pub options: Vec<String>,
    /// Whether PostgreSQL and ssh are there: `main` of the lab of `cases_live.rs` in place of a synthetic server.
    pub live: bool,
    /// Lines of `[barman]`.
    pub global: Vec<String>,
    changes: Vec<String>,
}

/// All states, in the order of the file.
pub fn states() -> &'static [State] {
    static STATES: OnceLock<Vec<State>> = OnceLock::new();
    STATES.get_or_init(parsed)
}

fn parsed() -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    for line in expanded(TEXT) {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let state = states.last_mut();
        match (word, state) {
            ("state", _) => {
                let (name, server) = rest.split_once(" = ").unwrap();
                states.push(State {
                    name: name.to_owned(),
                    server: server.replace("LAB", "main").replace('~', " "),
                    live: server == "LAB",
                    ..State::default()
                });
            }
            ("ids", Some(state)) => state.ids = rest.split(' ').map(|id| id.replace('~', " ")).collect(),
            ("option", Some(state)) => state.options.push(rest.to_owned()),
            ("global", Some(state)) => state.global.push(rest.to_owned()),
            ("do", Some(state)) => state.changes.push(rest.to_owned()),
            ("like", Some(_)) => {
                let model = states.iter().find(|state| state.name == rest).unwrap().clone();
                let state = states.last_mut().unwrap();
                state.options.extend(model.options);
                state.global.extend(model.global);
                state.changes.extend(model.changes);
            }
            _ => panic!("states.txt: {line}"),
        }
    }
    states
}

/// The lines without comments; those between `each` and `end` once for each of its words.
fn expanded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut repeated: Option<(String, Vec<String>, Vec<String>)> = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("each ") {
            let (word, values) = rest.split_once(" = ").unwrap();
            let values = values.split(" | ").map(str::to_owned).collect();
            repeated = Some((word.to_owned(), values, Vec::new()));
        } else if line == "end" {
            let (word, values, body) = repeated.take().unwrap();
            for value in values {
                lines.extend(body.iter().map(|line| {
                    let dashed = value.replace(' ', "-");
                    let value = if line.starts_with("state") {
                        &dashed
                    } else {
                        &value
                    };
                    line.replace(&word, value)
                }));
            }
        } else if let Some((_, _, body)) = &mut repeated {
            body.push(line.to_owned());
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// `@3` is the third backup of the server `recent`.
pub fn resolved(id: &str) -> String {
    match id.strip_prefix('@') {
        Some(number) => recent_ids()[number.parse::<usize>().unwrap() - 1].to_owned(),
        None => id.to_owned(),
    }
}

impl State {
    /// Whether a WAL receiver runs.
    pub fn is_receiving(&self) -> bool {
        self.changes.iter().any(|change| change == "receive-wal")
    }

    /// Makes the changes.
    pub fn apply(&self, site: &Site) {
        for change in &self.changes {
            self.change(site, change);
        }
    }

    fn change(&self, site: &Site, change: &str) {
        let words: Vec<&str> = change.split(' ').collect();
        let server = site.manager.server(&self.server);
        let put = |path: PathBuf, content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            set_time(&path, 1_704_990_000);
            site.manager.account.own(&path);
        };
        match *words {
            ["keep", id, target] => {
                let path = server.join(format!("meta/{}-keep", resolved(id)));
                put(path, target.as_bytes());
            }
            ["set", id, key, ..] => {
                let value = words[3..].join(" ");
                let path = server.join(format!("meta/{}-backup.info", resolved(id)));
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().map(|line| {
                    if line.starts_with(&format!("{key}=")) {
                        format!("{key}={value}\n")
                    } else {
                        format!("{line}\n")
                    }
                });
                put(path, lines.collect::<String>().as_bytes());
            }
            ["remove", path] => std::fs::remove_file(server.join(path)).unwrap(),
            ["move", from, to] => std::fs::rename(server.join(from), server.join(to)).unwrap(),
            ["write", path, ..] => put(server.join(path), words[2..].join(" ").as_bytes()),
            [directory @ ("incoming" | "streaming"), name] => {
                put(server.join(directory).join(name), &delivered_content(name));
            }
            _ => panic!("states.txt: do {change}"),
        }
    }
}
