//! Passive nodes: two backup hosts with an sshd between them, real Barman at either end, and kills in between.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use barkeep::catalog::{BackupId, BackupInfo, BackupStatus, Catalog, Layout};
use barkeep::codec::Detector;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use walkdir::WalkDir;

use crate::support::catalog::{Backup, ServerCatalog, archive_path, give_to, set_time, wal_content};
use crate::support::cluster::Version;
use crate::support::killing::Steps;
use crate::support::lab::{Lab, LabOptions, digest, mark};
use crate::support::manager::Manager;
use crate::support::process::{Account, Background, Finished, eventually, run};
use crate::support::scratch::Scratch;
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

const FULL: &str = "20240101T000000";
const LINKED: &str = "20240102T000000";
const CHILD: &str = "20240103T000000";
const WAITING: &str = "20240104T000000";
const FAILED: &str = "20240105T000000";
const COMPLETE: [&str; 4] = [FULL, LINKED, CHILD, WAITING];
/// A relation file that the first two backups share.
const SHARED: &str = "data/base/5/1259";

/// A test with the program under test.
type Check = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Check); 8] = [
        ("from_barman", from_barman),
        ("to_barman", to_barman),
        ("says_what_barman_says", says_what_barman_says),
        ("held_on_the_primary_node", held_on_the_primary_node),
        ("by_rsync_alone", by_rsync_alone),
        ("backup_killed_at_many_steps", backup_killed),
        ("wals_killed_at_many_steps", wals_killed),
        ("a_chain_is_restored_from_the_copy", restored_from_the_copy),
    ];
    tests
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("sync::{name}"), move || {
                test(&tool);
                Ok(())
            })
        })
        .into()
}

/// A primary and a passive node.
struct Nodes {
    sshd: Sshd,
    primary: Manager,
    passive: Manager,
    there: Tool,
    here: Tool,
    _scratch: Scratch,
}

impl Nodes {
    fn start(label: &str, there: &Tool, here: &Tool) -> Nodes {
        let scratch = Scratch::in_memory(label);
        let primary = Manager::new(&scratch.join("primary"));
        let passive = Manager::new(&scratch.join("passive"));
        build(&primary.home());
        give_to(&primary.home(), &primary.account);
        let mut sshd = Sshd::start(&scratch, &[there.path()], &primary.config_file());
        sshd.keep_connection(&Account::barman(), "barman");
        let body = "conninfo = host=/nonexistent password=sesame\nssh_command = ssh nowhere\narchiver = on\n\
                    backup_options = concurrent_backup\nminimum_redundancy = 0";
        primary.configure("", &[("main", body.to_owned())]);
        let nodes = Nodes {
            sshd,
            primary,
            passive,
            there: there.clone(),
            here: here.clone(),
            _scratch: scratch,
        };
        nodes.configure("reuse_backup = link");
        nodes
    }

    /// Writes the configuration of the passive node with further lines.
    fn configure(&self, more: &str) {
        let body = format!(
            "primary_ssh_command = {}\nbackup_options = concurrent_backup\n{more}",
            self.sshd.command_for("barman")
        );
        self.passive.configure("", &[("main", body)]);
    }

    #[track_caller]
    fn here(&self, words: &[&str]) -> Finished {
        self.passive.run(&self.here, words)
    }

    fn synchronise(&self) {
        self.here(&["sync-info", "--primary", "main"]).success();
        for id in COMPLETE {
            self.here(&["sync-backup", "main", id]).success();
        }
        self.here(&["sync-wals", "main"]).success();
    }
}

