//! Base backups: the state machine from the first check to the last WAL file (behaviour reference §4–§7).
//!
//! ```text
//! EMPTY ── pg_backup_start ──► STARTED ── copy, pg_backup_stop, label ──► WAITING_FOR_WALS ── all WAL there ──► DONE
//!   └───────────────┴──────────────────── anything goes wrong ──► FAILED
//! ```
//!
//! Every transition is saved durably, and only after what it claims is on disk: a process that is killed at any
//! instruction leaves a catalog that barkeep and Barman read, with a backup that is at most `STARTED`. PostgreSQL ends
//! the backup by itself when the connection drops.
//!
//! [`Catalog::check_backup`] makes the last step, here and from cron.

mod aftermath;
mod attempts;
mod base_backup;
#[allow(dead_code)] // asked as soon as incremental backups are taken
mod choice;
mod copying;
mod error;
mod held;
mod manifest;
mod members;
mod options;
mod parent;
mod plan;
mod purge;
mod resume;
mod run;
mod settle;
mod sidecar;
mod standby;
mod start_stop;
mod switch;
mod wait;

use std::path::Path;
use std::sync::Arc;

use crate::base::calendar;
use crate::base::error::strerror;
use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::catalog::{BackupId, BackupInfo, Catalog, CatalogError, Identity};
use crate::config::{BackupMethod, ServerConfig};
use crate::copy::Ahead;
use crate::hooks::HookRunner;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::Facts;
use crate::transport::{Remote, SshOptions, TransportError};

use choice::Wish;
use parent::{Objection, Parent};

pub use options::BackupOptions;
pub use switch::{SwitchOptions, switch_wal};

/// What became of a backup. What went wrong has been reported already.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupOutcome {
    /// What is known of the backup; `None` when it was refused before it was entered into the catalog.
    pub info: Option<BackupInfo>,
    /// Whether the backup was taken.
    pub success: bool,
}

/// The `mode` of full backups.
const MODE: &str = "rsync-concurrent";

/// Connections begun before it is known whether the host lets us in: few, because each may count as a failed login there.
const EARLY: usize = 2;

const REFUSED: BackupOutcome = BackupOutcome {
    info: None,
    success: false,
};

/// Takes a backup of a server.
///
/// `configuration` is the main configuration file, for hook scripts. `check` performs the checks of `barman check` that
/// a backup depends on, silently, and says whether they all passed; it is handed the connections that are being made
/// for the backup.
pub fn backup(
    config: &ServerConfig,
    configuration: &Path,
    options: &BackupOptions,
    check: &dyn Fn(&ServerConfig, Option<Arc<Ahead>>) -> bool,
    reporter: &dyn Reporter,
) -> BackupOutcome {
    let config = options.applied_to(config);
    if let Err(reason) = incremental(&config, options) {
        reporter.error(&reason);
        return REFUSED;
    }
    // A handshake takes as long as all the checks.
    let copies = config.backup_method != BackupMethod::Postgres;
    let source = source(&config);
    let wanted = plan::pace(&config).at_once(plan::jobs(&config));
    let early = wanted.min(EARLY);
    if let Ok(source) = source.as_ref()
        && copies
    {
        source.begin(early);
    }
    if !check(&config, source.as_ref().ok().map(Arc::clone)) {
        reporter.error(&format!(
            "Impossible to start the backup. Check the log for more details, or run 'barman check {}'",
            config.name
        ));
        return REFUSED;
    }
    let prepared = possible(&config).and_then(|()| {
        let source = source.map_err(|error| format!("failed to start backup: {error}"))?;
        if copies {
            source.begin(wanted - early);
        }
        prepare(&config, options, source, reporter)
    });
    match prepared {
        Ok((prepared, session)) => {
            let hooks = HookRunner::of_server(&config, configuration);
            run::Run::new(&config, options, hooks, prepared, reporter).perform(session)
        }
        Err(reason) => {
            reporter.error(&reason);
            REFUSED
        }
    }
}

/// What a run starts with.
#[derive(Debug)]
struct Prepared {
    catalog: Catalog,
    lock: LockFile,
    facts: Facts,
    info: BackupInfo,
    /// For an incremental backup.
    parent: Option<Parent>,
    source: Arc<Ahead>,
}

