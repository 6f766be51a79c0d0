//! The WAL since the newest backup: how old, how much.

use crate::base::{calendar, duration, size};
use crate::catalog::figures::WalFigures;

use super::backups::words;
use super::context::Context;
use super::{Cancelled, Perfdata, Sink};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let figures = figures(context);
    maximum_age(context, figures.as_ref(), sink)?;
    let size = figures.map_or(0, |figures| figures.until_next.size);
    sink.measure(
        "wal size",
        true,
        size::pretty_bytes(size),
        Perfdata::WalSize(size),
    )
}

/// The WAL of the newest backup; `None`, with a line in the log when it cannot be read.
fn figures(context: &Context) -> Option<WalFigures> {
    let catalog = context.catalog.as_ref().ok()?;
    let (id, _) = context.newest()?;
    match catalog.wal_figures(context.backups()) {
        Ok(mut figures) => figures.remove(id),
        Err(error) => {
            log::error!(target: "barman.server", "{error}");
            None
        }
    }
}

fn maximum_age(context: &Context, figures: Option<&WalFigures>, sink: &Sink) -> Result<(), Cancelled> {
    let name = "wal maximum age";
    let Some(limit) = context.server.last_wal_maximum_age else {
        return sink.note(name, true, "no last_wal_maximum_age provided");
    };
    let Some(archived) = figures.and_then(WalFigures::last_time) else {
        return sink.note(name, false, "No WAL files archived for last backup");
    };
    let age = calendar::epoch_seconds(&calendar::now()) - archived;
    let hint = format!(
        "interval provided: {}, latest wal age: {}",
        words(limit),
        duration::human(age)
    );
    sink.note(name, age <= limit.as_seconds_f64(), hint)
}
