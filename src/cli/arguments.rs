//! What the command line of the manager says before the command, and the arguments that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options that stand before the command.
#[derive(Debug, Clone, Args)]
pub(super) struct GlobalOptions {
    /// Read this configuration file instead of the first that exists of ~/.barman.conf, /etc/barman.conf and
    /// /etc/barman/barman.conf
    #[arg(short, long, value_name = "CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// When to colour warnings, errors and results of checks: never, always or auto, which means on a terminal
    #[arg(
        long,
        visible_alias = "colour",
        value_name = "COLOR",
        hide_possible_values = true,
        default_value = "auto",
        hide_default_value = true
    )]
    pub(super) color: Color,
    /// Log from this level on, whatever the configuration says: NOTSET (everything), DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(long, value_name = "LOG_LEVEL", hide_possible_values = true)]
    pub(super) log_level: Option<LogLevel>,
    /// Show warnings and errors only
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Show debugging lines as well
    #[arg(short, long)]
    pub(super) debug: bool,
    /// Write lines for people (console) or one JSON document (json)
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
