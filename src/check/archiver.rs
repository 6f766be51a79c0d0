//! Delivery of WAL by `archive_command`, and what could not be archived.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::base::error::{PathContext, PathError};

use super::context::Context;
use super::{Cancelled, Sink};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if context.has_postgres() && context.server.archiver {
        archive_command(context, sink)?;
    }
    errors(context, sink)
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

/// What lies in the errors directory, by the reason that ends the names.
fn errors(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let mut counts = [("duplicates", 0_usize), ("unknown", 0), ("unknown failure", 0)];
    let names = match names(&context.server.errors_directory) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return sink.note("archiver errors", false, error.to_string()),
    };
    for name in names {
        let name = name.as_encoded_bytes();
        let kind = if name.ends_with(b".duplicate") {
            "duplicates"
        } else if name.ends_with(b".unknown") {
            "unknown"
        } else {
            "unknown failure"
        };
        counts
            .iter_mut()
            .filter(|(known, _)| *known == kind)
            .for_each(|(_, count)| *count += 1);
    }
    let found: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{kind}: {count}"))
        .collect();
    sink.note("archiver errors", found.is_empty(), found.join(", "))
}

fn names(directory: &Path) -> Result<Vec<OsString>, PathError> {
    fs::read_dir(directory)
        .at("list directory", directory)?
        .map(|entry| Ok(entry.at("list directory", directory)?.file_name()))
        .collect()
}
