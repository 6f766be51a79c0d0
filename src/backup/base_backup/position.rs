//! Where a server is in its WAL.

use crate::base::calendar::Timestamp;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::server_time;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, Timeline};

/// A position and the moment at which it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// What has been written, on a standby replayed.
    pub(super) lsn: Lsn,
    pub(super) timeline: Timeline,
    /// The server's clock.
    pub(super) time: Timestamp,
}

impl Position {
    /// Asks the server.
    pub(super) fn of(session: &mut Session) -> Result<Position, PgError> {
        let version = session.version();
        let (wal, lsn) = (version.wal_word(), version.lsn_word());
        let rows = session.query(
            &format!(
                "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_{wal}_replay_{lsn}() \
                 ELSE pg_catalog.pg_current_{wal}_{lsn}() END)::text AS lsn, \
                 (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() AND min_recovery_end_timeline > 0 \
                 THEN min_recovery_end_timeline ELSE timeline_id END \
                 FROM pg_catalog.pg_control_checkpoint(), pg_catalog.pg_control_recovery()) AS timeline, \
                 now()::text AS time"
            ),
            &[],
        )?;
        let position = || {
            Some(Position {
                lsn: rows.get(0, "lsn")?.parse().ok()?,
                timeline: rows.get(0, "timeline")?.parse().ok()?,
                time: server_time(rows.get(0, "time")?)?,
            })
        };
        position().ok_or_else(|| PgError::Unexpected(format!("{rows:?} instead of a WAL position")))
    }

    /// The segment and the offset in it. The boundary of two segments belongs to the first, with an offset of zero, as
    /// Barman has it for these backups: the second may never be written.
    pub(super) fn place(&self, segment_size: u64) -> (SegmentName, u64) {
        let offset = self.lsn.offset_in_segment(segment_size);
        let within = match offset {
            0 => Lsn(self.lsn.0.saturating_sub(1)),
            _ => self.lsn,
        };
        (
            SegmentName::containing(self.timeline, within, segment_size),
            offset,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::calendar;

    #[test]
    fn a_boundary_belongs_to_the_segment_that_ended() {
        let place = |lsn| {
            let position = Position {
                lsn: Lsn(lsn),
                timeline: 1,
                time: calendar::now(),
            };
            let (segment, offset) = position.place(16 << 20);
            (segment.to_string(), offset)
        };
        assert_eq!(place(0x600_0000), ("000000010000000000000005".to_owned(), 0));
        assert_eq!(place(0x600_0028), ("000000010000000000000006".to_owned(), 40));
    }
}
