//! Incremental backups after a workload: chains and links.

use std::path::PathBuf;
use std::process::Command;

use super::pages::changed_pages;
use super::{Bench, INCREMENTAL, Outcome, PAGE, dd, remove};
use crate::meter::stored;
use crate::support::process::{Account, run};

impl Bench<'_> {
    /// The full backups that the chains start from; Barman's, pgBackRest's and the linked ones are there.
    pub(super) fn chain_base(&mut self) -> Outcome {
        let field = self.field;
        let full = field.tool(&field.barkeep, &["backup", "--reuse-backup=off", "chain"]);
        field.quietly(full, "the full backup of the chain")?;
        if let Some(command) = self.newer_backup() {
            field.quietly(command, "pg_basebackup 18")?;
        }
        Ok(())
    }

    /// PostgreSQL 18's own next backup: full, or incremental on the newest.
    pub(super) fn newer_backup(&mut self) -> Option<Command> {
        let cluster = self.field.newer.as_ref()?;
        let target = self
            .field
            .manager
            .directory
            .join(format!("newer-{}", self.newer.len()));
        let mut command =
            Account::barman().applied_to(Command::new(cluster.version.bin().join("pg_basebackup")));
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-X",
            "none",
            "--checkpoint=fast",
            "-p",
        ]);
        command.arg(cluster.port.to_string()).arg("-D").arg(&target);
        if let Some(newest) = self.newer.last() {
            command.arg("-i").arg(newest.join("backup_manifest"));
        }
        self.newer.push(target);
        Some(command)
    }

    pub(super) fn incrementals(&mut self) -> Outcome {
        let field = self.field;
        self.next_second();
        let before = self.newest("linked");
        let chain = self.tool_backup(&field.barkeep, "chain", &["--incremental", "latest"]);
        self.table.note(INCREMENTAL, "barkeep chain", chain);
        let linked = self.tool_backup(&field.barkeep, "linked", &[]);
        self.required(true, INCREMENTAL, "barkeep linked", linked)?;
        let theirs = self.tool_backup(&field.barman, "main", &[]);
        self.required(true, INCREMENTAL, "Barman link", theirs)?;
        let theirs = self.pgbackrest_backup("incr");
        self.required(true, INCREMENTAL, "pgBackRest block", theirs)?;
        if let Some(command) = self.newer_backup() {
            let mut outcome = self.meter.run(command, "pg_basebackup -i");
            if let (Ok(cost), Some(newest)) = (&mut outcome, self.newer.last()) {
                cost.stored = Some(stored(newest));
            }
            self.table.note(INCREMENTAL, "pg_basebackup 18, no ssh", outcome);
        }
        // The least that can be done: the pages that differ, synced.
        let changed = changed_pages(&before, &self.newest("linked")) * PAGE as u64;
        let target = field.scratch.join("changed");
        let mut outcome = self.meter.run(dd(&target, changed), "dd");
        if let Ok(cost) = &mut outcome {
            cost.stored = Some(changed);
        }
        self.table.note(INCREMENTAL, "dd of the changed pages", outcome);
        remove(&target);
        for (tool, server) in [(&field.barkeep, "linked"), (&field.barman, "main")] {
            for id in field.manager.backup_ids(server).iter().skip(1) {
                run(field.tool(tool, &["delete", server, id]));
            }
        }
        Ok(())
    }

    pub(super) fn newest(&self, server: &str) -> PathBuf {
        let id = self
            .field
            .manager
            .backup_ids(server)
            .into_iter()
            .next()
            .unwrap_or_default();
        self.field
            .manager
            .server(server)
            .join("base")
            .join(id)
            .join("data")
    }
}
