//! Receiving WAL by streaming replication: the program that does it, and whether it runs.

use crate::base::lock::LockFile;

use super::context::Context;
use super::tools::Tool;
use super::{Cancelled, Sink};

/// The program's names since PostgreSQL 10 and before.
pub(super) const RECEIVERS: [&str; 2] = ["pg_receivewal", "pg_receivexlog"];

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if !(context.has_postgres() && context.server.streaming_archiver) {
        return Ok(());
    }
    let tool = Tool::find(&RECEIVERS, context.server.path_prefix.as_deref());
    sink.report("pg_receivexlog", tool.is_some(), "")?;
    let server = context.streaming_version();
    let compatible = tool
        .as_ref()
        .zip(server.as_deref())
        .is_some_and(|(tool, server)| tool.serves(server));
    let hint = if compatible {
        String::new()
    } else {
        format!(
            "PostgreSQL version: {}, pg_receivexlog version: {}",
            server.as_deref().unwrap_or("None"),
            tool.as_ref()
                .and_then(|tool| tool.version.as_deref())
                .unwrap_or("None")
        )
    };
    sink.report("pg_receivexlog compatible", compatible, hint)?;
    let lock = context.server.lock_file("receive-wal");
    let running = LockFile::owner(&lock).is_ok_and(|owner| owner.is_some());
    let hint = if running {
        ""
    } else {
        "See the Barman log file for more details"
    };
    sink.report("receive-wal running", running, hint)
}
