//! The statements that begin and end a concurrent backup (behaviour reference §6).

use std::time::{Duration, Instant};

use crate::base::calendar::Timestamp;
use crate::base::interrupt;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::server_time;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::Timeline;

/// Pauses between two looks at the archiver.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// After so long without, something is wrong with the archiving.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where PostgreSQL began a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    /// Recovery starts here.
    pub(super) lsn: Lsn,
    /// The timeline at that moment.
    pub(super) timeline: Timeline,
    /// The server's clock when the statement began, which may be a whole checkpoint earlier.
    pub(super) time: Timestamp,
}

/// Where PostgreSQL ended a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Recovery is consistent from here on.
    pub(super) lsn: Lsn,
    /// The timeline of that position.
    pub(super) timeline: Timeline,
    /// The server's clock.
    pub(super) time: Timestamp,
    /// The text of `backup_label`.
    pub(super) label: String,
}

/// Begins a concurrent backup. Waits for a checkpoint: a spread one unless `fast`.
pub(super) fn start(session: &mut Session, label: &str, fast: bool) -> Result<Begun, PgError> {
    let version = session.version();
    // Neither an impatient role nor the idle session of a long copy may end the backup.
    session.query("SET statement_timeout TO 0", &[])?;
    if version.at_least(14) {
        session.query("SET idle_session_timeout TO 0", &[])?;
    }
    let function = if version.at_least(15) {
        "pg_catalog.pg_backup_start($1, $2)"
    } else {
        "pg_catalog.pg_start_backup($1, $2, FALSE)"
    };
    let rows = session.query(
        &format!(
            "SELECT location::text AS lsn, (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) AS timeline, \
             now()::text AS time FROM {function} AS location"
        ),
        &[label, if fast { "t" } else { "f" }],
    )?;
    Ok(Begun {
        lsn: field(rows.get(0, "lsn"), "a WAL position", |text| text.parse().ok())?,
        timeline: field(rows.get(0, "timeline"), "a timeline", |text| text.parse().ok())?,
        time: field(rows.get(0, "time"), "a time", server_time)?,
    })
}

/// Ends a concurrent backup. With `wait`, PostgreSQL answers only when the WAL of the backup has been archived.
pub(super) fn stop(session: &mut Session, wait: bool) -> Result<Ended, PgError> {
    let version = session.version();
    if version.at_least(14) {
        session.query("RESET idle_session_timeout", &[])?;
    }
    let function = match (version.at_least(15), version.at_least(10)) {
        (true, _) => format!("pg_catalog.pg_backup_stop({wait})"),
        (false, true) => format!("pg_catalog.pg_stop_backup(FALSE, {wait})"),
        (false, false) => "pg_catalog.pg_stop_backup(FALSE)".to_owned(),
    };
    let rows = session.query(
        &format!(
            "SELECT ended.lsn::text AS lsn, (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
             THEN min_recovery_end_timeline ELSE timeline_id END \
             FROM pg_catalog.pg_control_checkpoint(), pg_catalog.pg_control_recovery()) AS timeline, \
             ended.labelfile AS label, now()::text AS time FROM {function} AS ended"
        ),
        &[],
    )?;
    Ok(Ended {
        lsn: field(rows.get(0, "lsn"), "a WAL position", |text| text.parse().ok())?,
        timeline: field(rows.get(0, "timeline"), "a timeline", |text| text.parse().ok())?,
        time: field(rows.get(0, "time"), "a time", server_time)?,
        label: field(rows.get(0, "label"), "a backup label", |text| {
            Some(text.to_owned())
        })?,
    })
}

/// Ends a concurrent backup and waits until its WAL has been archived, as `pg_backup_stop(true)` does. That function looks
/// once a second, so that every backup pays a second for it: from PostgreSQL 15 on, where the archiver's progress is
/// known at once, it is asked for here.
pub(super) fn stop_archived(session: &mut Session) -> Result<Ended, PgError> {
    if !session.version().at_least(15) || session.is_in_recovery()? {
        return stop(session, true);
    }
    let ended = stop(session, false)?;
    await_archiver(session, ended.lsn)?;
    Ok(ended)
}

