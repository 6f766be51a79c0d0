//! Receiving WAL by streaming replication: the program that does it, and whether it runs.

use crate::base::lock::LockFile;
use crate::postgres::client_program::ClientProgram;

use super::context::Context;
use super::{Cancelled, Sink};

/// The program's names since PostgreSQL 10 and before.
const RECEIVERS: [&str; 2] = ["pg_receivewal", "pg_receivexlog"];

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if !(context.has_postgres() && context.server.streaming_archiver) {
        return Ok(());
    }
    let program = ClientProgram::find(&RECEIVERS, context.server.path_prefix.as_deref());
    sink.report("pg_receivexlog", program.is_some(), "")?;
    let (compatible, hint) = context.compatibility("pg_receivexlog", program.as_ref(), "None");
    sink.report("pg_receivexlog compatible", compatible, hint)?;
    let lock = context.server.lock_file("receive-wal");
    let running = LockFile::is_held(&lock).unwrap_or(false);
    let hint = if running {
        ""
    } else {
        "See the Barman log file for more details"
    };
    sink.report("receive-wal running", running, hint)
}
