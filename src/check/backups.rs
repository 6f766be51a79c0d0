//! The backups there are: their number, their age, their size, and the rules for how long they are kept.

use chrono::TimeDelta;

use crate::base::{calendar, duration, size};
use crate::catalog::BackupStatus;
use crate::catalog::retention::RetentionPolicy;

use super::context::Context;
use super::{Cancelled, Perfdata, Sink};

pub(super) fn check_age_and_size(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    retention_policy(context, sink)?;
    maximum_age(context, sink)?;
    minimum_size(context, sink)
}

fn retention_policy(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let name = "retention policy settings";
    let Some(text) = &context.server.retention_policy else {
        return sink.report(name, true, "");
    };
    if text.parse::<RetentionPolicy>().is_ok() {
        return sink.report(name, true, "");
    }
    sink.report(name, false, "see log")
}

fn maximum_age(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let name = "backup maximum age";
    let Some(limit) = context.server.last_backup_maximum_age else {
        return sink.note(name, true, "no last_backup_maximum_age provided");
    };
    let ended = context.newest().and_then(|(_, info)| info.end_time);
    let age = ended.map(|end| calendar::seconds_between(&end, &calendar::now()));
    let shown = age.map_or_else(|| "No available backups".to_owned(), duration::human);
    let hint = format!("interval provided: {}, latest backup age: {shown}", words(limit));
    sink.note(name, age.is_some_and(|age| age <= limit.as_seconds_f64()), hint)
}

/// A configured length of time in words.
pub(super) fn words(interval: TimeDelta) -> String {
    duration::human(interval.as_seconds_f64())
}

fn minimum_size(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let found = context
        .newest()
        .and_then(|(_, info)| info.size)
        .unwrap_or_default();
    let shown = size::pretty_bytes(found);
    let figure = Perfdata::BackupSize(found);
    let Some(limit) = context.server.last_backup_minimum_size.map(|limit| limit.0) else {
        return sink.measure("backup minimum size", true, shown, figure);
    };
    let ok = found >= limit;
    let relation = if ok { '>' } else { '<' };
    let hint = format!(
        "last backup size {shown} {relation} {} minimum",
        size::pretty_bytes(limit)
    );
    sink.measure("backup minimum size", ok, hint, figure)
}

pub(super) fn check_number(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if let Some(reason) = context.unreadable() {
        // Without the catalog nothing can be said about backups, least of all that none failed.
        sink.note(
            "failed backups",
            false,
            format!("cannot read the catalog: {reason}"),
        )?;
    } else {
        let failed = context.count(BackupStatus::Failed);
        sink.note(
            "failed backups",
            failed == 0,
            format!("there are {failed} failed backups"),
        )?;
    }
    let complete = context
        .backups()
        .values()
        .filter(|info| info.status == BackupStatus::Done && !info.is_incremental())
        .count();
    let expected = context.server.minimum_redundancy;
    let ok = u32::try_from(complete).is_ok_and(|complete| complete >= expected) || expected == 0;
    let hint = format!("have {complete} non-incremental backups, expected at least {expected}");
    sink.note("minimum redundancy requirements", ok, hint)
}
