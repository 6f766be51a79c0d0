//! The server itself: whether it answers, and lets itself be backed up.

use super::Cancelled;
use super::Sink;
use super::context::{Context, gather};
use crate::postgres::facts::Facts;

const BACKUP_PRIVILEGES: &str = "privileges for PostgreSQL backup functions are required (see documentation)";

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if !context.has_postgres() {
        return Ok(());
    }
    let Some(facts) = context.facts() else {
        return sink.report("PostgreSQL", false, "");
    };
    if !facts.version_supported {
        let hint = format!(
            "unsupported version: PostgreSQL server is too old ({} < 9.6.0)",
            facts.version
        );
        return sink.report("PostgreSQL", false, hint);
    }
    sink.report("PostgreSQL", true, "")?;
    if facts.has_backup_privileges {
        sink.report("superuser or standard user with backup privileges", true, "")?;
    } else {
        sink.report("no access to backup functions", false, BACKUP_PRIVILEGES)?;
    }
    if let Some(streaming) = context.streaming() {
        let ok = streaming.streaming == Some(true);
        let hint = first_line(streaming.connection_error.as_deref());
        sink.report("PostgreSQL streaming", ok, hint)?;
    }
    wal_level(facts, "wal_level", sink)?;
    primary(context, facts, sink)
}

/// libpq adds advice on further lines.
pub(super) fn first_line(error: Option<&str>) -> &str {
    error.and_then(|error| error.lines().next()).unwrap_or_default()
}

/// PostgreSQL must write enough WAL to recover from.
pub(super) fn wal_level(facts: &Facts, name: &'static str, sink: &Sink) -> Result<(), Cancelled> {
    match facts.setting("wal_level") {
        Some("minimal") => sink.report(name, false, "please set it to a higher level than 'minimal'"),
        _ => sink.report(name, true, ""),
    }
}

/// With `primary_conninfo`, `conninfo` must lead to a standby of that primary.
fn primary(context: &Context, standby: &Facts, sink: &Sink) -> Result<(), Cancelled> {
    let Some(conninfo) = context.server.primary_conninfo.as_deref() else {
        return Ok(());
    };
    if !standby.is_in_recovery {
        let hint = "conninfo should point to a standby server if primary_conninfo is set";
        return sink.note("PostgreSQL server is standby", false, hint);
    }
    sink.note("PostgreSQL server is standby", true, "")?;
    let primary = gather(conninfo, None);
    let is_primary = primary.as_ref().is_some_and(|primary| !primary.is_in_recovery);
    let hint = if is_primary {
        ""
    } else {
        "primary_conninfo should point to a primary server, not a standby"
    };
    sink.report("Primary server is not a standby", is_primary, hint)?;
    let same =
        primary.is_some_and(|primary| primary.systemid.is_some() && primary.systemid == standby.systemid);
    let hint = if same {
        ""
    } else {
        "primary_conninfo and conninfo should point to primary and standby servers which share the same system identifier"
    };
    sink.report("Primary and standby have same system ID", same, hint)
}
