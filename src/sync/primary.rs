//! Asking the primary node, and remembering what it said: `primary.info`, and in `sync-wals.info` how far its WAL archive has
//! been copied (catalog reference §9).

use std::fs;
use std::path::Path;

use crate::base::durable;
use crate::base::error::PathError;
use crate::base::report::Reporter;
use crate::base::shell;
use crate::catalog::{BackupId, Catalog, Layout};
use crate::config::ServerConfig;
use crate::postgres::wal_name::SegmentName;
use crate::transport::{Channel, Remote, SshOptions};

use super::{Since, SyncError, Told, holding};

/// The connection to the primary node.
///
/// # Errors
/// The server is not passive, or `primary_ssh_command` cannot be taken apart.
pub fn connect(config: &ServerConfig) -> Result<Remote, SyncError> {
    let command = config
        .primary_ssh_command
        .as_deref()
        .ok_or_else(|| SyncError::NotPassive(config.name.clone()))?;
    // Barman adds no options to it.
    Ok(Remote::ssh(command, SshOptions::RESTORE)?)
}

/// Asks the primary node for all it has.
///
/// # Errors
/// It does not answer, or not with a document.
pub fn ask_for_everything(config: &ServerConfig, configuration: &Path) -> Result<String, SyncError> {
    Asking {
        config,
        configuration,
        remote: connect(config)?,
    }
    .ask(None)
    .map(|(text, _)| text)
}

/// Asks the primary node for what is new. When it cannot say what follows the last WAL file that was copied, it is asked for
/// everything.
///
/// # Errors
/// As [`ask_for_everything`].
pub fn ask(
    config: &ServerConfig,
    catalog: &Catalog,
    configuration: &Path,
    reporter: &dyn Reporter,
) -> Result<Told, SyncError> {
    let asking = Asking {
        config,
        configuration,
        remote: connect(config)?,
    };
    let since = reached(catalog.layout())?;
    let answer = match asking.ask(since.as_ref()) {
        Err(SyncError::Primary { said, .. }) if since.is_some() && said.contains("last_wal '") => {
            reporter.warning(&format!(
                "sync-info is out of sync. Self-recovery procedure started: requesting full synchronisation from \
                 primary server {}",
                config.name
            ));
            asking.ask(None)
        }
        other => other,
    };
    Ok(answer?.1)
}

struct Asking<'a> {
    config: &'a ServerConfig,
    configuration: &'a Path,
    remote: Remote,
}

impl Asking<'_> {
    /// One question; what can be used of the answer replaces the last one.
    fn ask(&self, since: Option<&Since>) -> Result<(String, Told), SyncError> {
        let output = self.remote.run(&self.command(since))?;
        let server = &self.config.name;
        if output.code != 0 {
            return Err(SyncError::Primary {
                server: server.clone(),
                said: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        let text = String::from_utf8(output.stdout).map_err(|error| SyncError::Answer(error.to_string()))?;
        let told = Told::parse(&text)?;
        let catalog = Catalog::of(self.config)?;
        catalog.create_directories()?;
        durable::write(&catalog.layout().primary_info_path(), text.as_bytes())?;
        Ok((text, told))
    }

    /// Barman's words, to the blank: a forced command may compare them.
    fn command(&self, since: Option<&Since>) -> String {
        let mut command = program(self.config, self.configuration);
        command.push_str(&format!(" {}", word(&self.config.name)));
        if let Some(since) = since {
            let position = since.position.unwrap_or_default().to_string();
            command.push_str(&format!(" {}  {position} ", since.wal));
        }
        command
    }
}

/// The beginning of every question.
fn program(config: &ServerConfig, configuration: &Path) -> String {
    if config.forward_config_path {
        format!("barman -c {} sync-info", word(&configuration.to_string_lossy()))
    } else {
        "barman sync-info".to_owned()
    }
}

/// Has the primary node keep a backup until what this returns is dropped, if it can.
pub(super) fn hold(
    remote: &Remote,
    config: &ServerConfig,
    configuration: &Path,
    id: &BackupId,
) -> Option<Channel> {
    let program = program(config, configuration);
    holding::ask(
        remote,
        &format!("{program} --hold {} {}", word(id.as_str()), word(&config.name)),
    )
}

/// A word of a command line, quoted when it has to be.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        shell::quote(text)
    }
}

/// What the primary node said last.
///
/// # Errors
/// It was never asked, or said something else.
pub fn last_told(layout: &Layout) -> Result<Told, SyncError> {
    let path = layout.primary_info_path();
    match fs::read_to_string(&path) {
        Ok(text) => Told::parse(&text),
        Err(error) => Err(SyncError::NeverAsked {
            server: layout.server.clone(),
            path,
            source: error,
        }),
    }
}

/// How far the WAL archive of the primary node has been copied. `None`, which means that everything is to be compared: it
/// was not copied at all, the file cannot be understood, or what came last is no segment. After the history of a new timeline
/// segments of the old one may follow, and a Barman that is asked for what comes after the history does not name them.
pub fn reached(layout: &Layout) -> Result<Option<Since>, PathError> {
    let path = layout.sync_wals_info_path();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("read", &path, error)),
    };
    let since = text.trim_end().split_once('\t').and_then(|(wal, position)| {
        let position: u64 = position.parse().ok()?;
        SegmentName::parse(wal)?;
        Some(Since {
            wal: wal.to_owned(),
            // The command line takes no 0.
            position: Some(position.max(1)),
        })
    });
    if since.is_none() {
        log::info!(target: "barman.server", "\"{}\" does not end with a segment: asking for everything", path.display());
    }
    Ok(since)
}

/// Notes how far the WAL archive of the primary node has been copied.
pub(super) fn note_reached(layout: &Layout, told: &Told) -> Result<(), PathError> {
    if told.last_name.is_empty() {
        return Ok(());
    }
    let path = layout.sync_wals_info_path();
    let text = format!("{}\t{}", told.last_name, told.last_position);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    durable::write(&path, text.as_bytes())
}
