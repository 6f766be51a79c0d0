//! Delivery of WAL by `archive_command`, and what could not be archived.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::archive::archive_wal::errors_directory::REASON;
use crate::base::durable;
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

/// The endings of what is put aside, as Barman and this program write them, with their names in the hint.
const KINDS: [(&str, &str); 5] = [
    (".duplicate", "duplicates"),
    (".unknown", "unknown"),
    (".damaged", "damaged"),
    (".foreign", "foreign"),
    ("", "unknown failure"),
];

/// What lies in the errors directory, by the reason that ends the names; a damaged or foreign segment by its name, too.
fn errors(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let directory = &context.server.errors_directory;
    let mut names = match names(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return sink.note("archiver errors", false, error.to_string()),
    };
    names.retain(|name| !name.as_encoded_bytes().ends_with(REASON.as_bytes()));
    let mut counts = [0_usize; KINDS.len()];
    for name in &names {
        let name = name.as_encoded_bytes();
        let kind = KINDS
            .iter()
            .position(|(ending, _)| name.ends_with(ending.as_bytes()));
        if let Some(count) = kind.and_then(|kind| counts.get_mut(kind)) {
            *count += 1;
        }
    }
    let mut found: Vec<String> = KINDS
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|((_, kind), count)| format!("{kind}: {count}"))
        .collect();
    found.extend(rejected(
        directory,
        &names,
        &context.server.incoming_wals_directory,
    ));
    sink.note("archiver errors", found.is_empty(), found.join(", "))
}

/// The newest segment that was refused, why, and what to do.
fn rejected(directory: &Path, names: &[OsString], incoming: &Path) -> Option<String> {
    let refused = |name: &str| name.ends_with(".damaged") || name.ends_with(".foreign");
    // Names go on with the time at which they were put aside.
    let newest = names
        .iter()
        .filter_map(|name| name.to_str().filter(|name| refused(name)))
        .max_by_key(|name| name.get(24..).unwrap_or_default())?;
    let path = directory.join(newest);
    let reason = fs::read_to_string(durable::sibling(&path, REASON))
        .inspect_err(|error| log::debug!("{error}"))
        .unwrap_or_default();
    let segment = newest.split('.').next().unwrap_or_default();
    let remedy = if newest.ends_with(".foreign") {
        "find out which server sends its WAL here, and remove the file".to_owned()
    } else {
        format!(
            "copy {segment} from pg_wal of the server or a standby to '{}', then remove the damaged file",
            incoming.display()
        )
    };
    Some(format!("'{}': {}; {remedy}", path.display(), reason.trim_end()))
}

fn names(directory: &Path) -> Result<Vec<OsString>, PathError> {
    fs::read_dir(directory)
        .at("list directory", directory)?
        .map(|entry| Ok(entry.at("list directory", directory)?.file_name()))
        .collect()
}
