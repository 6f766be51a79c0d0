//! Block-level incremental backups as barkeep takes them: every member stands up to PostgreSQL's own programs, and what is
//! restored has the data.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Moment, TELLING_HELD, mark};
use crate::support::process::run;
use crate::support::proof::prove;
use crate::support::tool::Tool;

/// A test with the program under test.
type Check = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Check); 6] = [
        ("stock_programs_take_the_chain", |tool| stock_programs(tool, true)),
        ("stock_programs_take_the_chain_without_checksums", |tool| {
            stock_programs(tool, false)
        }),
        ("tablespaces_and_barman", tablespaces),
        ("an_older_version_has_chains_too", |tool| {
            older_version(tool, true)
        }),
        ("an_older_version_without_checksums", |tool| {
            older_version(tool, false)
        }),
        ("barman_knows_them_as_incremental", known_to_barman),
    ];
    tests
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("incremental::{name}"), move || {
                test(&tool);
                Ok(())
            })
        })
        .into()
}

/// A full backup and two incremental ones, all under load, and the moments between them.
struct Chain {
    lab: Lab,
    ids: Vec<String>,
    moments: Vec<Moment>,
    last: Moment,
}

impl Chain {
    fn take(label: &str, tool: &Tool, options: &LabOptions) -> Chain {
        let space = if options.tablespace {
            "TABLESPACE space"
        } else {
            ""
        };
        let lab = Lab::start(label, tool, options);
        lab.prepare(tool);
        lab.cluster.sql(&format!(
            "CREATE TABLE idle {space} AS SELECT g, repeat('i', 200) AS t FROM generate_series(1, 20000) g;
             CREATE TABLE few {space} AS SELECT g, 0 AS v, repeat('f', 200) AS t FROM generate_series(1, 20000) g;
             CREATE TABLE trimmed AS SELECT g, repeat('t', 200) AS t FROM generate_series(1, 20000) g;
             CREATE UNLOGGED TABLE unlogged AS SELECT g FROM generate_series(1, 1000) g;
             CREATE SEQUENCE numbers; SELECT nextval('numbers');
             CREATE INDEX ON few USING hash (g)"
        ));
        lab.cluster.sql("VACUUM");
        let mut load = lab.cluster.pgbench_load(2, 200);
        let mut ids = vec![lab.backup(tool, &[])];
        let mut moments = Vec::new();
        for number in 1..3 {
            lab.cluster.sql(&format!(
                "UPDATE few SET v = {number} WHERE g % 5000 = {number};
                 CREATE TABLE grown_{number} {space} AS SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g;
                 DELETE FROM trimmed WHERE g > {};
                 DROP TABLE IF EXISTS grown_{};
                 SELECT nextval('numbers')",
                20_000 - 6_000 * number,
                number - 1,
            ));
            lab.cluster.sql("VACUUM trimmed");
            moments.push(mark(&lab.cluster, &format!("m{number}")));
            ids.push(lab.backup(tool, &["--incremental", "latest"]));
        }
        load.stop();
        lab.cluster
            .sql("UPDATE pgbench_accounts SET abalance = 5 WHERE aid < 100");
        let last = mark(&lab.cluster, "last");
        lab.archive_everything(tool);
        Chain {
            lab,
            ids,
            moments,
            last,
        }
    }

    fn newest(&self) -> &str {
        self.ids.last().unwrap()
    }

    fn data(&self, id: &str) -> PathBuf {
        self.lab.base(id).join("data")
    }

    /// What barkeep remembers of the copy of an incremental member.
    fn facts(&self, id: &str) -> Value {
        let path = self.lab.manager.server("main").join("meta");
        let text = std::fs::read_to_string(path.join(format!("{id}-barkeep.json"))).unwrap();
        let facts: Value = serde_json::from_str(&text).unwrap();
        facts["incremental"].clone()
    }
}

fn options(version: Version, checksums: bool) -> LabOptions {
    let mut options = LabOptions::new(version);
    options.checksums = checksums;
    options
}

fn stock_programs(tool: &Tool, checksums: bool) {
    let chain = Chain::take("stock", tool, &options(Version::V17, checksums));
    let lab = &chain.lab;
    let bin = lab.cluster.version.bin();
    for id in &chain.ids {
        let mut verify = lab
            .manager
            .account
            .applied_to(Command::new(bin.join("pg_verifybackup")));
        verify.arg("--no-parse-wal").arg(chain.data(id));
        run(verify).success();
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
    }
    found_as_expected(&chain, checksums);
    let expected = lab.scratch.directory("combined", &lab.manager.account);
    let mut combine = lab
        .manager
        .account
        .applied_to(Command::new(bin.join("pg_combinebackup")));
    combine.args(chain.ids.iter().map(|id| chain.data(id)));
    combine.arg("-o").arg(expected.join("data"));
    run(combine).success();
    // Restored by barkeep, it is the same but for what a restore configures.
    let mut restored = lab.restore(tool, "restored", chain.newest(), &[]);
    for directory in ["base", "global", "pg_xact", "backup_label"] {
        same(
            &expected.join("data").join(directory),
            &restored.data.join(directory),
        );
    }
    prove(&mut restored, &chain.last);
}

