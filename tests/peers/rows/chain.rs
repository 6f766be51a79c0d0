//! Chains: restored, and merged.

use std::process::Command;

use super::pages::warm;
use super::{Bench, Outcome, remove, shell, text};
use crate::meter::Cost;
use crate::support::process::Account;
use crate::support::scratch::make_directory;

/// Incremental backups in the chains.
const CHAIN: usize = 7;

impl Bench<'_> {
    pub(super) fn chains(&mut self, rounds: usize, wanted: &dyn Fn(&str) -> bool) -> Outcome {
        let field = self.field;
        while field.manager.backup_ids("chain").len() <= CHAIN {
            field.workload()?;
            self.next_second();
            let next = field.tool(&field.barkeep, &["backup", "--incremental", "latest", "chain"]);
            if let Err(reason) = field.quietly(next, "backup --incremental") {
                self.table.note("restore of 7", "barkeep chain", Err(reason));
                return Ok(());
            }
            field.quietly(
                field.pgbackrest("near", &["--type=incr", "backup"]),
                "pgbackrest backup",
            )?;
            if let Some(command) = self.newer_backup() {
                field.quietly(command, "pg_basebackup -i")?;
            }
        }
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: chains of {CHAIN}");
            if wanted("chain") {
                self.restore_chain();
            }
            if wanted("merge") {
                self.merge()?;
            }
        }
        Ok(())
    }

    pub(super) fn restore_chain(&mut self) {
        let field = self.field;
        for (server, who) in [("chain", "barkeep chain"), ("linked", "barkeep full")] {
            warm(&field.manager.server(server).join("base"));
            let place = self.place(&Account::barman());
            let arguments = ["restore", "--get-wal", server, "latest", &text(&place)];
            let outcome = self.meter.run(field.tool(&field.barkeep, &arguments), "restore");
            self.table.note("restore of 7", who, outcome);
            remove(&place);
        }
        let place = self.place(&Account::barman());
        let path = format!("--pg1-path={}", place.display());
        warm(&field.scratch.join("pgbackrest/backup"));
        let outcome = self
            .meter
            .run(field.pgbackrest("local", &[&path, "restore"]), "restore");
        self.table.note("restore of 7", "pgBackRest block", outcome);
        remove(&place);
        if let Some(outcome) = self.combine() {
            self.table.note("restore of 7", "pg_combinebackup 18", outcome);
        }
    }

    pub(super) fn combine(&mut self) -> Option<Result<Cost, String>> {
        let cluster = self.field.newer.as_ref()?;
        self.newer.iter().for_each(|backup| warm(backup));
        let place = self.place(&Account::barman());
        let mut command =
            Account::barman().applied_to(Command::new(cluster.version.bin().join("pg_combinebackup")));
        command.args(&self.newer).arg("-o").arg(&place);
        let outcome = self.meter.run(command, "pg_combinebackup");
        remove(&place);
        Some(outcome)
    }

    /// Merges a copy of the catalog, so that there is one to merge in every round.
    pub(super) fn merge(&mut self) -> Outcome {
        let field = self.field;
        let server = field.manager.server("chain");
        let aside = field.manager.directory.join("aside");
        let parts = ["base", "meta"];
        make_directory(&aside, &field.manager.account);
        for part in parts {
            let copy = format!("cp -a {}/{part} {}/", server.display(), aside.display());
            field.quietly(shell(&copy), "cp")?;
        }
        warm(&server.join("base"));
        let outcome = self
            .meter
            .run(field.tool(&field.barkeep, &["merge", "chain", "latest"]), "merge");
        self.table.note("merge of 7", "barkeep", outcome);
        for part in parts {
            remove(&server.join(part));
            std::fs::rename(aside.join(part), server.join(part)).map_err(|e| e.to_string())?;
        }
        remove(&aside);
        if let Some(outcome) = self.combine() {
            self.table.note("merge of 7", "pg_combinebackup 18", outcome);
        }
        Ok(())
    }
}
