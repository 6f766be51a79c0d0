//! The verb that fetches a file: by blocks, or as [`reading`] sends it.

use std::path::Path;

use super::conversation::{Session, Stopped};
use super::message::{Checks, FetchMode};
use super::spans::Base;
use super::{blocks, reading};

/// Answers [`super::message::Request::Fetch`].
pub(super) fn fetch(
    session: &mut Session,
    path: &Path,
    mode: FetchMode,
    checks: Option<Checks>,
) -> Result<(), Stopped> {
    let mut base = Base::new(match mode {
        FetchMode::Whole | FetchMode::HashOnly => true,
        FetchMode::Pages | FetchMode::Rolling => false,
        FetchMode::Blocks(since) => since.lsn.is_some(),
    });
    let fetched = match mode {
        FetchMode::Blocks(since) => blocks::send(session, path, since, checks, &mut base),
        _ => reading::send(session, path, mode, checks, &mut base),
    };
    // Whatever happened, the description of the old file is still to be taken off the stream.
    if !matches!(fetched, Err(Stopped::Broken(_))) {
        while !base.ended {
            base.receive(session)?;
        }
    }
    fetched
}
