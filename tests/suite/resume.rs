//! `backup --resume`: what a killed backup had copied does not cross the wire again, and nothing wrong is taken over.

use std::fs::{File, FileTimes};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use walkdir::WalkDir;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, digest, mark};
use crate::support::process::{Background, eventually};
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tool = tool.clone();
    vec![Trial::test("resume::killed_backups", move || {
        killed_backups(&tool);
        Ok(())
    })]
}

fn killed_backups(tool: &Tool) {
    let mut lab = Lab::start(
        "resume",
        tool,
        &LabOptions::new(Version::V15).scale(20).tablespace(),
    );
    lab.prepare(tool);
    // Times close to the beginning of a backup prove nothing.
    std::thread::sleep(Duration::from_millis(2100));
    let whole = kill_at(&lab, tool, &[], 120 << 20);
    lab.cluster
        .sql("UPDATE pgbench_tellers SET tbalance = tbalance + 1");
    lab.cluster
        .sql("CREATE TABLE more AS SELECT generate_series(1, 100000) AS n");
    lab.cluster.sql("CHECKPOINT");
    let again = kill_at(&lab, tool, &["--resume"], 200 << 20);
    assert_ne!(whole, again);

    // What the two have copied is not copied again, and they go.
    lab.configure("resume_failed_backups = on\n");
    let third = complete(&lab, tool, &[&whole, &again], &[]);
    let copy = sidecar(&lab, &third)["copy"].clone();
    let (wire, bytes) = (
        copy["wire_bytes"].as_u64().unwrap(),
        copy["bytes"].as_u64().unwrap(),
    );
    assert!(bytes > 300 << 20, "{copy}");
    assert!(wire < bytes / 2, "{copy}");
    // How many of the small ones are there depends on when the large ones are finished.
    assert!(copy["reused_files"].as_u64().unwrap() > 100, "{copy}");
    proves(&mut lab, tool, &third, "third");

    // An incremental backup goes on as well: what it stores whole.
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 40 = 0");
    lab.cluster
        .sql("CREATE TABLE wide AS SELECT g, repeat('w', 900) AS w FROM generate_series(1, 80000) g");
    lab.cluster.sql("CHECKPOINT");
    let on_third = ["--incremental", "latest"];
    let part = kill_at(&lab, tool, &on_third, 40 << 20);
    let incremental = complete(&lab, tool, &[&part], &on_third);
    proves(&mut lab, tool, &incremental, "incremental");

    // The machine went down: files have their times, and not their content.
    let lost = kill_at(&lab, tool, &["--reuse-backup=off"], 120 << 20);
    forget_contents(&lab, &lost);
    let fourth = complete(&lab, tool, &[&lost], &["--reuse-backup=off"]);
    let copy = sidecar(&lab, &fourth)["copy"].clone();
    assert!(copy["wire_bytes"].as_u64().unwrap() > 20 << 20, "{copy}");
    for entry in WalkDir::new(lab.base(&fourth)) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        assert!(
            !metadata.is_file() || metadata.nlink() == 1,
            "{} is shared, although reuse_backup is off",
            entry.path().display()
        );
    }
    proves(&mut lab, tool, &fourth, "fourth");

    // There is nothing to resume, and nothing is said of it unless somebody asks.
    complete(&lab, tool, &[], &["--resume"]);
}

/// Kills a backup when so many bytes of it have arrived; its id.
fn kill_at(lab: &Lab, tool: &Tool, options: &[&str], bytes: u64) -> String {
    let before = lab.manager.backup_ids("main");
    std::thread::sleep(Duration::from_millis(1100));
    let mut arguments = vec!["backup", "--bwlimit", "40000", "--jobs", "2"];
    arguments.extend(options);
    arguments.push("main");
    let mut command = lab.manager.command(tool, &arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = Background::start(command, Signal::SIGINT);
    let mut id = String::new();
    eventually(Duration::from_secs(60), "the backup to be half way", || {
        let ids = lab.manager.backup_ids("main");
        let Some(newest) = ids.first().filter(|newest| !before.contains(newest)) else {
            return false;
        };
        id.clone_from(newest);
        stored(&lab.base(newest)) > bytes
    });
    running.signal(Signal::SIGKILL);
    let finished = running.finish(Duration::from_secs(60));
    assert_ne!(finished.code, 0, "{}", finished.stdout);
    id
}

/// Bytes of the files of a backup that are really there.
fn stored(base: &Path) -> u64 {
    WalkDir::new(base)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}

/// Takes a backup, after which these failed ones are gone.
fn complete(lab: &Lab, tool: &Tool, gone: &[&String], options: &[&str]) -> String {
    std::thread::sleep(Duration::from_millis(1100));
    let mut arguments = vec!["backup", "--wait", "--wait-timeout", "60"];
    arguments.extend(options);
    arguments.push("main");
    let finished = lab.manager.run(tool, &arguments).success();
    for id in gone {
        assert!(
            finished.stdout.contains(&format!("Deleted backup {id}")),
            "{}",
            finished.stdout
        );
        assert!(!lab.base(id).exists());
    }
    if gone.is_empty() {
        assert!(
            finished.stdout.contains("There is no failed backup to resume"),
            "{}",
            finished.stdout
        );
    }
    let ids = lab.manager.backup_ids("main");
    assert!(gone.iter().all(|id| !ids.contains(id)));
    ids[0].clone()
}

fn sidecar(lab: &Lab, id: &str) -> serde_json::Value {
    let path = lab.manager.server("main").join(format!("meta/{id}-barkeep.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What a machine that lost its power may leave of files that nobody had synced.
fn forget_contents(lab: &Lab, id: &str) {
    let path = lab.manager.server("main").join(format!("meta/{id}-barkeep.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    assert_ne!(text, other);
    std::fs::write(&path, other).unwrap();
    for entry in WalkDir::new(lab.base(id)) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_file() && metadata.len() > 0 {
            let file = File::options().write(true).open(entry.path()).unwrap();
            let zeros = vec![0; usize::try_from(metadata.len().min(40_000)).unwrap()];
            file.write_all_at(&zeros, 0).unwrap();
            file.set_times(FileTimes::new().set_modified(metadata.modified().unwrap()))
                .unwrap();
        }
    }
}

/// A restore of the backup has what the server has.
fn proves(lab: &mut Lab, tool: &Tool, id: &str, name: &str) {
    let moment = mark(&lab.cluster, name);
    lab.archive_everything(tool);
    let mut restored = lab.restore(tool, name, id, &[]);
    restored.launch();
    eventually(Duration::from_secs(90), "the end of recovery", || {
        restored.sql("SELECT pg_is_in_recovery()") == "f"
    });
    assert_eq!(digest(&restored), moment.digest);
    assert_eq!(restored.sql("SELECT count(*) FROM more"), "100000");
    restored.verify_checksums();
    std::fs::remove_dir_all(restored.data.parent().unwrap()).unwrap();
}
