//! Hook scripts: shell commands of the operator's, run before and after what barkeep does
//! (behaviour reference §22; configuration options `pre_backup_script` and its nineteen relatives).
//!
//! Before an event runs the standard script, then the retry script; after it the retry script, then the standard one.
//! The exit code of a standard script changes nothing. A retry script is run again until it ends with 0 (go on), 62
//! (give up the script, go on) or 63 (before the event: do not do it).

mod run;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::config::ServerConfig;

pub use run::Pace;
pub use variables::{BackupVariables, HookSubject, RecoveryVariables, WalVariables};

/// What a hook surrounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookEvent {
    /// A backup.
    Backup,
    /// The deletion of one backup.
    Delete,
    /// The archiving of one WAL file.
    Archive,
    /// The removal of one WAL file from the archive.
    WalDelete,
    /// A restore.
    Recovery,
}

/// Which side of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before it.
    Pre,
    /// After it, whether it succeeded or failed.
    Post,
}

/// Why what follows a hook must not happen.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A retry script ended with 63. The text is Barman's.
    #[error("Abort '{hook}' retry hook script ({command}, exit code: 63)")]
    Aborted {
        /// The option that names the script: `pre_backup_retry_script`.
        hook: String,
        /// The script.
        command: String,
    },
    /// The program was asked to stop while a script ran or waited for its next run.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A script could not be run at all. Logged, and treated as a script that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct CannotRun(#[from] pub(crate) PathError);

/// The hook scripts of one server.
#[derive(Debug, Clone)]
pub struct HookRunner {
    server: String,
    configuration: PathBuf,
    path_prefix: Option<String>,
    /// The scripts, by the name of their option.
    scripts: BTreeMap<String, String>,
    pace: Pace,
}

impl HookRunner {
    /// The hooks that a server's configuration names. `configuration` is the path of the main configuration file.
    #[must_use]
    pub fn of_server(config: &ServerConfig, configuration: &Path) -> HookRunner {
        let scripts = [
            ("pre_backup_script", &config.pre_backup_script),
            ("pre_backup_retry_script", &config.pre_backup_retry_script),
            ("post_backup_script", &config.post_backup_script),
            ("post_backup_retry_script", &config.post_backup_retry_script),
            ("pre_delete_script", &config.pre_delete_script),
            ("pre_delete_retry_script", &config.pre_delete_retry_script),
            ("post_delete_script", &config.post_delete_script),
            ("post_delete_retry_script", &config.post_delete_retry_script),
            ("pre_archive_script", &config.pre_archive_script),
            ("pre_archive_retry_script", &config.pre_archive_retry_script),
            ("post_archive_script", &config.post_archive_script),
            ("post_archive_retry_script", &config.post_archive_retry_script),
            ("pre_wal_delete_script", &config.pre_wal_delete_script),
            ("pre_wal_delete_retry_script", &config.pre_wal_delete_retry_script),
            ("post_wal_delete_script", &config.post_wal_delete_script),
            (
                "post_wal_delete_retry_script",
                &config.post_wal_delete_retry_script,
            ),
            ("pre_recovery_script", &config.pre_recovery_script),
            ("pre_recovery_retry_script", &config.pre_recovery_retry_script),
            ("post_recovery_script", &config.post_recovery_script),
            ("post_recovery_retry_script", &config.post_recovery_retry_script),
        ];
        let named = scripts
            .into_iter()
            .filter_map(|(option, script)| Some((option, script.as_deref()?)));
        HookRunner::new(&config.name, configuration, config.path_prefix.as_deref(), named)
    }

    /// Hooks given one by one: the name of the option and the shell command.
    #[must_use]
    pub fn new<'a>(
        server: &str,
        configuration: &Path,
        path_prefix: Option<&str>,
        scripts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> HookRunner {
        HookRunner {
            server: server.to_owned(),
            configuration: configuration.to_path_buf(),
            path_prefix: path_prefix.map(str::to_owned),
            scripts: scripts
                .into_iter()
                .map(|(option, script)| (option.to_owned(), script.to_owned()))
                .collect(),
            pace: Pace::default(),
        }
    }

    /// The same hooks with other pauses between the runs of a retry script.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> HookRunner {
        HookRunner { pace, ..self }
    }

    /// Whether a script is configured for this event and phase: without one the caller can save itself the trouble of
    /// collecting the variables.
    #[must_use]
    pub fn concerns(&self, event: HookEvent, phase: Phase) -> bool {
        [false, true]
            .iter()
            .any(|retry| self.scripts.contains_key(&option_name(event, phase, *retry)))
    }

    /// Runs the scripts that come before an event.
    ///
    /// # Errors
    /// A retry script ended with 63, or the program was asked to stop: the event must not happen.
    pub fn before(&self, event: HookEvent, subject: &HookSubject) -> Result<(), HookError> {
        self.standard(event, Phase::Pre, subject, None);
        self.with_retries(event, Phase::Pre, subject, None)
    }

    /// Runs the scripts that come after an event; `error` says why it failed, if it did (`BARMAN_ERROR`). They run
    /// even when the program was asked to stop, but are then not repeated.
    pub fn after(&self, event: HookEvent, subject: &HookSubject, error: Option<&str>) {
        if let Err(reason) = self.with_retries(event, Phase::Post, subject, error) {
            let option = option_name(event, Phase::Post, true);
            log::warn!(target: "barman.hooks", "Ignoring the end of hook script '{option}': {reason}");
        }
        self.standard(event, Phase::Post, subject, error);
    }

    fn environment(
        &self,
        event: HookEvent,
        phase: Phase,
        retry: bool,
        subject: &HookSubject,
        error: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let base = option_name(event, phase, retry);
        let hook = base.split_once('_').map_or(base.as_str(), |(_, hook)| hook);
        let mut environment = vec![
            ("BARMAN_VERSION", crate::BARMAN_LEVEL.to_owned()),
            ("BARMAN_SERVER", self.server.clone()),
            ("BARMAN_CONFIGURATION", self.configuration.display().to_string()),
            ("BARMAN_HOOK", hook.to_owned()),
            ("BARMAN_PHASE", phase.keyword().to_owned()),
            ("BARMAN_RETRY", if retry { "1" } else { "0" }.to_owned()),
            ("BARMAN_ERROR", error.unwrap_or_default().to_owned()),
        ];
        environment.extend(subject.environment());
        environment
    }
}

impl Phase {
    /// `pre` or `post`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Phase::Pre => "pre",
            Phase::Post => "post",
        }
    }
}

fn option_name(event: HookEvent, phase: Phase, retry: bool) -> String {
    let event = match event {
        HookEvent::Backup => "backup",
        HookEvent::Delete => "delete",
        HookEvent::Archive => "archive",
        HookEvent::WalDelete => "wal_delete",
        HookEvent::Recovery => "recovery",
    };
    let kind = if retry { "retry_script" } else { "script" };
    format!("{}_{event}_{kind}", phase.keyword())
}

#[cfg(test)]
mod tests;
