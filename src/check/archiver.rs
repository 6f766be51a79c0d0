//! Delivery of WAL by `archive_command`, and what could not be archived.

use super::context::Context;
use super::{Cancelled, Sink, put_aside};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if context.has_postgres() && context.server.archiver {
        archive_command(context, sink)?;
    }
    put_aside::check(context, sink)
}

fn archive_command(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let Some(facts) = context.facts() else {
        return Ok(());
    };
    let Some(mode) = facts.archive_mode.as_deref() else {
        return Ok(());
    };
    let archiving = matches!(mode, "on" | "always");
    let hint = if archiving {
        ""
    } else {
        "please set it to 'on' or 'always'"
    };
    sink.report("archive_mode", archiving, hint)?;
    // PostgreSQL shows "(disabled)" while archive_mode is off.
    let commanded = facts
        .archive_command
        .as_deref()
        .is_some_and(|command| !matches!(command, "" | "(disabled)"));
    if !commanded {
        return sink.report(
            "archive_command",
            false,
            "please set it accordingly to documentation",
        );
    }
    sink.report("archive_command", true, "")?;
    match facts.archiver.as_ref().and_then(|archiver| archiver.is_archiving) {
        Some(is_archiving) => sink.report("continuous archiving", is_archiving, ""),
        None => Ok(()), // nothing was archived yet, and something failed
    }
}
