//! Which servers and backups a command means, and what it does with servers that are out of use.
//!
//! The rules exist once, here: names are taken apart, resolved and put in order; unknown ones are reported in their
//! place; an inactive, disabled or passive server is worked on, skipped or refused as the table says. Facts: command
//! reference §3 and §4.

use std::collections::BTreeSet;

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::base::{interrupt, process};
use crate::catalog::retention::RetentionPolicy;
use crate::catalog::{BackupId, BackupInfo, Catalog};
use crate::config::{Config, ServerConfig};

/// What a command does with a server in some state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// It works on it.
    Run,
    /// It says so and goes on; this is not an error.
    Skip,
    /// It says why not; the exit code becomes 1.
    Refuse,
}

use Treatment::{Refuse, Run, Skip};

/// The command, and what it does with an inactive, a disabled and a passive server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    inactive: Treatment,
    disabled: Treatment,
    passive: Treatment,
}

const fn rule(inactive: Treatment, disabled: Treatment, passive: Treatment) -> Rule {
    Rule {
        inactive,
        disabled,
        passive,
    }
}

//                                                         inactive disabled passive
pub(super) const ARCHIVE_WAL: Rule = rule(Skip, Refuse, Run);
pub(super) const BACKUP: Rule = rule(Skip, Refuse, Skip);
pub(super) const CHECK: Rule = rule(Run, Run, Run);
pub(super) const CHECK_BACKUP: Rule = rule(Skip, Refuse, Run);
pub(super) const CHECK_WAL_ARCHIVE: Rule = rule(Skip, Refuse, Run);
pub(super) const DELETE: Rule = rule(Run, Refuse, Run);
pub(super) const EXPORT: Rule = rule(Run, Refuse, Run);
pub(super) const GENERATE_MANIFEST: Rule = rule(Skip, Refuse, Run);
pub(super) const GET_WAL: Rule = rule(Run, Refuse, Run);
pub(super) const IMPORT: Rule = rule(Run, Refuse, Run);
pub(super) const KEEP: Rule = rule(Skip, Refuse, Run);
pub(super) const MERGE: Rule = rule(Run, Refuse, Run);
pub(super) const PROCESSES: Rule = rule(Skip, Refuse, Run);
pub(super) const PUT_WAL: Rule = rule(Refuse, Refuse, Run);
pub(super) const REBUILD_XLOGDB: Rule = rule(Skip, Refuse, Run);
pub(super) const RECEIVE_WAL: Rule = rule(Skip, Refuse, Run);
/// `receive-wal` with `--stop`, `--reset`, `--create-slot` or `--drop-slot`.
pub(super) const RECEIVE_WAL_SETUP: Rule = rule(Run, Refuse, Run);
pub(super) const REPLICATION_STATUS: Rule = rule(Skip, Refuse, Skip);
pub(super) const RESTORE: Rule = rule(Run, Refuse, Run);
/// Commands that only show what is there: `list-backups`, `status`, `show-backup`, `list-files`, `verify-backup`, …
pub(super) const SHOW: Rule = rule(Run, Run, Run);
pub(super) const SWITCH_WAL: Rule = rule(Skip, Refuse, Skip);
/// `sync-backup` and `sync-wals`, which refuse servers that are not passive.
pub(super) const SYNC: Rule = rule(Skip, Refuse, Run);
pub(super) const SYNC_INFO: Rule = rule(Skip, Refuse, Run);

/// A backup that was named on the command line.
#[derive(Debug)]
pub(super) struct FoundBackup<'a> {
    /// Its server.
    pub(super) server: &'a ServerConfig,
    /// The catalog it is in.
    pub(super) catalog: Catalog,
    /// Its id.
    pub(super) id: BackupId,
}

impl FoundBackup<'_> {
    /// What the catalog knows of the backup.
    pub(super) fn info(&self) -> Result<BackupInfo, Failure> {
        self.catalog.load(&self.id)?.ok_or_else(|| self.gone())
    }

    /// How many workers read its files.
    pub(super) fn workers(&self) -> usize {
        usize::try_from(self.server.parallel_jobs).unwrap_or(1).max(1)
    }

    /// The failure of a backup that was deleted after it had been found.
    pub(super) fn gone(&self) -> Failure {
        Failure::error(format!(
            "Unknown backup '{}' for server '{}'",
            self.id, self.server.name
        ))
    }
}

