//! What is done to a cluster before its backups. Every action has tables or databases of its own.

use std::os::unix::fs::FileExt;
use std::process::Command;

use super::proof::query;
use crate::support::lab::Lab;
use crate::support::process::run;

const PAGE: u64 = 8192;

/// Before the full backup.
pub fn prepare(lab: &Lab) {
    for statement in [
        // Nobody looks at these rows before the backup: their hint bits are not set.
        "CREATE TABLE hints (id int PRIMARY KEY, v text)",
        "INSERT INTO hints SELECT g, 'v' FROM generate_series(1, 30000) g",
        "CREATE TABLE shrunk AS SELECT g, repeat('s', 100) AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE again AS SELECT g, repeat('a', 100) AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE zeroed AS SELECT g, repeat('z', 100) AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE untouched AS SELECT g FROM generate_series(1, 20000) g",
        "CREATE TABLE emptied AS SELECT g FROM generate_series(1, 20000) g",
        "CREATE TABLE gone AS SELECT g FROM generate_series(1, 20000) g",
        "CREATE TABLE reused AS SELECT g, 'old' AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE hashed (k int, v text)",
        "CREATE INDEX hashed_k ON hashed USING hash (k)",
        "INSERT INTO hashed SELECT g, 'v' FROM generate_series(1, 2000) g",
        "CREATE TABLE wide (id int, document text)",
        "ALTER TABLE wide ALTER document SET STORAGE EXTERNAL",
        "INSERT INTO wide SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 300) g",
        "CREATE UNLOGGED TABLE unlogged AS SELECT g FROM generate_series(1, 5000) g",
        "CREATE UNLOGGED TABLE becomes_logged AS SELECT g FROM generate_series(1, 5000) g",
        "CREATE TABLE becomes_unlogged AS SELECT g FROM generate_series(1, 5000) g",
        "CREATE SEQUENCE counter",
        "SELECT nextval('counter') FROM generate_series(1, 5)",
        "CREATE DATABASE first_template",
        "CREATE DATABASE mover",
        "CREATE DATABASE there_and_back",
    ] {
        lab.cluster.sql(statement);
    }
    for database in ["first_template", "mover", "there_and_back"] {
        query(
            &lab.cluster,
            database,
            "CREATE TABLE t AS SELECT g, 'first' AS t FROM generate_series(1, 10000) g",
        );
    }
    // The same files with the same names and another content, all of it older than the full backup.
    lab.cluster
        .sql("CREATE DATABASE second_template TEMPLATE first_template STRATEGY FILE_COPY");
    query(&lab.cluster, "second_template", "UPDATE t SET t = 'other'");
    query(&lab.cluster, "second_template", "VACUUM t");
    lab.cluster
        .sql("CREATE DATABASE twin OID 50000 TEMPLATE first_template STRATEGY FILE_COPY");
    lab.cluster.sql("CHECKPOINT");
}

/// Between the full and the first incremental backup.
pub fn first(lab: &mut Lab) {
    for statement in [
        // Hint bits, then the all-visible bits of the pages and of the visibility map.
        "SELECT count(*) FROM hints",
        "VACUUM hints",
        // Truncated, and extended again with other rows.
        "DELETE FROM again WHERE g > 500",
        "VACUUM again",
        "INSERT INTO again SELECT -g, repeat('b', 100) FROM generate_series(1, 15000) g",
        // Truncated; pages of zeros come back at its end below.
        "DELETE FROM shrunk WHERE g > 500",
        "VACUUM shrunk",
        "TRUNCATE emptied",
        "DROP TABLE gone",
        "CREATE TABLE appeared AS SELECT g FROM generate_series(1, 20000) g",
        "INSERT INTO hashed SELECT g, 'w' FROM generate_series(1, 60000) g",
        "UPDATE wide SET document = repeat(md5(document), 200) WHERE id % 10 = 0",
        "INSERT INTO unlogged SELECT g FROM generate_series(1, 5000) g",
        "ALTER TABLE becomes_logged SET LOGGED",
        "ALTER TABLE becomes_unlogged SET UNLOGGED",
        "CREATE UNLOGGED TABLE another_unlogged AS SELECT g FROM generate_series(1, 500) g",
        "SELECT nextval('counter') FROM generate_series(1, 100)",
        "DROP DATABASE twin",
        // As the twin, byte by byte from pages that are older than the full backup.
        "CREATE DATABASE twin OID 50000 TEMPLATE second_template STRATEGY FILE_COPY",
        "CREATE DATABASE copied TEMPLATE second_template STRATEGY FILE_COPY",
        "CREATE DATABASE logged TEMPLATE second_template STRATEGY WAL_LOG",
        "ALTER DATABASE mover SET TABLESPACE space",
        "ALTER DATABASE there_and_back SET TABLESPACE space",
        "ALTER DATABASE there_and_back SET TABLESPACE pg_default",
    ] {
        lab.cluster.sql(statement);
    }
    let node = reuse_filenode(lab);
    let again = lab.cluster.sql("SELECT pg_relation_filenode('reused')");
    assert_eq!(node, again, "the file has another name");
}

