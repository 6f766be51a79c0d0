//! Things that go wrong in the middle: kills, lost connections, a full disk.
//!
//! Afterwards both tools read the catalog, nothing acknowledged is missing, no process and no lock is left, and the
//! next backup works.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::support::catalog::{archive_path, delivered_content, wal_content};
use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, digest, mark};
use crate::support::manager::Manager;
use crate::support::process::{Background, Finished, eventually, run};
use crate::support::scratch::{Scratch, write_file};
use crate::support::tool::Tool;
use crate::support::tree;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool)| {
        let tool = tool.clone();
        Trial::test(format!("crash::{name}"), move || {
            test(&tool);
            Ok(())
        })
    };
    vec![
        with("manager_killed_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Signal(Signal::SIGKILL))
        }),
        with("ctrl_c_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Signal(Signal::SIGINT))
        }),
        with("sigterm_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Signal(Signal::SIGTERM))
        }),
        with("ssh_lost_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Ssh)
        }),
        with("postgresql_connection_lost_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Connection)
        }),
        with("postgresql_crash_during_backup", |tool| {
            interrupted_backup(tool, &Blow::Crash)
        }),
        with("archiver_killed_again_and_again", archiver_killed),
        with("delete_killed_again_and_again", delete_killed),
        with("put_wal_killed_again_and_again", put_wal_killed),
        with("backup_on_a_full_disk", backup_on_a_full_disk),
        with("put_wal_on_a_full_disk", put_wal_on_a_full_disk),
        with("ssh_lost_during_restore", ssh_lost_during_restore),
    ]
}

/// What hits a running backup.
#[derive(Debug)]
enum Blow {
    Signal(Signal),
    Ssh,
    Connection,
    Crash,
}

fn interrupted_backup(tool: &Tool, blow: &Blow) {
    let mut lab = Lab::start("crash", tool, &LabOptions::new(Version::V15).scale(3));
    lab.prepare(tool);
    let good = lab.backup(tool, &[]);
    // Enough new data that a slow copy takes its time.
    lab.cluster.sql("UPDATE pgbench_accounts SET filler = 'changed'");
    lab.cluster.sql("CHECKPOINT");
    std::thread::sleep(Duration::from_millis(1100));
    let running = start_backup(&lab, tool);
    wait_for_copy(&lab, tool, &good);

    match blow {
        Blow::Signal(signal) => running.signal(*signal),
        Blow::Ssh => lab.sshd.cut_connections(),
        Blow::Connection => {
            lab.cluster.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                 AND pid <> pg_backend_pid()",
            );
        }
        Blow::Crash => lab.cluster.crash(),
    }
    let finished = running.finish(Duration::from_secs(60));
    assert_ne!(
        finished.code, 0,
        "an interrupted backup is no success\n{}{}",
        finished.stdout, finished.stderr
    );
    if matches!(blow, Blow::Crash) {
        lab.cluster.launch();
    }

    let newest = newest_backup(&lab.manager);
    if matches!(blow, Blow::Signal(Signal::SIGKILL)) {
        assert_eq!(newest.status, "STARTED", "nobody was left to write more");
    } else {
        assert_eq!(newest.status, "FAILED", "{}{}", finished.stdout, finished.stderr);
        assert_ne!(newest.error, "None", "a failed backup says why");
    }
    both_tools_read(&lab.manager, tool);
    nothing_left_running(&lab);

    // The good backup is untouched, and the next one works.
    lab.manager.run(tool, &["check-backup", "main", &good]).success();
    let next = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "after");
    lab.archive_everything(tool);
    for id in [&good, &next] {
        let mut restored = lab.restore(tool, &format!("of-{id}"), id, &[]);
        restored.launch();
        eventually(Duration::from_secs(90), "the end of recovery", || {
            restored.sql("SELECT pg_is_in_recovery()") == "f"
        });
        assert_eq!(digest(&restored), moment.digest);
        restored.verify_checksums();
    }
    // What the accident left can be removed.
    lab.manager.run(tool, &["delete", "main", &newest.id]).success();
    assert!(!lab.base(&newest.id).exists());
}

