//! Linked backups on a file system that shares blocks between files: an XFS in an image.
//!
//! A changed file must take only its changed pages, the previous backup must stay what it was, and both must restore.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Shipping, digest};
use crate::support::mount::Mount;
use crate::support::process::run;
use crate::support::tool::Tool;
use crate::support::tree;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tool = tool.clone();
    vec![Trial::test("reflinks::linked_backup_on_xfs", move || {
        linked_backup(&tool);
        Ok(())
    })]
}

fn linked_backup(tool: &Tool) {
    let options = LabOptions::new(Version::V15).shipping(Shipping::Client).scale(4);
    let lab = Lab::start("xfs", tool, &options);
    let home = lab.manager.home();
    let _mount = match Mount::xfs(&lab.scratch, &home, 2 << 30, &lab.manager.account) {
        Ok(mount) => mount,
        Err(reason) => {
            eprintln!("reflinks::linked_backup_on_xfs: skipped, no XFS can be mounted here: {reason}");
            return;
        }
    };
    lab.prepare(tool);
    let first = lab.backup(tool, &[]);
    let accounts = lab.cluster.sql("SELECT pg_relation_filepath('pgbench_accounts')");
    let then = digest(&lab.cluster);
    let before = tree::describe(&lab.base(&first));

    // A few rows far from each other, and a few pages more at the end.
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 20000 = 1");
    lab.cluster.sql("CHECKPOINT");
    let now = digest(&lab.cluster);
    let second = lab.backup(tool, &[]);

    let file = lab.base(&second).join("data").join(&accounts);
    let size = std::fs::metadata(&file).unwrap().len();
    let own = own_bytes(&file);
    assert!(
        size > 40 << 20 && own < size / 20,
        "{own} of {size} bytes of {accounts} are its own: the rest should be shared with the previous backup"
    );
    assert!(own > 0, "some pages did change");
    assert_eq!(
        before,
        tree::describe(&lab.base(&first)),
        "the previous backup is as it was"
    );

    // Each backup holds its own state: the other one's pages shine through nowhere.
    for (id, name, expected) in [(&first, "one", &then), (&second, "two", &now)] {
        let mut restored = lab.restore(
            tool,
            name,
            id,
            &["--target-immediate", "--target-action", "promote"],
        );
        restored.launch();
        assert_eq!(digest(&restored), *expected, "backup {id}");
        restored.verify_checksums();
    }
}

/// Bytes of a file that no other file has.
#[track_caller]
fn own_bytes(file: &Path) -> u64 {
    let mut filefrag = Command::new("filefrag");
    filefrag.args(["-v", "-b1"]).arg(file);
    let listed = run(filefrag).success().stdout;
    // ` ext:     logical_offset:        physical_offset: length:   expected: flags:`
    let extents = listed.lines().filter(|line| {
        line.trim_start()
            .starts_with(|first: char| first.is_ascii_digit())
            && line.contains("..")
    });
    let mut found = false;
    let own = extents
        .filter_map(|line| {
            found = true;
            let length = line.split(':').nth(3)?.trim().parse::<u64>().ok()?;
            (!line.contains("shared")).then_some(length)
        })
        .sum();
    assert!(found, "filefrag listed no extents:\n{listed}");
    own
}
