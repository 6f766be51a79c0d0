//! The proof of a restore: the cluster starts, its tables hold what they held, and nothing in it is damaged.

use std::time::Duration;

use super::cluster::Cluster;
use super::lab::{Moment, digest};
use super::process::eventually;

/// Starts a restored cluster and waits for the end of recovery.
#[track_caller]
pub fn open(cluster: &mut Cluster) {
    cluster.launch();
    eventually(Duration::from_secs(90), "the end of recovery", || {
        assert!(
            cluster.is_running(),
            "PostgreSQL ended in recovery:\n{}",
            cluster.log_tail()
        );
        cluster.sql("SELECT pg_is_in_recovery()") == "f"
    });
}

/// The restored cluster holds exactly the moment, and is sound.
#[track_caller]
pub fn prove(cluster: &mut Cluster, moment: &Moment) {
    open(cluster);
    assert_eq!(
        digest(cluster),
        moment.digest,
        "the tables at {}:\n{}",
        moment.name,
        cluster.log_tail()
    );
    let marks = cluster.sql(&format!(
        "SELECT count(*) FROM marks WHERE name = '{}'",
        moment.name
    ));
    assert_eq!(marks, "1", "the mark {}", moment.name);
    cluster.amcheck();
    if cluster.sql("SHOW data_checksums") == "on" {
        cluster.verify_checksums();
    }
}