/// Between the two incremental ones.
pub fn second(lab: &mut Lab) {
    for statement in [
        "UPDATE hints SET v = 'x' WHERE id % 100 = 0",
        "VACUUM hints",
        "DELETE FROM again WHERE g < -500",
        "VACUUM again",
        "INSERT INTO shrunk SELECT g, repeat('c', 100) FROM generate_series(1, 300) g",
        "INSERT INTO emptied SELECT -g FROM generate_series(1, 100) g",
        "DROP TABLE appeared",
        "CREATE TABLE gone AS SELECT -g AS g FROM generate_series(1, 3000) g",
        "DELETE FROM hashed WHERE k % 3 = 0",
        "VACUUM hashed",
        "UPDATE wide SET document = document || 'x' WHERE id % 17 = 0",
        "SELECT nextval('counter') FROM generate_series(1, 70)",
        "DROP DATABASE twin",
        "CREATE DATABASE twin OID 50000 TEMPLATE first_template STRATEGY FILE_COPY",
        "ALTER DATABASE mover SET TABLESPACE pg_default",
        "CLUSTER hints USING hints_pkey",
        "VACUUM hints",
    ] {
        lab.cluster.sql(statement);
    }
    new_timeline(lab);
    lab.cluster.sql("UPDATE untouched SET g = -g WHERE g % 1000 = 0");
}

/// Drops a table and makes another whose file has the same name. While the server is down, pages become zeros: in the
/// middle of a table, and behind the end of another, as an extension that a crash cut short leaves them.
fn reuse_filenode(lab: &mut Lab) -> String {
    let path = |lab: &Lab, table: &str| {
        let relative = lab
            .cluster
            .sql(&format!("SELECT pg_relation_filepath('{table}')"));
        lab.cluster.data.join(relative)
    };
    let node = lab.cluster.sql("SELECT pg_relation_filenode('reused')");
    let (zeroed, shrunk) = (path(lab, "zeroed"), path(lab, "shrunk"));
    lab.cluster.sql("DROP TABLE reused");
    // A number is not given out again as long as the row is there that had it.
    lab.cluster.sql("VACUUM pg_class");
    lab.cluster.sql("CHECKPOINT");
    lab.cluster.stop();
    let file = std::fs::OpenOptions::new().write(true).open(zeroed).unwrap();
    file.write_all_at(&vec![0; 3 * PAGE as usize], 20 * PAGE).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(shrunk).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length + 100 * PAGE).unwrap();
    let mut reset: Command = lab.cluster.program("pg_resetwal");
    reset.args(["-o", &node]).arg(&lab.cluster.data);
    run(reset).success();
    lab.cluster.launch();
    lab.cluster
        .sql("CREATE TABLE reused AS SELECT -g AS g, 'new' AS t FROM generate_series(1, 4000) g");
    node
}

/// The server ends its timeline and begins another, as after a recovery.
fn new_timeline(lab: &mut Lab) {
    lab.cluster.stop();
    let signal = lab.cluster.data.join("recovery.signal");
    std::fs::write(&signal, "").unwrap();
    lab.cluster.owner.own(&signal);
    lab.cluster.launch_with(&["restore_command=false"]);
    crate::support::process::eventually(std::time::Duration::from_secs(60), "the new timeline", || {
        lab.cluster.sql("SELECT pg_is_in_recovery()") == "f"
    });
    let timeline = lab.cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()");
    assert_eq!(timeline, "2");
}
