//! Start, stop and the held session against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::mpsc;
use std::time::Duration;

use super::held::HeldSession;
use super::{BackupOptions, incremental, start_stop};
use crate::config::Config;
use crate::postgres::client::Session;
use crate::postgres::scratch_cluster::ScratchCluster;

#[test]
fn a_parent_that_nobody_knows_is_refused_first() {
    let home = std::env::temp_dir().join(format!("barkeep-parents-{}", std::process::id()));
    let text = format!(
        "[barman]\nbarman_home = {}\n[m]\nconninfo = host=/nonexistent\nssh_command = false\n\
         backup_options = concurrent_backup\n",
        home.display()
    );
    let config = Config::parse(&text).unwrap().servers.remove("m").unwrap();
    let mut options = BackupOptions::default();
    assert_eq!(incremental(&config, &options), Ok(()));
    for word in ["latest", "20260101T000000"] {
        options.incremental = Some(word.to_owned());
        let refusal = format!("Unknown backup '{word}' for server 'm'");
        assert_eq!(incremental(&config, &options), Err(refusal));
    }
    options.incremental = Some("auto".to_owned());
    assert_eq!(incremental(&config, &options), Ok(()), "nothing is named");
}

#[test]
fn begins_and_ends_a_backup() {
    let Some(cluster) = ScratchCluster::start("archive_mode = on\narchive_command = 'true'") else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    let begun = start_stop::start(&mut session, "Barman backup main x", true).unwrap();
    let ended = start_stop::stop(&mut session, true).unwrap();
    assert!(begun.lsn < ended.lsn && begun.time < ended.time);
    assert_eq!((begun.timeline, ended.timeline), (1, 1));
    assert!(
        ended
            .label
            .starts_with(&format!("START WAL LOCATION: {} (file ", begun.lsn))
    );
    assert!(ended.label.contains("\nLABEL: Barman backup main x\n"));
    start_stop::create_restore_point(&mut session, "barman_x").unwrap();
}

#[test]
fn the_end_waits_for_the_archiver() {
    // Slow enough that an end which does not wait is seen.
    let Some(cluster) = ScratchCluster::start("archive_mode = on\narchive_command = 'sleep 0.3'") else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    for _ in 0..2 {
        start_stop::start(&mut session, "Barman backup main x", true).unwrap();
        let ended = start_stop::stop_archived(&mut session).unwrap();
        let rows = session
            .query(
                "SELECT last_archived_wal >= pg_walfile_name($1::pg_lsn) AS archived FROM pg_stat_archiver",
                &[&ended.lsn.to_string()],
            )
            .unwrap();
        assert_eq!(rows.get(0, "archived"), Some("t"));
    }
}

#[test]
fn a_lost_connection_is_noticed() {
    let Some(cluster) = ScratchCluster::start("") else {
        return;
    };
    let mut held = HeldSession::new(Session::connect(&cluster.conninfo()).unwrap());
    let (sender, receiver) = mpsc::channel();
    held.watch(Duration::ZERO, move || sender.send(()).unwrap())
        .unwrap();
    assert!(!held.is_lost());
    cluster.stop("immediate");
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("nobody noticed");
    assert!(held.is_lost());
}