fn build(home: &Path) {
    let mut server = ServerCatalog::create(home, "main");
    let incremental = Backup {
        mode: "postgres",
        parent: Some(LINKED),
        tablespaces: true,
        ..Backup::done(CHILD, 6, 6)
    };
    let linked = Backup {
        children: Some(CHILD),
        tablespaces: true,
        ..Backup::done(LINKED, 4, 4)
    };
    let waiting = Backup {
        status: "WAITING_FOR_WALS",
        name: Some("we ekly"),
        ..Backup::done(WAITING, 8, 9)
    };
    let failed = Backup {
        status: "FAILED",
        ..Backup::done(FAILED, 9, 9)
    };
    let full = Backup {
        tablespaces: true,
        ..Backup::done(FULL, 2, 2)
    };
    for backup in [full, linked, incremental, waiting, failed] {
        server.backup(&backup);
    }
    let base = home.join("main/base");
    // It is written when a backup ends.
    for (day, id) in (1..).zip([FULL, LINKED, CHILD, WAITING]) {
        set_time(
            &base.join(id).join("data/backup_label"),
            1_704_067_500 + day * 86_400,
        );
    }
    for name in [SHARED, "data/PG_VERSION", "16387/PG_15_202209061/5/20000"] {
        let (old, new) = (base.join(FULL).join(name), base.join(LINKED).join(name));
        std::fs::remove_file(&new).unwrap();
        std::fs::hard_link(old, new).unwrap();
    }
    std::fs::write(base.join(CHILD).join("data/base/5/INCREMENTAL.1259"), "changed").unwrap();
    server.segments(1, 1, 4, None);
    server.archived("000000010000000000000004.00000028.backup", None);
    server.segments(1, 5, 6, None);
    server.archived("00000002.history", None);
    server.segments(1, 7, 8, None);
    server.finish();
}

fn catalog(home: &Path) -> Catalog {
    Catalog::at(Layout::under(home, "main"), Detector::default())
}

#[track_caller]
fn info(home: &Path, id: &str) -> BackupInfo {
    catalog(home)
        .load(&BackupId::parse(id).unwrap())
        .unwrap()
        .unwrap()
}

/// Files with their mode, time and content.
type Files = BTreeMap<PathBuf, (u32, i64, Vec<u8>)>;

/// The regular files below a directory.
fn contents(root: &Path) -> Files {
    let files = WalkDir::new(root).into_iter().filter_map(Result::ok);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_path_buf();
            let content = std::fs::read(entry.path()).unwrap();
            (path, (metadata.mode(), metadata.mtime(), content))
        })
        .collect()
}

#[track_caller]
fn same_files(expected: &Files, found: &Files, what: &str) {
    let names = expected.keys().chain(found.keys());
    let differing: Vec<_> = names
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| {
            let short = |files: &Files| {
                files
                    .get(name)
                    .map(|(mode, time, content)| (*mode, *time, content.len()))
            };
            format!("{}: {:?}, {:?}", name.display(), short(expected), short(found))
        })
        .collect();
    assert!(differing.is_empty(), "{what}:\n{}", differing.join("\n"));
}

#[track_caller]
fn same_data(primary: &Path, passive: &Path, id: &str) {
    let base = |home: &Path| contents(&home.join("main/base").join(id));
    same_files(&base(primary), &base(passive), id);
}

fn xlogdb(home: &Path) -> String {
    std::fs::read_to_string(home.join("main/wals/main-xlog.db")).unwrap()
}

fn inode(home: &Path, id: &str) -> u64 {
    home.join("main/base")
        .join(id)
        .join(SHARED)
        .metadata()
        .unwrap()
        .ino()
}

/// What all copies have in common, whoever made them.
#[track_caller]
fn same_catalog(nodes: &Nodes) {
    let (there, here) = (nodes.primary.home(), nodes.passive.home());
    for id in COMPLETE {
        same_data(&there, &here, id);
    }
    assert_eq!(inode(&here, FULL), inode(&here, LINKED), "a hard link was lost");
    let archive = |home: &Path| contents(&home.join("main/wals/0000000100000000"));
    let mut expected = archive(&there);
    // Older than the oldest backup.
    expected.remove(Path::new("000000010000000000000001")).unwrap();
    same_files(&expected, &archive(&here), "the archive");
    let reached = std::fs::read_to_string(here.join("main/wals/sync-wals.info")).unwrap();
    let last = xlogdb(&there).trim_end().rfind('\n').unwrap() + 1;
    assert_eq!(reached, format!("000000010000000000000008\t{last}"));
}