impl Session {
    /// Does `work` for each of the servers named, in the order of the alphabet.
    ///
    /// Unknown servers are reported in their place. A failure of one server is reported and does not keep the others
    /// from their turn.
    pub(super) fn for_servers(
        &self,
        names: &[String],
        rule: Rule,
        mut work: impl FnMut(&ServerConfig) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut named = self.named(names)?;
        // Servers that are skipped are named first, as Barman does.
        named.retain(|(_, server)| server.is_none_or(|server| !self.skips(server, rule)));
        for (name, server) in named {
            // What was asked to stop does not go on with the next server.
            interrupt::check()?;
            let Some(server) = server else {
                self.output.error(&unknown(&name));
                continue;
            };
            if self.refuses(server, rule) {
                continue;
            }
            process::search_first(server.path_prefix.as_deref());
            if let Err(failure) = work(server) {
                failure.report(&self.output);
            }
        }
        Ok(())
    }

    /// The one server named; `None` when it is skipped or refused, which has been said then.
    pub(super) fn server(&self, name: &str, rule: Rule) -> Result<Option<&ServerConfig>, Failure> {
        if name == "all" {
            return Err(Failure::error("You cannot use 'all' in a single server context"));
        }
        let config = self.sound_config()?;
        let server = config
            .servers
            .get(name)
            .ok_or_else(|| Failure::error(unknown(name)))?;
        self.announce(server);
        process::search_first(server.path_prefix.as_deref());
        Ok((!self.skips(server, rule) && !self.refuses(server, rule)).then_some(server))
    }

    /// The one backup named; `None` when its server is skipped or refused, which has been said then.
    pub(super) fn backup(
        &self,
        argument: &BackupArgument,
        rule: Rule,
    ) -> Result<Option<FoundBackup<'_>>, Failure> {
        let Some(server) = self.server(&argument.server_name, rule)? else {
            return Ok(None);
        };
        let catalog = Catalog::of(server)?;
        let id = catalog.resolve(&argument.backup_id)?;
        Ok(Some(FoundBackup { server, catalog, id }))
    }

    /// Every server of the configuration, in the order of the alphabet.
    pub(super) fn every_server(&self) -> Result<Vec<&ServerConfig>, Failure> {
        self.every_server_of(self.config()?)
    }

    /// Every server of a configuration that was read again.
    pub(super) fn every_server_of<'a>(&self, config: &'a Config) -> Result<Vec<&'a ServerConfig>, Failure> {
        let servers: Vec<&ServerConfig> = self.sound(config)?.servers.values().collect();
        servers.iter().for_each(|server| self.announce(server));
        Ok(servers)
    }

    /// The servers that `names` mean, each once, with `None` for unknown ones.
    fn named(&self, names: &[String]) -> Result<Vec<(String, Option<&ServerConfig>)>, Failure> {
        let config = self.sound_config()?;
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let found: Vec<(String, Option<&ServerConfig>)> = if names.contains("all") {
            if names.len() > 1 {
                self.output.error("You cannot use 'all' with other server names");
            }
            config
                .servers
                .iter()
                .map(|(name, server)| (name.clone(), Some(server)))
                .collect()
        } else {
            names
                .into_iter()
                .map(|name| (name.to_owned(), config.servers.get(name)))
                .collect()
        };
        found
            .iter()
            .filter_map(|(_, server)| *server)
            .for_each(|server| self.announce(server));
        Ok(found)
    }

    /// Tells what there is to say about a server, once it is used.
    pub(super) fn announce(&self, server: &ServerConfig) {
        server.announce(&self.output);
        let policy = server.retention_policy.as_deref().unwrap_or_default();
        if !policy.is_empty() && policy.parse::<RetentionPolicy>().is_err() {
            let name = &server.name;
            log::error!(
                target: "barman.server",
                "Invalid retention_policy setting \"{policy}\" for server \"{name}\""
            );
        }
    }

    /// The configuration, unless its servers are in each other's way.
    fn sound_config(&self) -> Result<&Config, Failure> {
        self.sound(self.config()?)
    }

    fn sound<'a>(&self, config: &'a Config) -> Result<&'a Config, Failure> {
        if config.errors.is_empty() {
            return Ok(config);
        }
        for line in &config.errors {
            self.output.error(line);
        }
        Err(Failure::reported())
    }

    /// Whether a command with this rule leaves the server out; says so.
    fn skips(&self, server: &ServerConfig, rule: Rule) -> bool {
        let line = rule.skipped(server);
        if let Some(line) = &line {
            self.output.info(line);
        }
        line.is_some()
    }

    /// Whether a command with this rule refuses the server; says why.
    fn refuses(&self, server: &ServerConfig, rule: Rule) -> bool {
        let line = rule.refused(server);
        if let Some(line) = &line {
            self.output.error(line);
        }
        line.is_some()
    }
}

impl Rule {
    /// The line about a server that is left out.
    fn skipped(self, server: &ServerConfig) -> Option<String> {
        let state = self.state(server, Skip)?;
        Some(format!("Skipping {} server '{}'", state.adjective(), server.name))
    }

