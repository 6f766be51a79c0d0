//! The operations, each performed by everybody in turn.

mod bandwidth;
mod chain;
mod files;
mod full;
mod incremental;
mod pages;
mod restore;
mod wal_archive;
mod wal_restore;
mod wal_send;
mod xfs;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::field::Field;
use crate::meter::{Cost, Meter, stored};
use crate::support::manager::Manager;
use crate::support::process::Account;
use crate::support::scratch::make_directory;
use crate::support::tool::Tool;
use crate::table::Table;

const PAGE: usize = 8192;

const FULL: &str = "full";
const INCREMENTAL: &str = "incremental";

/// The operations on backups, which begin with whole ones.
const BACKUP_ROWS: [&str; 12] = [
    "full",
    "restore",
    "remote",
    "delta",
    "verify",
    "incremental",
    "chain",
    "merge",
    "xfs",
    "files",
    "bandwidth",
    "sparse",
];

type Outcome = Result<(), String>;

/// The operations on one field.
pub struct Bench<'a> {
    field: &'a Field,
    meter: Meter,
    table: &'a mut Table,
    /// Backups of PostgreSQL 18's own, oldest first.
    newer: Vec<PathBuf>,
    serial: usize,
}

impl<'a> Bench<'a> {
    pub fn new(field: &'a Field, table: &'a mut Table) -> Bench<'a> {
        Bench {
            field,
            meter: field.meter(),
            table,
            newer: Vec::new(),
            serial: 0,
        }
    }

    /// Everything that is wanted. An operation that fails is noted in the table; what is returned is the failure of a
    /// step that everything after it needs.
    pub fn perform(mut self, rounds: usize, segments: usize, wanted: &dyn Fn(&str) -> bool) -> Outcome {
        if wanted("archive-wal") {
            self.archives(rounds, segments)?;
        }
        if wanted("wal-restore") {
            self.replays(rounds, segments)?;
        }
        if wanted("wal-send") {
            self.wal_sent(rounds, segments)?;
        }
        if wanted("catalog") {
            self.catalog()?;
        }
        if BACKUP_ROWS.into_iter().all(|row| !wanted(row)) {
            return Ok(());
        }
        let stanza = self.field.pgbackrest("near", &["stanza-create"]);
        self.field.quietly(stanza, "pgbackrest stanza-create")?;
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: whole backups");
            self.fulls(wanted("full") || round == 1)?;
            self.restores(wanted);
            if wanted("verify") {
                self.verify();
            }
            if !["full", "restore", "remote", "delta", "verify"]
                .into_iter()
                .any(wanted)
            {
                break;
            }
        }
        if ["incremental", "chain", "merge"].into_iter().any(wanted) {
            self.chain_base()?;
            for round in 1..=rounds {
                eprintln!("round {round} of {rounds}: incremental backups");
                self.field.workload()?;
                self.incrementals()?;
            }
        }
        if wanted("chain") || wanted("merge") {
            self.chains(rounds, wanted)?;
        }
        if wanted("xfs") {
            self.linked_on_xfs(rounds)?;
        }
        if wanted("files") {
            self.many_files()?;
        }
        if wanted("bandwidth") {
            self.limited()?;
        }
        if wanted("sparse") {
            self.sparse()?;
        }
        Ok(())
    }

    fn tool_backup(&mut self, tool: &Tool, server: &str, more: &[&str]) -> Result<Cost, String> {
        self.backup_with(&self.field.manager, tool, server, more)
    }

    fn backup_with(
        &self,
        manager: &Manager,
        tool: &Tool,
        server: &str,
        more: &[&str],
    ) -> Result<Cost, String> {
        let base = manager.server(server).join("base");
        let before = stored(&base);
        let mut arguments = vec!["backup"];
        arguments.extend(more);
        arguments.push(server);
        let mut cost = self.meter.run(manager.command(tool, &arguments), "backup")?;
        cost.stored = Some(stored(&base).saturating_sub(before));
        Ok(cost)
    }

    /// Notes a backup that everything after it needs.
    fn required(
        &mut self,
        measured: bool,
        row: &'static str,
        who: &'static str,
        outcome: Result<Cost, String>,
    ) -> Outcome {
        let failure = outcome.as_ref().err().cloned();
        if measured || failure.is_some() {
            self.table.note(row, who, outcome);
        }
        failure.map_or(Ok(()), |reason| Err(format!("{who}: {reason}")))
    }

    /// Backups of one second would have one id.
    fn next_second(&self) {
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }

    fn tools(&self) -> [(&'a Tool, &'static str, &'static str); 2] {
        [
            (&self.field.barkeep, "linked", "barkeep"),
            (&self.field.barman, "main", "Barman (no fsync)"),
        ]
    }

    /// An empty directory to restore to.
    fn place(&mut self, owner: &Account) -> PathBuf {
        self.serial += 1;
        let path = self.field.scratch.join(format!("restored-{}", self.serial));
        make_directory(&path, owner);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        path
    }
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    command
}

/// So many bytes to the disk, synced.
fn dd(target: &Path, bytes: u64) -> Command {
    let mut command = Command::new("dd");
    command
        .arg("if=/dev/zero")
        .arg(format!("of={}", target.display()));
    command
        .args(["bs=1M", "iflag=count_bytes", "conv=fsync"])
        .arg(format!("count={bytes}"));
    command
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn remove(path: &Path) {
    let _ = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
}