fn start_backup(lab: &Lab, tool: &Tool) -> Background {
    // 3 MB/s: the copy of some 80 MB takes long enough for any blow to hit it.
    let mut command = lab
        .manager
        .command(tool, &["backup", "--bwlimit", "3000", "--jobs", "2", "main"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Background::start(command, Signal::SIGINT)
}

/// Waits until the new backup has copied something.
fn wait_for_copy(lab: &Lab, tool: &Tool, previous: &str) {
    eventually(Duration::from_secs(60), "the copy to begin", || {
        let bases = std::fs::read_dir(lab.manager.server("main").join("base")).unwrap();
        bases.flatten().any(|base| {
            base.file_name().to_string_lossy().as_ref() > previous
                && base
                    .path()
                    .join("data/base")
                    .read_dir()
                    .is_ok_and(|mut entries| entries.next().is_some())
        })
    });
    let _ = tool;
    std::thread::sleep(Duration::from_millis(1500));
}

struct Newest {
    id: String,
    status: String,
    error: String,
}

fn newest_backup(manager: &Manager) -> Newest {
    let id = manager.backup_ids("main")[0].clone();
    let text =
        std::fs::read_to_string(manager.server("main").join(format!("meta/{id}-backup.info"))).unwrap();
    let value = |key: &str| {
        let start = format!("{key}=");
        text.lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_default()
            .to_owned()
    };
    Newest {
        status: value("status"),
        error: value("error"),
        id,
    }
}

/// Both tools list and show everything, alike.
#[track_caller]
fn both_tools_read(manager: &Manager, tool: &Tool) {
    let barman = Tool::barman();
    let listed = [&barman, tool].map(|tool| manager.run(tool, &["list-backups", "main"]).success().stdout);
    assert_eq!(listed[0], listed[1]);
    for id in manager.backup_ids("main") {
        for tool in [&barman, tool] {
            manager.run(tool, &["show-backup", "main", &id]).success();
        }
    }
}

/// No process on the PostgreSQL host, no session on PostgreSQL, no lock.
#[track_caller]
fn nothing_left_running(lab: &Lab) {
    eventually(
        Duration::from_secs(20),
        "the processes on the other host to end",
        || {
            lab.sshd.session_processes().iter().all(|pid| {
                // archive_command's own connections come and go.
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                !(line.contains("agent") || line.contains("rsync"))
            })
        },
    );
    eventually(
        Duration::from_secs(20),
        "the session of the backup to end",
        || {
            lab.cluster.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'barman%' \
             OR query LIKE '%backup_start%' AND pid <> pg_backend_pid()",
            ) == "0"
        },
    );
    for entry in std::fs::read_dir(lab.manager.home()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".lock") {
            let mut flock = Command::new("/usr/bin/flock");
            flock.arg("--nonblock").arg(entry.path()).arg("true");
            assert_eq!(run(flock).code, 0, "{name} is still held");
        }
    }
}

/// The archiver is killed at many moments; every file ends up archived, whole, and recorded exactly once.
fn archiver_killed(tool: &Tool) {
    let scratch = Scratch::new("arch");
    let manager = offline(&scratch, "compression = gzip");
    manager.run(tool, &["check", "main"]);
    let names: Vec<String> = (1..=120)
        .map(|n| format!("0000000100000000000000{n:02X}"))
        .collect();
    let incoming = manager.server("main").join("incoming");
    for name in &names {
        write_file(&incoming.join(name), content(name), 0o600, &manager.account);
    }
    let mut pause = 4;
    while incoming.read_dir().unwrap().next().is_some() && pause < 400 {
        let mut archiver = Background::start(
            quiet(manager.command(tool, &["archive-wal", "main"])),
            Signal::SIGKILL,
        );
        std::thread::sleep(Duration::from_millis(pause));
        archiver.stop();
        both_tools_read(&manager, tool);
        pause += 7;
    }
    manager.run(tool, &["archive-wal", "main"]).success();
    assert_eq!(
        incoming.read_dir().unwrap().flatten().count(),
        0,
        "everything is taken from incoming"
    );
    let recorded = recorded(&manager);
    for name in &names {
        assert_eq!(
            recorded.iter().filter(|n| *n == name).count(),
            1,
            "{name} in xlog.db"
        );
        assert_eq!(archived(&manager, name), content(name), "{name} in the archive");
    }
    let leftover: Vec<PathBuf> = leftovers(&manager.server("main").join("wals"));
    assert!(leftover.is_empty(), "temporary files stay behind: {leftover:?}");
    assert_eq!(
        manager.server("main").join("errors").read_dir().unwrap().count(),
        0
    );
}