    /// The line about a server that is refused.
    fn refused(self, server: &ServerConfig) -> Option<String> {
        match self.state(server, Refuse)? {
            State::Disabled => server.msg_list.first().cloned(),
            State::Inactive => Some(format!("Inactive server: {}", server.name)),
            State::Passive => Some(format!("Passive server: {}", server.name)),
        }
    }

    /// The first state of the server that gets this treatment.
    fn state(self, server: &ServerConfig, treatment: Treatment) -> Option<State> {
        [
            (!server.active, self.inactive, State::Inactive),
            (!server.msg_list.is_empty(), self.disabled, State::Disabled),
            (server.is_passive(), self.passive, State::Passive),
        ]
        .into_iter()
        .find_map(|(holds, own, state)| (holds && own == treatment).then_some(state))
    }
}

/// Why a server is not in ordinary use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Inactive,
    Disabled,
    Passive,
}

impl State {
    fn adjective(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Disabled => "temporarily disabled",
            State::Passive => "passive",
        }
    }
}

/// Refuses a server that its configuration model disables, for what makes PostgreSQL work. Its WAL still arrives, and its
/// backups can still be used; Barman leaves such a server out without a word.
pub(super) fn enabled(server: &ServerConfig) -> Result<(), Failure> {
    if server.disabled {
        return Err(Failure::error(format!(
            "Server '{}' is disabled by its configuration model",
            server.name
        )));
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    format!("Unknown server '{name}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(active: bool, disabled: bool, passive: bool) -> ServerConfig {
        ServerConfig {
            name: "main".to_owned(),
            active,
            msg_list: if disabled {
                vec!["no ssh_command".to_owned(), "more".to_owned()]
            } else {
                Vec::new()
            },
            primary_ssh_command: passive.then(|| "ssh x".to_owned()),
            ..ServerConfig::default()
        }
    }

    /// What a command says about a server, with the stream it says it on.
    fn said(rule: Rule, server: &ServerConfig) -> String {
        match (rule.skipped(server), rule.refused(server)) {
            (Some(line), _) => format!("info: {line}"),
            (_, Some(line)) => format!("error: {line}"),
            _ => String::new(),
        }
    }

    #[test]
    fn a_server_in_ordinary_use_is_worked_on_by_every_command() {
        for rule in [ARCHIVE_WAL, BACKUP, CHECK, DELETE, PUT_WAL, SHOW, SWITCH_WAL] {
            assert_eq!(said(rule, &server(true, false, false)), "");
        }
    }

    #[test]
    fn the_table_decides_about_the_others() {
        const SKIPPED: &str = "info: Skipping inactive server 'main'";
        const BROKEN: &str = "error: no ssh_command";
        const PASSIVE: &str = "info: Skipping passive server 'main'";
        for (command, rule, inactive, disabled, passive) in [
            ("archive-wal", ARCHIVE_WAL, SKIPPED, BROKEN, ""),
            ("backup", BACKUP, SKIPPED, BROKEN, PASSIVE),
            ("check", CHECK, "", "", ""),
            ("delete", DELETE, "", BROKEN, ""),
            ("get-wal", GET_WAL, "", BROKEN, ""),
            ("keep", KEEP, SKIPPED, BROKEN, ""),
            ("put-wal", PUT_WAL, "error: Inactive server: main", BROKEN, ""),
            ("rebuild-xlogdb", REBUILD_XLOGDB, SKIPPED, BROKEN, ""),
            ("receive-wal", RECEIVE_WAL, SKIPPED, BROKEN, ""),
            ("receive-wal --stop", RECEIVE_WAL_SETUP, "", BROKEN, ""),
            ("replication-status", REPLICATION_STATUS, SKIPPED, BROKEN, PASSIVE),
            ("restore", RESTORE, "", BROKEN, ""),
            ("list-backups", SHOW, "", "", ""),
            ("switch-wal", SWITCH_WAL, SKIPPED, BROKEN, PASSIVE),
            ("sync-backup", SYNC, SKIPPED, BROKEN, ""),
            ("sync-info", SYNC_INFO, SKIPPED, BROKEN, ""),
        ] {
            assert_eq!(said(rule, &server(false, false, false)), inactive, "{command}");
            assert_eq!(said(rule, &server(true, true, false)), disabled, "{command}");
            assert_eq!(said(rule, &server(true, false, true)), passive, "{command}");
        }
    }

    #[test]
    fn skipping_comes_before_refusing() {
        assert_eq!(
            said(KEEP, &server(false, true, false)),
            "info: Skipping inactive server 'main'"
        );
    }
}
