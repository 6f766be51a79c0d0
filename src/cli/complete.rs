//! `barkeep complete WORDS…`: what may follow on a command line, for the completions of shells: the names of servers and the
//! ids of backups.
//!
//! It answers in milliseconds: only the configuration and the names in one directory are read. Whatever is wrong, it says
//! nothing: nobody who presses the tabulator key asks for an explanation.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Command, CommandFactory};

use super::manager::Manager;
use super::session::plain_style;
use crate::base::directory;
use crate::catalog::{BackupId, Layout};
use crate::config::{Config, ServerConfig};
use crate::output::Output;

/// The names of backups that every server has.
const SHORTCUTS: [&str; 7] = [
    "latest",
    "last",
    "oldest",
    "first",
    "latest-full",
    "last-full",
    "last-failed",
];

/// Answers, one candidate a line. `arguments` are the words before the cursor, after `barkeep complete`.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let words = arguments.iter().skip(2).map(|word| word.to_string_lossy());
    let words = joined(words.map(|word| word.into_owned()));
    let output = Output::new(plain_style());
    if let Some(wanted) = wanted(&words, &Manager::command())
        && let Ok(config) = Config::load(wanted.config.as_deref(), from_environment().as_deref())
    {
        for name in candidates(&wanted, &config) {
            output.plain(&format!("{name}\n"));
        }
    }
    ExitCode::from(output.finish())
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os("BARMAN_CONFIG_FILE").map(PathBuf::from)
}

/// What may follow.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// The configuration file, when the line names one.
    config: Option<PathBuf>,
    /// The words after the command.
    words: Vec<String>,
    /// Whether the command takes several servers.
    several: bool,
    /// Whether it takes a backup after the server.
    backup: bool,
}

/// bash takes `--option=value` for three words.
fn joined(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for word in words {
        match whole.last_mut() {
            Some(last) if word == "=" || last.ends_with('=') => last.push_str(&word),
            _ => whole.push(word),
        }
    }
    whole
}

/// What a command line may go on with; `None` for nothing that we know.
fn wanted(words: &[String], definition: &Command) -> Option<Wanted> {
    let index = words.iter().position(|word| {
        definition
            .find_subcommand(word)
            .is_some_and(|command| !command.is_hide_set())
    })?;
    let (before, rest) = words.split_at(index);
    let (name, after) = rest.split_first()?;
    let command = definition.find_subcommand(name)?;
    // The value of an option is not ours to guess.
    if after.last().is_some_and(|last| takes_value(command, last)) {
        return None;
    }
    let has = |wanted: &str| {
        command.get_positionals().find(|argument| {
            argument
                .get_value_names()
                .is_some_and(|names| names.iter().any(|name| name == wanted))
        })
    };
    let server = has("server_name")?;
    Some(Wanted {
        config: configuration(before),
        words: after.to_vec(),
        several: matches!(server.get_action(), ArgAction::Append),
        backup: has("backup_id").is_some(),
    })
}

fn takes_value(command: &Command, word: &str) -> bool {
    let word = word.strip_suffix('=').unwrap_or(word);
    command.get_opts().any(|option| {
        let long = word.strip_prefix("--").is_some_and(|long| {
            option
                .get_long_and_visible_aliases()
                .unwrap_or_default()
                .contains(&long)
        });
        let short = option
            .get_short()
            .is_some_and(|short| word == format!("-{short}"));
        (long || short) && option.get_action().takes_values()
    })
}

/// `-c FILE`, `--config FILE`, `--config=FILE`
fn configuration(words: &[String]) -> Option<PathBuf> {
    let separate = words
        .windows(2)
        .find(|pair| {
            pair.first()
                .is_some_and(|word| word == "-c" || word == "--config")
        })
        .and_then(|pair| pair.last());
    let joined = || words.iter().find_map(|word| word.strip_prefix("--config="));
    separate.map(String::as_str).or_else(joined).map(PathBuf::from)
}

fn candidates(wanted: &Wanted, config: &Config) -> Vec<String> {
    let named = wanted.words.iter().find_map(|word| config.servers.get(word));
    match named {
        Some(server) if wanted.backup => {
            let is_backup =
                |word: &String| BackupId::parse(word).is_some() || SHORTCUTS.contains(&word.as_str());
            if wanted.words.iter().any(is_backup) {
                return Vec::new();
            }
            backups(server)
        }
        Some(_) if !wanted.several => Vec::new(),
        _ => {
            let all = wanted.several.then_some("all");
            let names = config.servers.keys().map(String::as_str).chain(all);
            names
                .filter(|name| !wanted.words.iter().any(|word| word == name))
                .map(str::to_owned)
                .collect()
        }
    }
}

/// The backups of a server, the newest first, then the names that every server has.
fn backups(server: &ServerConfig) -> Vec<String> {
    let ids = Layout::of(server).map_or_else(|_| BTreeSet::new(), |layout| ids(&layout));
    ids.iter()
        .rev()
        .map(|id| id.as_str().to_owned())
        .chain(SHORTCUTS.into_iter().map(str::to_owned))
        .collect()
}

fn ids(layout: &Layout) -> BTreeSet<BackupId> {
    let names = |directory: &Path| directory::names(directory).unwrap_or_default();
    let current = names(&layout.meta);
    let older = names(&layout.base);
    current
        .iter()
        .filter_map(|name| name.strip_suffix("-backup.info"))
        .chain(older.iter().map(String::as_str))
        .filter_map(BackupId::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(line: &str, config: &Config) -> Vec<String> {
        let words = joined(line.split_whitespace().map(str::to_owned));
        wanted(&words, &Manager::command()).map_or_else(Vec::new, |wanted| candidates(&wanted, config))
    }

    #[test]
    fn servers_and_then_backups() {
        let home = std::env::temp_dir().join(format!("barkeep-complete-{}", std::process::id()));
        std::fs::create_dir_all(home.join("a/meta")).unwrap();
        for name in [
            "20260101T000000-backup.info",
            "20260102T000000-backup.info",
            "20260102T000000-keep",
        ] {
            std::fs::write(home.join("a/meta").join(name), "").unwrap();
        }
        let config =
            Config::parse(&format!("[barman]\nbarman_home = {}\n[a]\n[b]\n", home.display())).unwrap();
        assert_eq!(answer("backup", &config), ["a", "b", "all"]);
        assert_eq!(answer("-c /x --debug backup b", &config), ["a", "all"]);
        assert_eq!(answer("backup --jobs", &config), Vec::<String>::new());
        assert_eq!(answer("backup --jobs =", &config), Vec::<String>::new());
        assert_eq!(answer("backup --jobs = 2", &config), ["a", "b", "all"]);
        assert_eq!(answer("delete", &config), ["a", "b"]);
        let backups = answer("delete a", &config);
        assert_eq!(
            backups.get(..3).unwrap(),
            ["20260102T000000", "20260101T000000", "latest"]
        );
        assert_eq!(answer("restore a latest", &config), Vec::<String>::new());
        assert_eq!(answer("switch-wal a --force", &config), ["b", "all"]);
        assert_eq!(answer("cron", &config), Vec::<String>::new());
        assert_eq!(answer("no-such-command", &config), Vec::<String>::new());
        std::fs::remove_dir_all(&home).unwrap();
        let words = ["-c".to_owned(), "/etc/x".to_owned()];
        assert_eq!(configuration(&words).unwrap(), Path::new("/etc/x"));
        let words = joined(["--config", "=", "/etc/x"].into_iter().map(str::to_owned));
        assert_eq!(configuration(&words).unwrap(), Path::new("/etc/x"));
    }
}
