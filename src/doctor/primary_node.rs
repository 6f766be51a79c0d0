//! A passive node: whether the primary node answers, and whether what it has can be copied. `check` looks at ssh only, and
//! what keeps WAL from being copied is in the log of a process that cron starts.

use std::fs;
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::base::duration;
use crate::catalog::Layout;
use crate::check::advice::{Advice, cron_silence};
use crate::config::ServerConfig;
use crate::sync::{SyncError, primary, wals};

/// cron asks each minute. After this time without an answer something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn examine(server: &ServerConfig) -> Vec<Finding> {
    if !server.is_passive() || !server.active {
        return Vec::new();
    }
    let Ok(layout) = Layout::of(server) else {
        return Vec::new();
    };
    answers(server, &layout)
        .into_iter()
        .chain(compression(server, &layout))
        .collect()
}

/// Whether the primary node has told lately what it has.
fn answers(server: &ServerConfig, layout: &Layout) -> Option<Finding> {
    let ask = format!(
        "barman sync-info --primary {} >/dev/null    (says why not)",
        server.name
    );
    let Ok(told) = fs::metadata(layout.primary_info_path()).and_then(|file| file.modified()) else {
        let advice = Advice::not_yet("the primary node has not said yet what it has");
        return Some(Finding::new("primary node", advice.here(ask)));
    };
    let age = SystemTime::now().duration_since(told).ok()?;
    // Who does not ask gets no answer: that is said of cron.
    if age < PATIENCE || cron_silence(server).is_some() {
        return None;
    }
    let advice = Advice::broken(format!(
        "the primary node has not said for {} what it has: backups and WAL are not copied",
        duration::human(age.as_secs_f64())
    ));
    Some(Finding::new("primary node", advice.here(ask)))
}

/// WAL files are copied as they are stored there.
fn compression(server: &ServerConfig, layout: &Layout) -> Option<Finding> {
    let told = primary::last_told(layout).ok()?;
    let error = wals::check_compression(server, &told).err()?;
    let SyncError::Compression { there, .. } = &error else {
        return None;
    };
    let there = if there == "None" { "" } else { there };
    let advice = Advice::broken(format!("no WAL is copied: {error}"));
    let line = format!("compression = {there}");
    let section = server
        .source("compression")
        .or_else(|| server.source("primary_ssh_command"));
    let advice = match section {
        Some(section) => advice.file(section.file.clone(), line),
        None => advice.note(line),
    };
    Some(Finding::new("WAL of the primary node", advice))
}