fn from_barman(barkeep: &Tool) {
    let nodes = Nodes::start("sync-from", &Tool::barman(), barkeep);
    nodes.synchronise();
    same_catalog(&nodes);
    let listed = |tool: &Tool| {
        nodes
            .passive
            .run(tool, &["list-backups", "main"])
            .success()
            .stdout
    };
    assert_eq!(listed(&nodes.here), listed(&nodes.there));
    let (there, here) = (nodes.primary.home(), nodes.passive.home());
    let all = xlogdb(&there);
    // Each file once, and nothing older than the oldest backup.
    assert_eq!(xlogdb(&here), all.split_once('\n').unwrap().1);
    for id in COMPLETE {
        let mut expected = info(&there, id);
        if expected.mode.as_deref() != Some("postgres") {
            expected.deduplicated_size = info(&here, id).deduplicated_size;
        }
        let text = |home: &Path, info: &BackupInfo| {
            let path = home.join(format!("main/meta/{id}-backup.info"));
            (std::fs::read_to_string(path).unwrap(), info.to_text())
        };
        let (written, expected) = text(&here, &expected);
        assert_eq!(written, expected);
    }
    let link = here.join("main/base").join(CHILD).join("data/pg_tblspc/16387");
    assert!(link.is_symlink() && link.join("PG_15_202209061").is_dir());
    // With metadata that Barman has written, its cron ends with an exception here.
    nodes.configure("reuse_backup = link\nretention_policy = REDUNDANCY 5");
    nodes.passive.run(&Tool::barman(), &["cron"]).success();
    // The last segment that a backup waits for arrives.
    let wal = "000000010000000000000009";
    let path = archive_path(&there.join("main"), wal);
    std::fs::write(&path, wal_content(wal)).unwrap();
    give_to(&path, &nodes.primary.account);
    let line = format!("{wal}\t65536\t1704880999.25\tNone\tNone\n");
    std::fs::write(there.join("main/wals/main-xlog.db"), xlogdb(&there) + &line).unwrap();
    eventually(Duration::from_secs(30), "cron to complete the backup", || {
        nodes.here(&["cron"]).success();
        info(&here, WAITING).status == BackupStatus::Done
    });
    assert!(xlogdb(&here).ends_with(&line));
    let said = nodes.here(&["cron"]).success().stdout;
    assert_eq!(said, "No WAL synchronisation required for server main\n");
}

fn to_barman(barkeep: &Tool) {
    let nodes = Nodes::start("sync-to", barkeep, &Tool::barman());
    nodes.synchronise();
    same_catalog(&nodes);
    // What Barman has done to the metadata does not keep them from being understood.
    for id in COMPLETE {
        let (there, here) = (info(&nodes.primary.home(), id), info(&nodes.passive.home(), id));
        assert_eq!(here.backup_label, there.backup_label);
        assert_eq!(here.children_backup_ids, there.children_backup_ids);
        assert_eq!(here.begin_time, there.begin_time);
        assert_eq!(here.tablespaces, there.tablespaces);
    }
    // And barkeep's cron goes on from there.
    let said = nodes.passive.run(barkeep, &["cron"]).success().stdout;
    assert_eq!(said, "No WAL synchronisation required for server main\n");
}

