//! `bart.cfg` of EDB Backup and Recovery Tool 2.6.

use super::draft::{Draft, Section};
use super::foreign::{Foreign, Section as Source, Setting};
use crate::config::ConfigError;

/// Options that nothing has to be done for.
const IDLE: [(&str, &str); 9] = [
    ("scanner_logfile", "there is no WAL scanner to run"),
    ("bart_socket_directory", "there is no WAL scanner to run"),
    ("bart_socket_name", "there is no WAL scanner to run"),
    ("scan_interval", "there is no WAL scanner to run"),
    ("mbm_scan_timeout", "there is no WAL scanner to wait for"),
    (
        "batch_size",
        "blocks are streamed, memory does not grow with their number",
    ),
    (
        "xlog_method",
        "the WAL of a backup comes from the archive; streaming_archiver = on streams it there",
    ),
    (
        "backup_path",
        "these backups stay with BART, until its retention policy needs them no more. barman_home is a directory of \
         its own, with as much room",
    ),
    (
        "archive_path",
        "this WAL stays with BART. Barman keeps WAL in barman_home, and takes it from the directory incoming there",
    ),
];

/// Options without an equivalent, and what to do instead.
const MISSING: [(&str, &str); 6] = [
    (
        "password",
        "a password belongs into the file .pgpass in the home of barman_user: host:port:*:user:password",
    ),
    (
        "archive_command",
        "this is set in PostgreSQL, see the comment in the section of the server",
    ),
    (
        "remote_host",
        "name the host when you restore: barman restore --remote-ssh-command 'ssh USER@HOST' SERVER BACKUP DIRECTORY",
    ),
    (
        "tablespace_path",
        "name the places when you restore, by the names of the tablespaces instead of their OIDs: barman restore \
         --tablespace NAME:DIRECTORY",
    ),
    (
        "backup_name",
        "give the name with each backup: barman backup --name NAME SERVER",
    ),
    (
        "workers",
        "say it when you restore: barman restore --jobs NUMBER; parallel_jobs holds for backups and restores",
    ),
];

pub(super) fn convert<'a>(file: &Foreign<'a>) -> Result<Draft<'a>, ConfigError> {
    let global = file
        .section("BART")
        .ok_or_else(|| file.refuse(1, "there is no section [BART]: is this the bart.cfg of EDB BART?"))?;
    let mut draft = Draft::new(file.file, "EDB BART");
    let (user, host) = account(file, global)?;
    let mut main = Section::new("barman");
    main.remark(
        "BART's account has the ssh keys and the .pgpass that are needed. barman_home must belong to it, and so must the \
         directory of log_file.",
    );
    main.set("barman_user", user);
    main.set("barman_home", "/var/lib/barman");
    main.set("log_file", log_file(global));
    if let Some(program) = global.take("pg_basebackup_path")
        && let Some((directory, _)) = program.unquoted().rsplit_once('/')
    {
        main.set("path_prefix", directory);
    }
    shared(file, global, &mut main)?;
    rest(&mut draft, global, &mut main);
    draft.add(main);
    let servers = file
        .sections
        .iter()
        .filter(|section| !std::ptr::eq(*section, global));
    for section in servers {
        super::check_name(file, section)?;
        let server = server(file, global, section, host, &mut draft)?;
        draft.add(server);
    }
    Ok(draft)
}

/// The user and the host of `bart_host`.
fn account<'s>(file: &Foreign<'_>, global: &'s Source) -> Result<(&'s str, &'s str), ConfigError> {
    let setting = global
        .take("bart_host")
        .ok_or_else(|| file.refuse(global.line, "bart_host is missing"))?;
    file.word(setting)?
        .split_once('@')
        .filter(|(user, host)| !user.is_empty() && !host.is_empty())
        .ok_or_else(|| file.refuse(setting.line, "bart_host is not USER@HOST"))
}

/// A log of its own, as both tools are used for a while. Nothing that is to last belongs into `/tmp`, BART's default.
fn log_file(global: &Source) -> String {
    let directory = global
        .take("logfile")
        .and_then(|setting| setting.unquoted().rsplit_once('/'))
        .map(|(directory, _)| directory)
        .filter(|directory| directory.starts_with('/') && *directory != "/tmp");
    format!("{}/barman.log", directory.unwrap_or("/var/log/barman"))
}

/// The options that stand in either section.
fn shared(file: &Foreign<'_>, from: &Source, to: &mut Section) -> Result<(), ConfigError> {
    if let Some(setting) = from.take("retention_policy") {
        to.remark(
            "Barman removes what the policy does not need any more by itself: cron does, every minute.",
        );
        to.set("retention_policy", retention(file, setting)?);
    }
    if let Some(setting) = from.take("wal_compression") {
        to.set("compression", if file.switch(setting)? { "gzip" } else { "" });
    }
    if let Some(setting) = from.take("copy_wals_during_restore") {
        to.set(
            "recovery_options",
            if file.switch(setting)? { "" } else { "get-wal" },
        );
    }
    if let Some(setting) = from.take("thread_count") {
        to.set("parallel_jobs", file.number(setting)?.max(1).to_string());
    }
    Ok(())
}