/// The same with a tablespace, in which most of it lies; and restored by Barman, which calls `pg_combinebackup` itself.
fn tablespaces(tool: &Tool) {
    let chain = Chain::take("spaces", tool, &options(Version::V17, true).tablespace());
    let lab = &chain.lab;
    let bin = lab.cluster.version.bin();
    for id in &chain.ids {
        let mut verify = lab
            .manager
            .account
            .applied_to(Command::new(bin.join("pg_verifybackup")));
        verify.arg("--no-parse-wal").arg(chain.data(id));
        run(verify).success();
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
    }
    let mut restored = lab.restore(tool, "restored", chain.newest(), &[]);
    prove(&mut restored, &chain.last);
    let barman = Tool::barman();
    for (name, id) in [("root", &chain.ids[0]), ("newest", &chain.ids[2])] {
        let mut theirs = lab.restore(&barman, name, id, &[]);
        prove(&mut theirs, &chain.last);
    }
}

fn older_version(tool: &Tool, checksums: bool) {
    let chain = Chain::take("older", tool, &options(Version::V15, checksums).tablespace());
    let lab = &chain.lab;
    // A full backup of such a version has a manifest only when it is asked for.
    for id in &chain.ids[1..] {
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
    }
    found_as_expected(&chain, checksums);
    let mut everything = lab.restore(tool, "everything", chain.newest(), &[]);
    prove(&mut everything, &chain.last);
    let target = ["--target-name", "m2", "--target-action", "promote"];
    let mut first = lab.restore_remote(tool, "first", &chain.ids[1], &target);
    prove(&mut first, &chain.moments[1]);
}

/// Files that did not change are stubs, of the others only some pages are there, and the rule is the one that is sound.
fn found_as_expected(chain: &Chain, checksums: bool) {
    for id in &chain.ids[1..] {
        let facts = chain.facts(id);
        let number = |pointer: &str| facts.pointer(pointer).unwrap().as_u64().unwrap();
        // The full backup followed the making of the cluster too closely to trust in times.
        assert!(id != chain.newest() || number("/unchanged_files") > 50, "{facts}");
        assert!(number("/unlogged_files") > 0, "{facts}");
        assert_eq!(number("/parent_damaged_files"), 0, "{facts}");
        if checksums {
            assert_eq!(facts["rule"], "lsn");
            assert!(number("/by_lsn/files") > 1, "{facts}");
            assert_eq!(number("/lsn_refuted_files"), 0, "{facts}");
        } else {
            assert_eq!(facts["rule"], "hash");
            assert!(number("/by_hash/files") > 1, "{facts}");
            assert_eq!(number("/by_lsn/files"), 0, "{facts}");
        }
        let pages = number("/by_lsn/pages") + number("/by_hash/pages");
        assert!(pages > 0, "{facts}");
        let size = |id: &str| {
            let mut du = Command::new("du");
            du.args(["-sb", "--count-links"]).arg(chain.lab.base(id));
            let found = run(du).success().stdout;
            let size: u64 = found.split_whitespace().next().unwrap().parse().unwrap();
            size
        };
        assert!(
            size(id) < size(&chain.ids[0]) / 2,
            "{} of {}",
            size(id),
            size(&chain.ids[0])
        );
    }
}

/// Both tools say the same of a chain, and either can delete it.
fn known_to_barman(tool: &Tool) {
    let barman = Tool::barman();
    let options = options(Version::V15, true).server(TELLING_HELD);
    let chain = Chain::take("known", tool, &options);
    chain.lab.expect_held(chain.newest(), &chain.ids[..2]);
    let manager = &chain.lab.manager;
    for arguments in [
        &["list-backups", "main"][..],
        &["--format", "json", "list-backups", "main"],
        &["show-backup", "main", &chain.ids[0]],
        &["show-backup", "main", &chain.ids[1]],
        &["show-backup", "main", chain.newest()],
        &["check-backup", "main", chain.newest()],
    ] {
        let theirs = manager.run(&barman, arguments).success().stdout;
        let ours = manager.run(tool, arguments).success().stdout;
        assert_eq!(theirs, ours, "{arguments:?}");
    }
    let list = manager.run(&barman, &["list-backups", "main"]).success().stdout;
    assert_eq!(list.matches(" - I - ").count(), 2, "{list}");
    manager.run(&barman, &["delete", "main", &chain.ids[1]]).success();
    assert_eq!(manager.backup_ids("main"), [chain.ids[0].clone()]);
}

fn same(one: &Path, other: &Path) {
    let mut diff = Command::new("diff");
    diff.arg("-r").arg(one).arg(other);
    run(diff).success();
}