/// Both tools on the same two nodes, with commands that change nothing.
fn says_what_barman_says(barkeep: &Tool) {
    let barman = Tool::barman();
    let nodes = Nodes::start("sync-says", &barman, barkeep);
    let mut problems = String::new();
    let mut compare = |manager: &Manager, words: &str| {
        for format in ["console", "json"] {
            let mut all = vec!["-f", format];
            all.extend(words.split(' '));
            let answer = |tool: &Tool| {
                let finished = manager.run(tool, &all);
                // How a usage is broken into lines is another matter.
                let stderr = if finished.code == 2 {
                    String::new()
                } else {
                    finished.stderr
                };
                (finished.code, document(&finished.stdout), stderr)
            };
            let (expected, found) = (answer(&barman), answer(barkeep));
            if expected != found {
                let (one, other) = (format!("{expected:?}"), format!("{found:?}"));
                let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
                let part = |text: &str| {
                    text.chars()
                        .skip(same.saturating_sub(80))
                        .take(300)
                        .collect::<String>()
                };
                problems.push_str(&format!(
                    "{words} ({format}):\n{}\n{}\n",
                    part(&one),
                    part(&other)
                ));
            }
        }
    };
    compare(&nodes.passive, "sync-backup main 20240101T000000");
    compare(&nodes.passive, "sync-wals main");
    nodes.here(&["sync-info", "--primary", "main"]).success();
    compare(&nodes.passive, "sync-info main");
    compare(&nodes.passive, "sync-info --primary main");
    for id in [LINKED, WAITING] {
        nodes.here(&["sync-backup", "main", id]).success();
    }
    // One that the primary node does not have.
    let meta = nodes.passive.server("main").join("meta");
    let text = std::fs::read_to_string(meta.join(format!("{LINKED}-backup.info"))).unwrap();
    std::fs::write(
        meta.join("20231231T000000-backup.info"),
        text.replace("children_backup_ids=20", "#"),
    )
    .unwrap();
    give_to(&meta, &nodes.passive.account);
    for words in [
        "sync-backup main 20240102T000000",
        "sync-backup main 20240105T000000",
        "sync-backup main 20231231T000000",
        "sync-backup main latest",
        "sync-backup main nothere",
        "sync-backup nosuch 20240102T000000",
        "sync-backup all 20240102T000000",
        "sync-backup main",
        "sync-wals nosuch",
        "sync-wals all",
        "sync-wals",
        "sync-info all",
        "sync-info main",
    ] {
        compare(&nodes.passive, words);
    }
    nodes.configure("retention_policy = REDUNDANCY 1");
    compare(&nodes.passive, "sync-backup main 20240101T000000");
    nodes.configure("compression = gzip");
    compare(&nodes.passive, "sync-wals main");
    nodes.configure("active = false");
    for words in [
        "sync-info main",
        "sync-info --primary main",
        "sync-backup main x",
        "sync-wals main",
        "cron",
    ] {
        compare(&nodes.passive, words);
    }
    for words in [
        "sync-backup main 20240102T000000",
        "sync-wals main",
        "sync-info --primary main",
        "sync-info main",
        "sync-info main 000000010000000000000004",
        "sync-info main 000000010000000000000004 183",
        "sync-info main 000000010000000000000008 489",
        "sync-info main 000000010000000000000000",
        "sync-info main 0000000100000000000000FF",
        "sync-info main 00000002.history 1",
        "sync-info main x",
        "sync-info main x 0",
    ] {
        compare(&nodes.primary, words);
    }
    assert!(problems.is_empty(), "Barman's answer first:\n{problems}");
}

/// A document of `sync-info` without passwords, and with the backups in any order; other texts as they are.
fn document(text: &str) -> String {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let all: Result<Vec<serde_json::Value>, _> = documents.collect();
    match all {
        Ok(all) if text.contains("last_position") => format!("{all:?}").replace("sesame", "*REDACTED*"),
        _ => text.to_owned(),
    }
}

