//! Configurations as they are met in the wild, each a directory of `samples/`: both programs must say the same of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::case::barman;
use crate::programs::Home;
use crate::warm_barman::WarmBarman;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configuration/samples");

/// What is asked of each.
const COMMANDS: [&[&str]; 3] = [
    &["list-servers"],
    &["show-servers", "all"],
    &["diagnose", "--show-config-source"],
];

/// The files of a sample, by their paths in it. `dot-x` stands for `.x`, which tools like to overlook.
pub fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(SAMPLES).join(name);
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                files.push((name.replace("dot-", "."), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn both_programs_say_the_same_of_every_sample() {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let mut names: Vec<String> = fs::read_dir(SAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    let failures: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = names
            .chunks(names.len().div_ceil(2))
            .map(|names| {
                let barman = &barman;
                scope.spawn(move || {
                    let barman = WarmBarman::start(barman);
                    names.iter().flat_map(|name| compared(name, &barman)).collect()
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|thread| -> Vec<String> { thread.join().unwrap() })
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn compared(name: &str, barman: &WarmBarman) -> Vec<String> {
    let home = Home::new(&files(name));
    let mut failures = Vec::new();
    let listed = home.barman(barman, COMMANDS[0]);
    if listed.stdout.is_empty() && !listed.stderr.contains("Conflicting path") {
        failures.push(format!("{name}: Barman lists no server: {}", listed.stderr));
    }
    for words in COMMANDS {
        let found = home.compare(barman, words);
        failures.extend(found.into_iter().map(|line| format!("{name}: {line}")));
    }
    failures
}
