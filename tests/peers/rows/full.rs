//! Whole backups, and the floor below them.

use std::process::Command;

use super::{Bench, FULL, Outcome, dd, remove, shell};
use crate::meter::{Cost, stored};
use crate::support::process::{Account, run};

impl Bench<'_> {
    pub(super) fn fulls(&mut self, measured: bool) -> Outcome {
        let field = self.field;
        self.next_second();
        let ours = self.tool_backup(&field.barkeep, "linked", &["--reuse-backup=off"]);
        self.required(measured, FULL, "barkeep", ours)?;
        let theirs = self.tool_backup(&field.barman, "main", &["--reuse-backup=off"]);
        self.required(measured, FULL, "Barman", theirs)?;
        let theirs = self.pgbackrest_backup("full");
        self.required(measured, FULL, "pgBackRest", theirs)?;
        self.forget_all_but_one();
        if !measured {
            return Ok(());
        }
        let target = field.scratch.join("basebackup");
        let account = Account::barman();
        let mut base = account.applied_to(Command::new(field.cluster.version.bin().join("pg_basebackup")));
        base.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-X",
            "none",
            "--checkpoint=fast",
            "-p",
        ]);
        base.arg(field.cluster.port.to_string())
            .arg("-D")
            .arg(field.manager.directory.join("basebackup"));
        let outcome = self.meter.run(base, "pg_basebackup");
        self.table.note(FULL, "pg_basebackup 15, no ssh", outcome);
        remove(&field.manager.directory.join("basebackup"));
        // The wire: ssh to nowhere. The disk: the same bytes, synced. What is slower is what nobody can beat.
        let cat = format!(
            "{} -c aes128-gcm@openssh.com 'cd {} && find . -path ./pg_wal -prune -o -type f -print0 | xargs -0 cat' >/dev/null",
            field.sshd.command_for("postgres"),
            field.cluster.data.display()
        );
        let wire = self.meter.run(shell(&cat), "ssh cat");
        let bytes = stored(&field.cluster.data) - stored(&field.cluster.data.join("pg_wal"));
        let disk = self.meter.run(dd(&target, bytes), "dd");
        remove(&target);
        let floor = match (&wire, &disk) {
            (Ok(wire), Ok(disk)) if wire.seconds >= disk.seconds => Ok(wire.clone()),
            (_, Ok(disk)) => Ok(disk.clone()),
            _ => Err("one half is missing".to_owned()),
        };
        self.table.note(FULL, "ssh cat >/dev/null", wire);
        self.table.note(FULL, "dd conv=fsync", disk);
        self.table.note(FULL, "floor", floor);
        let both = self.meter.run(shell(&self.wire_to_disk()), "ssh cat | dd");
        self.table.note(FULL, "ssh cat | dd conv=fsync, twice", both);
        Ok(())
    }

    /// What a backup must do at the least when both hosts are one machine: the files through ssh to the disk, synced, in
    /// two streams of the same number of bytes.
    fn wire_to_disk(&self) -> String {
        let ssh = format!(
            "{} -c aes128-gcm@openssh.com",
            self.field.sshd.command_for("postgres")
        );
        let data = self.field.cluster.data.display().to_string();
        let list =
            format!("cd {data} && find . -path ./pg_wal -prune -o -type f -printf \"%s %p\\n\" | sort -rn");
        let stream = |half: u8| {
            format!(
                "{ssh} '{list} | awk \"{{ if (a <= b) {{ a += \\$1; h = 0 }} else {{ b += \\$1; h = 1 }} if (h == {half}) print \\$2 }}\" \
                 | xargs cat' | dd of={target}{half} bs=1M iflag=fullblock conv=fsync 2>/dev/null",
                target = self.field.scratch.join("stream-").display()
            )
        };
        let clean = format!("rm -f {}?", self.field.scratch.join("stream-").display());
        format!("{} & {}; wait; {clean}", stream(0), stream(1))
    }

    pub(super) fn pgbackrest_backup(&mut self, kind: &str) -> Result<Cost, String> {
        let repository = self.field.scratch.join("pgbackrest/backup");
        let before = stored(&repository);
        let command = self
            .field
            .pgbackrest("near", &[&format!("--type={kind}"), "backup"]);
        let mut cost = self.meter.run(command, "pgbackrest backup")?;
        cost.stored = Some(stored(&repository).saturating_sub(before));
        Ok(cost)
    }

    /// Older whole backups make room.
    pub(super) fn forget_all_but_one(&self) {
        for (tool, server) in [(&self.field.barkeep, "linked"), (&self.field.barman, "main")] {
            for id in self.field.manager.backup_ids(server).iter().skip(1) {
                run(self.field.tool(tool, &["delete", server, id]));
            }
        }
        run(self
            .field
            .pgbackrest("near", &["--repo1-retention-full=1", "expire"]));
    }
}