/// Waits until the segment in which a position lies has been archived.
fn await_archiver(session: &mut Session, position: Lsn) -> Result<(), PgError> {
    let position = position.to_string();
    let mut pause = FIRST_PAUSE;
    let mut warning = Some(Instant::now() + PATIENCE);
    loop {
        // Names of segments are as long as each other: text in the order of its bytes is their order.
        let rows = session.query(
            "SELECT pg_catalog.current_setting('archive_mode') = 'off' OR coalesce(last_archived_wal COLLATE \"C\" \
             >= pg_catalog.pg_walfile_name($1::pg_catalog.pg_lsn) COLLATE \"C\", false) AS over, \
             last_archived_wal LIKE '%.backup' AS unclear FROM pg_catalog.pg_stat_archiver",
            &[&position],
        )?;
        let unclear = rows.get(0, "unclear") == Some("t");
        if rows.get(0, "over") == Some("t") || (unclear && !is_ready(session, &position)?) {
            return Ok(());
        }
        interrupt::check()?;
        if warning.take_if(|due| *due <= Instant::now()).is_some() {
            log::warn!(
                target: "barman.backup",
                "still waiting for the WAL of the backup to be archived: check that the server's archive_command works"
            );
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the segment in which a position lies waits to be archived. The history file of a backup has the name of its first
/// segment, and is often archived after the last one: then the archiver's last file, the lower name, says nothing, and on an
/// idle server no other follows. A role that may not look is told that nothing waits: the archive here tells later.
fn is_ready(session: &mut Session, position: &str) -> Result<bool, PgError> {
    let answer = session.value(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_ls_archive_statusdir() \
         WHERE name = pg_catalog.pg_walfile_name($1::pg_catalog.pg_lsn) || '.ready')",
        &[position],
    );
    match answer {
        Err(PgError::Refused { message, .. }) => {
            log::debug!("the server refused: {message}");
            Ok(false)
        }
        answer => Ok(answer?.as_deref() == Some("t")),
    }
}

/// Names the position of the WAL at which the backup ended. On a standby nothing is done.
pub(super) fn create_restore_point(session: &mut Session, name: &str) -> Result<(), PgError> {
    if session.is_in_recovery()? {
        return Ok(());
    }
    session.query("SELECT pg_catalog.pg_create_restore_point($1)", &[name])?;
    log::info!(target: "barman.postgres", "Restore point '{name}' successfully created");
    Ok(())
}

fn field<T>(text: Option<&str>, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, PgError> {
    text.and_then(read)
        .ok_or_else(|| PgError::Unexpected(format!("{:?} instead of {what}", text.unwrap_or("NULL"))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::sync::mpsc;

    use super::*;
    use crate::postgres::scratch_cluster::ScratchCluster;

    /// The name of the newest archived file.
    fn await_last(session: &mut Session, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let last = session.value("SELECT last_archived_wal FROM pg_stat_archiver", &[]);
            if let Some(last) = last.unwrap().filter(|last| wanted(last)) {
                return last;
            }
        }
    }

    #[test]
    fn a_history_file_that_is_archived_last_does_not_hide_the_end() {
        let Some(cluster) =
            ScratchCluster::start("archive_mode = on\narchive_command = 'true'\nwal_level = replica")
        else {
            return;
        };
        let mut session = Session::connect(&cluster.conninfo()).unwrap();
        start(&mut session, "test", true).unwrap();
        // The backup ends in another segment than it begins in.
        session.query("SELECT pg_switch_wal()", &[]).unwrap();
        let ended = stop_archived(&mut session).unwrap();
        // The order that the archiver takes when it is quick: the end first, then the history file.
        let status = cluster.data().join("pg_wal/archive_status");
        let names = || {
            fs::read_dir(&status)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        };
        let done = loop {
            if let Some(name) = names().find(|name| name.ends_with(".backup.done")) {
                break name;
            }
        };
        let ready = done.replace(".done", ".ready");
        await_last(&mut session, |last| !last.is_empty());
        fs::rename(status.join(&done), status.join(&ready)).unwrap();
        session.query("SELECT pg_reload_conf()", &[]).unwrap();
        await_last(&mut session, |last| last.ends_with(".backup"));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(await_archiver(&mut session, ended.lsn)).unwrap());
        receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
}
