//! The replication slot that WAL streaming needs, and the host that WAL is streamed from when it is another one.

use crate::postgres::facts::{Facts, ReplicationSlot};

use super::context::{Context, gather, gather_streaming};
use super::postgres::first_line;
use super::{Cancelled, Sink, identity, postgres};

const MONITORING_PRIVILEGES: &str =
    "privileges for PostgreSQL monitoring functions are required (see documentation)";

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if !context.has_postgres() {
        return Ok(());
    }
    match wal_host(context) {
        Some(conninfo) => check_wal_host(context, conninfo, sink),
        None => slot(context, context.facts(), "replication slot", sink),
    }
}

/// The connection string of the host that WAL is streamed from, when it is not the one of `conninfo`.
fn wal_host(context: &Context) -> Option<&str> {
    let server = &context.server;
    let conninfo = server
        .wal_conninfo
        .as_deref()
        .or(server.wal_streaming_conninfo.as_deref())
        .filter(|_| server.streaming_archiver)?;
    (Some(conninfo) != server.conninfo.as_deref()).then_some(conninfo)
}

fn check_wal_host(context: &Context, conninfo: &str, sink: &Sink) -> Result<(), Cancelled> {
    let facts = gather(conninfo, context.slot_name());
    let server = &context.server;
    if facts
        .as_ref()
        .is_some_and(|facts| facts.has_monitoring_privileges)
    {
        sink.report("has monitoring privileges (WAL streaming)", true, "")?;
    } else {
        sink.report("no access to monitoring functions", false, MONITORING_PRIVILEGES)?;
    }
    let streaming_conninfo = server
        .wal_streaming_conninfo
        .as_deref()
        .or(server.streaming_conninfo.as_deref());
    let streaming =
        streaming_conninfo.map(|conninfo| gather_streaming(conninfo, &server.streaming_archiver_name));
    if let Some(streaming) = &streaming {
        let hint = first_line(streaming.connection_error.as_deref());
        let ok = streaming.streaming == Some(true);
        sink.report("PostgreSQL streaming (WAL streaming)", ok, hint)?;
    }
    if let Some(facts) = &facts {
        postgres::wal_level(facts, "wal_level (WAL streaming)", sink)?;
    }
    identity::coherence(
        context,
        "systemid coherence (WAL streaming)",
        streaming
            .as_ref()
            .and_then(|streaming| streaming.systemid.as_deref()),
        facts.as_ref().and_then(|facts| facts.systemid.as_deref()),
        sink,
    )?;
    slot(context, facts.as_ref(), "replication slot (WAL streaming)", sink)
}

fn slot(context: &Context, facts: Option<&Facts>, check: &'static str, sink: &Sink) -> Result<(), Cancelled> {
    let Some(name) = context.slot_name() else {
        return Ok(());
    };
    let slot = facts.and_then(|facts| facts.replication_slot.as_ref());
    if !context.server.streaming_archiver {
        return unneeded(name, slot, check, sink);
    }
    let server = &context.server.name;
    let hint = match slot {
        None => format!(
            "replication slot '{name}' doesn't exist. Please execute 'barman receive-wal --create-slot {server}'"
        ),
        Some(slot) if slot.restart_lsn.is_none() => {
            format!("slot '{name}' not initialised: is 'receive-wal' running?")
        }
        Some(slot) if !slot.active => format!("slot '{name}' not active: is 'receive-wal' running?"),
        Some(_) => return sink.report(check, true, ""),
    };
    sink.report(check, false, hint)
}

/// A slot that nobody reads from keeps WAL on the server for ever.
fn unneeded(
    name: &str,
    slot: Option<&ReplicationSlot>,
    check: &'static str,
    sink: &Sink,
) -> Result<(), Cancelled> {
    let Some(slot) = slot.filter(|slot| slot.restart_lsn.is_some()) else {
        return Ok(());
    };
    let state = if slot.active { "active" } else { "initialised" };
    let hint = format!("WARNING: slot '{name}' is {state} but not required by the current config");
    sink.report(check, true, hint)
}
