//! WAL into the archive, and commands on a catalog with a million WAL files.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, Outcome, remove};
use crate::meter::{Cost, stored};
use crate::support::catalog::give_to;
use crate::support::large;
use crate::support::manager::Manager;
use crate::support::process::Account;
use crate::support::scratch::{make_directory, write_file};
use crate::support::tool::Tool;

/// The catalog of the rows about scale.
const BACKUPS: u32 = 300;
const LINES: u32 = 1_000_000;
/// How often the commands are run that take no time.
const TIMES: u32 = 20;

const FORMATS: [(&str, &str); 2] = [("archive-wal, gzip", "gzip"), ("archive-wal, zstd", "zstd")];

impl Bench<'_> {
    /// The same segments, archived by everybody from a full incoming directory.
    pub(super) fn archives(&mut self, rounds: usize, segments: usize) -> Outcome {
        let collected = self.collect(segments)?;
        let manager = Manager::new(&self.field.scratch.join("wal-host"));
        let servers = FORMATS.map(|(_, format)| {
            let body = format!(
                "description = {format}\nconninfo = host=127.0.0.1 port=1\nssh_command = ssh -p 1 nobody@127.0.0.1\n\
                 archiver = on\nbackup_options = concurrent_backup\ncompression = {format}\n"
            );
            (format, body)
        });
        manager.configure("", &servers);
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: archive-wal of {segments} segments");
            for (row, format) in FORMATS {
                for (tool, who) in [(&self.field.barkeep, "barkeep"), (&self.field.barman, "Barman")] {
                    let outcome = self.archive(&manager, tool, format, &collected);
                    self.table.note(row, who, outcome);
                }
            }
        }
        remove(&manager.directory);
        remove(&collected);
        Ok(())
    }

    fn archive(
        &self,
        manager: &Manager,
        tool: &Tool,
        server: &str,
        collected: &Path,
    ) -> Result<Cost, String> {
        let home = manager.server(server);
        remove(&home);
        for directory in ["base", "errors", "incoming", "meta", "streaming", "wals"] {
            std::fs::create_dir_all(home.join(directory)).map_err(|e| e.to_string())?;
        }
        let mut copy = Command::new("cp");
        copy.args(["-a", "-T"]).arg(collected).arg(home.join("incoming"));
        self.field.quietly(copy, "cp")?;
        give_to(&home, &manager.account);
        let mut cost = self
            .meter
            .run(manager.command(tool, &["archive-wal", server]), "archive-wal")?;
        let left = home
            .join("incoming")
            .read_dir()
            .map_err(|e| e.to_string())?
            .count();
        if left > 0 {
            return Err(format!("{left} segments were not archived"));
        }
        cost.stored = Some(stored(&home.join("wals")));
        Ok(cost)
    }

    /// The next so many segments that pgbench fills.
    pub(super) fn collect(&self, segments: usize) -> Result<PathBuf, String> {
        let field = self.field;
        let directory = field.scratch.join("collected");
        make_directory(&directory, &field.cluster.owner);
        let script = field.scratch.join("archive");
        let before = std::fs::read(&script).map_err(|e| e.to_string())?;
        let text = format!("#!/bin/sh\ncp \"$1\" {}/\"$2\"\n", directory.display());
        write_file(&script, text, 0o755, &Account::named("root"));
        let count = || directory.read_dir().map_or(0, Iterator::count);
        while count() < segments {
            let mut pgbench = field.cluster.client("pgbench");
            pgbench.args(["-n", "-c", "4", "-j", "2", "-t", "4000", "postgres"]);
            field.quietly(pgbench, "pgbench")?;
            let segment = field.cluster.switch_wal();
            field.cluster.wait_archived(&segment);
        }
        write_file(&script, before, 0o755, &Account::named("root"));
        let mut names: Vec<PathBuf> = directory
            .read_dir()
            .map_err(|e| e.to_string())?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        names.sort();
        names.iter().skip(segments).for_each(|path| remove(path));
        Ok(directory)
    }

    /// Commands on 300 backups and 1,000,000 WAL files, once: Barman needs minutes for one of them.
    pub(super) fn catalog(&mut self) -> Outcome {
        let manager = Manager::new(&self.field.scratch.join("large"));
        let body = "description = large\nconninfo = host=127.0.0.1 port=1\nssh_command = ssh -p 1 nobody@127.0.0.1\n\
                    archiver = on\nbackup_options = concurrent_backup\nretention_policy = REDUNDANCY 290";
        manager.configure("", &[("main", body.to_owned())]);
        large::create(&manager, BACKUPS, LINES);
        for (row, arguments) in [
            ("show-backup", &["show-backup", "main", "latest"][..]),
            ("status", &["status", "main"]),
            ("list-backups", &["list-backups", "main"]),
            ("delete", &["delete", "main", "oldest"]),
        ] {
            for (tool, who) in [(&self.field.barkeep, "barkeep"), (&self.field.barman, "Barman")] {
                let outcome = self.meter.run(manager.command(tool, arguments), row);
                self.table.note(row, who, outcome);
            }
        }
        for (row, arguments) in [
            ("--version, 20 times", &["--version"][..]),
            ("list-servers, 20 times", &["list-servers"]),
        ] {
            for (tool, who) in [(&self.field.barkeep, "barkeep"), (&self.field.barman, "Barman")] {
                let outcome = self.meter.run(often(manager.command(tool, arguments)), row);
                self.table.note(row, who, outcome);
            }
        }
        remove(&manager.directory);
        Ok(())
    }
}

/// The same command several times, with the same account and environment.
fn often(command: Command) -> Command {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ");
    let account = Account::barman();
    let mut shell = account.applied_to(Command::new("/bin/sh"));
    shell.arg("-c").arg(format!(
        "i=0; while [ $i -lt {TIMES} ]; do {line} >/dev/null || exit; i=$((i + 1)); done"
    ));
    shell.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}
