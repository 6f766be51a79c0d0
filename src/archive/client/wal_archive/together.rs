//! Deliveries of several files, with the checksums that cost least.
//!
//! A barkeep on the other side understands [`Sums::Xxh128`], a Barman refuses the option before it reads anything. The
//! process in the background finds that out with its first delivery, so that PostgreSQL never waits for the answer; it is
//! noted for the calls after it. A single file is always sent with checksums that both understand.

use std::path::PathBuf;
use std::time::Instant;

use super::acknowledged::Lead;

use super::stream::Sent;
use super::{Console, Failure, QUICK, Route, WalArchive};
use crate::archive::client::remote::SSH_FAILED;
use crate::archive::sums::Sums;

/// Whether an answer that is not known may be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Nobody waits.
    Now,
    /// PostgreSQL waits.
    Never,
}

impl WalArchive {
    /// Sends the files as [`WalArchive::deliver`] does, with the quickest checksums that the other side understands.
    pub(super) fn deliver_together(
        &self,
        files: &[PathBuf],
        route: &Route,
        lead: &mut Lead<'_>,
        ask: Ask,
        console: &mut Console<'_>,
    ) -> Result<(i32, Vec<Sent>), Failure> {
        let plain = self.sums();
        let quick = match lead.knows_xxh128() {
            Some(knows) => knows,
            None => ask == Ask::Now,
        };
        if plain == Sums::Md5 || !quick {
            return self.deliver(files, route, plain, console);
        }
        let begun = Instant::now();
        let (code, sent) = self.deliver(files, route, Sums::Xxh128, console)?;
        if code == 0 || code == SSH_FAILED {
            if code == 0 {
                lead.set_knows_xxh128(true);
            }
            return Ok((code, sent));
        }
        // The answer of a Barman, or of a script that lets one command line pass. What failed after a while failed for
        // another reason.
        lead.set_knows_xxh128(false);
        if begun.elapsed() > QUICK {
            return Ok((code, sent));
        }
        self.deliver(files, route, plain, console)
    }
}
