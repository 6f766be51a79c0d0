//! `barman-wal-restore`: PostgreSQL's `restore_command`, which fetches a WAL file with `barman get-wal` on the backup host.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use super::client;
use super::value;
use crate::archive::client::{Transfer, wal_restore};
use crate::codec::Compression;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "barman-wal-restore",
    about = "Fetches a WAL file from the backup host. For PostgreSQL's restore_command.",
    version = crate::BARMAN_LEVEL,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    color = clap::ColorChoice::Never,
    max_term_width = 100
)]
pub(super) struct WalRestore {
    /// Show the version and exit
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    host: client::HostOptions,
    /// Wait this many seconds after a failure before reporting it
    #[arg(short, long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = value::integer, allow_negative_numbers = true)]
    sleep: i64,
    /// Fetch up to this many WAL files at once in the background while PostgreSQL replays, and keep twice as many at most; 0 fetches none ahead
    #[arg(short, long, value_name = "JOBS", default_value = "0", hide_default_value = true, value_parser = value::integer, allow_negative_numbers = true)]
    parallel: i64,
    /// Where WAL files fetched ahead are kept
    #[arg(long, value_name = "SPOOL_DIR", default_value = "/var/tmp/walrestore")]
    spool_dir: PathBuf,
    /// In a recovery that a missing file would end, go on trying for this long when the backup host cannot be reached or fails, and stop PostgreSQL then
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = value::non_negative, allow_negative_numbers = true)]
    retry: u32,
    /// Keep the connection for this long after its last use, for the next WAL file; 0 keeps none
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = value::non_negative, allow_negative_numbers = true)]
    persist: u32,
    /// Be the process in the background
    #[arg(long, hide = true)]
    fetch_ahead: bool,
    /// Accept partial WAL files (.partial) as well
    #[arg(short = 'P', long)]
    partial: bool,
    /// Have WAL files compressed with gzip on their way
    #[arg(short = 'z', long, conflicts_with_all = ["bzip2", "keep_compression"])]
    gzip: bool,
    /// Have WAL files compressed with bzip2 on their way
    #[arg(short = 'j', long, conflicts_with_all = ["gzip", "keep_compression"])]
    bzip2: bool,
    /// Have WAL files sent as they are stored, and decompress them here
    #[arg(long, conflicts_with_all = ["gzip", "bzip2"])]
    keep_compression: bool,
    /// Only test that WAL files can be fetched
    #[arg(short, long)]
    test: bool,
    #[command(flatten)]
    server: client::HostArguments,
    /// The WAL file: what %f stands for in restore_command
    #[arg(value_name = "WAL_NAME")]
    wal_name: String,
    /// Where it goes: what %p stands for in restore_command
    #[arg(value_name = "WAL_DEST")]
    wal_dest: PathBuf,
}

/// Runs the program.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    client::run(&WalRestore::command(), arguments, |matches, console| {
        WalRestore::from_arg_matches(matches).map(|parsed| {
            if parsed.fetch_ahead {
                parsed.call(Vec::new()).fetch_ahead();
                return 0;
            }
            let mut background = arguments.to_vec();
            // In front of the others: what follows a lone "--" is no option.
            background.insert(1.min(background.len()), OsString::from("--fetch-ahead"));
            parsed.call(background).run(console)
        })
    })
}

impl WalRestore {
    fn call(self, background: Vec<OsString>) -> wal_restore::WalRestore {
        wal_restore::WalRestore {
            transfer: self.transfer(),
            remote: self.host.remote(self.server.barman_host),
            server: self.server.server_name,
            wal_name: self.wal_name,
            wal_dest: self.wal_dest,
            // Barman sleeps and fetches ahead for positive numbers only.
            sleep: u64::try_from(self.sleep).unwrap_or(0),
            parallel: u32::try_from(self.parallel.max(0)).unwrap_or(u32::MAX),
            retry: self.retry,
            persist: self.persist,
            private_directory: client::private_directory(),
            background,
            spool_dir: self.spool_dir,
            partial: self.partial,
            test: self.test,
            // PostgreSQL runs restore_command in its data directory.
            data_directory: PathBuf::from("."),
        }
    }

    fn transfer(&self) -> Transfer {
        if self.gzip {
            Transfer::Compressed(Compression::Gzip)
        } else if self.bzip2 {
            Transfer::Compressed(Compression::Bzip2)
        } else if self.keep_compression {
            Transfer::Stored
        } else {
            Transfer::Plain
        }
    }
}
