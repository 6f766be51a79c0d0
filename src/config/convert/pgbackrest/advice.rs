//! What is said about the options of pgBackRest that do not become options of Barman.
//!
//! Rows name options of today without the number of a host or a repository; one that ends with `*` stands for all that
//! begin so. The first row that fits counts.

use super::{Level, names};
use crate::config::convert::draft::{Draft, Section};
use crate::config::convert::foreign::{Section as Source, Setting};

/// Options that nothing has to be done for.
const IDLE: [(&str, &str); 38] = [
    ("pg-path", "PostgreSQL says itself where its data are"),
    ("pg-local", "whether PostgreSQL is here follows from ssh_command"),
    ("pg-version-force", "PostgreSQL says its version itself"),
    (
        "pg-host-*",
        "nothing is installed on the PostgreSQL host, and ssh is the way there",
    ),
    (
        "pg-*",
        "this says where PostgreSQL is, see conninfo and ssh_command",
    ),
    (
        "repo-path",
        "these backups stay with pgBackRest, until its retention needs them no more. barman_home is a directory of its \
         own, with as much room: backups are stored uncompressed, and share the files that did not change",
    ),
    ("repo-local", "the backups are here"),
    (
        "repo-host*",
        "barman-wal-archive and barman-wal-restore name the backup host on their command line",
    ),
    ("repo-hardlink", "reuse_backup = link"),
    ("repo-symlink", "list-backups tells which backup is the newest"),
    ("repo-bundle*", "backups are stored file by file"),
    (
        "repo-block*",
        "incremental backups of barkeep store the pages that changed",
    ),
    ("repo-retention-full-type", "see retention_policy"),
    ("repo-retention-full", "see retention_policy"),
    ("expire-auto", "see retention_policy"),
    ("cmd-ssh", "see ssh_command"),
    ("cmd", "the program is found by its own path"),
    ("config*", "barman --config and configuration_files_directory"),
    ("buffer-size", "there is nothing to set"),
    ("io-timeout", "there is nothing to set"),
    ("protocol-timeout", "there is nothing to set"),
    (
        "db-timeout",
        "connections are given up by connect_timeout in conninfo and by check_timeout",
    ),
    (
        "sck-*",
        "there is nothing to set; keepalives of PostgreSQL can be set in conninfo, those of ssh in ~/.ssh/config",
    ),
    (
        "tcp-keep-alive-*",
        "there is nothing to set; keepalives of PostgreSQL can be set in conninfo, those of ssh in ~/.ssh/config",
    ),
    (
        "tls-*",
        "there is no server to run: all connections are ssh's and PostgreSQL's",
    ),
    (
        "lock-path",
        "locks are in barman_home, or in barman_lock_directory",
    ),
    ("log-path", "see log_file"),
    (
        "log-*",
        "one log_level holds for the log, and --quiet and --debug for the terminal",
    ),
    ("neutral-umask", "the umask of the account holds"),
    ("allow-root", "started by root, it becomes barman_user"),
    ("beta", "there is nothing to set"),
    ("archive-check", "a backup waits for its WAL, always"),
    ("archive-mode-check", "check looks at archive_mode"),
    (
        "archive-header-check",
        "WAL is looked at when it arrives, see wal_validation of barkeep",
    ),
    (
        "checksum-page",
        "page checksums are looked at wherever the cluster has them",
    ),
    (
        "page-header-check",
        "pages are looked at wherever the cluster has checksums",
    ),
    ("manifest-save-threshold", "there is nothing to set"),
    ("stop-auto", "a backup ends with the connection that began it"),
];

/// How the clients on the PostgreSQL host are told.
const CLIENTS: &str = "say it in archive_command and restore_command: barman-wal-archive sends ready segments ahead by \
    itself (--look-ahead), barman-wal-restore fetches ahead with -p NUMBER into --spool-dir DIRECTORY";

/// What is said with each restore.
const RESTORE: &str = "say it when you restore, see barman restore --help: --tablespace NAME:DIRECTORY, --target-*, \
    --delta-restore, --get-wal";

/// Where copies in other places come from.
const ELSEWHERE: &str = "backups are kept in directories of this host. For a copy elsewhere, a second host can follow \
    this one (primary_ssh_command), or a hook script can copy each backup (post_backup_script)";

