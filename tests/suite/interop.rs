//! Both tools on one catalog, in turn: what one has written the other lists, shows, verifies, restores and prunes.

use std::os::unix::fs::MetadataExt;

use libtest_mimic::Trial;
use walkdir::WalkDir;

use crate::conformance::normalise;
use crate::support::cluster::{Cluster, Version};
use crate::support::diff;
use crate::support::lab::{Lab, LabOptions, Moment, Shipping, digest, mark};
use crate::support::manager::Manager;
use crate::support::process::eventually;
use crate::support::tool::Tool;
use crate::support::tree;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool, &Tool)| {
        let (barman, barkeep) = (Tool::barman(), tool.clone());
        Trial::test(format!("interop::{name}"), move || {
            test(&barman, &barkeep);
            Ok(())
        })
    };
    vec![
        with("catalog_of_barman", |barman, barkeep| {
            one_writes_the_other_reads(barman, barkeep, "bm")
        }),
        with("catalog_of_barkeep", |barman, barkeep| {
            one_writes_the_other_reads(barkeep, barman, "bk")
        }),
        with("alternating_backups", alternating_backups),
        with("wal_clients_across", wal_clients_across),
    ]
}

/// Full, linked, named, kept and failed backups by `writer`; everything else by `reader`.
fn one_writes_the_other_reads(writer: &Tool, reader: &Tool, label: &str) {
    let options = LabOptions::new(Version::V15)
        .tablespace()
        .server("compression = gzip\nretention_policy = REDUNDANCY 2\nautogenerate_manifest = true");
    let lab = Lab::start(label, writer, &options);
    lab.prepare(writer);
    let mut load = lab.cluster.pgbench_load(1, 50);
    let full = lab.backup(writer, &["--name", "weekly"]);
    lab.manager
        .run(writer, &["keep", "--target", "standalone", "main", &full])
        .success();
    let linked = lab.backup(writer, &[]);
    let moment = mark(&lab.cluster, "here");
    failed_backup(&lab, writer);
    let newest = lab.backup(writer, &["--jobs", "2"]);
    load.stop();
    lab.archive_everything(writer);
    let last = mark(&lab.cluster, "last");
    lab.archive_everything(writer);

    same_answers(&lab, writer, reader, &[&full, &linked, &newest]);
    for id in [&full, &linked, &newest] {
        lab.manager.run(reader, &["verify-backup", "main", id]).success();
        lab.manager.run(reader, &["check-backup", "main", id]).success();
    }
    let targets: [(&str, &str, &[&str], &Moment); 3] = [
        (
            "by-name",
            &linked,
            &["--target-name", "here", "--target-action", "promote"],
            &moment,
        ),
        (
            "by-time",
            &full,
            &["--target-time", &moment.time, "--target-action", "promote"],
            &moment,
        ),
        ("to-the-end", &newest, &[], &last),
    ];
    for (name, id, options, expected) in targets {
        let mut restored = lab.restore(reader, name, id, options);
        holds(&mut restored, expected);
    }
    same_files(&lab, writer, reader, &linked);
    same_pruning(&lab, writer, reader, &[&full, &linked, &newest]);
    // And after the pruning the first one goes on.
    lab.manager.run(reader, &["delete", "main", &linked]).success();
    let again = lab.backup(writer, &[]);
    let mut restored = lab.restore(reader, "after", &again, &[]);
    holds(&mut restored, &last);
}

#[track_caller]
fn holds(cluster: &mut Cluster, moment: &Moment) {
    cluster.launch();
    eventually(std::time::Duration::from_secs(90), "the end of recovery", || {
        cluster.sql("SELECT pg_is_in_recovery()") == "f"
    });
    assert_eq!(digest(cluster), moment.digest, "the tables at {}", moment.name);
    cluster.amcheck();
    cluster.verify_checksums();
}

