//! The client against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use super::client::{Patience, PgError, Session};
use super::facts::Facts;
use super::lsn::Lsn;
use super::scratch_cluster::ScratchCluster;
use super::streaming::StreamingFacts;
use super::wal_switch::switch_wal;

#[test]
fn queries_and_their_failures() {
    let Some(cluster) = ScratchCluster::start("") else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    let rows = session.query("SELECT $1::text AS a, NULL AS b", &["é"]).unwrap();
    assert_eq!(
        (rows.len(), rows.get(0, "a"), rows.get(0, "b")),
        (1, Some("é"), None)
    );
    assert_eq!(
        session
            .value("SELECT current_setting('application_name')", &[])
            .unwrap()
            .as_deref(),
        Some("barman")
    );
    assert_eq!(session.setting("no.such_setting").unwrap(), None);

    let error = session.query("SELECT nothing FROM nowhere", &[]).unwrap_err();
    assert!(
        matches!(&error, PgError::Refused { sqlstate: Some(code), message } if code == "42P01"
            && message.starts_with("relation \"nowhere\" does not exist\nLINE 1:")),
        "{error:?}"
    );

    session.set_patience(Patience::For(Duration::from_millis(300)));
    let error = session.query("SELECT pg_sleep(60)", &[]).unwrap_err();
    assert!(matches!(error, PgError::Timeout(_)), "{error:?}");
    session
        .ping()
        .expect("the session can still be used after a cancelled statement");

    let mut other = Session::connect(&format!("{} application_name=other", cluster.conninfo())).unwrap();
    assert_eq!(
        other.setting("application_name").unwrap().as_deref(),
        Some("other")
    );
    other
        .query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'barman'",
            &[],
        )
        .unwrap();
    let error = session.ping().unwrap_err();
    assert!(error.ends_session() && !session.is_alive(), "{error:?}");

    cluster.stop("fast");
    let error = Session::connect(&cluster.conninfo()).unwrap_err();
    assert!(
        matches!(&error, PgError::Connect(text) if text.starts_with("connection to server on socket")),
        "{error:?}"
    );
}

#[test]
fn facts_of_a_server() {
    let Some(cluster) = ScratchCluster::start("archive_mode = on\narchive_command = 'true'") else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    session
        .query("SELECT pg_create_physical_replication_slot('keeper')", &[])
        .unwrap();
    let facts = Facts::gather(&mut session, Some("keeper")).unwrap();
    assert!(
        facts.version_supported && facts.is_superuser && facts.has_backup_privileges && !facts.is_in_recovery
    );
    assert_eq!(facts.data_directory.as_deref(), cluster.data().to_str());
    assert_eq!(facts.archive_command.as_deref(), Some("true"));
    assert_eq!(facts.setting("data_checksums"), Some("on"));
    assert_eq!(facts.xlog_segment_size, 16 << 20);
    assert_eq!(facts.checkpoint_timeout, Some(300));
    assert!(
        facts.systemid.is_some() && facts.current_lsn > Some(Lsn(0)) && facts.current_size > Some(1 << 20)
    );
    assert!(
        facts
            .archiver
            .is_some_and(|archiver| archiver.stats_reset.is_some())
    );
    let slot = facts.replication_slot.unwrap();
    assert_eq!((slot.active, slot.restart_lsn), (false, None));

    let streaming = StreamingFacts::gather(&cluster.conninfo(), "barman_test").unwrap();
    assert_eq!(
        (streaming.streaming, streaming.systemid),
        (Some(true), facts.systemid)
    );

    session.query("CREATE TABLE t AS SELECT 1", &[]).unwrap();
    let closed = switch_wal(&mut session, facts.xlog_segment_size).unwrap();
    assert_eq!(closed.map(|name| name.to_string()), facts.current_xlog);
    assert_eq!(switch_wal(&mut session, facts.xlog_segment_size).unwrap(), None);
}

#[test]
fn facts_for_a_user_without_privileges() {
    let Some(cluster) = ScratchCluster::start("") else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    session.query("CREATE ROLE nobody LOGIN", &[]).unwrap();
    let conninfo = cluster.conninfo().replace("user=postgres", "user=nobody");
    let facts = Facts::gather(&mut Session::connect(&conninfo).unwrap(), None).unwrap();
    assert!(!facts.is_superuser && !facts.has_backup_privileges && !facts.has_monitoring_privileges);
    assert_eq!(facts.data_directory, None);
    for statement in [
        "GRANT pg_monitor, pg_checkpoint TO nobody",
        "GRANT EXECUTE ON FUNCTION pg_backup_start(text, bool), pg_backup_stop(bool), pg_switch_wal(), \
         pg_create_restore_point(text) TO nobody",
    ] {
        session.query(statement, &[]).unwrap();
    }
    let facts = Facts::gather(&mut Session::connect(&conninfo).unwrap(), None).unwrap();
    assert!(
        facts.has_backup_privileges && facts.has_monitoring_privileges && facts.has_checkpoint_privileges
    );
    assert!(facts.data_directory.is_some());
}
