//! `pgbackrest.conf`, with the options of pgBackRest 2.60 and their older names.
//!
//! A stanza is a server. A value for a command stands in `[stanza:command]`, else in `[stanza]`, else in
//! `[global:command]`, else in `[global]`; the latter two become `[barman]`, from which servers inherit.

mod advice;
mod hosts;
mod names;

use super::draft::{Draft, Section};
use super::foreign::{Foreign, Section as Source, Setting};
use crate::config::ConfigError;
use hosts::Hosts;

/// The largest number of backups to keep, which stands for keeping all of them.
const KEEP_ALL: i64 = 9_999_999;

/// The sections of one level: those for all commands, and those for single ones.
pub(super) struct Level<'s> {
    name: &'s str,
    sections: Vec<&'s Source>,
}

impl<'s> Level<'s> {
    fn new(file: &'s Foreign<'_>, name: &'s str) -> Level<'s> {
        let belongs = |section: &&Source| section.name.split(':').next() == Some(name);
        Level {
            name,
            sections: file.sections.iter().filter(belongs).collect(),
        }
    }

    /// The value of an option for a command.
    fn take(&self, command: &str, option: &str) -> Option<&'s Setting> {
        let named = |wanted: &str| {
            let mut sections = self.sections.iter();
            sections.find(|section| section.name.strip_prefix(self.name) == Some(wanted))
        };
        let own = named(&format!(":{command}")).and_then(|section| named_option(section, option));
        own.or_else(|| named("").and_then(|section| named_option(section, option)))
    }

    /// The value of an option of `expire`, which `backup` runs.
    fn take_of_expire(&self, option: &str) -> Option<&'s Setting> {
        let of_backups = self.take("backup", option);
        self.take("expire", option).or(of_backups)
    }
}

/// An option under its name of today.
fn named_option<'s>(section: &'s Source, option: &str) -> Option<&'s Setting> {
    let settings = section.settings.iter();
    let found = settings.filter(|setting| names::today(&setting.option) == option);
    found.inspect(|setting| setting.settle()).last()
}

pub(super) fn convert<'a>(file: &Foreign<'a>) -> Result<Draft<'a>, ConfigError> {
    let global = Level::new(file, "global");
    let stanzas = stanzas(file);
    if stanzas.is_empty() {
        return Err(file.refuse(
            1,
            "there is no stanza: is this the pgbackrest.conf of the repository's host?",
        ));
    }
    let mut draft = Draft::new(file.file, "pgBackRest");
    let mut sections = Vec::new();
    let mut local = false;
    for name in &stanzas {
        let stanza = Level::new(file, name);
        if let Some(section) = stanza.sections.first() {
            super::check_name(file, section)?;
        }
        let hosts = Hosts::read(file, &stanza, &global)?;
        local |= hosts.is_local();
        sections.extend(server(file, &stanza, &global, &hosts, &mut draft)?);
    }
    let main = main(file, &global, local, &mut draft)?;
    draft.add(main);
    sections.into_iter().for_each(|section| draft.add(section));
    Ok(draft)
}

