//! `barman merge`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::base::size;
use crate::hooks::HookRunner;
use crate::merge::{Merge as Merging, MergeError, MergePlan, Stage};

/// Turn an incremental backup and everything that it builds on into one full backup
#[derive(Debug, clap::Args)]
pub(super) struct Merge {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Change this many files at the same time; parallel_jobs of the configuration, if nothing is said
    #[arg(long, short = 'j', value_name = "NJOBS", value_parser = super::value::positive, allow_negative_numbers = true)]
    jobs: Option<u32>,
    #[command(flatten)]
    backup: BackupArgument,
}

impl Merge {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(found) = session.backup(&self.backup, addressing::MERGE)? else {
            return Ok(());
        };
        let hooks = HookRunner::of_server(found.server, session.config_path()?);
        let jobs = self.jobs.and_then(|jobs| usize::try_from(jobs).ok());
        let merge = Merging {
            config: found.server,
            catalog: &found.catalog,
            hooks: &hooks,
            jobs: jobs.unwrap_or(found.workers()),
            reporter: &session.output,
        };
        let output = &session.output;
        let plan = merge.plan(&found.id).map_err(failure)?;
        for line in describe(&plan, &found.server.name) {
            output.info(&line);
        }
        if self.dry_run {
            return Ok(());
        }
        let report = merge.run(&found.id).map_err(failure)?;
        report.warn(output);
        output.info(&format!(
            "Merged: backup {} of server {} is a full backup now",
            found.id, found.server.name
        ));
        Ok(())
    }
}

/// The plan, for people.
fn describe(plan: &MergePlan, server: &str) -> Vec<String> {
    let older: Vec<&str> = plan.older.iter().rev().map(|id| id.as_str()).collect();
    let verb = if plan.resumed {
        "Going on merging"
    } else {
        "Merging"
    };
    let mut lines = vec![format!(
        "{verb} {} into backup {} of server {server}",
        older.join(", "),
        plan.id
    )];
    if plan.stage == Stage::Patch {
        let work = &plan.work;
        lines.push(format!(
            "Files to change in place: {} of {} ({} blocks), to copy and change because other backups share them: {} ({}), to \
             take over whole: {}, to remove: {}",
            work.patched,
            work.files,
            work.blocks,
            work.copied,
            size::pretty_bytes(work.copied_bytes),
            work.linked,
            work.removed
        ));
    }
    lines.push(format!(
        "Backups to delete: {}. No moment before the end of backup {} can be restored from them any more",
        older.join(", "),
        plan.id
    ));
    lines
}

fn failure(error: MergeError) -> Failure {
    match error {
        MergeError::Interrupted(interrupted) => interrupted.into(),
        other => Failure::error(other.to_string()),
    }
}