/// `N BACKUPS`, `N DAYS`, `N WEEKS`, `N MONTHS`; a number alone counts backups.
fn retention(file: &Foreign<'_>, setting: &Setting) -> Result<String, ConfigError> {
    let refused = || {
        file.refuse(
            setting.line,
            "retention_policy is not a number of BACKUPS, DAYS, WEEKS or MONTHS",
        )
    };
    let mut words = setting.unquoted().split_whitespace();
    let number: u32 = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(refused)?;
    let unit = words.next().map(str::to_ascii_uppercase);
    if words.next().is_some() || number == 0 {
        return Err(refused());
    }
    match unit.as_deref() {
        None | Some("BACKUPS" | "BACKUP") => Ok(format!("REDUNDANCY {number}")),
        Some(unit @ ("DAYS" | "WEEKS" | "MONTHS")) => Ok(format!("RECOVERY WINDOW OF {number} {unit}")),
        Some(unit @ ("DAY" | "WEEK" | "MONTH")) => Ok(format!("RECOVERY WINDOW OF {number} {unit}S")),
        Some(_) => Err(refused()),
    }
}

fn server(
    file: &Foreign<'_>,
    global: &Source,
    from: &Source,
    bart_host: &str,
    draft: &mut Draft<'_>,
) -> Result<Section, ConfigError> {
    let required = |option: &str| {
        let setting = from
            .take(option)
            .ok_or_else(|| file.refuse(from.line, format!("{option} is missing in this section")))?;
        file.word(setting)
    };
    let (host, user) = (required("host")?, required("user")?);
    let owner = from
        .take("cluster_owner")
        .map(|setting| file.word(setting))
        .transpose()?;
    let owner = owner.unwrap_or("postgres");
    let port = match from.take("port") {
        Some(setting) => format!(" port={}", file.number(setting)?),
        // What BART takes for EDB Postgres Advanced Server.
        None if owner == "enterprisedb" => " port=5444".to_owned(),
        None => String::new(),
    };
    let mut to = Section::new(&from.name);
    if let Some(setting) = from.take("description") {
        to.set("description", setting.unquoted());
    }
    to.set(
        "conninfo",
        format!("host={host}{port} user={user} dbname=postgres"),
    );
    to.set("streaming_conninfo", format!("host={host}{port} user={user}"));
    to.remark(format!(
        "In PostgreSQL's configuration: archive_command = 'barman-wal-archive {bart_host} {} %p'",
        from.name
    ));
    to.set("archiver", "on");
    to.set("backup_options", "concurrent_backup");
    shared(file, from, &mut to)?;
    let incremental = incremental(file, from)?;
    let threads = from.take("thread_count").or_else(|| global.take("thread_count"));
    if incremental
        || threads
            .map(|setting| file.number(setting))
            .transpose()?
            .unwrap_or(1)
            > 1
    {
        to.set("backup_method", "rsync");
        to.set("ssh_command", format!("ssh {owner}@{host}"));
    } else {
        to.remark("As BART with one thread: pg_basebackup. With backup_method = rsync every version has incremental backups.");
        to.set("backup_method", "postgres");
    }
    if incremental {
        to.remark(
            "Incremental backups: barman backup --incremental latest, or full_backup_interval (barkeep). Full ones share the \
             files that did not change.",
        );
        to.set("reuse_backup", "link");
    }
    rest(draft, from, &mut to);
    Ok(to)
}

/// Whether there are incremental backups. The manual writes the option in two ways.
fn incremental(file: &Foreign<'_>, from: &Source) -> Result<bool, ConfigError> {
    let spellings = ["allow_incremental_backups", "allow_incremental_backup"];
    let setting = spellings.iter().find_map(|option| from.take(option));
    setting.map_or(Ok(false), |setting| file.switch(setting))
}

/// What is left is not needed, or has no equivalent.
fn rest(draft: &mut Draft<'_>, from: &Source, to: &mut Section) {
    for setting in from.rest() {
        let advice = |table: &[(&str, &'static str)]| {
            let found = table.iter().find(|(option, _)| *option == setting.option);
            found.map(|(_, advice)| *advice)
        };
        if let Some(reason) = advice(&IDLE) {
            draft.idle(setting, reason, to);
        } else {
            let advice = advice(&MISSING).unwrap_or(super::UNKNOWN);
            draft.missing(setting, from, advice, to);
        }
    }
}
