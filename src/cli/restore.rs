//! `barman restore`.

use super::addressing;
use super::arguments::{CopyOptions, either};
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::config::{CombineMode, StagingLocation};
use crate::copy::CopyError;
use crate::hooks::HookError;
use crate::recovery::{self, RestoreError, RestoreOptions, SnapshotArguments, TargetAction, TargetTimeline};
use crate::transport::TransportError;

/// Restore a server, to the end of a backup or to a later point
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// Follow this timeline: a number, current or latest
    #[arg(long, value_name = "TARGET_TLI", value_parser = value::target_timeline, allow_negative_numbers = true)]
    target_tli: Option<String>,
    /// Recover up to this time, as "2026-01-31 23:59:59.123+01:00"
    #[arg(long, value_name = "TARGET_TIME")]
    target_time: Option<String>,
    /// Recover up to this transaction
    #[arg(long, value_name = "TARGET_XID")]
    target_xid: Option<String>,
    /// Recover up to this position in the WAL
    #[arg(long, value_name = "TARGET_LSN")]
    target_lsn: Option<String>,
    /// Recover up to this restore point, made with pg_create_restore_point()
    #[arg(long, value_name = "TARGET_NAME")]
    target_name: Option<String>,
    /// Stop as soon as the data are consistent
    #[arg(long)]
    target_immediate: bool,
    /// Stop just before the target instead of just after it
    #[arg(long)]
    exclusive: bool,
    /// Put a tablespace somewhere else; may be repeated
    #[arg(long, value_name = "NAME:LOCATION")]
    tablespace: Vec<String>,
    /// Restore to another host, reached by this ssh command, as "ssh postgres@db2"
    #[arg(long, value_name = "SSH_COMMAND")]
    remote_ssh_command: Option<String>,
    /// Where WAL files wait, on the host restored to, until PostgreSQL reads them; barman_wal in the destination
    /// directory, if nothing is said
    #[arg(long, value_name = "STAGING_WAL_DIRECTORY")]
    staging_wal_directory: Option<String>,
    #[command(flatten)]
    copy: CopyOptions,
    /// Let PostgreSQL fetch WAL files from here while it recovers
    #[arg(long, overrides_with = "no_get_wal")]
    get_wal: bool,
    /// Copy the WAL files now
    #[arg(long, overrides_with = "get_wal")]
    no_get_wal: bool,
    /// Copy partial WAL files (.partial) as well; with --no-get-wal
    #[arg(long)]
    partial_wal: bool,
    /// Compress data on their way to another host
    #[arg(long, overrides_with = "no_network_compression")]
    network_compression: bool,
    /// Do not compress data on their way to another host
    #[arg(long, overrides_with = "network_compression")]
    no_network_compression: bool,
    /// What PostgreSQL does when it has reached the target: pause, shutdown or promote
    #[arg(long, value_name = "TARGET_ACTION", value_parser = value::target_action)]
    target_action: Option<String>,
    /// Start as a standby
    #[arg(long)]
    standby_mode: bool,
    /// Accepted and not needed: nothing is staged on the host restored to (deprecated: --staging-path)
    #[arg(long, value_name = "RECOVERY_STAGING_PATH")]
    recovery_staging_path: Option<String>,
    /// Accepted and not needed: nothing is staged on this host (deprecated: --staging-path)
    #[arg(long, value_name = "LOCAL_STAGING_PATH")]
    local_staging_path: Option<String>,
    /// Accepted and not needed: a backup is decrypted, decompressed and combined on its way into the destination
    #[arg(long, value_name = "STAGING_PATH")]
    staging_path: Option<String>,
    /// Accepted and not needed, as --staging-path: local or remote
    #[arg(long, value_name = "STAGING_LOCATION", value_parser = ["local", "remote"], hide_possible_values = true)]
    staging_location: Option<String>,
    /// Accepted and not needed, as --staging-path: copy, link, clone or copy-file-range
    #[arg(long, value_name = "COMBINE_MODE", value_parser = ["copy", "link", "clone", "copy-file-range"], hide_possible_values = true)]
    combine_mode: Option<String>,
    /// The file that gets the recovery options (PostgreSQL 12 or newer); postgresql.auto.conf, if nothing is said
    #[arg(long, value_name = "RECOVERY_CONF_FILENAME")]
    recovery_conf_filename: Option<String>,
    /// The port that the generated barman-wal-restore command connects to
    #[arg(long, value_name = "RECOVERY_OPTION_PORT")]
    recovery_option_port: Option<String>,
    /// The restore_command to write instead of the generated one; with get-wal
    #[arg(long, value_name = "RESTORE_COMMAND")]
    restore_command: Option<String>,
    /// Say what would be copied and what --delta-restore would remove, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Reuse what is already in the destination directory
    #[arg(long, overrides_with = "no_delta_restore")]
    delta_restore: bool,
    /// Restore into an empty directory only
    #[arg(long, overrides_with = "delta_restore")]
    no_delta_restore: bool,
    /// The instance to which the disks made from snapshots are attached
    #[arg(long, value_name = "SNAPSHOT_RECOVERY_INSTANCE")]
    snapshot_recovery_instance: Option<String>,
    /// The zone of that instance (deprecated: --gcp-zone)
    #[arg(long, value_name = "SNAPSHOT_RECOVERY_ZONE")]
    snapshot_recovery_zone: Option<String>,
    /// The Google Cloud zone of that instance
    #[arg(long, value_name = "GCP_ZONE")]
    gcp_zone: Option<String>,
    /// The Azure resource group of that instance
    #[arg(long, value_name = "AZURE_RESOURCE_GROUP")]
    azure_resource_group: Option<String>,
    /// The AWS region of that instance
    #[arg(long, value_name = "AWS_REGION")]
    aws_region: Option<String>,
    /// The server
    #[arg(value_name = "server_name")]
    server_name: String,
    /// The backup: its id, its name, one of latest, last, oldest, first, last-failed, latest-full, last-full, or auto,
    /// which takes the newest one from which the target can be reached
    #[arg(value_name = "backup_id")]
    backup_id: String,
    /// The directory to restore into
    #[arg(value_name = "destination_directory")]
    destination_directory: String,
}

