//! The PostgreSQL hosts of a stanza: how each is reached, and which one backups are taken from.

use std::collections::BTreeMap;

use super::names::numbered;
use super::{Level, names};
use crate::config::ConfigError;
use crate::config::convert::draft::Section;
use crate::config::convert::foreign::{Foreign, Setting};

/// The options that say where PostgreSQL is. The others of their group say how pgBackRest calls itself there.
const USED: [&str; 7] = [
    "host",
    "host-port",
    "host-user",
    "port",
    "socket-path",
    "user",
    "database",
];

/// One host, by its options without their group.
type Host<'s> = BTreeMap<&'static str, &'s str>;

/// The hosts of a stanza, by number.
pub(super) struct Hosts<'s> {
    hosts: BTreeMap<u32, Host<'s>>,
    /// The ssh program.
    ssh: &'s str,
    /// Whether backups are taken from a standby.
    standby: bool,
}

impl<'s> Hosts<'s> {
    pub(super) fn read(
        file: &Foreign<'_>,
        stanza: &Level<'s>,
        global: &Level<'s>,
    ) -> Result<Hosts<'s>, ConfigError> {
        let mut hosts: BTreeMap<u32, Host<'s>> = BTreeMap::new();
        for number in numbers(stanza) {
            let host = hosts.entry(number).or_default();
            for option in USED {
                let name = format!("pg{number}-{option}");
                if let Some(setting) = either(stanza, global, &name) {
                    host.insert(option, checked(file, option, setting)?);
                }
            }
        }
        if hosts.is_empty() {
            let line = stanza.sections.first().map_or(1, |section| section.line);
            return Err(file.refuse(line, "this stanza has no pg1-path"));
        }
        if hosts.values().any(|host| !host.contains_key("host")) {
            refuse_postgres_host(file, stanza, global)?;
        }
        let ssh = either(stanza, global, "cmd-ssh")
            .map(|setting| file.word(setting))
            .transpose()?;
        let standby = either(stanza, global, "backup-standby");
        let standby = match standby.map(Setting::unquoted) {
            Some("prefer") => true,
            Some(_) => standby.map_or(Ok(false), |setting| file.switch(setting))?,
            None => false,
        };
        Ok(Hosts {
            hosts,
            ssh: ssh.unwrap_or("ssh"),
            standby,
        })
    }

    /// Whether PostgreSQL runs on the backup host.
    pub(super) fn is_local(&self) -> bool {
        self.hosts.values().any(|host| !host.contains_key("host"))
    }

    /// The host that backups are taken from, and the primary if that is another one.
    fn source(&self) -> Option<(&Host<'s>, Option<&Host<'s>>)> {
        let mut hosts = self.hosts.values();
        let first = hosts.next()?;
        match hosts.next() {
            Some(second) if self.standby => Some((second, Some(first))),
            _ => Some((first, None)),
        }
    }

    /// Adds how PostgreSQL and its files are reached.
    pub(super) fn connect(&self, server: &mut Section) {
        let Some((source, primary)) = self.source() else {
            return;
        };
        server.remark(
            "pgBackRest connects on the PostgreSQL host itself; Barman connects from here: pg_hba.conf and listen_addresses \
             must allow it, and a password belongs into .pgpass.",
        );
        server.set("conninfo", conninfo(source));
        if let Some(primary) = primary {
            server.remark("backup-standby: conninfo and ssh_command are those of the standby.");
            server.set("primary_conninfo", conninfo(primary));
        }
        match self.ssh_command(source) {
            Some(command) => {
                server.set("backup_method", "rsync");
                server.set("ssh_command", command);
            }
            None => server.set("backup_method", "local-rsync"),
        }
    }

    /// A model for each host that backups are not taken from, to switch to.
    pub(super) fn models(&self, stanza: &str) -> Vec<Section> {
        let used = self
            .source()
            .map_or(0, |(_, primary)| if primary.is_some() { 2 } else { 1 });
        let others = self.hosts.iter().skip(used);
        let remote = others.filter_map(|(number, host)| Some((number, host, self.ssh_command(host)?)));
        remote
            .map(|(number, host, command)| {
                let name = format!("{stanza}-pg{number}");
                let mut model = Section::new(&name);
                model.remark(format!(
                    "Barman works with one host at a time. After a change of roles: barman config-switch {stanza} {name}"
                ));
                model.set("model", "true");
                model.set("cluster", stanza);
                model.set("conninfo", conninfo(host));
                model.set("streaming_conninfo", conninfo(host));
                model.set("ssh_command", command);
                model
            })
            .collect()
    }

    fn ssh_command(&self, host: &Host<'s>) -> Option<String> {
        let name = host.get("host")?;
        let user = host.get("host-user").unwrap_or(&"postgres");
        let port = host
            .get("host-port")
            .map(|port| format!(" -p {port}"))
            .unwrap_or_default();
        Some(format!("{}{port} {user}@{name}", self.ssh))
    }
}

/// pgBackRest connects as the user it runs as, to the database `postgres`, unless it is told otherwise.
fn conninfo(host: &Host<'_>) -> String {
    let mut words = Vec::new();
    if let Some(place) = host.get("host").or(host.get("socket-path")) {
        words.push(format!("host={place}"));
    }
    if let Some(port) = host.get("port") {
        words.push(format!("port={port}"));
    }
    let user = host.get("user").or(host.get("host-user")).unwrap_or(&"postgres");
    words.push(format!("user={user}"));
    words.push(format!("dbname={}", host.get("database").unwrap_or(&"postgres")));
    words.join(" ")
}

/// The value of an option of hosts: a word, and for ports a number.
fn checked<'s>(file: &Foreign<'_>, option: &str, setting: &'s Setting) -> Result<&'s str, ConfigError> {
    if option.ends_with("port") {
        file.number(setting)?;
    }
    file.word(setting)
}

fn either<'s>(stanza: &Level<'s>, global: &Level<'s>, option: &str) -> Option<&'s Setting> {
    let inherited = global.take("backup", option);
    stanza.take("backup", option).or(inherited)
}

/// The numbers of the hosts that the stanza names.
fn numbers(stanza: &Level<'_>) -> Vec<u32> {
    let settings = stanza.sections.iter().flat_map(|section| &section.settings);
    settings
        .filter_map(|setting| match numbered(&names::today(&setting.option)) {
            Some(("pg", number, "path" | "host")) => Some(number),
            _ => None,
        })
        .collect()
}

/// The file of a PostgreSQL host does not say by which name the backup host knows it.
fn refuse_postgres_host(
    file: &Foreign<'_>,
    stanza: &Level<'_>,
    global: &Level<'_>,
) -> Result<(), ConfigError> {
    let settings = stanza
        .sections
        .iter()
        .chain(&global.sections)
        .flat_map(|section| &section.settings);
    let remote = settings
        .filter(|setting| {
            matches!(
                numbered(&names::today(&setting.option)),
                Some(("repo", _, "host"))
            )
        })
        .map(|setting| setting.line)
        .next();
    match remote {
        Some(line) => Err(file.refuse(
            line,
            "this is the file of a PostgreSQL host, whose repository is on another one: convert the file of that host, \
             which has pg1-host",
        )),
        None => Ok(()),
    }
}