/// Deletes are killed at many moments; what is kept stays whole.
fn delete_killed(tool: &Tool) {
    use crate::support::catalog::{Backup, ServerCatalog, give_to};
    let scratch = Scratch::new("del");
    let manager = offline(&scratch, "");
    let mut server = ServerCatalog::create(&manager.home(), "main");
    let ids: Vec<&'static str> = vec![
        "20240101T000000",
        "20240102T000000",
        "20240103T000000",
        "20240104T000000",
        "20240105T000000",
        "20240106T000000",
    ];
    for (id, segment) in ids.iter().zip((10..).step_by(20)) {
        server.backup(&Backup::done(id, segment, segment + 1));
    }
    server.segments(1, 1, 130, None);
    server.finish();
    give_to(&manager.home(), &manager.account);
    for id in &ids[..5] {
        for pause in (1..40).step_by(4) {
            if !manager.backup_ids("main").iter().any(|present| present == id) {
                break;
            }
            let mut delete = Background::start(
                quiet(manager.command(tool, &["delete", "main", id])),
                Signal::SIGKILL,
            );
            std::thread::sleep(Duration::from_millis(pause));
            delete.stop();
            both_tools_read(&manager, tool);
        }
        if manager.backup_ids("main").iter().any(|present| present == id) {
            manager.run(tool, &["delete", "main", id]).success();
        }
        assert!(!manager.server("main").join("base").join(id).exists());
    }
    assert_eq!(manager.backup_ids("main"), [ids[5]]);
    // The last backup and everything after it is there, in the archive and in the database.
    let recorded = recorded(&manager);
    for segment in 110..=130 {
        let name = format!("0000000100000000{segment:08X}");
        assert!(recorded.contains(&name), "{name} in xlog.db");
        assert_eq!(archived(&manager, &name), wal_content(&name));
    }
    manager.run(tool, &["check-backup", "main", ids[5]]).success();
    let status = newest_backup(&manager).status;
    assert_eq!(status, "DONE");
}

/// put-wal is killed at many moments: what it acknowledged is there, and nothing is there in part.
fn put_wal_killed(tool: &Tool) {
    let scratch = Scratch::new("put");
    let manager = offline(&scratch, "");
    manager.run(tool, &["check", "main"]);
    let incoming = manager.server("main").join("incoming");
    for n in 1..=40_u32 {
        let name = format!("0000000100000000{n:08X}");
        let stream = scratch.join("stream");
        std::fs::write(&stream, put_wal_stream(&name)).unwrap();
        let mut command = quiet(manager.command(tool, &["put-wal", "main"]));
        command.stdin(std::fs::File::open(&stream).unwrap());
        let running = Background::start(command, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(u64::from(n % 20) * 2));
        running.signal(Signal::SIGKILL);
        let finished = running.finish(Duration::from_secs(20));
        let target = incoming.join(&name);
        if finished.code == 0 {
            assert!(target.exists(), "{name} was acknowledged");
        }
        if target.exists() {
            assert_eq!(std::fs::read(&target).unwrap(), content(&name), "{name} is whole");
        }
    }
    manager.run(tool, &["archive-wal", "main"]).success();
    both_tools_read(&manager, tool);
    assert_eq!(
        manager.server("main").join("errors").read_dir().unwrap().count(),
        0
    );
}

/// A small file system of its own, mounted for one test.
struct SmallDisk {
    mountpoint: PathBuf,
}

