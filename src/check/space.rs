//! Room for WAL: how long the file system of the archive will last. A line only when that is not long.

use crate::archive::archive_wal::space::space;
use crate::base::{calendar, size};

use super::context::Context;
use super::{Cancelled, Sink};

/// Less than these hours left are worth a line.
const SHORT: f64 = 24.0;

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let Ok(catalog) = &context.catalog else {
        return Ok(());
    };
    let wals = &catalog.layout().wals;
    if !wals.is_dir() {
        return Ok(());
    }
    let now = calendar::epoch_seconds(&calendar::now());
    let (space, rate) = match space(wals, &catalog.layout().incoming)
        .and_then(|space| Ok((space, catalog.wal_bytes_per_hour(now)?)))
    {
        Ok(found) => found,
        Err(error) => return sink.note("WAL archive space", false, error.to_string()),
    };
    match hint(space.free, space.reserve, context.segment_size(), rate) {
        Some(hint) => sink.note("WAL archive space", false, hint),
        None => Ok(()),
    }
}

/// What there is to say about `free` bytes, when `rate` bytes arrive in an hour.
#[allow(clippy::cast_precision_loss)] // figures for people
fn hint(free: u64, reserve: u64, segment: u64, rate: f64) -> Option<String> {
    let usable = free.saturating_sub(reserve);
    let left = size::pretty_bytes(free);
    if usable < segment {
        return Some(format!(
            "{left} left: archiving stops until there is more, and goes on by itself; make room, or extend the file system"
        ));
    }
    if rate <= 0.0 {
        return None;
    }
    let hours = usable as f64 / rate;
    (hours < SHORT).then(|| {
        format!(
            "{left} left, about {hours:.1} hours at {} of WAL an hour; make room, or extend the file system",
            size::pretty(rate)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn only_what_will_not_last() {
        const MIB: u64 = 1 << 20;
        assert_eq!(hint(10_000 * MIB, 100 * MIB, 16 * MIB, 0.0), None);
        assert_eq!(hint(10_000 * MIB, 100 * MIB, 16 * MIB, (100 * MIB) as f64), None);
        let soon = hint(1_100 * MIB, 100 * MIB, 16 * MIB, (500 * MIB) as f64);
        assert_eq!(
            soon.as_deref(),
            Some(
                "1.1 GiB left, about 2.0 hours at 500.0 MiB of WAL an hour; make room, or extend the file system"
            )
        );
        assert!(
            hint(110 * MIB, 100 * MIB, 16 * MIB, 0.0).is_some_and(|hint| hint.contains("archiving stops"))
        );
    }
}