/// What is being copied is not deleted where it comes from, nor what it builds on.
fn held_on_the_primary_node(barkeep: &Tool) {
    let nodes = Nodes::start("sync-held", barkeep, barkeep);
    nodes.here(&["sync-info", "--primary", "main"]).success();
    // Minutes of copying.
    let large = nodes
        .primary
        .server("main")
        .join("base")
        .join(CHILD)
        .join("data/base/5/large");
    std::fs::write(large, wal_content("large").repeat(512)).unwrap();
    nodes.configure("bandwidth_limit = 1");
    let command = nodes.passive.command(barkeep, &["sync-backup", "main", CHILD]);
    let mut copying = Background::start(command, Signal::SIGTERM);
    let arriving = nodes.passive.server("main").join("base").join(CHILD).join("data");
    eventually(Duration::from_secs(30), "the copy to begin", || arriving.exists());
    assert_eq!(info(&nodes.passive.home(), CHILD).status, BackupStatus::Syncing);
    let busy = nodes.here(&["sync-backup", "main", CHILD]).exits(1).stderr;
    assert_eq!(
        busy,
        format!(
            "ERROR: Another synchronisation process for backup {CHILD} of server main is already running.\n"
        )
    );
    for (id, tool) in [(CHILD, barkeep), (LINKED, barkeep), (CHILD, &Tool::barman())] {
        let refused = nodes.primary.run(tool, &["delete", "main", id]).exits(1).stderr;
        assert!(refused.contains("is holding the lock for backup"), "{refused}");
    }
    same_ids(&nodes.primary, &[FAILED, WAITING, CHILD, LINKED, FULL]);
    // Nor here.
    let refused = nodes.here(&["delete", "main", CHILD]).exits(1).stderr;
    assert!(refused.contains("is holding the lock for backup"), "{refused}");
    copying.stop();
    assert_eq!(info(&nodes.passive.home(), CHILD).status, BackupStatus::Failed);
    eventually(Duration::from_secs(30), "the lock to be released", || {
        nodes.primary.run(barkeep, &["delete", "main", CHILD]).code == 0
    });
    // What will never be complete goes.
    nodes.here(&["sync-info", "--primary", "main"]).success();
    let said = nodes.here(&["sync-backup", "main", CHILD]).success().stderr;
    assert!(
        said.contains("is incomplete locally, purging local backup"),
        "{said}"
    );
    nodes.here(&["cron"]).success();
    let base = nodes.passive.server("main").join("base");
    assert!(
        std::fs::read_dir(base).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains(CHILD))
    );
}

#[track_caller]
fn same_ids(manager: &Manager, ids: &[&str]) {
    assert_eq!(manager.backup_ids("main"), ids);
}

/// Two nodes on one host, for what is killed: ssh would only take time.
struct Killed {
    scratch: Scratch,
    pristine: PathBuf,
}

/// The system calls that change a disk.
const CALLS: &str = "pwrite64,write,rename,renameat2,link,linkat,symlink,unlink,unlinkat,rmdir,mkdir,ftruncate,fsync,\
                     utimensat,fchmod,copy_file_range";

impl Killed {
    fn new(label: &str, barkeep: &Tool) -> Killed {
        let scratch = Scratch::in_memory(label);
        build(&scratch.join("primary"));
        let config = scratch.join("primary.conf");
        let text = format!(
            "[barman]\nbarman_user = root\nbarman_home = {}\n[main]\nbackup_options = concurrent_backup\narchiver = on\n\
             ssh_command = x\nconninfo = host=/nonexistent\n",
            scratch.join("primary").display()
        );
        std::fs::write(&config, text).unwrap();
        let script = format!(
            "#!/bin/sh\nfor word; do last=$word; done\nexport PATH={}:/usr/bin:/bin BARMAN_CONFIG_FILE={}\nexec sh -c \"$last\"\n",
            barkeep.bin.display(),
            config.display()
        );
        std::fs::write(scratch.join("ssh"), script).unwrap();
        std::fs::set_permissions(scratch.join("ssh"), PermissionsExt::from_mode(0o755)).unwrap();
        let killed = Killed {
            pristine: scratch.join("pristine"),
            scratch,
        };
        std::fs::create_dir(&killed.pristine).unwrap();
        killed
    }

    fn command(&self, tool: &Tool, home: &Path, wrapper: &[&str], words: &[&str]) -> Command {
        let config = home.with_extension("conf");
        let text = format!(
            "[barman]\nbarman_user = root\nbarman_home = {}\n[main]\nbackup_options = concurrent_backup\n\
             reuse_backup = link\nprimary_ssh_command = {}\n",
            home.display(),
            self.scratch.join("ssh").display()
        );
        std::fs::write(&config, text).unwrap();
        let program = tool.program("barman").display().to_string();
        let mut all = wrapper.to_vec();
        all.push(&program);
        let mut command = Command::new(all[0]);
        command
            .args(&all[1..])
            .arg("-q")
            .arg("-c")
            .arg(config)
            .args(words);
        command
    }

    #[track_caller]
    fn run(&self, tool: &Tool, home: &Path, words: &[&str]) {
        run(self.command(tool, home, &[], words)).success();
    }

