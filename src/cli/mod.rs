//! The command line: arguments, and one short file per command that resolves, calls and renders.
//!
//! One executable carries several programs. [`main`] finds out by which name it was called: `barman` and `barkeep` are
//! the manager, `barman-wal-archive` and `barman-wal-restore` are the clients that PostgreSQL runs, and
//! `barkeep agent` is the far side of a copy. Barman's command line is Python's `argparse`; where clap behaves
//! differently, [`usage`] makes up the difference.

mod addressing;
mod agent;
mod arguments;
mod commands;
mod complete;
mod completions;
mod failure;
mod generate;
mod manager;
mod program;
mod session;
mod signals;
mod usage;
mod value;

// One file per command of the manager, in the order of the alphabet.
mod archive_wal;
mod backup;
mod check;
mod check_backup;
mod check_wal_archive;
mod cloud_wal_archive;
mod cloud_wal_restore;
mod config_switch;
mod config_update;
mod convert_config;
mod cron;
mod delete;
mod diagnose;
mod doctor;
mod export_backup;
mod generate_manifest;
mod get_wal;
mod help;
mod import_backup;
mod keep;
mod list_backups;
mod list_files;
mod list_processes;
mod list_servers;
mod lock_directory_cleanup;
mod merge;
mod put_wal;
mod rebuild_xlogdb;
mod receive_wal;
mod recovery_windows;
mod replication_status;
mod restore;
mod show_backup;
mod show_servers;
mod status;
mod switch_wal;
mod sync_backup;
mod sync_info;
mod sync_wals;
mod terminate_process;
mod verify_backup;

// The clients that run on the PostgreSQL host.
mod client;
mod wal_archive;
mod wal_restore;

use std::ffi::OsString;
use std::process::ExitCode;

pub use program::Program;

/// Runs the program that `arguments[0]` names.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let program = Program::of(arguments.first());
    match program {
        Program::Manager(name) => manager::main(name, arguments),
        Program::WalArchive => wal_archive::main(&arguments),
        Program::WalRestore => wal_restore::main(&arguments),
    }
}
