//! Replay: a server whose `restore_command` fetches every segment over ssh.

use std::path::{Path, PathBuf};

use super::{Bench, Outcome, remove};
use crate::meter::Cost;
use crate::support::cluster::Cluster;
use crate::support::manager::Manager;
use crate::support::scratch::{Scratch, make_directory, write_file};
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

/// How many segments are fetched at once.
const JOBS: u32 = 4;

impl Bench<'_> {
    /// The same segments, replayed from the same copy of the cluster; each tool is on both hosts.
    pub(super) fn replays(&mut self, rounds: usize, segments: usize) -> Outcome {
        let base = self.base_copy()?;
        let collected = self.collect(segments)?;
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: replay of {segments} segments");
            for (tool, who) in [(&self.field.barkeep, "barkeep"), (&self.field.barman, "Barman")] {
                let outcome = self.replay(tool, &base, &collected);
                self.table.note("replay, restore_command over ssh", who, outcome);
            }
        }
        remove(&base);
        remove(&collected);
        Ok(())
    }

    /// A copy of the cluster as it is now, with the WAL that makes it consistent.
    fn base_copy(&self) -> Result<PathBuf, String> {
        let field = self.field;
        let target = field.scratch.join("replayed-base");
        make_directory(&target, &field.cluster.owner);
        let data = target.join("data");
        let mut copy = field.cluster.client("pg_basebackup");
        copy.args(["-X", "fetch", "-c", "fast", "-D"]).arg(&data);
        field.quietly(copy, "pg_basebackup")?;
        Ok(target)
    }

    fn replay(&self, tool: &Tool, base: &Path, collected: &Path) -> Result<Cost, String> {
        let field = self.field;
        let scratch = Scratch::new("replay");
        let manager = Manager::new(&scratch.join("manager"));
        let body = "description = replay\nconninfo = host=127.0.0.1 port=1\nssh_command = ssh -p 1 nobody@127.0.0.1\n\
                    archiver = on\nbackup_options = concurrent_backup\ncompression = gzip\n";
        manager.configure("", &[("main", body.to_owned())]);
        let last = self.fill(&manager, collected)?;
        let sshd = Sshd::start(&scratch, &[tool.path()], &manager.config_file());

        let home = scratch.join("pg");
        let mut copy = std::process::Command::new("cp");
        copy.args(["-a", "-T"]).arg(base).arg(&home);
        field.quietly(copy, "cp")?;
        let data = home.join("data");
        write_file(&data.join("recovery.signal"), "", 0o600, &field.cluster.owner);
        let cluster = Cluster::adopt(data, field.cluster.version, field.cluster.owner.clone())
            .with_path(&[tool.bin.clone(), sshd.bin.clone()]);
        let spool = scratch.directory("spool", &cluster.owner);
        let command = format!(
            "barman-wal-restore -p {JOBS} --spool-dir {} -U barman backup-host main %f %p",
            spool.display()
        );
        let mut server = cluster.program("postgres");
        server.arg("-D").arg(&cluster.data);
        for setting in [
            format!("port={}", cluster.port),
            format!("unix_socket_directories={}", cluster.socket.display()),
            format!("restore_command={command}"),
            format!("recovery_target_lsn={last}"),
            "recovery_target_action=shutdown".to_owned(),
            "archive_mode=off".to_owned(),
            "hot_standby=off".to_owned(),
        ] {
            server.args(["-c", &setting]);
        }
        self.meter.run(server, "replay")
    }

    /// Archives the segments, and returns where the last of them begins: there the replay ends.
    fn fill(&self, manager: &Manager, collected: &Path) -> Result<String, String> {
        let field = self.field;
        manager.run(&field.barkeep, &["check", "main"]);
        let mut copy = std::process::Command::new("cp");
        copy.args(["-r", "-T"])
            .arg(collected)
            .arg(manager.server("main").join("incoming"));
        field.quietly(copy, "cp")?;
        crate::support::catalog::give_to(&manager.server("main"), &manager.account);
        manager.run(&field.barkeep, &["archive-wal", "main"]).success();
        let names = collected.read_dir().map_err(|error| error.to_string())?;
        let names = names.flatten().map(|entry| entry.file_name().into_string());
        let last = names
            .filter_map(Result::ok)
            .filter(|name| name.len() == 24)
            .max()
            .ok_or("no segments")?;
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(|error| error.to_string());
        Ok(format!(
            "{:X}/{:X}",
            number(&last[8..16])?,
            number(&last[16..])? << 24
        ))
    }
}
