//! `barman list-files`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::FileTarget;

/// List the files of a backup
#[derive(Debug, clap::Args)]
pub(super) struct ListFiles {
    /// What to list: data, the files of the backup; standalone, those and the WAL files it needs; wal, its WAL files up
    /// to the next backup; full, data and wal
    #[arg(long, value_name = "TARGET", value_parser = ["standalone", "data", "wal", "full"], default_value = "standalone", hide_possible_values = true)]
    target: String,
    /// List empty directories as well
    #[arg(long)]
    list_empty_directories: bool,
    #[command(flatten)]
    backup: BackupArgument,
}

impl ListFiles {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let target = FileTarget::parse(&self.target).unwrap_or(FileTarget::Standalone);
        let Some(found) = session.backup(&self.backup, addressing::SHOW)? else {
            return Ok(());
        };
        let info = found.info()?;
        found
            .catalog
            .files(&info, target, self.list_empty_directories, &mut |path| {
                session.output.listing(&path.display().to_string());
            })?;
        Ok(())
    }
}
