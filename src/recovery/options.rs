//! What the operator asked for on the command line of `restore`.

use crate::config::{CombineMode, StagingLocation};
use crate::postgres::wal_name::Timeline;

/// The options of `barman restore` (commands reference §6.28). An option that was not given is `None` or `false`; the
/// configuration then decides where it has a say.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// `--target-time`, as typed.
    pub target_time: Option<String>,
    /// `--target-xid`, as typed.
    pub target_xid: Option<String>,
    /// `--target-lsn`, as typed.
    pub target_lsn: Option<String>,
    /// `--target-name`.
    pub target_name: Option<String>,
    /// `--target-immediate`.
    pub target_immediate: bool,
    /// `--target-tli`.
    pub target_timeline: Option<TargetTimeline>,
    /// `--exclusive`: stop just before the target.
    pub exclusive: bool,
    /// `--target-action`.
    pub target_action: Option<TargetAction>,
    /// `--standby-mode`.
    pub standby_mode: bool,
    /// `--tablespace`, each as typed: `NAME:LOCATION`.
    pub tablespaces: Vec<String>,
    /// `--remote-ssh-command`.
    pub remote_ssh_command: Option<String>,
    /// `--staging-wal-directory`, on the host restored to.
    pub staging_wal_directory: Option<String>,
    /// `--get-wal` or `--no-get-wal`.
    pub get_wal: Option<bool>,
    /// `--partial-wal`.
    pub partial_wal: bool,
    /// `--restore-command`.
    pub restore_command: Option<String>,
    /// `--recovery-conf-filename`.
    pub recovery_conf_filename: Option<String>,
    /// `--recovery-option-port`.
    pub recovery_option_port: Option<String>,
    /// `--dry-run`: find out everything, write nothing.
    pub dry_run: bool,
    /// `--delta-restore` or `--no-delta-restore`.
    pub delta_restore: Option<bool>,
    /// `--network-compression` or `--no-network-compression`.
    pub network_compression: Option<bool>,
    /// `--bwlimit`, in units of 1024 bytes per second.
    pub bandwidth_limit: Option<u64>,
    /// `--retry-times`; `--no-retry` is zero.
    pub retry_times: Option<u32>,
    /// `--retry-sleep`, in seconds.
    pub retry_sleep: Option<u32>,
    /// `--jobs`.
    pub jobs: Option<u32>,
    /// `--jobs-start-batch-period`, in seconds.
    pub jobs_start_batch_period: Option<u32>,
    /// `--jobs-start-batch-size`
    pub jobs_start_batch_size: Option<u32>,
    /// `--recovery-staging-path` (deprecated), as typed.
    pub recovery_staging_path: Option<String>,
    /// `--local-staging-path` (deprecated), as typed.
    pub local_staging_path: Option<String>,
    /// `--staging-path`, as typed.
    pub staging_path: Option<String>,
    /// `--staging-location`.
    pub staging_location: Option<StagingLocation>,
    /// `--combine-mode`.
    pub combine_mode: Option<CombineMode>,
    /// The options for snapshot backups.
    pub snapshot: SnapshotArguments,
}

/// The options that only restores of snapshot backups take.
#[derive(Debug, Clone, Default)]
pub struct SnapshotArguments {
    /// `--snapshot-recovery-instance`.
    pub recovery_instance: Option<String>,
    /// `--snapshot-recovery-zone` (deprecated).
    pub recovery_zone: Option<String>,
    /// `--gcp-zone`.
    pub gcp_zone: Option<String>,
    /// `--azure-resource-group`.
    pub azure_resource_group: Option<String>,
    /// `--aws-region`.
    pub aws_region: Option<String>,
}

impl SnapshotArguments {
    /// The options that only make sense for a snapshot backup, as far as given. (Regions and zones are ignored elsewhere, the
    /// deprecated one too.)
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let instance = self.recovery_instance.as_ref();
        instance
            .map(|_| "--snapshot-recovery-instance")
            .into_iter()
            .collect()
    }
}

/// The timeline to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetTimeline {
    /// This one.
    Number(Timeline),
    /// The one on which the backup was taken.
    Current,
    /// The newest that the archive knows.
    Latest,
}

impl TargetTimeline {
    /// Reads `current`, `latest` or a number from one up.
    #[must_use]
    pub fn parse(text: &str) -> Option<TargetTimeline> {
        match text {
            "current" => Some(TargetTimeline::Current),
            "latest" => Some(TargetTimeline::Latest),
            number => number
                .parse()
                .ok()
                .filter(|number| *number >= 1)
                .map(TargetTimeline::Number),
        }
    }
}

impl std::fmt::Display for TargetTimeline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetTimeline::Number(number) => write!(formatter, "{number}"),
            TargetTimeline::Current => formatter.write_str("current"),
            TargetTimeline::Latest => formatter.write_str("latest"),
        }
    }
}

/// What PostgreSQL does at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAction {
    /// Wait for the operator to look.
    Pause,
    /// Stop.
    Shutdown,
    /// Accept connections that write.
    Promote,
}

impl TargetAction {
    /// Reads the word of the command line.
    #[must_use]
    pub fn parse(word: &str) -> Option<TargetAction> {
        match word {
            "pause" => Some(TargetAction::Pause),
            "shutdown" => Some(TargetAction::Shutdown),
            "promote" => Some(TargetAction::Promote),
            _ => None,
        }
    }

    /// The word of the command line, which is PostgreSQL's.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TargetAction::Pause => "pause",
            TargetAction::Shutdown => "shutdown",
            TargetAction::Promote => "promote",
        }
    }
}
