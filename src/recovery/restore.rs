//! The order of a restore, from the command line to the report (behaviour reference §17.2).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::archive::{Announce, archive_wal, wal_codec};
use crate::base::calendar;
use crate::base::lock::{LockError, LockFile};
use crate::base::report::{Progress, Reporter, Total};
use crate::catalog::{BackupId, Catalog};
use crate::config::ServerConfig;
use crate::hooks::{HookEvent, HookRunner};

use super::apply::Applier;
use super::circumstances::Circumstances;
use super::destination::Destination;
use super::error::RestoreError;
use super::options::RestoreOptions;
use super::plan::{self, RestorePlan};
use super::report::RestoreReport;
use super::request::{self, Request};
use super::tablespaces::Relocation;
use super::wal_plan::Timelines;
use super::{fitness, hook_variables, tablespaces, target};

/// How long somebody who is changing the backup is waited for (`check-backup` takes a moment).
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Where a restore happens.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The server.
    pub config: &'a ServerConfig,
    /// The path of the main configuration file, for the hooks.
    pub configuration: &'a Path,
    /// The user that Barman runs as.
    pub user: &'a str,
}

/// Restores the backup that `backup` names (an id, a name, a shortcut, or `auto`) into `destination`. `None` when that was
/// only to be planned.
///
/// # Errors
/// Why it did not happen. Unless the error came from copying, nothing has been written.
pub fn restore(
    context: Context<'_>,
    backup: &str,
    destination: &str,
    options: &RestoreOptions,
    reporter: &dyn Reporter,
) -> Result<Option<RestoreReport>, RestoreError> {
    let catalog = Catalog::of(context.config)?;
    let request = request::examine(context.config, &catalog, backup, destination, options, reporter)?;
    // As long as these are held, neither tool deletes the backup (gotcha B5) or what it builds on.
    let _reading = hold_all(&catalog, &request, options.dry_run)?;
    plan::check_directories(&request.source)?;
    if !options.dry_run {
        archive_waiting_wal(context, reporter);
    }
    let place = match &options.remote_ssh_command {
        Some(command) => Destination::connect(command)?,
        None => Destination::local(),
    };
    let data = place.absolute(Path::new(destination))?;
    let relocations = tablespaces::relocate(&request.source, &request.rules, &data)?;
    fitness::check(&place, &data, destination, &relocations, request.delta)?;
    let hooks = HookRunner::of_server(context.config, context.configuration);
    let subject = hook_variables::subject(&catalog, &request, destination, options);
    if !options.dry_run {
        hooks.before(HookEvent::Recovery, &subject)?;
    }
    let run = Run {
        context,
        catalog: &catalog,
        request: &request,
        options,
        place: &place,
        data,
        relocations,
        reporter,
    };
    let report = run.perform(destination)?;
    if !options.dry_run {
        hooks.after(HookEvent::Recovery, &subject, None);
    }
    Ok(report)
}

/// Locks the backup and its chain, which is looked at again: somebody may have merged it in the meantime.
fn hold_all(catalog: &Catalog, request: &Request, looking: bool) -> Result<Vec<LockFile>, RestoreError> {
    let older = &request.source.older;
    let held = std::iter::once(&request.info.id)
        .chain(older.iter().map(|member| &member.id))
        .filter_map(|id| hold(catalog, id, looking).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let now = request::older(catalog, &catalog.readable_backups()?.0, &request.info.id)?;
    if now != *older {
        return Err(RestoreError::Changed {
            backup: request.info.id.as_str().to_owned(),
        });
    }
    Ok(held)
}

/// Whoever only looks leaves no lock file behind; where there is none, nobody changes the backup.
fn hold(catalog: &Catalog, id: &BackupId, looking: bool) -> Result<Option<LockFile>, RestoreError> {
    let start = Instant::now();
    loop {
        let lock = if looking {
            LockFile::look(&catalog.locks().backup_id_path(id))
        } else {
            catalog.locks().backup_reader(id).map(Some)
        };
        match lock {
            Ok(lock) => return Ok(lock),
            Err(LockError::Busy { .. }) if start.elapsed() < PATIENCE => {
                crate::base::interrupt::check()?;
                std::thread::sleep(PAUSE);
            }
            Err(source) => {
                return Err(RestoreError::Locked {
                    backup: id.as_str().to_owned(),
                    server: catalog.server().to_owned(),
                    source,
                });
            }
        }
    }
}

struct Run<'a> {
    context: Context<'a>,
    catalog: &'a Catalog,
    request: &'a Request,
    options: &'a RestoreOptions,
    place: &'a Destination,
    data: PathBuf,
    relocations: Vec<Relocation>,
    reporter: &'a dyn Reporter,
}

