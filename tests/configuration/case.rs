//! One configuration, read by real Barman's `diagnose` and by the library.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::config::{Config, ConfigError};
use serde_json::{Map, Value, json};

/// What a program made of a configuration.
#[derive(Debug, PartialEq)]
pub struct Reading {
    /// Sorted: Barman's order changes from run to run.
    pub warnings: BTreeSet<String>,
    pub document: Value,
}

pub struct Case {
    pub directory: PathBuf,
    name: String,
}

impl Case {
    /// Writes files; `DIR` in them stands for the directory of this case, `USER` for whoever runs the test.
    pub fn new(name: &str, files: &[(&str, &str)]) -> Case {
        let directory = std::env::temp_dir().join(format!("barkeep-config-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("home")).unwrap();
        for (file, text) in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let user = barkeep::base::host::user().unwrap();
            let text = text
                .replace("DIR", directory.to_str().unwrap())
                .replace("USER", &user);
            fs::write(path, text).unwrap();
        }
        Case {
            directory,
            name: name.to_owned(),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.directory.join("b.conf")
    }

    pub fn barman(&self, barman: &Path) -> Result<Reading, String> {
        let output = Command::new(barman)
            .arg("-c")
            .arg(self.config())
            .args(["diagnose", "--show-config-source"])
            .env("HOME", &self.directory)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let document: Value = match serde_json::from_slice(&output.stdout) {
            Ok(document) => document,
            Err(_) => return Err(stderr),
        };
        let mut servers = Map::new();
        for (name, server) in document["servers"].as_object().unwrap() {
            servers.insert(
                name.clone(),
                json!({"config": server["config"], "messages": server["msg_list"], "model": server["active_model"]}),
            );
        }
        Ok(Reading {
            warnings: stderr
                .lines()
                .filter(|line| line.starts_with("WARNING: ") || line.starts_with("ERROR: "))
                .map(str::to_owned)
                .collect(),
            document: json!({
                "global": document["global"]["config"], "models": document["models"], "servers": servers,
            }),
        })
    }

    pub fn barkeep(&self) -> Result<Reading, ConfigError> {
        let config = Config::load(Some(&self.config()), None)?;
        let mut warnings: Vec<String> = config
            .warnings
            .iter()
            .map(|line| self.without_place(line))
            .collect();
        let mut servers = Map::new();
        for (name, server) in &config.servers {
            warnings.extend(server.warnings.clone());
            servers.insert(
                name.clone(),
                json!({
                    "config": self.redacted(server.diagnose(true)),
                    "messages": server.msg_list,
                    "model": server.active_model,
                }),
            );
        }
        let models: Map<String, Value> = config
            .models
            .iter()
            .map(|(name, model)| (name.clone(), json!({"config": model.diagnose(true)})))
            .collect();
        let mut lines: BTreeSet<String> = warnings.iter().map(|line| format!("WARNING: {line}")).collect();
        lines.extend(config.reported_errors.iter().map(|line| format!("ERROR: {line}")));
        Ok(Reading {
            warnings: lines,
            document: json!({"global": config.diagnose_global(true), "models": models, "servers": servers}),
        })
    }

    /// Barman's line: ours has ` (file:line)` after it.
    fn without_place(&self, line: &str) -> String {
        let (text, place) = line.rsplit_once(" (").expect("a place after the warning");
        assert!(
            place.starts_with(self.directory.to_str().unwrap()),
            "{}: no file and line in {line:?}",
            self.name
        );
        text.to_owned()
    }

    fn redacted(&self, config: Map<String, Value>) -> Value {
        let text = serde_json::to_string(&config).unwrap();
        serde_json::from_str(&barkeep::output::redacted(&text)).unwrap()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Differences between two JSON documents, by path.
pub fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    if let (Some(left), Some(right)) = (theirs.as_object(), ours.as_object()) {
        let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for key in keys {
            let absent = json!("(absent)");
            let (left, right) = (
                left.get(key).unwrap_or(&absent),
                right.get(key).unwrap_or(&absent),
            );
            differences(&format!("{path}.{key}"), left, right, found);
        }
    } else if set(theirs) != set(ours) {
        found.push(format!("{path}: Barman {theirs}, barkeep {ours}"));
    }
}

/// The members of a set in one order: Barman's changes from run to run.
pub fn set(value: &Value) -> Value {
    match value.as_str() {
        Some(text)
            if text.contains("_backup,") || text.contains(",concurrent") || text.contains("-restore,") =>
        {
            json!(text.split(',').collect::<BTreeSet<_>>())
        }
        _ => value.clone(),
    }
}

pub fn barman() -> Option<PathBuf> {
    let cache = std::env::var_os("BARKEEP_TEST_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/barkeep-tests"), PathBuf::from);
    let program = cache.join("barman/bin/barman");
    program.exists().then_some(program)
}
