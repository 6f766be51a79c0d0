//! Making PostgreSQL close the WAL segment it writes (behaviour reference §29).

use super::client::{PgError, Session};
use super::lsn::Lsn;
use super::wal_name::{SegmentName, Timeline};

/// Closes the current segment. Returns its name; `None` when it holds nothing and stays open.
///
/// # Errors
/// The server refuses (it does on a standby), or the connection broke.
pub fn switch_wal(session: &mut Session, segment_size: u64) -> Result<Option<SegmentName>, PgError> {
    let before = insert_segment(session, segment_size)?;
    let word = session.version().wal_word();
    session.query(&format!("SELECT pg_catalog.pg_switch_{word}()"), &[])?;
    let after = insert_segment(session, segment_size)?;
    Ok((before != after).then_some(before))
}

/// The segment that holds the last byte inserted into the WAL.
fn insert_segment(session: &mut Session, segment_size: u64) -> Result<SegmentName, PgError> {
    let version = session.version();
    let (wal, lsn, walfile) = (version.wal_word(), version.lsn_word(), version.walfile_word());
    let rows = session.query(
        &format!(
            "SELECT l::text AS lsn, pg_catalog.pg_{walfile}_name(l) AS name FROM pg_catalog.pg_current_{wal}_insert_{lsn}() AS l"
        ),
        &[],
    )?;
    let answer = rows
        .get(0, "lsn")
        .zip(rows.get(0, "name"))
        .and_then(|(lsn, name)| {
            let timeline: Timeline = SegmentName::parse(name)?.timeline;
            Some(holding_last_byte(timeline, lsn.parse().ok()?, segment_size))
        });
    answer.ok_or_else(|| PgError::Unexpected(format!("{rows:?} instead of a WAL position")))
}

/// The functions of PostgreSQL that name the segment of a position disagree about boundaries: before version 17 they
/// name the segment that ended there, from 17 on the one that starts. Here it is always the one that ended.
fn holding_last_byte(timeline: Timeline, lsn: Lsn, segment_size: u64) -> SegmentName {
    SegmentName::containing(timeline, Lsn(lsn.0.saturating_sub(1)), segment_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_belongs_to_the_segment_that_ended() {
        let name = |lsn| holding_last_byte(1, Lsn(lsn), 16 << 20).to_string();
        assert_eq!(name(0x0300_0000), "000000010000000000000002");
        assert_eq!(name(0x0300_0028), "000000010000000000000003");
    }
}