/// What the command line asks for and the configuration has no room for, said before the checks as in Barman.
fn incremental(config: &ServerConfig, options: &BackupOptions) -> Result<(), String> {
    let able = matches!(
        config.backup_method,
        BackupMethod::Postgres | BackupMethod::Rsync | BackupMethod::LocalRsync
    );
    if options.incremental.is_some() && !able {
        return Err(
            "failed to start backup: Backup using the `--incremental` flag is available only for \
             'backup_method = postgres'. Check Barman's documentation for more help on this topic."
                .to_owned(),
        );
    }
    // A word that names no backup needs no PostgreSQL to be refused.
    if let Wish::On(parent) = Wish::of(options, config) {
        let catalog = Catalog::of(config).map_err(|error| error.to_string())?;
        catalog.resolve(parent).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The host whose files are copied.
fn source(config: &ServerConfig) -> Result<Arc<Ahead>, TransportError> {
    let remote = match (config.backup_method, &config.ssh_command) {
        (BackupMethod::Rsync, Some(command)) => Remote::ssh(command, SshOptions::SERVER)?,
        _ => Remote::local(),
    };
    Ok(Arc::new(Ahead::new(Arc::new(remote), config.network_compression)))
}

/// What this version does not do.
fn possible(config: &ServerConfig) -> Result<(), String> {
    match config.backup_method {
        BackupMethod::Rsync | BackupMethod::LocalRsync | BackupMethod::Postgres => {}
        other => {
            return Err(format!(
                "failed to start backup: this version of barkeep does not have backup_method = {} yet",
                other.keyword()
            ));
        }
    }
    Ok(())
}

/// An exclusive backup leaves a `backup_label` in the data directory, with which PostgreSQL does not start after a crash.
/// Every version since 9.6 can do without.
fn not_exclusive(config: &ServerConfig, reporter: &dyn Reporter) {
    if config.backup_options.exclusive_backup {
        reporter.warning(&format!(
            "The backup of server {} is taken as a concurrent one: a crash of PostgreSQL during an exclusive backup is an \
             outage. Set backup_options = concurrent_backup",
            config.name
        ));
    }
}

/// Directories, connection, lock, identity, and the entry in the catalog.
fn prepare(
    config: &ServerConfig,
    options: &BackupOptions,
    source: Arc<Ahead>,
    reporter: &dyn Reporter,
) -> Result<(Prepared, Session), String> {
    let failed = |reason: &dyn std::fmt::Display| format!("failed to start backup: {reason}");
    let catalog = Catalog::of(config).map_err(|error| failed(&error))?;
    catalog.create_directories().map_err(|error| {
        let reason = strerror(&error.source);
        format!("failed to create {} directory: {reason}", error.path.display())
    })?;
    let lock = catalog.locks().backup().map_err(|error| match error {
        LockError::Busy { .. } => "Another backup process is running".to_owned(),
        other => other.to_string(),
    })?;
    let (mut session, facts) = connect(config).map_err(|error| failed(&error))?;
    remember_identity(&catalog, &facts).map_err(|error| failed(&error))?;
    let parent = choose_parent(config, options, &catalog, &facts, &mut session)?;
    not_exclusive(config, reporter);
    let mut info = BackupInfo::empty(catalog.new_id().map_err(|error| failed(&error))?);
    info.server_name = Some(config.name.clone());
    info.systemid.clone_from(&facts.systemid);
    let mode = match config.backup_method {
        BackupMethod::Postgres => base_backup::MODE,
        _ => MODE,
    };
    info.mode = Some(mode.to_owned());
    catalog.save(&info).map_err(|error| failed(&error))?;
    reporter.info(&format!(
        "Starting backup using {mode} method for server {} in {}",
        config.name,
        catalog.layout().base_dir(&info.id).display()
    ));
    let prepared = Prepared {
        catalog,
        lock,
        facts,
        info,
        parent,
        source,
    };
    Ok((prepared, session))
}

/// The parent of the backup, held; `None` for a full one.
fn choose_parent(
    config: &ServerConfig,
    options: &BackupOptions,
    catalog: &Catalog,
    facts: &Facts,
    session: &mut Session,
) -> Result<Option<Parent>, String> {
    let failed = |reason: &dyn std::fmt::Display| format!("failed to start backup: {reason}");
    let wish = Wish::of(options, config);
    let objection: Objection = match config.backup_method {
        BackupMethod::Postgres => base_backup::objection,
        _ => parent::objection,
    };
    if config.backup_method == BackupMethod::Postgres && wish != Wish::Full {
        let summarize_wal = session.setting("summarize_wal").map_err(|error| failed(&error))?;
        match (base_backup::is_possible(facts, summarize_wal.as_deref()), &wish) {
            (Ok(()), _) => {}
            (Err(reason), Wish::On(_)) => return Err(failed(&reason)),
            (Err(reason), _) => {
                log::info!(target: "barman.backup", "Taking a full backup: {reason}.");
                return Ok(None);
            }
        }
    }
    match wish {
        Wish::Full => Ok(None),
        Wish::On(word) => {
            let id = catalog.resolve(word).map_err(|error| failed(&error))?;
            if let Some(reason) = without_summaries(config, catalog, &id) {
                return Err(failed(&reason));
            }
            let parent = Parent::hold(catalog, facts, &id, false, objection).map_err(|reason| {
                failed(&format!(
                    "Backup {id} cannot be the parent of an incremental backup: {reason}"
                ))
            })?;
            Ok(Some(parent))
        }
        Wish::Auto => {
            let backups = catalog.backups().map_err(|error| failed(&error))?;
            let mut held = None;
            let choice = choice::choose(&backups, config.full_backup_interval, &calendar::now(), |info| {
                held = Some(Parent::hold(catalog, facts, &info.id, true, objection)?);
                Ok(())
            });
            log::info!(target: "barman.backup", "{}", choice.reason);
            Ok(held.filter(|_| choice.parent.is_some()))
        }
    }
}

/// Barman's words for a parent that PostgreSQL cannot build on.
fn without_summaries(config: &ServerConfig, catalog: &Catalog, id: &BackupId) -> Option<String> {
    let parent = catalog.load(id).ok().flatten()?;
    let lacks =
        config.backup_method == BackupMethod::Postgres && parent.summarize_wal.as_deref() != Some("on");
    lacks.then(|| {
        format!(
            "Backup ID {id} is not eligible as a parent for an incremental backup because WAL summaries were not enabled \
             when that backup was taken."
        )
    })
}

fn connect(config: &ServerConfig) -> Result<(Session, Facts), PgError> {
    let conninfo = config.conninfo.as_deref().unwrap_or_default();
    let mut session = Session::connect(conninfo)?;
    let facts = Facts::gather(&mut session, None)?;
    Ok((session, facts))
}

fn remember_identity(catalog: &Catalog, facts: &Facts) -> Result<(), CatalogError> {
    if facts.systemid.is_none() || catalog.identity()?.is_some() {
        return Ok(());
    }
    let identity = Identity {
        systemid: facts.systemid.clone(),
        version: Some(facts.version.major()),
    };
    Ok(catalog.save_identity(&identity)?)
}

#[cfg(test)]
mod tests;