    /// Runs a command on copies of the pristine node, killed later and later, until it gets through; `examine` sees
    /// each after the kill and once more when the command has been run again.
    fn each_step(&self, barkeep: &Tool, words: &[&str], examine: impl Fn(&Path, bool)) {
        let mut kills = 0;
        // Every third will do: each takes a third of a second.
        let mut steps = Steps::of(CALLS).every(3);
        while let Some(step) = steps.next() {
            let home = self.scratch.join(format!("step{}", step.number));
            crate::support::tree::copy_of(&self.pristine, &home);
            let arguments = step.arguments();
            let strace: Vec<&str> = ["strace"]
                .into_iter()
                .chain(arguments.iter().map(String::as_str))
                .collect();
            let finished = run(self.command(barkeep, &home, &strace, words));
            examine(&home, false);
            if kills % 8 == 0 {
                self.run(&Tool::barman(), &home, &["list-backups", "main"]);
            }
            self.run(barkeep, &home, words);
            examine(&home, true);
            std::fs::remove_dir_all(&home).unwrap();
            if finished.code == 0 {
                steps.got_through();
            } else {
                kills += 1;
            }
        }
        assert!(kills > 5, "only {kills} steps were found: is strace at work?");
    }
}

/// Where ssh lets only `sync-info` and rsync through. What goes away while it is copied makes the copy fail.
fn by_rsync_alone(barkeep: &Tool) {
    let killed = Killed::new("sync-rsync", barkeep);
    let primary = killed.scratch.join("primary");
    let ssh = killed.scratch.join("ssh");
    let whole = std::fs::read_to_string(&ssh).unwrap();
    // The data directory comes after its tablespaces, and its third call brings the files.
    let victim = primary
        .join("main/base")
        .join(LINKED)
        .join("data/base/5/1259_fsm");
    let narrow = format!(
        "last=\"$*\"\ncase $last in *'rsync --server'*) echo >> {0}; [ $(wc -l < {0}) != 10 ] || rm -f {1};;\n\
         'barman sync-info main'*) ;;\n*) exit 1;;\nesac\n",
        killed.scratch.join("calls").display(),
        victim.display()
    );
    std::fs::write(&ssh, whole.replace("export", &format!("{narrow}export"))).unwrap();
    let home = &killed.pristine;
    killed.run(barkeep, home, &["sync-info", "--primary", "main"]);
    let failed = run(killed.command(barkeep, home, &[], &["sync-backup", "main", LINKED])).exits(1);
    assert!(
        failed.stderr.contains("1 files of it have gone"),
        "{}",
        failed.stderr
    );
    assert_eq!(info(home, LINKED).status, BackupStatus::Failed);
    for id in [FULL, LINKED] {
        killed.run(barkeep, home, &["sync-backup", "main", id]);
        same_data(&primary, home, id);
    }
    killed.run(barkeep, home, &["sync-wals", "main"]);
    assert_eq!(xlogdb(home), xlogdb(&primary).split_once('\n').unwrap().1);
}

fn backup_killed(barkeep: &Tool) {
    let killed = Killed::new("sync-killed", barkeep);
    killed.run(barkeep, &killed.pristine, &["sync-info", "--primary", "main"]);
    killed.run(barkeep, &killed.pristine, &["sync-backup", "main", FULL]);
    let primary = killed.scratch.join("primary");
    killed.each_step(barkeep, &["sync-backup", "main", LINKED], |home, again| {
        let found = catalog(home).backups().unwrap();
        let status = found
            .get(&BackupId::parse(LINKED).unwrap())
            .map(|info| info.status);
        if again || status.is_some_and(BackupStatus::copy_done) {
            assert_eq!(status, Some(BackupStatus::Done));
            same_data(&primary, home, LINKED);
            assert_eq!(inode(home, FULL), inode(home, LINKED));
        }
        let left = home.join("main/base").join(format!(".syncing-{LINKED}"));
        assert!(!again || !left.exists());
        same_data(&primary, home, FULL);
    });
}

