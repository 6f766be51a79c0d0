//! `barman backup`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::addressing;
use super::arguments::{CopyOptions, ServersArgument, either};
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::agent::ahead::Ahead;
use crate::backup::{BackupOptions, backup};
use crate::check::{CheckOptions, Intrusion, Unheard, check};
use crate::config::{ReuseBackup, ServerConfig};
use crate::output::backup::BackupResult;

/// Take a backup of servers
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// Begin with a fast checkpoint
    #[arg(long, overrides_with = "no_immediate_checkpoint")]
    immediate_checkpoint: bool,
    /// Wait for a spread checkpoint to begin with
    #[arg(long, overrides_with = "immediate_checkpoint")]
    no_immediate_checkpoint: bool,
    /// Copy only what changed since this backup: an id, a name, latest, latest-full, or auto, which takes the newest
    /// backup that will do, and a full backup where there is none or full_backup_interval is over
    #[arg(long, value_name = "BACKUP_ID", conflicts_with = "full")]
    incremental: Option<String>,
    /// Take a full backup even if full_backup_interval asks for an incremental one
    #[arg(long)]
    full: bool,
    /// Take over what the last attempt that failed has copied, where it is still right
    #[arg(long)]
    resume: bool,
    /// What to do with files that have not changed since the previous backup: link or copy them from it, or copy
    /// everything again (off); link, if nothing is said
    #[arg(long, value_name = "REUSE", num_args = 0..=1, default_missing_value = "link", value_parser = ["copy", "link", "off"], hide_possible_values = true)]
    reuse_backup: Option<String>,
    #[command(flatten)]
    copy: CopyOptions,
    /// Wait until the WAL files that the backup needs are archived
    #[arg(long, short = 'w')]
    wait: bool,
    /// Stop waiting for WAL files after this many seconds
    #[arg(long, value_name = "TIMEOUT", value_parser = value::non_negative, allow_negative_numbers = true)]
    wait_timeout: Option<u32>,
    /// Send a query every so many seconds to keep the connection to PostgreSQL alive; 0 sends none
    #[arg(long, value_name = "KEEPALIVE_INTERVAL", value_parser = value::non_negative, allow_negative_numbers = true)]
    keepalive_interval: Option<u32>,
    /// A name by which other commands can refer to the backup
    #[arg(long, value_name = "BACKUP_NAME", value_parser = value::backup_name)]
    name: Option<String>,
    /// Write a backup manifest
    #[arg(long, overrides_with = "no_manifest")]
    manifest: bool,
    /// Write no backup manifest
    #[arg(long, overrides_with = "manifest")]
    no_manifest: bool,
    /// Give the checks before the backup this many seconds; 0 means no limit
    #[arg(long, value_name = "CHECK_TIMEOUT", value_parser = value::non_negative, allow_negative_numbers = true)]
    check_timeout: Option<u32>,
    /// Where files wait for their upload to an object store
    #[arg(long, value_name = "CLOUD_STAGING_DIRECTORY", value_parser = value::absolute_path)]
    cloud_staging_directory: Option<PathBuf>,
    /// How much the staging directory may hold, as 30Gi
    #[arg(long, value_name = "CLOUD_STAGING_MAX_SIZE", value_parser = value::size)]
    cloud_staging_max_size: Option<u64>,
    #[command(flatten)]
    servers: ServersArgument,
}

impl Backup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let configuration = session.config_path()?;
        let options = self.options();
        let check = |server: &ServerConfig, begun: Option<Arc<Ahead>>| passes(server, configuration, begun);
        session.for_servers(&self.servers.server_name, addressing::BACKUP, |server| {
            addressing::enabled(server)?;
            let outcome = backup(
                server,
                configuration,
                &options,
                &check,
                &session.output.named("barman.backup"),
            );
            if let Some(info) = &outcome.info {
                session.output.show(&BackupResult(info));
            }
            if outcome.success {
                Ok(())
            } else {
                Err(Failure::reported())
            }
        })
    }

    fn options(&self) -> BackupOptions {
        BackupOptions {
            immediate_checkpoint: either(self.immediate_checkpoint, self.no_immediate_checkpoint),
            incremental: self.incremental.clone(),
            full: self.full,
            resume: self.resume,
            reuse_backup: value::chosen(self.reuse_backup.as_deref(), ReuseBackup::ALL, |choice| {
                choice.keyword()
            }),
            retry_times: self.copy.retries(),
            retry_sleep: self.copy.retry_sleep,
            jobs: self.copy.jobs,
            jobs_start_batch_period: self.copy.jobs_start_batch_period,
            jobs_start_batch_size: self.copy.jobs_start_batch_size,
            bandwidth_limit: self.copy.bwlimit.map(u64::from),
            wait: self.wait,
            wait_timeout: self.wait_timeout,
            keepalive_interval: self.keepalive_interval,
            name: self.name.clone(),
            manifest: either(self.manifest, self.no_manifest),
            check_timeout: self.check_timeout,
            cloud_staging_directory: self.cloud_staging_directory.clone(),
            cloud_staging_max_size: self.cloud_staging_max_size,
        }
    }
}

/// Whether nothing of what `barman check` looks at keeps a backup from beginning.
fn passes(server: &ServerConfig, configuration: &Path, begun: Option<Arc<Ahead>>) -> bool {
    let mut options =
        CheckOptions::new(server, None, Intrusion::Operator, configuration.to_path_buf()).before_backup();
    options.begun = begun;
    match check(server, &options, &Unheard) {
        Ok(report) => report.obstacle().is_none(),
        Err(error) => {
            log::error!(target: "barman.server", "server '{}' could not be checked: {error}", server.name);
            false
        }
    }
}
