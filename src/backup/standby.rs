//! Ending a backup that was taken from a standby (behaviour reference §7).
//!
//! The backup is consistent at a position that the standby knows from its primary; the WAL up to there reaches the
//! archive only when the primary goes on to another segment. An idle primary is made to.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::postgres::client::{PgError, Session};
use crate::postgres::wal_switch::switch_wal;

use super::start_stop::{self, Ended};

/// How to reach the primary of a standby, and what may be done to it.
#[derive(Debug, Clone)]
pub(super) struct Primary {
    pub(super) conninfo: String,
    pub(super) segment_size: u64,
    /// After this time the primary is made to write a checkpoint; zero leaves it alone.
    pub(super) checkpoint_timeout: Duration,
}

const FIRST_LOOK: Duration = Duration::from_secs(1);
const BETWEEN_SWITCHES: Duration = Duration::from_secs(10);
const SWITCHES: u32 = 10;

/// Ends the backup while the primary is kept moving.
pub(super) fn stop(session: &mut Session, primary: &Primary) -> Result<Ended, PgError> {
    let (ended, watch) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || keep_moving(primary, &watch));
        let answer = start_stop::stop(session, true);
        drop(ended);
        answer
    })
}

/// Makes the primary close the segment it writes.
pub(super) fn switch(primary: &Primary) -> Result<(), PgError> {
    switch_wal(&mut Session::connect(&primary.conninfo)?, primary.segment_size).map(|_| ())
}

/// Makes the primary close one segment after the other until the other end of `watch` is dropped, or it was often enough.
pub(super) fn keep_moving(primary: &Primary, watch: &Receiver<()>) {
    if let Err(error) = try_to_move(primary, watch) {
        log::warn!(target: "barman.backup", "cannot make the primary server switch its WAL: {error}");
    }
}

fn try_to_move(primary: &Primary, watch: &Receiver<()>) -> Result<(), PgError> {
    if over_within(watch, FIRST_LOOK) {
        return Ok(());
    }
    let mut session = Session::connect(&primary.conninfo)?;
    for _ in 0..SWITCHES {
        switch_wal(&mut session, primary.segment_size)?;
        if over_within(watch, BETWEEN_SWITCHES) {
            return Ok(());
        }
    }
    if primary.checkpoint_timeout.is_zero() {
        return Ok(());
    }
    log::warn!(
        target: "barman.backup",
        "The standby has not ended the backup; in {} seconds the primary is made to write a checkpoint",
        primary.checkpoint_timeout.as_secs()
    );
    if !over_within(watch, primary.checkpoint_timeout) {
        session.query("CHECKPOINT", &[])?;
        switch_wal(&mut session, primary.segment_size)?;
    }
    Ok(())
}

/// Waits; true as soon as the backup has ended.
fn over_within(watch: &Receiver<()>, time: Duration) -> bool {
    watch.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
}
