//! The list of the manager's commands.

use clap::Subcommand;

use super::failure::Failure;
use super::session::Session;

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
    ReplicationStatus(super::replication_status::ShowReplication),
    RebuildXlogdb(super::rebuild_xlogdb::RebuildXlogdb),
    #[command(visible_alias = "recover")]
    Restore(super::restore::Restore),
    #[command(visible_alias = "show-server")]
    ShowServers(super::show_servers::ShowServers),
    #[command(visible_alias = "switch-xlog")]
    SwitchWal(super::switch_wal::SwitchWal),
    Check(super::check::Check),
    Diagnose(super::diagnose::Diagnose),
    Doctor(super::doctor::Doctor),
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
    RecoveryWindows(super::recovery_windows::RecoveryWindows),
    CheckWalArchive(super::check_wal_archive::CheckWalArchive),
    ConfigSwitch(super::config_switch::ConfigSwitch),
    ConfigUpdate(super::config_update::ConfigUpdate),
    ConvertConfig(super::convert_config::ConvertConfig),
    CloudWalArchive(super::cloud_wal_archive::CloudWalArchive),
    CloudWalRestore(super::cloud_wal_restore::CloudWalRestore),
}
