//! What a restored chain is compared with: the server itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Setting;
use crate::support::cluster::Cluster;
use crate::support::lab::Lab;
use crate::support::proof::open;

/// The restored files, before anything was started on them, are the server's, which has written nothing since the backup
/// began.
#[track_caller]
pub fn same_files(live: &Cluster, restored: &Cluster) {
    let (mut live, mut restored) = (relations(&live.data), relations(&restored.data));
    let only = |one: &BTreeMap<PathBuf, PathBuf>, other: &BTreeMap<PathBuf, PathBuf>| -> Vec<PathBuf> {
        one.keys()
            .filter(|path| !other.contains_key(*path))
            .cloned()
            .collect()
    };
    assert_eq!(
        only(&live, &restored),
        Vec::<PathBuf>::new(),
        "missing in the restore"
    );
    assert_eq!(
        only(&restored, &live),
        Vec::<PathBuf>::new(),
        "gone from the server"
    );
    let differing: Vec<String> = live
        .iter_mut()
        .filter_map(|(path, live)| difference(path, live, restored.get_mut(path).unwrap()))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The first pages in which two files differ.
fn difference(name: &Path, live: &Path, restored: &Path) -> Option<String> {
    let (live, restored) = (std::fs::read(live).unwrap(), std::fs::read(restored).unwrap());
    if live == restored {
        return None;
    }
    let blocks: Vec<usize> = live
        .chunks(8192)
        .zip(restored.chunks(8192))
        .enumerate()
        .filter(|(_, (live, restored))| live != restored)
        .map(|(block, _)| block)
        .take(10)
        .collect();
    Some(format!(
        "{}: {} bytes on the server, {} restored, blocks {blocks:?} differ",
        name.display(),
        live.len(),
        restored.len()
    ))
}

/// The files of relations by their relative names, without those of unlogged relations, which are not in a backup.
fn relations(data: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let mut files = BTreeMap::new();
    for part in ["base", "global", "pg_tblspc"] {
        for entry in WalkDir::new(data.join(part)).follow_links(true) {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let left_out = ["pg_internal.init", "pg_control", "pgsql_tmp"];
            if entry.file_type().is_file() && !left_out.contains(&name.as_str()) {
                let relative = entry.path().strip_prefix(data).unwrap().to_path_buf();
                files.insert(relative, entry.into_path());
            }
        }
    }
    let unlogged: Vec<PathBuf> = files
        .keys()
        .filter_map(|path| Some(PathBuf::from(path.to_str()?.strip_suffix("_init")?)))
        .collect();
    files.retain(|path, _| {
        let text = path.to_str().unwrap();
        let main = text.split(['.', '_']).next().unwrap();
        let main = if text.starts_with("pg_tblspc") {
            // The directory of a version has underscores in its name.
            let (directory, name) = text.rsplit_once('/').unwrap();
            format!("{directory}/{}", name.split(['.', '_']).next().unwrap())
        } else {
            main.to_owned()
        };
        text.ends_with("_init") || !unlogged.contains(&PathBuf::from(main))
    });
    files
}

/// Started, the restored cluster holds what the server holds, and goes on being right when it is written to.
#[track_caller]
pub fn prove_equal(lab: &Lab, mut restored: Cluster, setting: Setting) {
    open(&mut restored);
    let databases = databases(&lab.cluster);
    assert_eq!(databases, self::databases(&restored));
    for database in &databases {
        assert_eq!(
            tables(&lab.cluster, database),
            tables(&restored, database),
            "the tables of {database}"
        );
        for sequence in sequences(&lab.cluster, database) {
            let value = |cluster: &Cluster| -> i64 {
                let sql = format!("SELECT last_value FROM {sequence}");
                query(cluster, database, &sql).parse().unwrap()
            };
            assert!(value(&restored) >= value(&lab.cluster), "{sequence} went back");
        }
    }
    restored.amcheck();
    visibility(&restored);
    unlogged_ones_are_empty(&restored);
    written_to(&restored);
    visibility(&restored);
    restored.amcheck();
    if setting.checksums {
        restored.verify_checksums();
    }
    restored.stop();
    std::fs::remove_dir_all(restored.data.parent().unwrap()).unwrap();
}

/// Their main forks are not in a backup; their init forks are, and make them usable.
fn unlogged_ones_are_empty(cluster: &Cluster) {
    let names =
        cluster.sql("SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u'");
    for name in names.lines() {
        assert_eq!(
            cluster.sql(&format!("SELECT count(*) FROM {name}")),
            "0",
            "{name}"
        );
        cluster.sql(&format!("INSERT INTO {name} VALUES (1)"));
    }
}

/// A page that lacks its all-visible bit below a set bit of the visibility map hides new rows from index-only scans.
fn written_to(cluster: &Cluster) {
    if cluster.sql("SELECT to_regclass('hints') IS NULL") == "t" {
        return;
    }
    cluster.sql("UPDATE hints SET v = 'after' WHERE id % 7 = 0; DELETE FROM hints WHERE id % 11 = 0");
    let by_index = cluster.sql(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*), sum(id) FROM hints WHERE id >= 0",
    );
    let by_table = cluster.sql(
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; \
         SELECT count(*), sum(id) FROM hints WHERE id >= 0",
    );
    assert_eq!(by_index, by_table);
}

/// The visibility map promises nothing that the pages do not keep.
#[track_caller]
pub fn visibility(cluster: &Cluster) {
    for database in databases(cluster) {
        query(cluster, &database, "CREATE EXTENSION IF NOT EXISTS pg_visibility");
        for check in ["pg_check_visible", "pg_check_frozen"] {
            let sql = format!(
                "SELECT c.oid::regclass, t FROM pg_class c, LATERAL {check}(c.oid) t \
                 WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p'"
            );
            assert_eq!(query(cluster, &database, &sql), "", "{check} in {database}");
        }
    }
}

fn databases(cluster: &Cluster) -> Vec<String> {
    let sql = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template1' ORDER BY 1";
    cluster.sql(sql).lines().map(str::to_owned).collect()
}

/// Every ordinary table with its number of rows and a sum over them.
fn tables(cluster: &Cluster, database: &str) -> BTreeMap<String, String> {
    let sql = "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_|^information_schema'";
    let names = query(cluster, database, sql);
    let sums: Vec<String> = names
        .lines()
        .map(|name| {
            // What is unlogged is empty after a restore.
            let literal = name.replace('\'', "''");
            format!(
                "SELECT '{literal}', CASE WHEN (SELECT relpersistence FROM pg_class WHERE oid = '{literal}'::regclass) = 'u' \
                 THEN 'unlogged' ELSE (SELECT concat(count(*), ':', sum(hashtextextended(t::text, 0)::numeric)) FROM {name} t) END"
            )
        })
        .collect();
    if sums.is_empty() {
        return BTreeMap::new();
    }
    query(cluster, database, &sums.join(" UNION ALL "))
        .lines()
        .map(|line| {
            let (name, sum) = line.split_once('|').unwrap();
            (name.to_owned(), sum.to_owned())
        })
        .collect()
}

fn sequences(cluster: &Cluster, database: &str) -> Vec<String> {
    let sql = "SELECT oid::regclass FROM pg_class WHERE relkind = 'S' AND relpersistence = 'p'";
    let names = query(cluster, database, sql);
    names.lines().map(str::to_owned).collect()
}

#[track_caller]
pub fn query(cluster: &Cluster, database: &str, sql: &str) -> String {
    cluster
        .try_sql(database, sql)
        .success()
        .stdout
        .trim_end()
        .to_owned()
}
