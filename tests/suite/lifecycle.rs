//! A week of backups by one line of cron, and what both tools make of the chains: they keep, list and delete them alike.

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, mark};
use crate::support::proof::prove;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tool = tool.clone();
    vec![Trial::test("lifecycle::full_backup_interval", move || {
        full_backup_interval(&tool);
        Ok(())
    })]
}

fn full_backup_interval(tool: &Tool) {
    let options = LabOptions::new(Version::V15)
        .server("full_backup_interval = 7 DAYS\nretention_policy = REDUNDANCY 1\nminimum_redundancy = 1");
    let lab = Lab::start("week", tool, &options);
    lab.prepare(tool);
    let mut days: Vec<String> = Vec::new();
    for (day, (age, letter)) in [(0, 'R'), (1, 'I'), (2, 'I'), (7, 'R'), (8, 'I')]
        .into_iter()
        .enumerate()
    {
        lab.cluster.sql(&format!(
            "UPDATE pgbench_accounts SET abalance = {day} WHERE aid % 100 = 0"
        ));
        if age == 7 {
            a_week_older(&lab, &days[0]);
        }
        let id = lab.backup(tool, &[]);
        assert_eq!(kind(&lab, tool, &id), letter, "day {age}");
        days.push(id);
    }
    // The interval is over for nobody who says what he wants.
    let full = lab.backup(tool, &["--full"]);
    assert_eq!(kind(&lab, tool, &full), 'R');
    // It shares files with the full backup before it, although there is an incremental one in between.
    let unchanged = lab.cluster.sql("SELECT pg_relation_filepath('pg_proc')");
    let inode = |id: &str| {
        let file = lab.base(id).join("data").join(&unchanged);
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap())
    };
    assert_eq!(inode(&days[3]), inode(&full));
    let on_root = lab.backup(tool, &["--incremental", "latest-full"]);
    assert_eq!(parent(&lab, &on_root), full);

    // Both tools see the same chains, and agree on what is obsolete.
    let barman = Tool::barman();
    let listed =
        [&barman, tool].map(|tool| lab.manager.run(tool, &["list-backups", "main"]).success().stdout);
    // Barman says that it does not know the option; on standard error.
    assert_eq!(listed[0], listed[1]);
    for obsolete in &days {
        let line = listed[1]
            .lines()
            .find(|line| line.contains(obsolete.as_str()))
            .unwrap();
        assert!(line.ends_with("OBSOLETE"), "{line}");
    }
    // Barman deletes one chain from its root, barkeep the other: children first.
    let deleted = lab.manager.run(&barman, &["delete", "main", &days[0]]).success();
    assert!(
        deleted
            .stderr
            .contains("has incremental backups which depend on it"),
        "{}",
        deleted.stderr
    );
    let deleted = lab.manager.run(tool, &["delete", "main", &days[3]]).success();
    assert!(
        deleted
            .stderr
            .contains("has incremental backups which depend on it"),
        "{}",
        deleted.stderr
    );
    assert_eq!(lab.manager.backup_ids("main"), [on_root.clone(), full.clone()]);
    let refused = lab.manager.run(tool, &["delete", "main", &full]).exits(1).stderr;
    assert!(refused.contains("minimum redundancy"), "{refused}");

    let moment = mark(&lab.cluster, "end");
    lab.archive_everything(tool);
    let mut restored = lab.restore(tool, "end", &on_root, &[]);
    prove(&mut restored, &moment);

    // A parent that is not what it was is none: a full backup, without a word on the console.
    std::fs::remove_file(lab.base(&full).join("data/global/pg_control")).unwrap();
    let instead = lab.backup(tool, &[]);
    assert_eq!(kind(&lab, tool, &instead), 'R');
    let log = std::fs::read_to_string(lab.manager.directory.join("barman.log")).unwrap();
    let reasons: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Taking a full backup"))
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("there is none yet"), "{reasons:?}");
    assert!(
        reasons[1].contains("is as old as full_backup_interval"),
        "{reasons:?}"
    );
    assert!(reasons[2].contains("cannot be the parent"), "{reasons:?}");
}

/// `R`, `I`: as listed.
fn kind(lab: &Lab, tool: &Tool, id: &str) -> char {
    let listed = lab.manager.run(tool, &["list-backups", "main"]).success().stdout;
    let start = format!("main {id} - ");
    let line = listed.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap().chars().next().unwrap()
}

fn parent(lab: &Lab, id: &str) -> String {
    let path = lab.manager.server("main").join(format!("meta/{id}-backup.info"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("parent_backup_id="));
    line.unwrap().to_owned()
}

/// Lets a backup have begun a week earlier, and a little less than that, as cron is never exact.
fn a_week_older(lab: &Lab, id: &str) {
    let path = lab.manager.server("main").join(format!("meta/{id}-backup.info"));
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("begin_time=")).unwrap();
    let then = chrono::Utc::now() - chrono::TimeDelta::days(7) + chrono::TimeDelta::minutes(5);
    let older = format!("begin_time={}", then.format("%Y-%m-%d %H:%M:%S%.6f+00:00"));
    std::fs::write(&path, text.replace(line, &older)).unwrap();
}