impl Restore {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server_name, addressing::RESTORE)? else {
            return Ok(());
        };
        session.watch_signals()?;
        let context = recovery::Context {
            config: server,
            configuration: &session.config()?.path,
            user: &session.main.barman_user,
        };
        let report = recovery::restore(
            context,
            &self.backup_id,
            &self.destination_directory,
            &self.options(),
            &session.output.named("barman.recovery_executor"),
        )
        .map_err(failure)?;
        if let Some(report) = report {
            session.output.show(&report);
        }
        Ok(())
    }

    fn options(&self) -> RestoreOptions {
        RestoreOptions {
            target_time: self.target_time.clone(),
            target_xid: self.target_xid.clone(),
            target_lsn: self.target_lsn.clone(),
            target_name: self.target_name.clone(),
            target_immediate: self.target_immediate,
            target_timeline: self.target_tli.as_deref().and_then(TargetTimeline::parse),
            exclusive: self.exclusive,
            target_action: self.target_action.as_deref().and_then(TargetAction::parse),
            standby_mode: self.standby_mode,
            tablespaces: self.tablespace.clone(),
            remote_ssh_command: self.remote_ssh_command.clone(),
            staging_wal_directory: self.staging_wal_directory.clone(),
            get_wal: either(self.get_wal, self.no_get_wal),
            partial_wal: self.partial_wal,
            restore_command: self.restore_command.clone(),
            recovery_conf_filename: self.recovery_conf_filename.clone(),
            recovery_option_port: self.recovery_option_port.clone(),
            dry_run: self.dry_run,
            delta_restore: either(self.delta_restore, self.no_delta_restore),
            network_compression: either(self.network_compression, self.no_network_compression),
            bandwidth_limit: self.copy.bwlimit.map(u64::from),
            retry_times: self.copy.retries(),
            retry_sleep: self.copy.retry_sleep,
            jobs: self.copy.jobs,
            jobs_start_batch_period: self.copy.jobs_start_batch_period,
            jobs_start_batch_size: self.copy.jobs_start_batch_size,
            recovery_staging_path: self.recovery_staging_path.clone(),
            local_staging_path: self.local_staging_path.clone(),
            staging_path: self.staging_path.clone(),
            staging_location: value::chosen(
                self.staging_location.as_deref(),
                StagingLocation::ALL,
                |choice| choice.keyword(),
            ),
            combine_mode: value::chosen(self.combine_mode.as_deref(), CombineMode::ALL, |choice| {
                choice.keyword()
            }),
            snapshot: SnapshotArguments {
                recovery_instance: self.snapshot_recovery_instance.clone(),
                recovery_zone: self.snapshot_recovery_zone.clone(),
                gcp_zone: self.gcp_zone.clone(),
                azure_resource_group: self.azure_resource_group.clone(),
                aws_region: self.aws_region.clone(),
            },
        }
    }
}

/// An interruption is reported in Barman's words wherever it was noticed.
fn failure(error: RestoreError) -> Failure {
    match error {
        RestoreError::Interrupted(interrupted)
        | RestoreError::Copy(CopyError::Interrupted(interrupted))
        | RestoreError::Transport(TransportError::Interrupted(interrupted))
        | RestoreError::Hook(HookError::Interrupted(interrupted)) => interrupted.into(),
        RestoreError::Hook(refusal) => Failure::exception(refusal.to_string()),
        other => Failure::error(other.to_string()),
    }
}
