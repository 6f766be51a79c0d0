//! WAL on its way: whether any has ever arrived, and whether it piles up.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::archive::{Announce, ArchiveError, archive_wal};
use crate::base::report::Quiet;
use crate::catalog::{BackupStatus, Catalog};
use crate::hooks::HookRunner;
use crate::postgres::client::Session;
use crate::postgres::wal_switch::switch_wal;

use super::context::Context;
use super::{Cancelled, Intrusion, Sink};

/// How often the archive is looked at while WAL is expected.
const PAUSE: Duration = Duration::from_millis(200);

/// The part of `check_timeout` that the first segment may take to arrive.
const SHARE_OF_TIMEOUT: u32 = 3;

/// The longest wait where there is no limit.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if let Ok(catalog) = &context.catalog
        && !has_wal(context, catalog, sink)?
    {
        sink.report("WAL archive", false, "please make sure WAL shipping is setup")?;
    }
    incoming(context, sink)?;
    streaming(context, sink)
}

/// Whether a WAL file was ever archived, or is about to be for a backup that waits for it.
fn has_wal(context: &Context, catalog: &Catalog, sink: &Sink) -> Result<bool, Cancelled> {
    let recorded = || fs::metadata(catalog.xlogdb().path()).is_ok_and(|file| file.len() > 0);
    if recorded() || context.count(BackupStatus::WaitingForWals) > 0 {
        return Ok(true);
    }
    if context.options.intrusion != Intrusion::Operator || !catalog.layout().wals.is_dir() {
        return Ok(false);
    }
    archive(context);
    if recorded() || !context.has_postgres() || !switch(context) {
        return Ok(recorded());
    }
    let patience = context
        .options
        .timeout
        .map_or(LONGEST_WAIT, |timeout| timeout / SHARE_OF_TIMEOUT);
    let deadline = Instant::now() + patience;
    while !recorded() && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        sink.go_on()?;
        archive(context);
    }
    Ok(recorded())
}

/// Archives what has arrived. Mistakes are logged: the check says itself whether WAL is there.
fn archive(context: &Context) {
    let hooks = HookRunner::of_server(&context.server, &context.options.configuration);
    match archive_wal(&context.server, &hooks, Announce::WhenBusy, &Quiet) {
        Ok(_) | Err(ArchiveError::Interrupted(_)) => {}
        Err(error) => log::error!(target: "barman.server", "{error}"),
    }
}

/// Makes PostgreSQL close its segment, so that it has something to archive. Says whether there is anything to wait for.
fn switch(context: &Context) -> bool {
    let Some(facts) = context.facts() else {
        return false;
    };
    let Some(conninfo) = context
        .server
        .conninfo
        .as_deref()
        .filter(|_| !facts.is_in_recovery)
    else {
        return false;
    };
    match Session::connect(conninfo).and_then(|mut session| switch_wal(&mut session, facts.xlog_segment_size))
    {
        Ok(closed) => {
            log::info!(target: "barman.server", "WAL switched for the first segment: {closed:?}");
            true
        }
        Err(error) => {
            log::warn!(target: "barman.server", "cannot switch the WAL: {error}");
            false
        }
    }
}

fn incoming(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    let directory = &server.incoming_wals_directory;
    let waiting = entries(directory);
    if !server.archiver {
        if waiting > 0 {
            let hint = format!("'{}' must be empty when archiver=off", directory.display());
            sink.note("empty incoming directory", false, hint)?;
        }
        return Ok(());
    }
    queue(context, sink, "incoming WALs directory", waiting)
}

fn streaming(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    let directory = &server.streaming_wals_directory;
    // One of them is the segment being received.
    let waiting = entries(directory).saturating_sub(1);
    if !server.streaming_archiver {
        if waiting > 0 {
            let hint = format!(
                "'{}' must be empty when streaming_archiver=off",
                directory.display()
            );
            sink.note("empty streaming directory", false, hint)?;
        }
        return Ok(());
    }
    queue(context, sink, "streaming WALs directory", waiting)
}

fn queue(context: &Context, sink: &Sink, name: &'static str, waiting: usize) -> Result<(), Cancelled> {
    let Some(limit) = context.server.max_incoming_wals_queue else {
        return Ok(());
    };
    if u32::try_from(waiting).is_ok_and(|waiting| waiting <= limit) {
        return Ok(());
    }
    let hint = format!("there are too many WALs in queue: {waiting}, max {limit}");
    sink.note(name, false, hint)
}

/// How many files a directory holds, without the hidden ones; none when it does not exist yet.
fn entries(directory: &Path) -> usize {
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .count(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => {
            log::error!(target: "barman.server", "cannot list \"{}\": {error}", directory.display());
            0
        }
    }
}