impl SmallDisk {
    fn mount(scratch: &Scratch, at: &Path, megabytes: u32) -> SmallDisk {
        let image = scratch.join("disk.img");
        let script = format!(
            "truncate -s {megabytes}M {image} && mkfs.ext4 -q -m 0 {image} && mkdir -p {at} && mount -o loop {image} {at}",
            image = image.display(),
            at = at.display()
        );
        let mut shell = Command::new("/bin/sh");
        run({
            shell.arg("-c").arg(script);
            shell
        })
        .success();
        SmallDisk {
            mountpoint: at.to_path_buf(),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut umount = Command::new("/bin/umount");
        umount.arg("--lazy").arg(&self.mountpoint);
        let _ = umount.status();
    }
}

/// The catalog's disk fills up during a backup.
fn backup_on_a_full_disk(tool: &Tool) {
    let lab = Lab::start("full", tool, &LabOptions::new(Version::V15).scale(2));
    let server = lab.manager.server("main");
    let _disk = SmallDisk::mount(&lab.scratch, &server, 110);
    lab.manager.account.own(&server);
    lab.prepare(tool);
    let good = lab.backup(tool, &[]);
    lab.cluster.sql("UPDATE pgbench_accounts SET filler = 'changed'");
    lab.cluster.sql("CHECKPOINT");
    std::thread::sleep(Duration::from_millis(1100));
    let finished = lab.manager.run(tool, &["backup", "main"]);
    assert_eq!(finished.code, 1, "{}{}", finished.stdout, finished.stderr);
    both_tools_read(&lab.manager, tool);
    let newest = newest_backup(&lab.manager);
    if newest.id != good {
        assert!(
            matches!(newest.status.as_str(), "FAILED" | "EMPTY" | "STARTED"),
            "{}",
            newest.status
        );
        lab.manager.run(tool, &["delete", "main", &newest.id]).success();
    }
    nothing_left_running(&lab);
    let mut restored = lab.restore(tool, "restored", &good, &[]);
    restored.launch();
    eventually(Duration::from_secs(90), "the end of recovery", || {
        restored.sql("SELECT pg_is_in_recovery()") == "f"
    });
    restored.verify_checksums();
}

/// put-wal on a full disk says no, and PostgreSQL keeps the segment.
fn put_wal_on_a_full_disk(tool: &Tool) {
    let scratch = Scratch::new("fullput");
    let manager = offline(&scratch, "");
    let server = manager.server("main");
    let _disk = SmallDisk::mount(&scratch, &server, 8);
    manager.account.own(&server);
    manager.run(tool, &["check", "main"]);
    let incoming = server.join("incoming");
    let mut refused = 0;
    for n in 1..=40_u32 {
        let name = format!("0000000100000000{n:08X}");
        let finished = manager.run_with_input(tool, &["put-wal", "main"], &put_wal_stream(&name));
        if finished.code == 0 {
            assert_eq!(
                std::fs::read(incoming.join(&name)).unwrap(),
                content(&name),
                "{name} was acknowledged"
            );
        } else {
            refused += 1;
            assert!(!incoming.join(&name).exists(), "{name} was refused and is there");
        }
    }
    assert!(refused > 0, "the disk never filled up");
    let hidden: Vec<PathBuf> = leftovers(&incoming);
    assert!(hidden.is_empty(), "temporary files stay behind: {hidden:?}");
    both_tools_read(&manager, tool);
}

/// The network goes away during a remote restore: it fails, and says so.
fn ssh_lost_during_restore(tool: &Tool) {
    let lab = Lab::start("lostr", tool, &LabOptions::new(Version::V15).scale(3));
    lab.prepare(tool);
    let backup = lab.backup(tool, &[]);
    lab.archive_everything(tool);
    let directory = lab.scratch.directory("restored", &lab.cluster.owner);
    let ssh = lab.sshd.command_for("postgres");
    let destination = directory.join("data").display().to_string();
    let words = [
        "restore",
        "--bwlimit",
        "3000",
        "--remote-ssh-command",
        &ssh,
        "main",
        &backup,
        &destination,
    ];
    let mut command = lab.manager.command(tool, &words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = Background::start(command, Signal::SIGINT);
    eventually(Duration::from_secs(60), "the copy to begin", || {
        directory
            .join("data/base")
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some())
    });
    lab.sshd.cut_connections();
    let finished: Finished = running.finish(Duration::from_secs(60));
    assert_eq!(finished.code, 1, "{}{}", finished.stdout, finished.stderr);
    assert!(
        !finished.stdout.contains("successfully prepared"),
        "{}",
        finished.stdout
    );
    nothing_left_running(&lab);
    both_tools_read(&lab.manager, tool);
}

/// A manager whose PostgreSQL does not exist.
fn offline(scratch: &Scratch, more: &str) -> Manager {
    let manager = Manager::new(&scratch.join("manager"));
    let body = format!(
        "conninfo = host=127.0.0.1 port=1 user=postgres\nssh_command = ssh -p 1 nobody@127.0.0.1\narchiver = on\n\
         backup_options = concurrent_backup\n{more}"
    );
    manager.configure("", &[("main", body)]);
    manager
}

fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// 1 MiB that differs between names.
fn content(name: &str) -> Vec<u8> {
    delivered_content(name)
}

/// What `barman-wal-archive` sends for one file.
fn put_wal_stream(name: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let content = content(name);
    let sum: String = Sha256::digest(&content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let list = format!("{sum} *{name}\n");
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [(name, content.as_slice()), ("SHA256SUMS", list.as_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_704_990_000);
        archive.append_data(&mut header, name, content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The names in xlog.db, in order.
fn recorded(manager: &Manager) -> Vec<String> {
    let text = std::fs::read_to_string(manager.server("main").join("wals/main-xlog.db")).unwrap();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The content of an archived file, decompressed.
fn archived(manager: &Manager, name: &str) -> Vec<u8> {
    let path = archive_path(&manager.server("main"), name);
    let stored = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    tree::decompressed(&path, &stored).map_or(stored, |(_, plain)| plain)
}

/// Files that are neither WAL nor a database: temporary ones.
fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(directory)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file());
    all.map(walkdir::DirEntry::into_path)
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            !(name.len() == 24 || name.ends_with("-xlog.db"))
        })
        .collect()
}
