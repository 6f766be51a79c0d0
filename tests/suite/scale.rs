//! A large catalog: 300 backups and a WAL database of 1,000,000 lines.
//!
//! Nothing here asserts a time. The answers must be right; how long they took is printed.

use std::time::Instant;

use libtest_mimic::Trial;

use crate::support::large::{self, SIZE};
use crate::support::manager::Manager;
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

const BACKUPS: u32 = 300;
const LINES: u32 = 1_000_000;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tool = tool.clone();
    vec![Trial::test("scale::list_backups", move || {
        list_backups(&tool);
        Ok(())
    })]
}

fn list_backups(tool: &Tool) {
    let scratch = Scratch::new("scale");
    let manager = Manager::new(&scratch.join("manager"));
    let body = "conninfo = host=127.0.0.1 port=1\nssh_command = ssh -p 1 nobody@127.0.0.1\narchiver = on\n\
                backup_options = concurrent_backup\nretention_policy = REDUNDANCY 290";
    manager.configure("", &[("main", body.to_owned())]);
    large::create(&manager, BACKUPS, LINES);

    let started = Instant::now();
    let listed = manager.run(tool, &["list-backups", "main"]).success().stdout;
    eprintln!(
        "list-backups, {BACKUPS} backups, {LINES} lines of xlog.db: {:?}",
        started.elapsed()
    );
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), BACKUPS as usize);
    assert_eq!(
        lines.iter().filter(|line| line.ends_with(" - OBSOLETE")).count(),
        10
    );
    // Backup n begins and ends in segment n * step; the files up to the next backup's end are its WAL.
    let step = u64::from(LINES / BACKUPS);
    let wal = format!("WAL Size: {:.1} MiB", (step * SIZE) as f64 / f64::from(1 << 20));
    assert!(lines[150].contains(&wal), "{} should have {wal}", lines[150]);

    let started = Instant::now();
    let oldest = manager
        .run(tool, &["show-backup", "main", "oldest"])
        .success()
        .stdout;
    eprintln!("show-backup: {:?}", started.elapsed());
    assert!(
        oldest.contains(&format!("    Number of files      : {step}\n")),
        "{oldest}"
    );
}
