//! The one table of options: name, scope, type, default and meaning of everything a configuration file may say.
//!
//! The typed structs [`ServerConfig`] and [`MainConfig`], validation, inheritance, `show-servers`, `diagnose` and the
//! manual page `barman.5` all come from these rows. Facts: configuration reference §3, §4, §10.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::TimeDelta;

use super::choices::{
    AwsEncryption, BackupCompression, BackupCompressionFormat, BackupCompressionLocation, BackupMethod,
    BackupOptions, CombineMode, CompressionLevel, CreateSlot, Encryption, RecoveryOptions, ReuseBackup,
    StagingLocation, WalCompression, WalValidation,
};
use super::kinds::{AbsolutePath, ByteSize, Location, NameList, SlotName, TablespaceLimits};
use super::source::Source;
use super::table::options;

options! {
    /// The options of `[barman]` that concern the program itself.
    pub struct MainConfig listed in MAIN_OPTIONS {
        /// Where each value came from.
        pub sources: BTreeMap<&'static str, Source>,
    }

    /// The directory under which everything is kept by default. Required.
    [G] barman_home: PathBuf;
    /// The directory of the lock files.
    [G] barman_lock_directory: PathBuf = "%(barman_home)s";
    /// The user the program runs as. Started by root it becomes this user; started by anybody else it refuses.
    [G] barman_user: String = "barman";
    /// The file in which `config-update` queues changes.
    [G] config_changes_queue: PathBuf = "%(barman_home)s/cfg_changes.queue";
    /// A directory whose `*.conf` files are read after the main file, in byte order. A leading `~` is expanded.
    [G] configuration_files_directory: Option<String>;
    /// Whether `cron` removes lock files that nobody holds.
    [G] lock_directory_cleanup: bool = "true";
    /// The log file. Without it the log goes to standard error.
    [G] log_file: Option<PathBuf>;
    /// The layout of a line of the log, in the notation of Python's `logging`.
    [G] log_format: String = "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s";
    /// The least severe level that is logged: a name or a number.
    [G] log_level: String = "INFO";
}

