//! The operations, each performed by everybody in turn.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

use crate::field::Field;
use crate::meter::{Cost, Meter, stored};
use crate::support::manager::Manager;
use crate::support::process::{Account, run};
use crate::support::scratch::make_directory;
use crate::support::tool::Tool;
use crate::table::Table;

const PAGE: usize = 8192;
/// Incremental backups in the chains that are restored and merged.
const CHAIN: usize = 7;
/// Files of the row about many files.
const MANY: u32 = 50_000;

const FULL: &str = "full";
const INCREMENTAL: &str = "incremental";
const ON_XFS: &str = "linked on XFS";

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
    pub fn perform(mut self, rounds: usize, wanted: &dyn Fn(&str) -> bool) -> Outcome {
        let stanza = self.field.pgbackrest("near", &["stanza-create"]);
        self.field.quietly(stanza, "pgbackrest stanza-create")?;
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: whole backups");
            self.fulls(wanted("full") || round == 1)?;
            self.restores(wanted)?;
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
        Ok(())
    }

    // --- Whole backups ---------------------------------------------------------------------------------------------

    fn fulls(&mut self, measured: bool) -> Outcome {
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

    fn pgbackrest_backup(&mut self, kind: &str) -> Result<Cost, String> {
        let repository = self.field.scratch.join("pgbackrest/backup");
        let before = stored(&repository);
        let command = self
            .field
            .pgbackrest("near", &[&format!("--type={kind}"), "backup"]);
        let mut cost = self.meter.run(command, "pgbackrest backup")?;
        cost.stored = Some(stored(&repository).saturating_sub(before));
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

    /// Older whole backups make room.
    fn forget_all_but_one(&self) {
        for (tool, server) in [(&self.field.barkeep, "linked"), (&self.field.barman, "main")] {
            for id in self.field.manager.backup_ids(server).iter().skip(1) {
                run(self.field.tool(tool, &["delete", server, id]));
            }
        }
        run(self
            .field
            .pgbackrest("near", &["--repo1-retention-full=1", "expire"]));
    }

    /// Backups of one second would have one id.
    fn next_second(&self) {
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }

    // --- Restores --------------------------------------------------------------------------------------------------

    fn restores(&mut self, wanted: &dyn Fn(&str) -> bool) -> Outcome {
        if wanted("restore") || wanted("delta") {
            for (tool, server, who) in self.tools() {
                let place = self.place(&Account::barman());
                let arguments = ["restore", "--get-wal", server, "latest", &text(&place)];
                let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
                self.table.note("restore", who, outcome);
                if wanted("delta") {
                    damage(&place);
                    let arguments = [
                        "restore",
                        "--get-wal",
                        "--delta-restore",
                        server,
                        "latest",
                        &text(&place),
                    ];
                    let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
                    self.table.note("delta restore", who, outcome);
                }
                remove(&place);
            }
            let place = self.place(&Account::barman());
            let path = format!("--pg1-path={}", place.display());
            let outcome = self
                .meter
                .run(self.field.pgbackrest("local", &[&path, "restore"]), "restore");
            self.table.note("restore", "pgBackRest", outcome);
            if wanted("delta") {
                damage(&place);
                let again = self.field.pgbackrest("local", &[&path, "--delta", "restore"]);
                let outcome = self.meter.run(again, "restore");
                self.table.note("delta restore", "pgBackRest", outcome);
            }
            remove(&place);
            self.copy_floor("restore", "linked");
        }
        if wanted("remote") {
            let ssh = self.field.sshd.command_for("postgres");
            for (tool, server, who) in self.tools() {
                let place = self.place(&Account::postgres());
                let arguments = [
                    "restore",
                    "--get-wal",
                    "--remote-ssh-command",
                    &ssh,
                    server,
                    "latest",
                    &text(&place),
                ];
                let outcome = self.meter.run(self.field.tool(tool, &arguments), "restore");
                self.table.note("restore remote", who, outcome);
                remove(&place);
            }
            let place = self.place(&Account::postgres());
            let path = format!("--pg1-path={}", place.display());
            let outcome = self
                .meter
                .run(self.field.pgbackrest("far", &[&path, "restore"]), "restore");
            self.table.note("restore remote", "pgBackRest", outcome);
            remove(&place);
        }
        Ok(())
    }

    /// What the machine can do: cp, then sync of the file system.
    fn copy_floor(&mut self, row: &'static str, server: &str) {
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

    fn verify(&mut self) {
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

    // --- Incremental backups ---------------------------------------------------------------------------------------

    /// The full backups that the chains start from; Barman's, pgBackRest's and the linked ones are there.
    fn chain_base(&mut self) -> Outcome {
        let field = self.field;
        let full = field.tool(&field.barkeep, &["backup", "--reuse-backup=off", "chain"]);
        field.quietly(full, "the full backup of the chain")?;
        if let Some(command) = self.newer_backup() {
            field.quietly(command, "pg_basebackup 18")?;
        }
        Ok(())
    }

    /// PostgreSQL 18's own next backup: full, or incremental on the newest.
    fn newer_backup(&mut self) -> Option<Command> {
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

    fn incrementals(&mut self) -> Outcome {
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

    fn newest(&self, server: &str) -> PathBuf {
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

    // --- Chains ----------------------------------------------------------------------------------------------------

    fn chains(&mut self, rounds: usize, wanted: &dyn Fn(&str) -> bool) -> Outcome {
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

    fn restore_chain(&mut self) {
        let field = self.field;
        for (server, who) in [("chain", "barkeep chain"), ("linked", "barkeep full")] {
            let place = self.place(&Account::barman());
            let arguments = ["restore", "--get-wal", server, "latest", &text(&place)];
            let outcome = self.meter.run(field.tool(&field.barkeep, &arguments), "restore");
            self.table.note("restore of 7", who, outcome);
            remove(&place);
        }
        let place = self.place(&Account::barman());
        let path = format!("--pg1-path={}", place.display());
        let outcome = self
            .meter
            .run(field.pgbackrest("local", &[&path, "restore"]), "restore");
        self.table.note("restore of 7", "pgBackRest block", outcome);
        remove(&place);
        if let Some(outcome) = self.combine() {
            self.table.note("restore of 7", "pg_combinebackup 18", outcome);
        }
    }

    fn combine(&mut self) -> Option<Result<Cost, String>> {
        let cluster = self.field.newer.as_ref()?;
        let place = self.place(&Account::barman());
        let mut command =
            Account::barman().applied_to(Command::new(cluster.version.bin().join("pg_combinebackup")));
        command.args(&self.newer).arg("-o").arg(&place);
        let outcome = self.meter.run(command, "pg_combinebackup");
        remove(&place);
        Some(outcome)
    }

    /// Merges a copy of the catalog, so that there is one to merge in every round.
    fn merge(&mut self) -> Outcome {
        let field = self.field;
        let server = field.manager.server("chain");
        let aside = field.manager.directory.join("aside");
        let parts = ["base", "meta"];
        make_directory(&aside, &field.manager.account);
        for part in parts {
            let copy = format!("cp -a {}/{part} {}/", server.display(), aside.display());
            field.quietly(shell(&copy), "cp")?;
        }
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

    // --- Another file system --------------------------------------------------------------------------------------

    /// Linked backups where files can share blocks. What is stored is what the file system has less.
    fn linked_on_xfs(&mut self, rounds: usize) -> Outcome {
        let field = self.field;
        let (manager, _mount) = match field.on_xfs() {
            Ok(ground) => ground,
            Err(reason) => {
                self.table
                    .note(ON_XFS, "barkeep", Err(format!("no XFS can be mounted: {reason}")));
                return Ok(());
            }
        };
        let tools = [
            (&field.barkeep, "linked", "barkeep"),
            (&field.barman, "main", "Barman"),
        ];
        let measured = self.linked_rounds(rounds, &manager, tools);
        // Else PostgreSQL would wait for an archive that is about to be unmounted.
        field.ship_wal(&[&field.manager]);
        measured
    }

    fn linked_rounds(
        &mut self,
        rounds: usize,
        manager: &Manager,
        tools: [(&Tool, &'static str, &'static str); 2],
    ) -> Outcome {
        let field = self.field;
        for (tool, server, _) in tools {
            self.backup_with(manager, tool, server, &["--reuse-backup=off"])?;
        }
        for _ in 0..rounds {
            field.workload()?;
            self.next_second();
            for (tool, server, who) in tools {
                nix::unistd::sync();
                let before = used(&manager.home());
                let mut outcome = self.backup_with(manager, tool, server, &[]);
                nix::unistd::sync();
                if let Ok(cost) = &mut outcome {
                    cost.stored = Some(used(&manager.home()).saturating_sub(before));
                }
                self.table.note(ON_XFS, who, outcome);
                for id in manager.backup_ids(server).iter().skip(1) {
                    run(manager.command(tool, &["delete", server, id]));
                }
            }
        }
        Ok(())
    }

    // --- Many files ------------------------------------------------------------------------------------------------

    /// One-page relations of a database that PostgreSQL does not know.
    fn many_files(&mut self) -> Outcome {
        let field = self.field;
        let directory = field.cluster.data.join("base/999999");
        make_directory(&directory, &field.cluster.owner);
        // A first page of some catalog: its checksum is right at the same place of any file.
        let mut page = vec![0_u8; PAGE];
        let sample = field
            .cluster
            .data
            .join(field.cluster.sql("SELECT pg_relation_filepath('pg_class')"));
        let read = std::fs::File::open(&sample).and_then(|file| file.read_exact_at(&mut page, 0));
        read.map_err(|e| format!("{}: {e}", sample.display()))?;
        for number in 0..MANY {
            let file = directory.join((16_384 + number).to_string());
            std::fs::write(&file, &page).map_err(|e| e.to_string())?;
            field.cluster.owner.own(&file);
        }
        // Younger than the beginning of a backup is not old enough to be taken over unseen.
        self.next_second();
        let rows = ["50,000 files", "50,000 files, linked"];
        for (row, more) in rows.into_iter().zip([&["--reuse-backup=off"][..], &[]]) {
            self.next_second();
            let ours = self.tool_backup(&field.barkeep, "linked", more);
            self.table.note(row, "barkeep", ours);
            let theirs = self.tool_backup(&field.barman, "main", more);
            self.table.note(row, "Barman", theirs);
        }
        remove(&directory);
        Ok(())
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

/// Bytes that a file system has in use.
fn used(path: &Path) -> u64 {
    let Ok(figures) = nix::sys::statvfs::statvfs(path) else {
        return 0;
    };
    (figures.blocks() - figures.blocks_free()) * figures.fragment_size()
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

/// One page in a hundred of every relation is overwritten.
fn damage(data: &Path) {
    for entry in WalkDir::new(data.join("base")).into_iter().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() || metadata.len() < PAGE as u64 {
            continue;
        }
        let Ok(file) = std::fs::File::options().write(true).open(entry.path()) else {
            continue;
        };
        let pages = metadata.len() / PAGE as u64;
        for number in 0..pages.div_ceil(100) {
            // Spread evenly enough, and the same for everybody.
            let page = number.wrapping_mul(6_364_136_223_846_793_005) % pages;
            let _ = file.write_all_at(&[0xDB; PAGE], page * PAGE as u64);
        }
    }
}

/// Pages of `new` that `old` does not have at the same place.
fn changed_pages(old: &Path, new: &Path) -> u64 {
    let mut changed = 0;
    for entry in WalkDir::new(new)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
    {
        use std::os::unix::fs::MetadataExt;
        let Ok(relative) = entry.path().strip_prefix(new) else {
            continue;
        };
        let (Ok(now), Ok(then)) = (entry.metadata(), std::fs::metadata(old.join(relative))) else {
            continue;
        };
        if now.ino() == then.ino() || now.len() % PAGE as u64 != 0 {
            continue;
        }
        let (Ok(now), Ok(then)) = (
            std::fs::File::open(entry.path()),
            std::fs::File::open(old.join(relative)),
        ) else {
            continue;
        };
        changed += differing(&now, &then);
    }
    changed
}

fn differing(now: &std::fs::File, then: &std::fs::File) -> u64 {
    let (mut a, mut b) = (vec![0_u8; 128 * PAGE], vec![0_u8; 128 * PAGE]);
    let (mut offset, mut changed) = (0, 0);
    loop {
        let count = fill(now, &mut a, offset);
        if count == 0 {
            return changed;
        }
        let old = fill(then, &mut b, offset);
        let pages = a[..count].chunks(PAGE).enumerate();
        changed += pages
            .filter(|(n, page)| b[..old].chunks(PAGE).nth(*n) != Some(*page))
            .count() as u64;
        offset += count as u64;
    }
}

fn fill(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}
