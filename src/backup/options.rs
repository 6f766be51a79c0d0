//! What the command line says about one backup, on top of the configuration.

use std::path::PathBuf;

use crate::config::{AbsolutePath, ByteSize, ReuseBackup, ServerConfig};

/// The options of `barman backup`. `None` leaves the configuration as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// `--immediate-checkpoint`, `--no-immediate-checkpoint`
    pub immediate_checkpoint: Option<bool>,
    /// `--incremental`: the parent, as given.
    pub incremental: Option<String>,
    /// `--full`: no incremental backup, whatever the configuration says.
    pub full: bool,
    /// `--resume`
    pub resume: bool,
    /// `--reuse-backup`
    pub reuse_backup: Option<ReuseBackup>,
    /// `--retry-times`; `--no-retry` is 0.
    pub retry_times: Option<u32>,
    /// `--retry-sleep`, in seconds.
    pub retry_sleep: Option<u32>,
    /// `--jobs`
    pub jobs: Option<u32>,
    /// `--jobs-start-batch-period`, in seconds.
    pub jobs_start_batch_period: Option<u32>,
    /// `--jobs-start-batch-size`
    pub jobs_start_batch_size: Option<u32>,
    /// `--bwlimit`, in units of 1024 bytes per second; 0 is no limit.
    pub bandwidth_limit: Option<u64>,
    /// `--wait`
    pub wait: bool,
    /// `--wait-timeout`, in seconds; 0 is no limit.
    pub wait_timeout: Option<u32>,
    /// `--keepalive-interval`, in seconds; 0 sends nothing.
    pub keepalive_interval: Option<u32>,
    /// `--name`
    pub name: Option<String>,
    /// `--manifest`, `--no-manifest`
    pub manifest: Option<bool>,
    /// `--check-timeout`, in seconds; 0 is no limit.
    pub check_timeout: Option<u32>,
    /// `--cloud-staging-directory`
    pub cloud_staging_directory: Option<PathBuf>,
    /// `--cloud-staging-max-size`, in bytes.
    pub cloud_staging_max_size: Option<u64>,
}

impl BackupOptions {
    /// The configuration with these options in it.
    #[must_use]
    pub(super) fn applied_to(&self, config: &ServerConfig) -> ServerConfig {
        let mut merged = config.clone();
        set(&mut merged.immediate_checkpoint, self.immediate_checkpoint);
        set(&mut merged.basebackup_retry_times, self.retry_times);
        set(&mut merged.basebackup_retry_sleep, self.retry_sleep);
        set(&mut merged.parallel_jobs, self.jobs);
        set(
            &mut merged.parallel_jobs_start_batch_period,
            self.jobs_start_batch_period,
        );
        set(
            &mut merged.parallel_jobs_start_batch_size,
            self.jobs_start_batch_size,
        );
        set(&mut merged.keepalive_interval, self.keepalive_interval);
        set(&mut merged.autogenerate_manifest, self.manifest);
        set(&mut merged.check_timeout, self.check_timeout);
        set(
            &mut merged.cloud_staging_directory,
            self.cloud_staging_directory.clone().map(AbsolutePath),
        );
        set(
            &mut merged.cloud_staging_max_size,
            self.cloud_staging_max_size.map(ByteSize),
        );
        merged.resume_failed_backups |= self.resume;
        if self.reuse_backup.is_some() {
            merged.reuse_backup = self.reuse_backup;
        }
        if self.bandwidth_limit.is_some() {
            merged.bandwidth_limit = self.bandwidth_limit;
        }
        merged
    }
}

fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}