options! {
    /// A server: its section, what it inherits from `[barman]`, its defaults, and its active model.
    pub struct ServerConfig listed in SERVER_OPTIONS {
        /// The name of its section.
        pub name: String,
        /// `barman_home`, from `[barman]`.
        pub barman_home: PathBuf,
        /// `barman_lock_directory`, from `[barman]`.
        pub barman_lock_directory: PathBuf,
        /// Why the server is disabled; empty when it is not.
        pub msg_list: Vec<String>,
        /// The name of the model applied on top of the section.
        pub active_model: Option<String>,
        /// What to tell the operator when this server is used.
        pub warnings: Vec<String>,
        /// What to log when this server is used.
        pub log_warnings: Vec<String>,
        /// Where each option is written, also one whose value was refused; one that is not written has no entry.
        pub sources: BTreeMap<&'static str, Source>,
        /// Options that are set to nothing, which keeps even their default out.
        pub emptied: BTreeSet<&'static str>,
    }

    /// Whether the server is in use. An inactive server is skipped by maintenance and takes no backups, but can be
    /// restored from.
    [SM] active: bool = "true";
    /// Whether WAL files that PostgreSQL's `archive_command` delivers are archived.
    [GSM] archiver: bool = "off";
    /// How many files one run of `archive-wal` looks at in the incoming directory; 0 means all.
    [GSM] archiver_batch_size: u32 = "0";
    /// Whether a backup manifest is written after each backup over ssh.
    [GSM] autogenerate_manifest: bool = "false";
    /// How many seconds to wait for snapshots in Amazon EC2 to complete.
    [GSM] aws_await_snapshots_timeout: u32 = "3600";
    /// Whether the deletion of a backup in Amazon S3 is refused while an object of it is locked.
    [GSM] aws_check_object_lock: bool = "false";
    /// The server-side encryption of objects in Amazon S3.
    [GSM] aws_encryption: Option<AwsEncryption>;
    /// The profile of the AWS configuration to use.
    [GSM] aws_profile: Option<String>;
    /// How many seconds to wait for an answer from AWS.
    [GSM] aws_read_timeout: Option<u32>;
    /// The AWS region of the storage.
    [GSM] aws_region: Option<String>;
    /// How many hours a compliance lock of a snapshot may still be changed: 1 to 72.
    [GSM] aws_snapshot_lock_cool_off_period: Option<u32>;
    /// How many days a snapshot stays locked: 1 to 36500.
    [GSM] aws_snapshot_lock_duration: Option<u32>;
    /// The moment until which a snapshot stays locked, as `%Y-%m-%dT%H:%M:%S.%fZ`.
    [GSM] aws_snapshot_lock_expiration_date: Option<String>;
    /// The lock put on snapshots: `governance` or `compliance`.
    [GSM] aws_snapshot_lock_mode: Option<String>;
    /// The KMS key for `aws_encryption = aws:kms`.
    [GSM] aws_sse_kms_key_id: Option<String>;
    /// The kind of credential used with Azure: `azure-cli`, `managed-identity` or `default`.
    [GSM] azure_credential: Option<String>;
    /// The Azure resource group of the instance and its disks.
    [GSM] azure_resource_group: Option<String>;
    /// The Azure subscription of the instance.
    [GSM] azure_subscription_id: Option<String>;
    /// The compression of base backups (`backup_method = postgres`).
    [GSM] backup_compression: Option<BackupCompression>;
    /// Whether a compressed base backup is stored as tar files or as plain files; the latter needs
    /// `backup_compression_location = server`.
    [GSM] backup_compression_format: Option<BackupCompressionFormat>;
    /// The level of base backup compression: gzip 1 to 9, lz4 0 to 12, zstd -131072 to 22.
    [GSM] backup_compression_level: Option<i64>;
    /// Whether base backups are compressed here or by PostgreSQL (15 or newer).
    [GSM] backup_compression_location: Option<BackupCompressionLocation>;
    /// How many threads compress a base backup (zstd only).
    [GSM] backup_compression_workers: Option<i64>;
    /// The directory of everything that belongs to the server.
    [S] backup_directory: PathBuf = "%(barman_home)s/%(name)s";
    /// How base backups are taken.
    [GSM] backup_method: BackupMethod = "rsync";
    /// The strategy of base backups. `concurrent_backup` is used, with a warning, when it names none.
    [GSM] backup_options: BackupOptions = "";
    /// The most a copy may transfer, in units of 1024 bytes per second; 0 means no limit.
    [GSM] bandwidth_limit: Option<u64>;
    /// How many seconds to wait before a failed copy is tried again.
    [GSM] basebackup_retry_sleep: u32 = "30";
    /// How many times a failed copy is tried again.
    [GSM] basebackup_retry_times: u32 = "0";
    /// Where base backups are kept.
    [S] basebackups_directory: Location = "%(backup_directory)s/base";
    /// How many seconds `check` may take, also before a backup; 0 means no limit.
    [GSM] check_timeout: u32 = "30";
    /// How many objects one request deletes from an object store.
    [GSM] cloud_delete_batch_size: Option<u32>;
    /// Where files wait for their upload to an object store.
    [GSM] cloud_staging_directory: AbsolutePath = "/tmp/barman/cloud-staging";
    /// How much `cloud_staging_directory` may hold.
    [GSM] cloud_staging_max_size: ByteSize = "30Gi";
    /// The size at which an archive uploaded to an object store is split.
    [SM] cloud_upload_max_archive_size: ByteSize = "100Gi";
    /// The smallest part of a multipart upload.
    [SM] cloud_upload_min_chunk_size: Option<ByteSize>;
    /// How many WAL files `cloud-wal-archive` uploads at once.
    [GSM] cloud_wal_archive_parallel: u32 = "0";
    /// How many WAL files `cloud-wal-restore` fetches ahead.
    [GSM] cloud_wal_restore_parallel: u32 = "0";
    /// The cluster the server belongs to: a model applies to servers of its own cluster.
    [SM] cluster: String = "%(name)s";
    /// How Barman's `pg_combinebackup` brings files into a combined backup. Accepted and not needed: `restore` combines backups
    /// on their way into the destination.
    [GSM] combine_mode: CombineMode = "copy";
    /// The compression of archived WAL files.
    [GSM] compression: Option<WalCompression>;
    /// The level of WAL compression.
    [GSM] compression_level: CompressionLevel = "medium";
    /// How to connect to PostgreSQL: a libpq connection string or URI.
    [SM] conninfo: Option<String>;
    /// Who creates the replication slot.
    [GSM] create_slot: CreateSlot = "manual";
    /// The shell command that compresses standard input to standard output (`compression = custom`).
    [GSM] custom_compression_filter: Option<String>;
    /// The first bytes of a file that `custom_compression_filter` made, in hexadecimal after `0x`.
    [GSM] custom_compression_magic: Option<String>;
    /// The shell command that undoes `custom_compression_filter`.
    [GSM] custom_decompression_filter: Option<String>;
    /// A text about the server, shown by `list-servers`.
    [SM] description: Option<String>;
    /// Whether the server is out of order because of a mistake in its configuration. Not for the file of a server.
    [M] disabled: bool = "false";
    /// The encryption of backups and WAL files.
    [GSM] encryption: Option<Encryption>;
    /// The key that backups are encrypted for.
    [GSM] encryption_key_id: Option<String>;
    /// A shell command that prints the passphrase of the key, needed to restore.
    [GSM] encryption_passphrase_command: Option<String>;
    /// Where files that could not be archived are put aside.
    [S] errors_directory: PathBuf = "%(backup_directory)s/errors";
    /// Whether a passive node calls its primary node with the same `--config` path.
    [GSM] forward_config_path: bool = "false";
    /// The age of the newest full backup at which `backup` takes another full one: `7 days`. Younger than that, `backup`
    /// takes an incremental one, as with `--incremental auto`. Without it backups are full unless `--incremental` says
    /// otherwise. A full backup comes up to an hour early rather than a whole run of cron late.
    [GSM] full_backup_interval: Option<TimeDelta>, own "0.1";
    /// The Google Cloud project of the instance and its disks.
    [GSM] gcp_project: Option<String>;
    /// The Google Cloud zone of the instance and its disks.
    [SM] gcp_zone: Option<String>;
    /// Whether a backup begins with a fast checkpoint instead of waiting for one.
    [GSM] immediate_checkpoint: bool = "false";
    /// Where `archive_command` delivers WAL files.
    [S] incoming_wals_directory: PathBuf = "%(backup_directory)s/incoming";
    /// How many seconds may pass without a query on the connection that holds a backup open; 0 turns it off.
    [GSM] keepalive_interval: u32 = "60";
    /// The age at which `check` finds the newest backup too old: `3 days`, `1 week`.
    [GSM] last_backup_maximum_age: Option<TimeDelta>;
    /// The size below which `check` finds the newest backup too small: `10Gi`.
    [GSM] last_backup_minimum_size: Option<ByteSize>;
    /// The age at which `check` finds the newest WAL file too old: `1 hour`.
    [GSM] last_wal_maximum_age: Option<TimeDelta>;
    /// Where Barman's restore combines or decrypts on this host. Accepted and not needed: nothing is staged.
    [GSM] local_staging_path: Option<AbsolutePath>, deprecated "3.15";
    /// The number of files waiting to be archived at which `check` fails.
    [GSM] max_incoming_wals_queue: Option<u32>;
    /// How many backups must remain, whatever the retention policy or the operator says.
    [GSM] minimum_redundancy: u32 = "0";
    /// Whether data are compressed on their way over the network (ssh copies).
    [GSM] network_compression: bool = "false";
    /// How many workers copy at the same time.
    [GSM] parallel_jobs: u32 = "1";
    /// The number of seconds in which at most `parallel_jobs_start_batch_size` workers start.
    [GSM] parallel_jobs_start_batch_period: u32 = "1";
    /// How many workers may start within `parallel_jobs_start_batch_period`.
    [GSM] parallel_jobs_start_batch_size: u32 = "10";
    /// Directories, separated by colons, searched for programs before `PATH`.
    [GSM] path_prefix: Option<String>;
    /// A hook script with retries, after a WAL file was archived.
    [GS] post_archive_retry_script: Option<String>;
    /// A hook script, after a WAL file was archived.
    [GS] post_archive_script: Option<String>;
    /// A hook script with retries, after a backup.
    [GS] post_backup_retry_script: Option<String>;
    /// A hook script, after a backup.
    [GS] post_backup_script: Option<String>;
    /// A hook script with retries, after a backup was deleted.
    [GS] post_delete_retry_script: Option<String>;
    /// A hook script, after a backup was deleted.
    [GS] post_delete_script: Option<String>;
    /// A hook script with retries, after a restore.
    [GS] post_recovery_retry_script: Option<String>;
    /// A hook script, after a restore.
    [GS] post_recovery_script: Option<String>;
    /// A hook script with retries, after a WAL file was deleted.
    [GS] post_wal_delete_retry_script: Option<String>;
    /// A hook script, after a WAL file was deleted.
    [GS] post_wal_delete_script: Option<String>;
    /// A hook script with retries, before a WAL file is archived.
    [GS] pre_archive_retry_script: Option<String>;
    /// A hook script, before a WAL file is archived.
    [GS] pre_archive_script: Option<String>;
    /// A hook script with retries, before a backup.
    [GS] pre_backup_retry_script: Option<String>;
    /// A hook script, before a backup.
    [GS] pre_backup_script: Option<String>;
    /// A hook script with retries, before a backup is deleted.
    [GS] pre_delete_retry_script: Option<String>;
    /// A hook script, before a backup is deleted.
    [GS] pre_delete_script: Option<String>;
    /// A hook script with retries, before a restore.
    [GS] pre_recovery_retry_script: Option<String>;
    /// A hook script, before a restore.
    [GS] pre_recovery_script: Option<String>;
    /// A hook script with retries, before a WAL file is deleted.
    [GS] pre_wal_delete_retry_script: Option<String>;
    /// A hook script, before a WAL file is deleted.
    [GS] pre_wal_delete_script: Option<String>;
    /// How many seconds to wait for the primary to switch its WAL, at the end of a backup from a standby, before it is
    /// made to; 0 leaves the primary alone.
    [SM] primary_checkpoint_timeout: u32 = "0";
    /// How to connect to the primary of the standby that `conninfo` names.
    [SM] primary_conninfo: Option<String>;
    /// How to reach the Barman host whose backups this one copies. Makes the server passive.
    [GSM] primary_ssh_command: Option<String>;
    /// What a restore does unless told otherwise: `get-wal`, `delta-restore`.
    [GSM] recovery_options: RecoveryOptions = "";
    /// Where Barman decompresses on the host restored to. Accepted and not needed: nothing is staged.
    [GSM] recovery_staging_path: Option<AbsolutePath>, deprecated "3.15";
    /// Whether a backup takes over what an earlier attempt that failed has already copied, as with `backup --resume`.
    [GSM] resume_failed_backups: bool = "off", own "0.1";
    /// Which backups are kept: `REDUNDANCY n` or `RECOVERY WINDOW OF n DAYS|WEEKS|MONTHS`.
    [GSM] retention_policy: Option<String>;
    /// How the retention policy is enforced. There is one way: `auto`, by cron.
    [GSM] retention_policy_mode: String = "auto";
    /// What a backup over ssh does with files that have not changed since the previous one.
    [GSM] reuse_backup: Option<ReuseBackup>;
    /// The replication slot that WAL streaming uses.
    [GSM] slot_name: Option<SlotName>;
    /// The disks that snapshots are taken of.
    [SM] snapshot_disks: Option<NameList>;
    /// The former name of `gcp_project`.
    [GSM] snapshot_gcp_project: Option<String>, deprecated "3.4";
    /// The cloud instance that PostgreSQL runs on.
    [SM] snapshot_instance: Option<String>;
    /// The cloud provider of the snapshots: `aws`, `azure` or `gcp`.
    [GSM] snapshot_provider: Option<String>;
    /// The former name of `gcp_zone`.
    [SM] snapshot_zone: Option<String>, deprecated "3.4";
    /// How to reach the PostgreSQL host: an `ssh` command with its options and `user@host`.
    [SM] ssh_command: Option<String>;
    /// Whether `staging_path` is on this host or on the one restored to. Accepted and not needed: nothing is staged.
    [GSM] staging_location: StagingLocation = "local";
    /// Where Barman's restore puts what it decrypts, decompresses or combines. Accepted and not needed: nothing is staged.
    [GSM] staging_path: Option<AbsolutePath>;
    /// Whether WAL is received by streaming replication.
    [GSM] streaming_archiver: bool = "off";
    /// How many files one run of `archive-wal` looks at in the streaming directory; 0 means all.
    [GSM] streaming_archiver_batch_size: u32 = "0";
    /// The `application_name` of WAL streaming.
    [GSM] streaming_archiver_name: String = "barman_receive_wal";
    /// The `application_name` of `pg_basebackup`.
    [GSM] streaming_backup_name: String = "barman_streaming_backup";
    /// How to connect to PostgreSQL for replication.
    [SM] streaming_conninfo: Option<String> = "%(conninfo)s";
    /// Where streamed WAL files arrive.
    [S] streaming_wals_directory: PathBuf = "%(backup_directory)s/streaming";
    /// Limits of bandwidth by tablespace: `NAME:LIMIT` in units of 1024 bytes per second, separated by blanks.
    [GSM] tablespace_bandwidth_limit: Option<TablespaceLimits>;
    /// How to connect to the host that WAL is streamed from, to watch it.
    [SM] wal_conninfo: Option<String>;
    /// Which WAL files are kept. There is one way: `main`, as long as a backup needs them.
    [GSM] wal_retention_policy: String = "main";
    /// How to connect, for replication, to the host that WAL is streamed from.
    [SM] wal_streaming_conninfo: Option<String>;
    /// What is looked at before a segment is archived: `header`, whether it begins as the segment of its name and of this
    /// server does; `full`, the checksum of each of its records, too; `off`, nothing. What does not belong there goes to
    /// the errors directory.
    [GSM] wal_validation: WalValidation = "header", own "0.1";
    /// Where archived WAL files are kept.
    [S] wals_directory: Location = "%(backup_directory)s/wals";
    /// The database id of a `WarehousePG` segment, for `pg_basebackup`.
    [GSM] warehousepg_dbid: Option<u32>;
    /// Whether stored files cannot be removed at once: no WAL file is removed when the first backup ends.
    [GSM] worm_mode: bool = "off";
    /// The directory of the WAL database.
    [GS] xlogdb_directory: PathBuf = "%(wals_directory)s";
}