/// The names of the stanzas, in the order of the file.
fn stanzas<'s>(file: &'s Foreign<'_>) -> Vec<&'s str> {
    let mut names: Vec<&str> = Vec::new();
    for section in &file.sections {
        let name = section.name.split(':').next().unwrap_or_default();
        if name != "global" && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn main(
    file: &Foreign<'_>,
    global: &Level<'_>,
    local: bool,
    draft: &mut Draft<'_>,
) -> Result<Section, ConfigError> {
    let mut main = Section::new("barman");
    main.remark(
        "barman_home and the directory of log_file must belong to barman_user, and barman_user needs an ssh key that the \
         PostgreSQL hosts know.",
    );
    // Only who owns the data directory can read it.
    main.set("barman_user", if local { "postgres" } else { "barman" });
    main.set("barman_home", "/var/lib/barman");
    main.set("log_file", "/var/log/barman/barman.log");
    if let Some(setting) = global.take("backup", "log-level-file") {
        main.set("log_level", log_level(file, setting)?);
    }
    shared(file, global, None, &mut main)?;
    if !main.has("compression") && global.take("archive-push", "compress-type").is_none() {
        main.remark("pgBackRest compresses with gz unless it is told otherwise.");
        main.set("compression", "gzip");
    }
    advice::rest(draft, global, &mut main);
    Ok(main)
}

fn log_level(file: &Foreign<'_>, setting: &Setting) -> Result<&'static str, ConfigError> {
    match setting.unquoted() {
        "off" => Ok("CRITICAL"),
        "error" => Ok("ERROR"),
        "warn" => Ok("WARNING"),
        "info" | "detail" => Ok("INFO"),
        "debug" | "trace" => Ok("DEBUG"),
        _ => Err(file.refuse(setting.line, "this is not a level of pgBackRest's log")),
    }
}

/// The server of a stanza, and models for its other hosts.
fn server(
    file: &Foreign<'_>,
    stanza: &Level<'_>,
    global: &Level<'_>,
    hosts: &Hosts<'_>,
    draft: &mut Draft<'_>,
) -> Result<Vec<Section>, ConfigError> {
    let mut server = Section::new(stanza.name);
    hosts.connect(&mut server);
    server.remark(format!(
        "In PostgreSQL's configuration: archive_command = 'barman-wal-archive BACKUP-HOST {} %p', with the name of this host.",
        stanza.name
    ));
    server.set("archiver", "on");
    server.set("backup_options", "concurrent_backup");
    server.remark(
        "Takes the place of --type=incr and --type=diff, beside barman backup --incremental (barkeep).",
    );
    server.set("reuse_backup", "link");
    shared(file, stanza, Some(global), &mut server)?;
    advice::rest(draft, stanza, &mut server);
    let mut sections = vec![server];
    sections.extend(hosts.models(stanza.name));
    Ok(sections)
}

/// The options that stand at either level.
fn shared(
    file: &Foreign<'_>,
    level: &Level<'_>,
    above: Option<&Level<'_>>,
    to: &mut Section,
) -> Result<(), ConfigError> {
    retention(file, level, above, to)?;
    compression(file, level, to)?;
    if let Some(setting) = level.take("backup", "process-max") {
        to.set("parallel_jobs", file.number(setting)?.to_string());
    }
    if let Some(setting) = level.take("backup", "start-fast") {
        to.set("immediate_checkpoint", file.switch(setting)?.to_string());
    }
    if let Some(setting) = level.take("backup", "job-retry") {
        to.set("basebackup_retry_times", file.number(setting)?.to_string());
    }
    if let Some(setting) = level.take("backup", "job-retry-interval") {
        to.set("basebackup_retry_sleep", seconds(file, setting)?.to_string());
    }
    if let Some(setting) = level.take("restore", "delta") {
        let delta = file.switch(setting)?;
        to.set("recovery_options", if delta { "delta-restore" } else { "" });
    }
    Ok(())
}

/// The policy of a stanza, which may say only a part of it, or that of all.
fn retention(
    file: &Foreign<'_>,
    level: &Level<'_>,
    above: Option<&Level<'_>>,
    to: &mut Section,
) -> Result<(), ConfigError> {
    const OPTIONS: [&str; 3] = ["repo1-retention-full", "repo1-retention-full-type", "expire-auto"];
    let own = OPTIONS.map(|option| level.take_of_expire(option));
    if own.iter().all(Option::is_none) {
        return Ok(());
    }
    let [number, kind, expires] = OPTIONS.map(|option| {
        let own = level.take_of_expire(option);
        own.or_else(|| above?.take_of_expire(option))
    });
    let Some(setting) = number else {
        return Ok(());
    };
    let number = file.number(setting)?;
    let expires = expires.map_or(Ok(true), |setting| file.switch(setting))?;
    if number == KEEP_ALL || !expires {
        to.remark("Nothing is ever removed by itself: there is no retention_policy.");
        to.set("retention_policy", "");
        return Ok(());
    }
    to.remark("Barman removes what the policy does not need any more by itself: cron does, every minute.");
    let policy = match kind.map(Setting::unquoted) {
        None | Some("count") => format!("REDUNDANCY {number}"),
        Some("time") => format!("RECOVERY WINDOW OF {number} DAYS"),
        Some(_) => {
            return Err(file.refuse(
                setting.line,
                "repo1-retention-full-type is neither count nor time",
            ));
        }
    };
    to.set("retention_policy", policy);
    Ok(())
}

/// The compression of WAL. Backups over ssh are not compressed, which lets them share files.
fn compression(file: &Foreign<'_>, level: &Level<'_>, to: &mut Section) -> Result<(), ConfigError> {
    let off = match level.take("archive-push", "compress") {
        Some(setting) => !file.switch(setting)?,
        None => false,
    };
    let kind = level.take("archive-push", "compress-type");
    if off {
        to.set("compression", "");
    } else if let Some(setting) = kind {
        let algorithm = match setting.unquoted() {
            "none" => "",
            "gz" => "gzip",
            "bz2" => "bzip2",
            "lz4" => "lz4",
            "zst" => "zstd",
            _ => return Err(file.refuse(setting.line, "this is not a compression of pgBackRest")),
        };
        to.set("compression", algorithm);
    }
    if let Some(setting) = level.take("archive-push", "compress-level") {
        to.set("compression_level", file.number(setting)?.to_string());
    }
    if let Some(setting) = level.take("backup", "compress-level-network") {
        to.set("network_compression", (file.number(setting)? != 0).to_string());
    }
    Ok(())
}

/// A length of time in whole seconds: `15`, `15s`, `2m`, `500ms`.
fn seconds(file: &Foreign<'_>, setting: &Setting) -> Result<u64, ConfigError> {
    let text = setting.unquoted();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let refused = || {
        file.refuse(
            setting.line,
            format!("the value of {} is not a length of time", setting.option),
        )
    };
    let number: u64 = digits.parse().map_err(|_| refused())?;
    let factor = match unit {
        "" | "s" => 1,
        "ms" => return Ok(number.div_ceil(1000)),
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(refused()),
    };
    number.checked_mul(factor).ok_or_else(refused)
}
