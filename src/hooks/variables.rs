//! What a hook script is told about the thing it is run for (behaviour reference §22, catalog reference §16).

use std::path::PathBuf;

/// The thing a hook is run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookSubject {
    /// A backup that is taken or deleted.
    Backup(BackupVariables),
    /// A WAL file that is archived or removed.
    Wal(WalVariables),
    /// A restore.
    Recovery(RecoveryVariables),
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupVariables {
    /// `base/{id}`: `BARMAN_BACKUP_DIR`.
    pub backup_dir: PathBuf,
    /// `meta/{id}-backup.info`: `BARMAN_BACKUP_INFO_PATH`.
    pub backup_info_path: PathBuf,
    /// `BARMAN_BACKUP_ID`.
    pub backup_id: String,
    /// The nearest good backup before it: `BARMAN_PREVIOUS_ID`.
    pub previous_id: Option<String>,
    /// The nearest good backup after it: `BARMAN_NEXT_ID`.
    pub next_id: Option<String>,
    /// Its status, as `backup.info` writes it: `BARMAN_STATUS`.
    pub status: String,
}

/// A WAL file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalVariables {
    /// Its name: `BARMAN_SEGMENT`.
    pub segment: String,
    /// Where it is: in the incoming directory before it is archived, in the archive otherwise: `BARMAN_FILE`.
    pub file: PathBuf,
    /// Its size in bytes, there: `BARMAN_SIZE`.
    pub size: u64,
    /// Its time of modification as Python writes a float of seconds: `BARMAN_TIMESTAMP`.
    pub timestamp: String,
    /// Its compression; empty without: `BARMAN_COMPRESSION`.
    pub compression: Option<String>,
}

/// A restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryVariables {
    /// The backup that is restored.
    pub backup: BackupVariables,
    /// `BARMAN_DESTINATION_DIRECTORY`.
    pub destination_directory: PathBuf,
    /// A JSON object of tablespaces and their new places, empty without: `BARMAN_TABLESPACES`.
    pub tablespaces: Option<String>,
    /// The ssh command to the destination: `BARMAN_REMOTE_COMMAND`.
    pub remote_command: Option<String>,
    /// A JSON object with sorted keys of the options that are set: `BARMAN_RECOVER_OPTIONS`.
    pub recover_options: String,
}

impl HookSubject {
    /// The environment variables for it.
    #[must_use]
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            HookSubject::Backup(backup) => backup.environment(),
            HookSubject::Wal(wal) => vec![
                ("BARMAN_SEGMENT", wal.segment.clone()),
                ("BARMAN_FILE", wal.file.display().to_string()),
                ("BARMAN_SIZE", wal.size.to_string()),
                ("BARMAN_TIMESTAMP", wal.timestamp.clone()),
                ("BARMAN_COMPRESSION", wal.compression.clone().unwrap_or_default()),
            ],
            HookSubject::Recovery(recovery) => {
                let mut environment = recovery.backup.environment();
                environment.extend([
                    (
                        "BARMAN_DESTINATION_DIRECTORY",
                        recovery.destination_directory.display().to_string(),
                    ),
                    (
                        "BARMAN_TABLESPACES",
                        recovery.tablespaces.clone().unwrap_or_default(),
                    ),
                    (
                        "BARMAN_REMOTE_COMMAND",
                        recovery.remote_command.clone().unwrap_or_default(),
                    ),
                    ("BARMAN_RECOVER_OPTIONS", recovery.recover_options.clone()),
                ]);
                environment
            }
        }
    }
}

impl BackupVariables {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BARMAN_BACKUP_DIR", self.backup_dir.display().to_string()),
            (
                "BARMAN_BACKUP_INFO_PATH",
                self.backup_info_path.display().to_string(),
            ),
            ("BARMAN_BACKUP_ID", self.backup_id.clone()),
            ("BARMAN_PREVIOUS_ID", self.previous_id.clone().unwrap_or_default()),
            ("BARMAN_NEXT_ID", self.next_id.clone().unwrap_or_default()),
            ("BARMAN_STATUS", self.status.clone()),
        ]
    }
}
