//! The table of `tests/conformance/commands.txt`, as cases: every command line in every state that it names.

use super::cases_archive::{Sums, tar};
use super::cases_live::LiveCase;
use super::runner::{Case, case};
use super::states::{State, resolved, states};
use crate::support::catalog::delivered_content;

const TEXT: &str = include_str!("../../conformance/commands.txt");

/// The cases; without `BARKEEP_CONFORMANCE_FULL` a fixed part in which every command line occurs, in states that change from line to line, with
/// `BARKEEP_CONFORMANCE_SLICE=3/9` the third ninth. The second list are those on a running server, which the part does not have.
pub fn cases() -> (Vec<Case>, Vec<LiveCase>) {
    let (cases, live) = all(std::env::var_os("BARKEEP_CONFORMANCE_FULL").is_some());
    (slice_of(cases), slice_of(live))
}

fn slice_of<T>(mut cases: Vec<T>) -> Vec<T> {
    if let Ok(slice) = std::env::var("BARKEEP_CONFORMANCE_SLICE") {
        let (number, of) = slice.split_once('/').unwrap();
        let (number, of): (usize, usize) = (number.parse().unwrap(), of.parse().unwrap());
        let mut index = 0;
        cases.retain(|_| {
            index += 1;
            index % of == number % of
        });
    }
    cases
}

fn all(full: bool) -> (Vec<Case>, Vec<LiveCase>) {
    let (mut cases, mut live) = (Vec::new(), Vec::new());
    let mut selected: Vec<&'static State> = Vec::new();
    for (row, line) in TEXT.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(patterns) = line.strip_prefix("on ") {
            selected = matching(patterns);
            continue;
        }
        if let Some(patterns) = line.strip_prefix("full on ") {
            selected = if full { matching(patterns) } else { Vec::new() };
            continue;
        }
        let with_ids = |state: &'static State| -> Vec<(&'static State, Option<&'static str>)> {
            if line.contains("{id}") {
                state.ids.iter().map(|id| (state, Some(id.as_str()))).collect()
            } else {
                vec![(state, None)]
            }
        };
        let columns = selected.iter().copied().flat_map(with_ids);
        let columns = columns.filter(|(_, id)| !is_endless(line, *id));
        let (on_lab, columns): (Vec<_>, Vec<_>) = columns.partition(|(state, _)| state.live);
        if full {
            live.extend(on_lab.into_iter().map(|(state, id)| build_live(line, state, id)));
        }
        if columns.is_empty() {
            continue;
        }
        // A diagonal through the table.
        let step = if full { 1 } else { columns.len().min(SHARE) };
        for (state, id) in columns.into_iter().skip(row * 7 % step).step_by(step) {
            cases.push(build(line, state, id));
        }
    }
    (cases, live)
}

/// Whether Barman never comes to an end (differences.md, "list-files of a backup without an end").
fn is_endless(line: &str, id: Option<&str>) -> bool {
    const WITHOUT_END: [&str; 5] = [
        "last-failed",
        "20240111T120000",
        "20240112T120000",
        "20240114T100000",
        "20240504T120000",
    ];
    line.starts_with("list-files")
        && !line.contains("--target data")
        && id.is_some_and(|id| WITHOUT_END.contains(&id))
}

/// One in so many cases of a line runs with `tests/run`, and at least one.
const SHARE: usize = 40;

fn matching(patterns: &str) -> Vec<&'static State> {
    let mut selected = Vec::new();
    for pattern in patterns.split_whitespace() {
        let before = selected.len();
        selected.extend(states().iter().filter(|state| match pattern.strip_suffix('*') {
            Some(start) => state.name.starts_with(start),
            None if pattern == "every" => {
                !state.live && !state.name.ends_with("-two") && !state.name.starts_with("retention")
            }
            None => state.name == pattern,
        }));
        assert!(selected.len() > before, "commands.txt: no state {pattern}");
    }
    selected
}

fn build_live(line: &str, state: &State, id: Option<&str>) -> LiveCase {
    let shown = line
        .replace("{server}", &state.server)
        .replace("{id}", id.unwrap_or_default());
    let name = format!("table::{}::{}", state.name, shown.replace('~', " "));
    LiveCase::new(&name, &shown, &state.options.join("\n")).receiving(state.is_receiving())
}

fn build(line: &str, state: &State, id: Option<&str>) -> Case {
    let (usage, line) = match line.strip_prefix("! ") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
    let shown = line
        .replace("{server}", &state.server)
        .replace("{id}", id.unwrap_or_default())
        .replace('~', " ");
    let mut words = line
        .replace("{server}", &state.server.replace(' ', "~"))
        .replace("{id}", &id.map(resolved).unwrap_or_default().replace(' ', "~"));
    let mut program = "barman";
    if words.starts_with("barman-wal-") {
        let (name, rest) = words.split_once(' ').unwrap_or((&words, ""));
        program = if name == "barman-wal-archive" {
            "barman-wal-archive"
        } else {
            "barman-wal-restore"
        };
        words = rest.to_owned();
    }
    let label = if input.is_empty() {
        String::new()
    } else {
        format!(" < {input}")
    };
    let mut row = case(&format!("table::{}::{shown}{label}", state.name), &words)
        .only(&state.server)
        .server(&state.server, &state.options.join("\n"))
        .global(&state.global.join("\n"))
        .input(&standard_input(input));
    let changes = state.clone();
    row = row.prepare(move |site| changes.apply(site));
    if usage {
        row = row.usage();
    }
    if program != "barman" {
        row = row.program(program);
    }
    // differences.md, "nagios and json"; the documents of sync-info and diagnose would be one text.
    if ["--nagios", "get-wal", "sync-info", "diagnose"]
        .iter()
        .any(|word| shown.contains(word))
    {
        row = row.console();
    }
    // How a command writes JSON is seen with the first backup of a state.
    let another = id.is_some_and(|id| state.ids.first().is_none_or(|first| first != id));
    if another && !line.starts_with("show-backup") {
        row = row.console();
    }
    row
}

/// What comes in on standard input.
fn standard_input(name: &str) -> Vec<u8> {
    const SEGMENT: &str = "00000001000000000000001A";
    let content = delivered_content(SEGMENT);
    let sums = match name {
        "" | "nothing" => return Vec::new(),
        "junk" => return b"this is no tar file".to_vec(),
        "segment" => Sums::Sha256,
        "segment-md5" => Sums::Md5,
        "wrong-sum" => Sums::Wrong,
        "no-sum" => Sums::None,
        _ => panic!("commands.txt: no input {name}"),
    };
    tar(&[(SEGMENT, &content)], sums)
}
