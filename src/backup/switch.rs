//! `switch-wal`: makes PostgreSQL close the WAL segment it writes, and waits for it to be archived
//! (behaviour reference §29).

use std::path::Path;
use std::time::Duration;

use crate::archive::{ArchiveError, ArchiveReport};
use crate::base::report::Reporter;
use crate::catalog::Layout;
use crate::config::ServerConfig;
use crate::hooks::HookRunner;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::Facts;
use crate::postgres::wal_name::SegmentName;
use crate::postgres::wal_switch;

use super::wait::{self, Waited};

/// The options of `barman switch-wal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchOptions {
    /// `--force`: write a checkpoint before, so that there is something to close.
    pub force: bool,
    /// `--archive`: wait until the closed segment is in the archive.
    pub archive: bool,
    /// `--archive-timeout`, in seconds; 0 waits for ever.
    pub archive_timeout: u32,
}

/// What the server did.
enum Switched {
    Closed(SegmentName),
    NothingToClose,
    Standby,
    LacksCheckpointPrivilege,
}

/// Switches the WAL of a server. `configuration` is the main configuration file, for hook scripts. What goes wrong is
/// reported; returns whether everything went right.
pub fn switch_wal(
    config: &ServerConfig,
    configuration: &Path,
    options: SwitchOptions,
    reporter: &dyn Reporter,
) -> bool {
    let server = &config.name;
    let closed = match switch(config, options.force) {
        Ok(Switched::Closed(segment)) => {
            reporter.info(&format!(
                "The WAL file {segment} has been closed on server '{server}'"
            ));
            Some(segment)
        }
        Ok(Switched::NothingToClose) => {
            reporter.info(&format!("No switch required for server '{server}'"));
            None
        }
        Ok(Switched::Standby) => {
            reporter.info(&format!(
                "No switch performed because server '{server}' is a standby."
            ));
            None
        }
        Ok(Switched::LacksCheckpointPrivilege) => {
            reporter.error("Barman switch-wal --force requires superuser rights or the 'pg_checkpoint' role");
            return false;
        }
        Err(error) => {
            log::error!(target: "barman.server", "cannot switch the WAL of server '{server}': {error}");
            reporter.error(&format!("Unable to perform pg_switch_wal for server '{server}'."));
            return false;
        }
    };
    if !options.archive {
        return true;
    }
    let hooks = HookRunner::of_server(config, configuration);
    let timeout = wait::limit(Some(options.archive_timeout));
    match wait_for_archive(config, &hooks, closed, timeout, reporter) {
        Ok(arrived) => arrived,
        Err(error) => {
            reporter.error(&error.to_string());
            false
        }
    }
}

fn switch(config: &ServerConfig, force: bool) -> Result<Switched, PgError> {
    let mut session = Session::connect(config.conninfo.as_deref().unwrap_or_default())?;
    let facts = Facts::gather(&mut session, None)?;
    if facts.is_in_recovery {
        return Ok(Switched::Standby);
    }
    if force {
        if !facts.has_checkpoint_privileges {
            return Ok(Switched::LacksCheckpointPrivilege);
        }
        session.query("CHECKPOINT", &[])?;
    }
    Ok(
        match wal_switch::switch_wal(&mut session, facts.xlog_segment_size)? {
            Some(segment) => Switched::Closed(segment),
            None => Switched::NothingToClose,
        },
    )
}

/// Waits for the closed segment, or for any file when none was closed. The latter may well not come: that is no error.
fn wait_for_archive(
    config: &ServerConfig,
    hooks: &HookRunner,
    closed: Option<SegmentName>,
    timeout: Option<Duration>,
    reporter: &dyn Reporter,
) -> Result<bool, ArchiveError> {
    let server = &config.name;
    let seconds = timeout.unwrap_or_default().as_secs();
    let limit = timeout.map_or(String::new(), |_| format!(" (max: {seconds} seconds)"));
    let Some(segment) = closed else {
        reporter.info(&format!(
            "Waiting for a WAL file from server '{server}' to be archived{limit}"
        ));
        let any = |report: Option<&ArchiveReport>| report.is_some_and(|report| report.archived > 0);
        let waited = wait::archive_until(config, hooks, timeout, reporter, any)?;
        if waited == Waited::TimedOut {
            reporter.info(&format!("A WAL file has not been received in {seconds} seconds"));
        }
        return report_interruption(waited, reporter);
    };
    reporter.info(&format!(
        "Waiting for the WAL file {segment} from server '{server}'{limit}"
    ));
    let path = Layout::of(config)?.wal_path(&segment.to_string());
    let waited = wait::archive_until(config, hooks, timeout, reporter, |_| {
        wait::is_archived(path.as_deref())
    })?;
    if waited == Waited::TimedOut {
        reporter.error(&format!(
            "The WAL file {segment} has not been received in {seconds} seconds"
        ));
        return Ok(false);
    }
    report_interruption(waited, reporter)
}

fn report_interruption(waited: Waited, reporter: &dyn Reporter) -> Result<bool, ArchiveError> {
    if let Waited::Interrupted(signal) = waited {
        reporter.error(&format!("{signal}: no longer waiting for WAL to be archived"));
        return Ok(false);
    }
    Ok(true)
}