/// A pre-backup retry script that says stop leaves a FAILED backup.
fn failed_backup(lab: &Lab, writer: &Tool) {
    lab.configure("pre_backup_retry_script = exit 63");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    lab.manager.run(writer, &["backup", "main"]).exits(1);
    lab.configure("");
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

/// Commands that only read answer alike, on the very same catalog.
fn same_answers(lab: &Lab, one: &Tool, other: &Tool, ids: &[&str]) {
    let mut commands = vec![
        "list-backups main".to_owned(),
        "list-backups --minimal main".to_owned(),
        "show-backup main last-failed".to_owned(),
        "status main".to_owned(),
        "check main".to_owned(),
        "keep --status main weekly".to_owned(),
        "check-wal-archive main".to_owned(),
    ];
    for id in ids {
        commands.push(format!("show-backup main {id}"));
        commands.push(format!("keep --status main {id}"));
        for target in ["data", "wal", "standalone", "full"] {
            commands.push(format!("list-files --target {target} main {id}"));
        }
    }
    let mut problems = String::new();
    for command in commands {
        for format in ["console", "json"] {
            let mut words = vec!["-f", format];
            words.extend(command.split_whitespace());
            let answer = |tool: &Tool| {
                let finished = lab.manager.run(tool, &words);
                let mut lines: Vec<String> = normalise::text(&finished.stdout)
                    .lines()
                    .map(str::to_owned)
                    .collect();
                if command.starts_with("list-files") {
                    // Barman's order is that of the file system.
                    lines.sort();
                }
                format!(
                    "{}\n{}\n{}",
                    finished.code,
                    lines.join("\n"),
                    normalise::text(&finished.stderr)
                )
            };
            let (before, between) = (answer(one), answer(other));
            // The server goes on: what is told of it may change from one answer to the next.
            let differs = before != between && answer(one) != between;
            if let Some(text) = diff::lines(&before, &between).filter(|_| differs) {
                let text = diff::around_changes(&text);
                problems.push_str(&format!(
                    "{command} ({format}): '-' {}, '+' {}\n{text}\n",
                    one.name, other.name
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

/// Both restore the same backup to the same files.
fn same_files(lab: &Lab, one: &Tool, other: &Tool, id: &str) {
    let restored = |tool: &Tool, name: &str| {
        let cluster = lab.restore(tool, name, id, &["--target-name", "here"]);
        let text = tree::describe(&cluster.data).replace(&format!("/{name}/"), "/DEST/");
        text.lines()
            .filter(|line| !line.contains("postgresql.auto.conf "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    if let Some(text) = diff::lines(&restored(one, "files-one"), &restored(other, "files-two")) {
        panic!(
            "'-' {}, '+' {}\n{}",
            one.name,
            other.name,
            diff::around_changes(&text)
        );
    }
}

/// Deleting the same backup and applying the retention policy leaves the same catalog.
fn same_pruning(lab: &Lab, one: &Tool, other: &Tool, ids: &[&str]) {
    let original = lab.manager.home();
    let pristine = lab.scratch.join("pristine");
    tree::copy(&original, &pristine);
    let after = |tool: &Tool, action: &dyn Fn(&Manager, &Tool)| {
        std::fs::remove_dir_all(&original).unwrap();
        tree::copy(&pristine, &original);
        action(&lab.manager, tool);
        // Barman does not know barkeep's own file beside backup.info, and leaves it.
        let text = tree::describe(&original);
        text.lines()
            .filter(|line| !line.contains("-barkeep"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut problems = String::new();
    for id in ids {
        let delete = |manager: &Manager, tool: &Tool| {
            manager.run(tool, &["delete", "main", id]);
        };
        if let Some(text) = diff::lines(&after(one, &delete), &after(other, &delete)) {
            problems.push_str(&format!("delete {id}:\n{}\n", diff::around_changes(&text)));
        }
    }
    std::fs::remove_dir_all(&original).unwrap();
    tree::copy(&pristine, &original);
    std::fs::remove_dir_all(&pristine).unwrap();
    assert!(
        problems.is_empty(),
        "'-' {}, '+' {}\n{problems}",
        one.name,
        other.name
    );
}

/// Backups of both tools in one catalog share their files.
fn alternating_backups(barman: &Tool, barkeep: &Tool) {
    let options = LabOptions::new(Version::V15)
        .shipping(Shipping::Rsync)
        .server("compression = zstd");
    let lab = Lab::start("alt", barman, &options);
    lab.prepare(barman);
    let mut ids = Vec::new();
    for tool in [barman, barkeep, barman, barkeep] {
        lab.cluster
            .sql("UPDATE pgbench_tellers SET tbalance = tbalance + 1");
        ids.push((tool.name, lab.backup(tool, &[])));
    }
    let moment = mark(&lab.cluster, "last");
    lab.archive_everything(barkeep);
    for pair in ids.windows(2) {
        let [(_, older), (name, newer)] = pair else {
            unreachable!()
        };
        let (shared, all) = shared_files(&lab, older, newer);
        assert!(
            shared * 10 > all * 9,
            "{name}: {newer} shares {shared} of {all} files with {older}"
        );
    }
    for (tool, (name, id)) in [barkeep, barman, barkeep, barman].into_iter().zip(&ids) {
        let mut restored = lab.restore(tool, &format!("of-{name}-{id}"), id, &[]);
        holds(&mut restored, &moment);
    }
}

/// How many regular files of `newer` are the very same inode in `older`, of how many.
fn shared_files(lab: &Lab, older: &str, newer: &str) -> (usize, usize) {
    let (mut shared, mut all) = (0, 0);
    let root = lab.base(newer);
    for entry in WalkDir::new(&root) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        all += 1;
        let twin = lab.base(older).join(entry.path().strip_prefix(&root).unwrap());
        if twin
            .metadata()
            .is_ok_and(|twin| twin.ino() == entry.metadata().unwrap().ino())
        {
            shared += 1;
        }
    }
    (shared, all)
}

/// The WAL client of one tool talks to the other tool, both ways and both directions.
fn wal_clients_across(barman: &Tool, barkeep: &Tool) {
    for (client, server) in [(barkeep, barman), (barman, barkeep)] {
        let lab = Lab::start(
            "client",
            server,
            &LabOptions::new(Version::V15).server("compression = xz"),
        );
        let command = format!(
            "{} {} -U barman -c {} backup-host main %p",
            client.program("barman-wal-archive").display(),
            client.leaving_nothing(),
            lab.manager.config_file().display()
        );
        lab.cluster
            .sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        lab.cluster.sql("SELECT pg_reload_conf()");
        lab.prepare(server);
        let backup = lab.backup(server, &[]);
        let moment = mark(&lab.cluster, "here");
        lab.archive_everything(server);
        let restore_command = format!(
            "{} -p 2 -U barman backup-host main %f %p",
            client.program("barman-wal-restore").display()
        );
        let options = [
            "--get-wal",
            "--restore-command",
            &restore_command,
            "--target-name",
            "here",
            "--target-action",
            "promote",
        ];
        let mut restored = lab.restore_remote(server, "restored", &backup, &options);
        holds(&mut restored, &moment);
    }
}
