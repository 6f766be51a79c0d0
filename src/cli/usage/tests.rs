//! The command line against argparse: every expectation was observed on Barman 3.19.1 (Python 3.11).

#![allow(clippy::panic)]

use std::ffi::OsString;

use super::super::manager::Manager;
use super::super::wal_archive::WalArchive;
use super::super::wal_restore::WalRestore;
use super::{Stop, parse};
use clap::CommandFactory;

fn outcome(line: &str) -> Result<clap::ArgMatches, Stop> {
    let arguments: Vec<OsString> = std::iter::once("barman")
        .chain(line.split_whitespace())
        .map(|word| OsString::from(if word == "''" { "" } else { word }))
        .collect();
    parse(&Manager::command(), arguments)
}

/// The line after the usage, and the word after `usage: `.
fn complaint(line: &str) -> String {
    match outcome(line) {
        Err(Stop::Mistake(text)) => {
            assert!(text.starts_with("usage: barman"), "{text}");
            text.lines().last().unwrap_or_default().to_owned()
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn mistakes_are_described_in_argparses_words() {
    for (line, expected) in [
        (
            "backup",
            "barman backup: error: the following arguments are required: server_name",
        ),
        (
            "convert-config",
            "barman convert-config: error: the following arguments are required: --from, file",
        ),
        (
            "delete main",
            "barman delete: error: the following arguments are required: backup_id",
        ),
        (
            "delete",
            "barman delete: error: the following arguments are required: server_name, backup_id",
        ),
        ("delete main a b", "barman: error: unrecognized arguments: b"),
        (
            "delete main --xx",
            "barman delete: error: the following arguments are required: backup_id",
        ),
        (
            "backup --foo main --bar=3 -x",
            "barman: error: unrecognized arguments: --foo --bar=3 -x",
        ),
        ("check -f json main", "barman: error: unrecognized arguments: -f"),
        ("list-servers x", "barman: error: unrecognized arguments: x"),
        ("help -v", "barman: error: unrecognized arguments: -v"),
        (
            "backup --jobs 0 main",
            "barman backup: error: argument --jobs/-j: '0' is not a valid positive integer",
        ),
        (
            "backup --jobs -1 main",
            "barman backup: error: argument --jobs/-j: '-1' is not a valid positive integer",
        ),
        (
            "backup -j main",
            "barman backup: error: argument --jobs/-j: 'main' is not a valid input",
        ),
        (
            "backup --jobs",
            "barman backup: error: argument --jobs/-j: expected one argument",
        ),
        (
            "restore --jobs= main a b",
            "barman restore: error: argument --jobs/-j: '' is not a valid input",
        ),
        (
            "backup --retry-times x main",
            "barman backup: error: argument --retry-times: 'x' is not a valid non negative integer",
        ),
        (
            "backup --reuse-backup main",
            "barman backup: error: argument --reuse-backup: invalid choice: 'main' (choose from 'copy', 'link', 'off')",
        ),
        (
            "backup --name latest main",
            "barman backup: error: argument --name: Backup name 'latest' is not allowed: reserved word",
        ),
        (
            "backup --name '' main",
            "barman backup: error: argument --name: Backup name cannot be empty",
        ),
        (
            "backup --re main",
            "barman backup: error: ambiguous option: --re could match --resume, --reuse-backup, --retry-times, --retry-sleep",
        ),
        (
            "restore --target-t 1 a b c",
            "barman restore: error: ambiguous option: --target-t could match --target-tli, --target-time",
        ),
        (
            "backup --wait=3 main",
            "barman backup: error: argument --wait/-w: ignored explicit argument '3'",
        ),
        (
            "keep --target x main a",
            "barman keep: error: argument --target: invalid choice: 'x' (choose from 'full', 'standalone')",
        ),
        (
            "keep --target",
            "barman keep: error: argument --target: expected one argument",
        ),
        (
            "restore --target-tli x main a b",
            "barman restore: error: argument --target-tli: 'x' is not a valid input",
        ),
        (
            "restore --target-action x main a b",
            "barman restore: error: argument --target-action: 'x' is not a valid recovery target action",
        ),
        (
            "sync-info main a 0",
            "barman sync-info: error: argument last_position: '0' is not a valid positive integer",
        ),
        (
            "-f xml list-servers",
            "barman: error: argument -f/--format: invalid choice: 'xml' (choose from 'console', 'json')",
        ),
        (
            "--colour x list-servers",
            "barman: error: argument --color/--colour: invalid choice: 'x' (choose from 'never', 'always', 'auto')",
        ),
        (
            "--log-level xml list-servers",
            "barman: error: argument --log-level: invalid choice: 'xml' (choose from 'NOTSET', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')",
        ),
        (
            "export-backup --compression-level x main a b",
            "barman export-backup: error: argument --compression-level: invalid int value: 'x'",
        ),
        (
            "cloud-wal-archive -p x a b",
            "barman cloud-wal-archive: error: argument -p/--parallel: invalid int value: 'x'",
        ),
        (
            "get-wal -p 0 a b",
            "barman get-wal: error: argument --peek/-p: '0' is not a valid positive integer",
        ),
        (
            "check --check-timeout -3 main",
            "barman check: error: argument --check-timeout: '-3' is not a valid non negative integer",
        ),
        ("-c", "barman: error: argument -c/--config: expected one argument"),
        (
            "--quiet=1 list-servers",
            "barman: error: argument -q/--quiet: ignored explicit argument '1'",
        ),
    ] {
        assert_eq!(complaint(line), expected, "{line}");
    }
}

#[test]
fn an_unknown_command_gets_the_list_in_barmans_order() {
    let text = complaint("nosuch");
    assert_eq!(
        text,
        "barman: error: argument command: invalid choice: 'nosuch' (choose from 'help', 'list-servers', 'list-server', \
         'list-processes', 'list-process', 'terminate-process', 'cron', 'lock-directory-cleanup', 'backup', \
         'list-backups', 'list-backup', 'status', 'replication-status', 'rebuild-xlogdb', 'restore', 'recover', \
         'show-servers', 'show-server', 'switch-wal', 'switch-xlog', 'check', 'diagnose', 'sync-info', 'sync-backup', \
         'sync-wals', 'show-backup', 'show-backups', 'list-files', 'delete', 'get-wal', 'put-wal', 'archive-wal', \
         'receive-wal', 'check-backup', 'verify-backup', 'verify', 'export-backup', 'import-backup', \
         'generate-manifest', 'keep', 'check-wal-archive', 'config-switch', 'config-update', 'cloud-wal-archive', \
         'cloud-wal-restore')"
    );
}

#[test]
fn what_argparse_accepts_is_accepted() {
    for line in [
        "",
        "-c /etc/barman.conf -q -d -fjson list-servers",
        "--form=json list-servers --min",
        // argparse calls this ambiguous, although both names are of one option
        "--colo auto list-servers",
        "--colour never --log-level DEBUG status all",
        "backup --imm --no-imm -j4 -j=2 --jobs=3 --jobs 1 main other",
        "backup --reuse-backup --wait main",
        "backup main --reuse-backup",
        "backup --reuse-backup=off --retry-times 3 --no-retry --retry-times 2 main",
        "delete -- main -x",
        "keep -rs main a",
        "keep main a",
        "get-wal -P -x -z -j --keep-compression main 0000",
        "restore --target-tli latest --tablespace a:/b --tablespace c:/d --get-wal --no-get-wal main a /b",
        "recover --exclusive main a /b",
        "switch-xlog --archive-timeout 0 main",
        "sync-info main 000000010000000000000001 1234",
        "config-switch main --reset",
        "cloud-wal-archive -p -2 main x",
    ] {
        assert!(outcome(line).is_ok(), "{line}: {:?}", outcome(line));
    }
}

#[test]
fn help_is_shown_wherever_it_is_asked_for() {
    for line in [
        "-h",
        "--help",
        "backup --help",
        "backup -h main",
        "backup --hel",
        "backup --foo --help",
    ] {
        match outcome(line) {
            Err(Stop::Help(text)) => assert!(text.contains("Usage: ") || text.contains("usage: "), "{text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    assert_eq!(outcome("-v").err(), Some(Stop::Version));
    assert_eq!(outcome("--versio").err(), Some(Stop::Version));
}

#[test]
fn the_usage_reads_like_argparses() {
    let Err(Stop::Mistake(text)) = outcome("keep") else {
        panic!("keep needs arguments");
    };
    assert_eq!(
        text.lines().next(),
        Some("usage: barman keep [-h] [-r] [-s] [--target {full,standalone}] server_name")
    );
    assert_eq!(text.lines().nth(1), Some("                   backup_id"));
}

/// The same for a program of the PostgreSQL host.
fn client_complaint(command: &clap::Command, line: &str) -> String {
    let arguments: Vec<OsString> = std::iter::once(command.get_name())
        .chain(line.split_whitespace())
        .map(OsString::from)
        .collect();
    match parse(command, arguments) {
        Err(Stop::Mistake(text)) => text.lines().last().unwrap_or_default().to_owned(),
        Err(stop) => format!("{stop:?}"),
        Ok(_) => String::new(),
    }
}

#[test]
fn the_programs_of_the_postgresql_host_fail_in_argparses_words() {
    let (archive, restore) = (WalArchive::command(), WalRestore::command());
    for (command, line, expected) in [
        (
            &archive,
            "a",
            "barman-wal-archive: error: the following arguments are required: SERVER_NAME, WAL_PATH",
        ),
        (
            &archive,
            "a b c d",
            "barman-wal-archive: error: unrecognized arguments: d",
        ),
        (
            &archive,
            "-x a b c",
            "barman-wal-archive: error: unrecognized arguments: -x",
        ),
        (
            &archive,
            "--user",
            "barman-wal-archive: error: argument -U/--user: expected one argument",
        ),
        (
            &archive,
            "-z -j --lz4 --compression-level -5 -t -c /etc/b.conf --port 22 a b c",
            "",
        ),
        (&archive, "-V", "Version"),
        (
            &restore,
            "-z -j a b c d",
            "barman-wal-restore: error: argument -j/--bzip2: not allowed with argument -z/--gzip",
        ),
        (
            &restore,
            "-p x a b c d",
            "barman-wal-restore: error: argument -p/--parallel: invalid int value: 'x'",
        ),
        (&restore, "-s -1 -p -1 -P -U me a b c d", ""),
    ] {
        assert_eq!(client_complaint(command, line), expected, "{line}");
    }
}

#[test]
fn help_names_the_values_that_an_option_takes() {
    let manager = Manager::command();
    let commands = manager
        .get_subcommands()
        .chain([&manager])
        .filter(|command| !command.is_hide_set());
    for (command, argument) in
        commands.flat_map(|command| command.get_arguments().map(move |argument| (command, argument)))
    {
        let values = argument.get_possible_values();
        if argument.is_hide_set() || !argument.get_action().takes_values() {
            continue;
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        for value in &values {
            assert!(
                help.contains(value.get_name()),
                "{} --{}: {help} does not say {}",
                command.get_name(),
                argument.get_id(),
                value.get_name()
            );
        }
    }
}

#[test]
fn the_definitions_hold_together() {
    for command in [Manager::command(), WalArchive::command(), WalRestore::command()] {
        command.debug_assert();
    }
}