impl Run<'_> {
    fn perform(&self, typed: &str) -> Result<Option<RestoreReport>, RestoreError> {
        let start = calendar::now();
        let clock = Instant::now();
        let server = &self.context.config.name;
        self.announce(server, typed);
        if target::assumes_zone(self.options) {
            self.reporter.warning(
                "No time zone has been specified through '--target-time' command-line option. Barman assumed the \
                 same time zone from the Barman host.",
            );
        }
        let targets = target::analyse(self.options, &self.request.source)?;
        let codec = wal_codec(self.context.config);
        let circumstances = Circumstances {
            config: self.context.config,
            catalog: self.catalog,
            codec: &codec,
            request: self.request,
            options: self.options,
            targets: &targets,
            data: &self.data,
            tablespaces: &self.relocations,
            user: self.context.user,
        };
        let archived = circumstances.archived()?;
        let timelines = circumstances.timelines(&archived)?;
        self.describe(&targets, &timelines);
        let plan = circumstances.plan(&archived, &timelines)?;
        self.prepare(&plan)?;
        let applier = Applier {
            plan: &plan,
            server,
            source: &self.request.source,
            destination: self.place,
            codec: &codec,
            reporter: self.reporter,
        };
        if self.options.dry_run {
            applier.describe()?;
            return Ok(None);
        }
        let done = applier.apply().inspect_err(|_| {
            let again = match plan.unpack {
                Some(_) => "Empty it, and repeat the restore.",
                None => "Empty it, or repeat the restore with --delta-restore.",
            };
            self.reporter.warning(&format!(
                "The destination directory '{typed}' is incomplete: do not start PostgreSQL in it. {again}"
            ));
        })?;
        if !plan.complete {
            self.reporter.warning(
                "IMPORTANT: The backup we have restored IS NOT VALID. Required WAL files for consistency are missing. \
                 Please verify that WAL archiving is working correctly or evaluate using the 'get-wal' option for \
                 recovery",
            );
        }
        let get_wal_file = self.request.get_wal.then(|| done.edits.recovery_file.clone());
        Ok(Some(RestoreReport {
            server: server.clone(),
            backup: self.request.source.id.clone(),
            destination: self.data.clone(),
            changes: done.edits.changes,
            warnings: done.edits.warnings,
            missing_files: done.edits.missing,
            get_wal_file,
            start,
            elapsed_seconds: clock.elapsed().as_secs_f64(),
            complete: plan.complete,
            wal_files: done.wal_files,
            copied_bytes: done.bytes,
            damaged_files: done.damaged,
        }))
    }

    fn announce(&self, server: &str, typed: &str) {
        let kind = if self.place.is_local() { "local" } else { "remote" };
        self.reporter.info(&format!(
            "Starting {kind} restore for server {server} using backup {}",
            self.request.source.id
        ));
        self.reporter.info(&format!("Destination directory: {typed}"));
        if let Some(command) = &self.options.remote_ssh_command {
            self.reporter.info(&format!("Remote command: {command}"));
        }
    }

    fn describe(&self, targets: &target::Targets, timelines: &Timelines) {
        if targets.is_pitr() {
            self.reporter.info(&format!(
                "Doing PITR. Recovery target {}",
                targets.describe(timelines.target)
            ));
        }
    }

    /// The last looks before anything is written.
    fn prepare(&self, plan: &RestorePlan) -> Result<(), RestoreError> {
        if !plan.complete {
            self.reporter.warning(
                "IMPORTANT: You have requested a recovery operation for a backup that does not have yet all the WAL \
                 files that are required for consistency.",
            );
        }
        for note in &plan.notes {
            self.reporter.warning(note);
        }
        if let Some(wal) = plan.wal.as_ref().filter(|wal| !wal.mark_archived) {
            fitness::check_staging(self.place, &wal.directory, self.request.delta)?;
        }
        if self.request.delta {
            let previous = self.place.read(&self.data.join(".barman-recover.info"))?;
            if let Some(horizon) = plan::safe_horizon(&self.request.source, previous.as_deref()) {
                self.reporter.info(&format!(
                    "Using safe horizon time for smart rsync copy: {}",
                    calendar::python_str(&horizon)
                ));
            }
        }
        Ok(())
    }
}

/// Archives what has arrived and is waiting, so that it can be recovered too. A failure does not stop the restore: it
/// uses what the archive has.
fn archive_waiting_wal(context: Context<'_>, reporter: &dyn Reporter) {
    if !context.config.active {
        return;
    }
    let hooks = HookRunner::of_server(context.config, context.configuration);
    if let Err(error) = archive_wal(context.config, &hooks, Announce::WhenBusy, &Mild(reporter)) {
        reporter.warning(&format!(
            "WAL files that wait in the incoming directory could not be archived: {error}"
        ));
    }
}

/// A reporter for work beside the point: what goes wrong there is no failure of the restore.
struct Mild<'a>(&'a dyn Reporter);

impl Reporter for Mild<'_> {
    fn info(&self, line: &str) {
        self.0.info(line);
    }
    fn heading(&self, line: &str) {
        self.0.heading(line);
    }
    fn warning(&self, line: &str) {
        self.0.warning(line);
    }
    fn error(&self, line: &str) {
        self.0.warning(line);
    }
    fn debug(&self, line: &str) {
        self.0.debug(line);
    }
    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress> {
        self.0.progress(title, total)
    }
}