fn wals_killed(barkeep: &Tool) {
    let killed = Killed::new("sync-wals-killed", barkeep);
    killed.run(barkeep, &killed.pristine, &["sync-info", "--primary", "main"]);
    killed.run(barkeep, &killed.pristine, &["sync-backup", "main", FULL]);
    let primary = killed.scratch.join("primary");
    let all = xlogdb(&primary).split_once('\n').unwrap().1.to_owned();
    let there = contents(&primary.join("main/wals/0000000100000000"));
    killed.each_step(barkeep, &["sync-wals", "main"], |home, again| {
        let archive = home.join("main/wals/0000000100000000");
        for (name, file) in contents(&archive) {
            assert!(there.get(&name) == Some(&file), "{} is not whole", name.display());
        }
        let database = home.join("main/wals/main-xlog.db");
        let recorded = std::fs::read_to_string(database).unwrap_or_default();
        assert!(all.starts_with(&recorded), "{recorded}");
        for line in recorded.lines() {
            let name = line.split('\t').next().unwrap();
            assert!(archive_path(&home.join("main"), name).is_file(), "{name}");
        }
        assert!(!again || (recorded == all && !home.join("main/wals/.sync-wals").exists()));
    });
}

/// A chain of a real cluster, with what barkeep knows of it: the copy stands for the original.
fn restored_from_the_copy(barkeep: &Tool) {
    let options = LabOptions::new(Version::V15)
        .tablespace()
        .server("compression = zstd");
    let lab = Lab::start("sync", barkeep, &options);
    lab.prepare(barkeep);
    let full = lab.backup(barkeep, &[]);
    lab.cluster.sql("UPDATE pgbench_tellers SET tbalance = 7");
    let child = lab.backup(barkeep, &["--incremental", "latest"]);
    lab.cluster.sql("UPDATE pgbench_branches SET bbalance = 3");
    let linked = lab.backup(barkeep, &[]);
    let moment = mark(&lab.cluster, "here");
    lab.archive_everything(barkeep);

    let mut passive = lab.manager.clone();
    passive.directory = lab.scratch.join("passive");
    crate::support::scratch::make_directory(&passive.directory, &passive.account);
    crate::support::scratch::make_directory(&passive.home(), &passive.account);
    // Only what the primary node says makes it link files.
    let body = format!(
        "primary_ssh_command = {}\ncompression = zstd\npath_prefix = {}",
        lab.sshd.command_for("barman"),
        lab.cluster.version.bin().display()
    );
    passive.configure("", &[("main", body)]);
    let eventual = |id: &str| {
        eventually(Duration::from_secs(60), "cron to copy the backup", || {
            passive.run(barkeep, &["cron"]).success();
            let copied = catalog(&passive.home())
                .load(&BackupId::parse(id).unwrap())
                .unwrap();
            copied.is_some_and(|info| info.status == BackupStatus::Done)
        });
    };
    for id in [&full, &child, &linked] {
        eventual(id);
        passive.run(barkeep, &["verify-backup", "main", id]).success();
        passive.run(barkeep, &["check-backup", "main", id]).success();
        for sidecar in ["barkeep.json", "barkeep-files.zst"] {
            let sidecar = format!("main/meta/{id}-{sidecar}");
            let read = |home: PathBuf| std::fs::read(home.join(&sidecar)).unwrap();
            assert!(read(lab.manager.home()) == read(passive.home()), "{sidecar}");
        }
    }
    let one = |id: &str| {
        passive
            .server("main")
            .join("base")
            .join(id)
            .join("data/PG_VERSION")
    };
    assert_eq!(
        one(&full).metadata().unwrap().ino(),
        one(&linked).metadata().unwrap().ino()
    );
    // From here on the primary node is not needed.
    let mut copy = lab;
    copy.manager = passive;
    for (name, id) in [("of-chain", &child), ("of-linked", &linked)] {
        let mut restored = copy.restore(
            barkeep,
            name,
            id,
            &["--target-name", "here", "--target-action", "promote"],
        );
        restored.launch();
        eventually(Duration::from_secs(60), "the end of recovery", || {
            restored.sql("SELECT pg_is_in_recovery()") == "f"
        });
        assert_eq!(digest(&restored), moment.digest);
        restored.amcheck();
    }
}
