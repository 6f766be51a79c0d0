//! Limits of the bandwidth: bytes over a long enough time.

use super::pages::damage;
use super::{Bench, Outcome, PAGE, remove, text};
use crate::field::TRANSACTIONS;
use crate::meter::{Cost, stored};
use crate::support::process::Account;

/// How long a limited operation takes, about, in seconds: long beside its beginning and its end.
const LONG: u64 = 20;
/// A limit is honoured within this part of it.
pub const TOLERANCE: f64 = 0.05;

impl Bench<'_> {
    /// A copy, a copy of what changed, restores here and there, and one that rewrites what differs.
    pub(super) fn limited(&mut self) -> Outcome {
        let field = self.field;
        let size = stored(&field.cluster.data) - stored(&field.cluster.data.join("pg_wal"));
        let limit = size / LONG / 1024;
        let full = self.limited_backup(&["--reuse-backup=off"], limit);
        self.rate("limited full backup", limit, full, |cost| cost.wire);
        field.workload()?;
        self.next_second();
        // About a page for each transaction has changed.
        let changed = (u64::from(TRANSACTIONS) * PAGE as u64).min(size);
        let slow = changed / LONG / 1024;
        let linked = self.limited_backup(&[], slow);
        self.rate("limited linked backup", slow, linked, |cost| cost.wire);

        let here = self.place(&Account::barman());
        let restored = self.limited_restore(&["linked", "latest", &text(&here)], limit);
        self.rate("limited restore", limit, restored, |_| stored(&here));
        remove(&here);

        let there = self.place(&Account::postgres());
        let ssh = field.sshd.command_for("postgres");
        let target = text(&there);
        let words = ["--remote-ssh-command", &ssh, "linked", "latest", &target];
        let restored = self.limited_restore(&words, limit);
        self.rate("limited restore remote", limit, restored, |cost| cost.wire);
        damage(&there);
        let slow = (limit / 80).max(1);
        let words = [&["--delta-restore"][..], &words].concat();
        let restored = self.limited_restore(&words, slow);
        self.rate("limited delta restore remote", slow, restored, |cost| cost.wire);
        remove(&there);
        Ok(())
    }

    fn limited_backup(&mut self, more: &[&str], limit: u64) -> Result<Cost, String> {
        let limit = limit.to_string();
        let words = [more, &["--bwlimit", &limit]].concat();
        self.tool_backup(&self.field.barkeep, "linked", &words)
    }

    fn limited_restore(&mut self, more: &[&str], limit: u64) -> Result<Cost, String> {
        let limit = limit.to_string();
        let words = [&["restore", "--get-wal", "--bwlimit", &limit][..], more].concat();
        self.meter
            .run(self.field.tool(&self.field.barkeep, &words), "restore")
    }

    /// Notes the operation, and how its rate compares with the limit in KiB/s.
    fn rate(
        &mut self,
        row: &'static str,
        limit: u64,
        outcome: Result<Cost, String>,
        bytes: impl Fn(&Cost) -> u64,
    ) {
        if let Ok(cost) = &outcome {
            let rate = bytes(cost) as f64 / cost.seconds / 1024.0;
            self.table.note_rate(row, rate, limit as f64, TOLERANCE);
        }
        self.table.note(row, "barkeep", outcome);
    }
}
