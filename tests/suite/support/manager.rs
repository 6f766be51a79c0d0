//! The backup host: a barman home with its configuration, and how to run a tool on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Account, Finished, run, run_with_input};
use super::scratch::{make_directory, write_file};
use super::tool::Tool;

/// The directory and configuration that Barman calls its home, used by both tools in turn.
#[derive(Debug, Clone)]
pub struct Manager {
    /// Holds `barman.conf` and `home/`.
    pub directory: PathBuf,
    pub account: Account,
    /// Directories searched for programs after the tool's own.
    pub path: Vec<PathBuf>,
    /// Extra environment of the tool.
    pub environment: BTreeMap<String, String>,
}

impl Manager {
    /// Creates an empty home below `directory`.
    pub fn new(directory: &Path) -> Manager {
        let account = Account::barman();
        make_directory(directory, &account);
        make_directory(&directory.join("home"), &account);
        let path = vec![PathBuf::from("/usr/lib/postgresql/15/bin")];
        Manager {
            directory: directory.to_path_buf(),
            account,
            path,
            environment: BTreeMap::new(),
        }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.join("barman.conf")
    }

    /// The directory of one server's catalog.
    pub fn server(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// Writes `barman.conf`: the `[barman]` section with the usual first lines, then the sections of `servers`.
    pub fn configure(&self, global: &str, servers: &[(&str, String)]) {
        let mut text = format!(
            "[barman]\nbarman_user = {}\nbarman_home = {}\nlog_file = {}\nlog_level = INFO\n{global}\n",
            self.account.name,
            self.home().display(),
            self.directory.join("barman.log").display(),
        );
        for (name, body) in servers {
            text.push_str(&format!("\n[{name}]\n{body}\n"));
        }
        write_file(&self.config_file(), text, 0o644, &self.account);
    }

    /// A command line `barman -c CONFIG ARGUMENTS`, run as the manager's account in a clean environment.
    pub fn command(&self, tool: &Tool, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(tool, "barman");
        command.arg("-c").arg(self.config_file()).args(arguments);
        command
    }

    /// One of the tool's programs without arguments.
    pub fn bare_command(&self, tool: &Tool, program: &str) -> Command {
        let mut command = self.account.applied_to(Command::new(tool.program(program)));
        let mut path = vec![tool.bin.display().to_string()];
        path.extend(self.path.iter().map(|p| p.display().to_string()));
        path.extend(["/usr/bin".to_owned(), "/bin".to_owned()]);
        command
            .env_clear()
            .env("PATH", path.join(":"))
            .env("HOME", "/var/lib/barman")
            .env("LC_ALL", "C.UTF-8");
        command
            .env("TZ", "UTC")
            .envs(&self.environment)
            .current_dir(&self.directory);
        command
    }

    /// Runs `barman -c CONFIG ARGUMENTS` to its end.
    #[track_caller]
    pub fn run(&self, tool: &Tool, arguments: &[&str]) -> Finished {
        run(self.command(tool, arguments))
    }

    /// The same with standard input.
    #[track_caller]
    pub fn run_with_input(&self, tool: &Tool, arguments: &[&str], input: &[u8]) -> Finished {
        run_with_input(self.command(tool, arguments), input)
    }

    /// `-f json` output, parsed.
    #[track_caller]
    pub fn json(&self, tool: &Tool, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["-f", "json"];
        all.extend(arguments);
        let finished = self.run(tool, &all).success();
        serde_json::from_str(&finished.stdout).unwrap_or_else(|e| {
            panic!(
                "{} {arguments:?} printed no JSON ({e}):\n{}",
                tool.name, finished.stdout
            )
        })
    }

    /// The backup ids of a server, newest first, as the information files say.
    #[track_caller]
    pub fn backup_ids(&self, server: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.server(server).join("meta")) else {
            return Vec::new();
        };
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = names
            .filter_map(|name| name.strip_suffix("-backup.info").map(str::to_owned))
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    /// The tool's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("barman.log")).unwrap_or_default()
    }
}