/// Options without an equivalent, and what to do instead.
const MISSING: [(&str, &str); 33] = [
    (
        "repo-cipher-*",
        "the passphrase is not copied; keep it for as long as the old repository. Encrypt the file system of \
        barman_home, or use backup_method = postgres with encryption = gpg",
    ),
    (
        "repo-retention-diff",
        "incremental backups go with the full one that they build on",
    ),
    (
        "repo-retention-archive*",
        "WAL is kept from the oldest backup on. barman keep --target standalone keeps a backup with \
        nothing but the WAL that it needs itself",
    ),
    ("repo-retention-history", "what is known of a backup goes with it"),
    ("repo-type", ELSEWHERE),
    ("repo-*", ELSEWHERE),
    ("archive-timeout", "barman backup --wait --wait-timeout SECONDS"),
    (
        "archive-push-queue-max",
        "no WAL is ever given up: watch the room in pg_wal, and barman check",
    ),
    (
        "archive-copy",
        "the WAL of a backup is in the archive. barman keep --target standalone keeps both",
    ),
    ("archive-missing-retry", "barman-wal-restore --retry"),
    ("archive-mode", RESTORE),
    ("archive-*", CLIENTS),
    ("spool-path", CLIENTS),
    (
        "process-max",
        "for restores: barman restore --jobs NUMBER; for restore_command: barman-wal-restore -p NUMBER; \
        parallel_jobs holds for backups and restores",
    ),
    (
        "compress*",
        "backups over ssh are stored as they are. With backup_method = postgres there is backup_compression, and \
        for WAL compression and compression_level",
    ),
    (
        "delta",
        "backups compare the pages of files that changed, restores do with --delta-restore",
    ),
    ("annotation", "barman backup --name NAME"),
    (
        "backup-standby",
        "there is no second host in this stanza: a standby is named by conninfo, its primary by \
        primary_conninfo",
    ),
    ("exclude", "no file can be left out"),
    (
        "resume",
        "resume_failed_backups of barkeep, or barman backup --resume",
    ),
    ("priority", "nice and ionice, in the line of cron"),
    ("start-fast", "barman backup --immediate-checkpoint"),
    (
        "job-retry*",
        "barman restore --retry-times NUMBER --retry-sleep SECONDS",
    ),
    ("db-*", "a restore brings back all databases"),
    ("link-*", "links are restored as links"),
    ("tablespace-map*", RESTORE),
    ("recovery-option", RESTORE),
    ("target*", RESTORE),
    (
        "type",
        "barman backup --incremental latest (barkeep) takes an incremental backup, and restores take --target-*",
    ),
    ("set", RESTORE),
    ("force", "there is nothing to force"),
    ("online", "backups are taken while PostgreSQL runs"),
    ("stanza", "name the server"),
];

/// Says what becomes of the options of a level that are left.
pub(super) fn rest(draft: &mut Draft<'_>, level: &Level<'_>, to: &mut Section) {
    for section in &level.sections {
        for setting in section.rest() {
            one(draft, section, setting, to);
        }
    }
}

fn one(draft: &mut Draft<'_>, section: &Source, setting: &Setting, to: &mut Section) {
    let today = names::today(&setting.option);
    let (name, number) = match names::numbered(&today) {
        Some((group, number, rest)) => (format!("{group}-{rest}"), number),
        None => (today, 1),
    };
    let plain = ["repo-type posix", "repo-type cifs", "repo-cipher-type none"];
    let plain = plain.contains(&format!("{name} {}", setting.unquoted()).as_str());
    if name.starts_with("repo-") && number > 1 {
        draft.missing(setting, section, ELSEWHERE, to);
    } else if plain {
        draft.idle(
            setting,
            "backups are in directories of this host, unencrypted",
            to,
        );
    } else if let Some(reason) = find(&IDLE, &name) {
        draft.idle(setting, reason, to);
    } else {
        let advice = find(&MISSING, &name).unwrap_or(super::super::UNKNOWN);
        draft.missing(setting, section, advice, to);
    }
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let fits = |row: &str| match row.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == row,
    };
    table.iter().find(|(row, _)| fits(row)).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every option of pgBackRest 2.60 that a file may have.
    const OPTIONS: &str = include_str!("options.txt");

    #[test]
    fn every_option_of_pgbackrest_has_a_place() {
        let converted = ["compress-type", "log-level-file", "process-max", "start-fast"];
        let mut count = 0;
        for option in OPTIONS.split_whitespace() {
            let found = find(&IDLE, option).or_else(|| find(&MISSING, option));
            assert!(found.is_some() || converted.contains(&option), "{option}");
            count += 1;
        }
        assert_eq!(count, 166);
    }
}
