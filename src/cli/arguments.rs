//! The command line of the manager: global options, the list of commands, and what several commands share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::failure::Failure;
use super::session::Session;

/// The manager's command line.
#[derive(Debug, Parser)]
#[command(
    name = "barman",
    about = "Backs up PostgreSQL servers, archives their WAL and restores them.",
    after_help = concat!("barkeep ", env!("CARGO_PKG_VERSION"), ", compatible with Barman 3.19.1."),
    disable_help_subcommand = true,
    version = crate::BARMAN_LEVEL,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    color = clap::ColorChoice::Never,
    max_term_width = 100
)]
pub(super) struct Manager {
    /// Show the version and exit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options that stand before the command.
#[derive(Debug, Clone, Args)]
pub(super) struct GlobalOptions {
    /// Read this configuration file instead of the first that exists of ~/.barman.conf, /etc/barman.conf and
    /// /etc/barman/barman.conf
    #[arg(short, long, value_name = "CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// When to colour warnings, errors and results of checks; auto means on a terminal
    #[arg(
        long,
        visible_alias = "colour",
        value_name = "COLOR",
        hide_possible_values = true,
        default_value = "auto",
        hide_default_value = true
    )]
    pub(super) color: Color,
    /// Log from this level on, whatever the configuration says
    #[arg(long, value_name = "LOG_LEVEL", hide_possible_values = true)]
    pub(super) log_level: Option<LogLevel>,
    /// Show warnings and errors only
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Show debugging lines as well
    #[arg(short, long)]
    pub(super) debug: bool,
    /// Write lines for people, or one JSON document
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        hide_possible_values = true,
        default_value = "console",
        hide_default_value = true
    )]
    pub(super) format: Format,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Never,
    Always,
    Auto,
}

/// What output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Console,
    Json,
}

/// The least severe level that is logged, in Python's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(super) enum LogLevel {
    Notset,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

/// One server.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgument {
    /// The server
    #[arg(value_name = "server_name")]
    pub(super) server_name: String,
}

/// One server or more.
#[derive(Debug, Clone, Args)]
pub(super) struct ServersArgument {
    /// The servers; all means every server
    #[arg(value_name = "server_name", required = true)]
    pub(super) server_name: Vec<String>,
}

/// A backup of a server.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgument {
    /// The server
    #[arg(value_name = "server_name")]
    pub(super) server_name: String,
    /// The backup: its id, its name, or one of latest, last, oldest, first, last-failed, latest-full, last-full
    #[arg(value_name = "backup_id")]
    pub(super) backup_id: String,
}

/// How a copy goes, for `backup` and `restore`.
#[derive(Debug, Clone, Args)]
pub(super) struct CopyOptions {
    /// Try a failed copy again this many times
    #[arg(long, value_name = "RETRY_TIMES", value_parser = super::value::non_negative, allow_negative_numbers = true)]
    retry_times: Option<u32>,
    /// Wait this many seconds before a failed copy is tried again
    #[arg(long, value_name = "RETRY_SLEEP", value_parser = super::value::non_negative, allow_negative_numbers = true)]
    pub(super) retry_sleep: Option<u32>,
    /// Do not try a failed copy again
    #[arg(long, overrides_with = "retry_times")]
    no_retry: bool,
    /// Copy with this many workers at the same time
    #[arg(long, short = 'j', value_name = "NJOBS", value_parser = super::value::positive, allow_negative_numbers = true)]
    pub(super) jobs: Option<u32>,
    /// The number of seconds in which at most one batch of workers starts
    #[arg(long, value_name = "JOBS_START_BATCH_PERIOD", value_parser = super::value::positive, allow_negative_numbers = true)]
    pub(super) jobs_start_batch_period: Option<u32>,
    /// How many workers a batch has
    #[arg(long, value_name = "JOBS_START_BATCH_SIZE", value_parser = super::value::positive, allow_negative_numbers = true)]
    pub(super) jobs_start_batch_size: Option<u32>,
    /// Transfer at most this many KiB per second; 0 means no limit
    #[arg(long, value_name = "KBPS", value_parser = super::value::non_negative, allow_negative_numbers = true)]
    pub(super) bwlimit: Option<u32>,
}

impl CopyOptions {
    /// How many times a failed copy is tried again, if the command line says so.
    pub(super) fn retries(&self) -> Option<u32> {
        if self.no_retry { Some(0) } else { self.retry_times }
    }
}

/// The value of a pair of flags `--x` and `--no-x`, of which clap keeps the last.
pub(super) fn either(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Declares the commands: name, aliases, arguments. The order is Barman's, which its error about an unknown command shows.
macro_rules! commands {
    ($( $(#[$attribute:meta])* $variant:ident($arguments:ty), )+) => {
        /// A command of the manager.
        #[derive(Debug, Subcommand)]
        #[allow(clippy::large_enum_variant)] // there is one value in a run
        pub(super) enum Command {
            $( $(#[$attribute])* $variant($arguments), )+
        }

        impl Command {
            /// Does what the command says.
            pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
                match self {
                    $( Command::$variant(arguments) => arguments.run(session), )+
                }
            }
        }
    };
}

commands! {
    Help(super::help::Help),
    #[command(visible_alias = "list-server")]
    ListServers(super::list_servers::ListServers),
    #[command(visible_alias = "list-process")]
    ListProcesses(super::list_processes::ListProcesses),
    TerminateProcess(super::terminate_process::TerminateProcess),
    Cron(super::cron::Cron),
    LockDirectoryCleanup(super::lock_directory_cleanup::LockDirectoryCleanup),
    Backup(super::backup::Backup),
    #[command(visible_alias = "list-backup")]
    ListBackups(super::list_backups::ListBackups),
    Status(super::status::Status),
    ReplicationStatus(super::replication_status::ReplicationStatus),
    RebuildXlogdb(super::rebuild_xlogdb::RebuildXlogdb),
    #[command(visible_alias = "recover")]
    Restore(super::restore::Restore),
    #[command(visible_alias = "show-server")]
    ShowServers(super::show_servers::ShowServers),
    #[command(visible_alias = "switch-xlog")]
    SwitchWal(super::switch_wal::SwitchWal),
    Check(super::check::Check),
    Diagnose(super::diagnose::Diagnose),
    SyncInfo(super::sync_info::SyncInfo),
    SyncBackup(super::sync_backup::SyncBackup),
    SyncWals(super::sync_wals::SyncWals),
    #[command(visible_alias = "show-backups")]
    ShowBackup(super::show_backup::ShowBackup),
    ListFiles(super::list_files::ListFiles),
    Delete(super::delete::Delete),
    GetWal(super::get_wal::GetWal),
    PutWal(super::put_wal::PutWal),
    ArchiveWal(super::archive_wal::ArchiveWal),
    ReceiveWal(super::receive_wal::ReceiveWal),
    CheckBackup(super::check_backup::CheckBackup),
    #[command(visible_alias = "verify")]
    VerifyBackup(super::verify_backup::VerifyBackup),
    ExportBackup(super::export_backup::ExportBackup),
    ImportBackup(super::import_backup::ImportBackup),
    GenerateManifest(super::generate_manifest::GenerateManifest),
    Keep(super::keep::Keep),
    Merge(super::merge::Merge),
    CheckWalArchive(super::check_wal_archive::CheckWalArchive),
    ConfigSwitch(super::config_switch::ConfigSwitch),
    ConfigUpdate(super::config_update::ConfigUpdate),
    CloudWalArchive(super::cloud_wal_archive::CloudWalArchive),
    CloudWalRestore(super::cloud_wal_restore::CloudWalRestore),
}
