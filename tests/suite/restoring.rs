//! `barman-wal-restore` beside its server: how often it calls, and what it does when a disk is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::sending::{Hosts, Memory, content, name};
use crate::support::process::{Account, Finished, eventually, run};
use crate::support::scratch::write_file;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool)| {
        let tool = tool.clone();
        Trial::test(format!("restoring::{name}"), move || {
            // Barman, as the tool under test, has none of this.
            if std::env::var_os("BARKEEP_TEST_TOOL").is_none() {
                test(&tool);
            }
            Ok(())
        })
    };
    vec![
        with("in_series_from_barkeep", |tool| {
            let calls = replayed(tool, tool);
            // One for the first segment, and one for all that each of the two workers fetches.
            assert!(calls.len() <= 5, "{calls:#?}");
            assert!(calls.iter().any(|call| call.contains("--series")), "{calls:#?}");
        }),
        with("one_by_one_from_barman", |tool| {
            let calls = replayed(tool, &Tool::barman());
            let (series, single): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.contains("--series"));
            assert_eq!(series.len(), 1, "{calls:#?}");
            assert!(single.len() >= 6, "{calls:#?}");
        }),
        with("on_full_disks", full_disks),
    ]
}

/// A backup host with segments, and a place to restore them to.
struct Replay {
    hosts: Hosts,
    bin: PathBuf,
}

impl Replay {
    /// What stands for ssh runs `get-wal` of the `server` as the manager, and notes each call in `data/calls`.
    fn new(label: &str, server: &Tool, numbers: std::ops::RangeInclusive<u32>) -> Replay {
        let hosts = Hosts::new(label, server);
        let root = Account::named("root");
        let bin = hosts.scratch.directory("bin", &root);
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {calls}\nwhile [ \"$1\" != barman ]; do shift; done; shift\n\
             eval \"exec setpriv --reuid=barman --regid=barman --clear-groups {} -c {} $*\"\n",
            server.program("barman").display(),
            hosts.manager.config_file().display(),
            calls = hosts.scratch.join("calls").display(),
        );
        write_file(&bin.join("ssh"), script, 0o755, &root);
        root.own(&hosts.scratch.join("tmp"));
        for number in numbers {
            let path = hosts.incoming().join(name(number));
            write_file(&path, content(number), 0o600, &hosts.manager.account);
        }
        hosts.manager.run(server, &["archive-wal", "main"]).success();
        Replay { hosts, bin }
    }

    fn spool(&self) -> PathBuf {
        self.hosts.scratch.join("tmp/spool")
    }

    fn target(&self) -> PathBuf {
        self.hosts.wal.join("RECOVERYXLOG")
    }

    /// The call that PostgreSQL makes.
    fn call(&self, tool: &Tool, number: u32) -> Finished {
        let program = Command::new(tool.program("barman-wal-restore"));
        let mut command = Account::named("root").applied_to(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin", self.bin.display()))
            .env("HOME", self.hosts.scratch.join("tmp"))
            .env("TMPDIR", self.hosts.scratch.join("tmp"))
            .current_dir(self.hosts.scratch.join("data"))
            .args(["-p", "2", "--persist", "0", "--retry", "0", "--spool-dir"])
            .arg(self.spool())
            .args(["backup-host", "main", &name(number), "pg_wal/RECOVERYXLOG"]);
        run(command)
    }

    /// The file that was restored, which is taken away as PostgreSQL does.
    fn taken(&self) -> Vec<u8> {
        let content = std::fs::read(self.target()).unwrap();
        std::fs::remove_file(self.target()).unwrap();
        content
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.hosts.scratch.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for the end of the process that fetches ahead; it leaves nothing behind.
    fn is_over(&self) {
        eventually(Duration::from_secs(60), "the spool to be left empty", || {
            below(&self.spool()).iter().all(|path| {
                let name = path.file_name().unwrap_or_default();
                let free = name != ".lock" || barkeep::base::lock::LockFile::try_acquire(path).is_ok();
                free && !name.to_string_lossy().contains("00000001")
            })
        });
    }
}

/// The files below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(directory)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Eight segments, asked for one after the other. Returns the calls of `get-wal`.
fn replayed(client: &Tool, server: &Tool) -> Vec<String> {
    let replay = Replay::new("series", server, 1..=8);
    for number in 1..=8 {
        let called = replay.call(client, number).success();
        assert_eq!(called.stderr, "", "{number}");
        assert!(replay.taken() == content(number), "{number}");
    }
    replay.is_over();
    replay.calls()
}

/// Without room in the spool every segment still arrives, fetched by its own call. Without room where PostgreSQL wants it,
/// nothing is there in part, and a recovery does not take that for the end of the WAL.
fn full_disks(tool: &Tool) {
    let replay = Replay::new("fullspool", tool, 1..=6);
    let root = Account::named("root");
    std::fs::create_dir(replay.spool()).unwrap();
    // Room for one segment and a half.
    let spool = Memory::mount(&replay.spool(), 3 << 19, &root);
    for number in 1..=4 {
        replay.call(tool, number).success();
        assert!(replay.taken() == content(number), "{number}");
    }
    std::fs::write(replay.spool().join("filler"), vec![0; 3 << 19]).unwrap_err();
    let called = replay.call(tool, 5).success();
    assert!(replay.taken() == content(5));
    assert!(called.stderr.contains("not fetching ahead"), "{}", called.stderr);
    replay.is_over();
    drop(spool);

    let wal = Memory::mount(&replay.hosts.wal, 1 << 19, &root);
    let called = replay.call(tool, 6).exits(2);
    assert!(
        called.stderr.contains("No space left on device"),
        "{}",
        called.stderr
    );
    assert!(below(&replay.hosts.wal).is_empty());
    let signal = replay.hosts.scratch.join("data/recovery.signal");
    write_file(&signal, "", 0o600, &root);
    replay.call(tool, 6).exits(255);
    assert!(below(&replay.hosts.wal).is_empty());
    drop(wal);
    replay.call(tool, 6).success();
    assert!(replay.taken() == content(6));
    replay.is_over();
}
