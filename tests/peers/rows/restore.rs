//! Restores here and there, delta restores, verification.

use super::pages::{damage, warm};
use super::{Bench, remove, shell, text};
use crate::support::process::{Account, run};

impl Bench<'_> {
    pub(super) fn restores(&mut self, wanted: &dyn Fn(&str) -> bool) {
        if wanted("restore") || wanted("delta") {
            self.restores_here(wanted("delta"));
            self.copy_floor("restore", "linked");
        }
        if wanted("remote") {
            self.restores_there();
        }
    }

    /// On the backup host; then again over what was restored, damaged.
    fn restores_here(&mut self, delta: bool) {
        for (tool, server, who) in self.tools() {
            warm(&self.field.manager.server(server).join("base"));
            let place = self.place(&Account::barman());
            let mut arguments = vec!["restore", "--get-wal", server, "latest"];
            let target = text(&place);
            arguments.push(&target);
            let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
            self.table.note("restore", who, outcome);
            if delta {
                damage(&place);
                arguments.insert(1, "--delta-restore");
                let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
                self.table.note("delta restore", who, outcome);
            }
            remove(&place);
        }
        let place = self.place(&Account::barman());
        let path = format!("--pg1-path={}", place.display());
        warm(&self.field.scratch.join("pgbackrest/backup"));
        let command = self.field.pgbackrest("local", &[&path, "restore"]);
        let outcome = self.meter.run(command, "restore");
        self.table.note("restore", "pgBackRest", outcome);
        if delta {
            damage(&place);
            let again = self.field.pgbackrest("local", &[&path, "--delta", "restore"]);
            let outcome = self.meter.run(again, "restore");
            self.table.note("delta restore", "pgBackRest", outcome);
        }
        remove(&place);
    }

    /// On the host of the cluster.
    fn restores_there(&mut self) {
        let ssh = self.field.sshd.command_for("postgres");
        for (tool, server, who) in self.tools() {
            let place = self.place(&Account::postgres());
            let target = text(&place);
            let arguments = [
                "restore",
                "--get-wal",
                "--remote-ssh-command",
                &ssh,
                server,
                "latest",
                &target,
            ];
            let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
            self.table.note("restore remote", who, outcome);
            remove(&place);
        }
        let place = self.place(&Account::postgres());
        let path = format!("--pg1-path={}", place.display());
        let command = self.field.pgbackrest("far", &[&path, "restore"]);
        let outcome = self.meter.run(command, "restore");
        self.table.note("restore remote", "pgBackRest", outcome);
        remove(&place);
    }

    /// What the machine can do: cp, then sync of the file system.
    pub(super) fn copy_floor(&mut self, row: &'static str, server: &str) {
        let base = self.field.manager.server(server).join("base");
        let Some(id) = self.field.manager.backup_ids(server).into_iter().next() else {
            return;
        };
        let place = self.place(&Account::barman());
        let copy = format!(
            "cp -a {}/. {place} && sync -f {place}",
            base.join(id).join("data").display(),
            place = place.display()
        );
        let outcome = self.meter.run(shell(&copy), "cp");
        self.table.note(row, "cp -a; sync -f", outcome);
        remove(&place);
    }

    pub(super) fn verify(&mut self) {
        let field = self.field;
        run(field.tool(&field.barkeep, &["generate-manifest", "linked", "latest"]));
        let outcome = self.meter.run(
            field.tool(&field.barkeep, &["verify-backup", "linked", "latest"]),
            "verify-backup",
        );
        self.table.note("verify", "barkeep", outcome);
        run(field.tool(&field.barman, &["generate-manifest", "main", "latest"]));
        let outcome = self.meter.run(
            field.tool(&field.barman, &["verify-backup", "main", "latest"]),
            "verify-backup",
        );
        self.table.note("verify", "Barman", outcome);
        let outcome = self.meter.run(field.pgbackrest("local", &["verify"]), "verify");
        self.table.note("verify", "pgBackRest", outcome);
    }
}
