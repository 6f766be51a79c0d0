//! Both programs on one configuration: what they print, and with which exit code.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::case::differences;
use crate::warm_barman::{Request, WarmBarman};

/// A directory with the files of a configuration.
pub struct Home {
    pub directory: PathBuf,
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Home {
    /// Writes the files; `DIR` in them stands for the directory, `USER` for whoever runs the test.
    pub fn new(files: &[(String, Vec<u8>)]) -> Home {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("barkeep-both-{}-{serial}", std::process::id()));
        fs::create_dir_all(directory.join("home")).unwrap();
        let user = barkeep::base::host::user().unwrap();
        let [place, account] = [r"\bDIR\b", r"\bUSER\b"].map(|word| Regex::new(word).unwrap());
        for (name, content) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content = match std::str::from_utf8(content) {
                Ok(text) => {
                    let text = place.replace_all(text, directory.to_str().unwrap());
                    account
                        .replace_all(&text, user.as_str())
                        .into_owned()
                        .into_bytes()
                }
                Err(_) => replaced(content, b"DIR", directory.as_os_str().as_bytes()),
            };
            fs::write(path, content).unwrap();
        }
        Home { directory }
    }

    /// The environment of both programs, and all of it.
    fn environment(&self) -> [(&str, &str); 4] {
        [
            ("HOME", self.directory.to_str().unwrap()),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("PATH", "/usr/lib/postgresql/15/bin:/usr/bin:/bin"),
        ]
    }

    pub fn barman(&self, barman: &WarmBarman, words: &[&str]) -> Run {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.directory.join(name));
        let code = barman.run(&Request {
            words: &[&["-c", "barman.conf"], words].concat(),
            directory: &self.directory,
            environment: &self.environment(),
            stdout: &stdout,
            stderr: &stderr,
        });
        let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        Run {
            stdout: text(&stdout),
            stderr: text(&stderr),
            code,
        }
    }

    pub fn barkeep(&self, words: &[&str]) -> Run {
        let output = Command::new("timeout")
            .arg("60")
            .arg(barkeep())
            .args(["-c", "barman.conf"])
            .args(words)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment())
            .output()
            .unwrap();
        Run {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// What differs between the two programs; nothing means that nobody would notice which one it was.
    pub fn compare(&self, barman: &WarmBarman, words: &[&str]) -> Vec<String> {
        compare(words, &self.barman(barman, words), &self.barkeep(words))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::env::var_os("BARKEEP_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Every occurrence of some bytes replaced.
fn replaced(content: &[u8], sought: &[u8], new: &[u8]) -> Vec<u8> {
    let mut rest = content;
    let mut result = Vec::new();
    while let Some(place) = rest.windows(sought.len()).position(|window| window == sought) {
        result.extend(&rest[..place]);
        result.extend(new);
        rest = &rest[place + sought.len()..];
    }
    result.extend(rest);
    result
}

/// The program under test.
pub fn barkeep() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_barkeep"))
}

/// Compares two runs of the same command.
pub fn compare(words: &[&str], theirs: &Run, ours: &Run) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.code != ours.code {
        found.push(format!(
            "exit code: Barman {} ({}), barkeep {} ({})",
            theirs.code,
            end(&theirs.stderr),
            ours.code,
            end(&ours.stderr)
        ));
        return found;
    }
    let [left, right] = [&theirs.stderr, &ours.stderr].map(|text| counted(&normalised(text)));
    for (line, count) in &left {
        if right.get(line) != Some(count) {
            found.push(format!("stderr of Barman, {count} times: {line}"));
        }
    }
    for (line, count) in &right {
        if left.get(line) != Some(count) {
            found.push(format!("stderr of barkeep, {count} times: {line}"));
        }
    }
    let documents = [&theirs.stdout, &ours.stdout].map(|text| serde_json::from_str::<Value>(text));
    match documents {
        [Ok(left), Ok(right)] if words.contains(&"diagnose") => {
            differences(
                "",
                &of_configuration(&left),
                &of_configuration(&right),
                &mut found,
            );
        }
        [Ok(left), Ok(right)] => differences("", &sorted(left), &sorted(right), &mut found),
        _ => {
            let [left, right] = [&theirs.stdout, &ours.stdout].map(|text| normalised(text));
            let pairs = left.lines().zip(right.lines());
            for (theirs, ours) in pairs.filter(|(theirs, ours)| theirs != ours).take(3) {
                found.push(format!("stdout: Barman {theirs:?}, barkeep {ours:?}"));
            }
            if left.lines().count() != right.lines().count() {
                let counts = (left.lines().count(), right.lines().count());
                found.push(format!("stdout: Barman {} lines, barkeep {}", counts.0, counts.1));
            }
        }
    }
    found
        .into_iter()
        .map(|line| format!("{}: {line}", words.join(" ")))
        .collect()
}

/// The last lines.
fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

/// The order of warnings differs from run to run.
fn counted(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// Without what two runs never have in common, and what `differences.md` says of the place after a warning, of passwords,
/// and of the ends of lines after them.
fn normalised(text: &str) -> String {
    static PATTERNS: OnceLock<[Regex; 3]> = OnceLock::new();
    let [place, set, password] = PATTERNS.get_or_init(|| {
        [
            r"(?m) \([^()\n]*\.conf:\d+\)$",
            r"Options\(\{([^}]*)\}\)",
            r"password=[^\s\x22]+\n?",
        ]
        .map(|pattern| Regex::new(pattern).unwrap())
    });
    let text = place.replace_all(text, "");
    let text = password.replace_all(&text, "password=X");
    let text = set.replace_all(&text, |found: &regex::Captures<'_>| {
        let mut members: Vec<&str> = found[1].split(", ").collect();
        members.sort_unstable();
        format!("Options({{{}}})", members.join(", "))
    });
    text.into_owned()
}

/// The texts of a document, normalised, and its warnings sorted.
fn sorted(mut document: Value) -> Value {
    match &mut document {
        Value::String(text) => *text = normalised(text),
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = sorted(item.take());
            }
        }
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                *value = sorted(value.take());
                if let (Value::Array(lines), true) = (value, key.starts_with('_')) {
                    lines.sort_by_key(ToString::to_string);
                }
            }
        }
        _ => {}
    }
    document
}

/// The part of `diagnose` that comes from the files.
fn of_configuration(document: &Value) -> Value {
    let mut servers = Map::new();
    for (name, server) in document["servers"].as_object().into_iter().flatten() {
        servers.insert(
            name.clone(),
            json!({"config": server["config"], "messages": server["msg_list"], "model": server["active_model"]}),
        );
    }
    json!({"global": document["global"]["config"], "models": document["models"], "servers": servers})
}
