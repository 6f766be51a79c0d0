//! The recovery configuration: the lines, the signal file, and the edited copies of the cluster's own files
//! (behaviour reference §17.4, §17.5).
//!
//! Everything is computed from the files in the backup, before the first byte is copied: what will be written is known,
//! can be shown, and does not depend on what the destination can read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::calendar;
use crate::base::error::PathError;

use super::options::{TargetAction, TargetTimeline};
use super::originals::Originals;
use super::settings::{self, Change, Include, Warning};
use super::target::{Target, Targets};

/// How deep PostgreSQL follows includes.
const DEEPEST_INCLUDE: usize = 10;

/// How the restored server gets its WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalSource {
    /// It is in the WAL directory already: no command.
    InPlace,
    /// From a directory on its own host.
    Staged {
        /// The directory, removed when recovery ends.
        directory: PathBuf,
    },
    /// By the operator's own command.
    Custom(String),
    /// By `barman get-wal` on this host.
    GetWal {
        /// The server's name.
        server: String,
        /// The user the command must run as.
        user: String,
        /// Whether incomplete segments are delivered too (not to standbys).
        partial: bool,
    },
    /// By `barman-wal-restore` from another host.
    WalRestore {
        /// The server's name.
        server: String,
        /// The user on the Barman host.
        user: String,
        /// The Barman host.
        host: String,
        /// The ssh port, when not the default.
        port: Option<String>,
        /// How many segments are fetched ahead, when more than one.
        jobs: u32,
        /// Whether incomplete segments are delivered too (not to standbys).
        partial: bool,
    },
}

/// What decides the recovery configuration.
#[derive(Debug, Clone)]
pub struct Recovery<'a> {
    /// `server_version_num`.
    pub version: u32,
    /// Where to stop.
    pub targets: &'a Targets,
    /// `--standby-mode`.
    pub standby: bool,
    /// Where WAL comes from.
    pub wal: WalSource,
}

impl Recovery<'_> {
    /// The lines, in Barman's order.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.wal.lines();
        match &self.targets.target {
            Some(Target::Time(time)) => {
                lines.push(setting("recovery_target_time", &calendar::python_str(time)));
            }
            Some(Target::Xid(xid)) => lines.push(setting("recovery_target_xid", xid)),
            Some(Target::Lsn(_, text)) => lines.push(setting("recovery_target_lsn", text)),
            Some(Target::Name(name)) => lines.push(setting("recovery_target_name", name)),
            Some(Target::Immediate) => lines.push(setting("recovery_target", "immediate")),
            None => {}
        }
        let can_exclude = matches!(
            self.targets.target,
            Some(Target::Time(_) | Target::Xid(_) | Target::Lsn(..))
        );
        if self.targets.exclusive && can_exclude {
            lines.push(setting("recovery_target_inclusive", "False"));
        }
        lines.extend(self.timeline());
        lines.extend(self.targets.action.map(|action| self.action(action)));
        if self.standby && self.version < 120_000 {
            lines.push(setting("standby_mode", "on"));
        }
        lines
    }

    /// Before PostgreSQL 12 the word `current` does not exist: it is what happens without the line.
    fn timeline(&self) -> Option<String> {
        self.targets
            .timeline
            .filter(|timeline| self.version >= 120_000 || *timeline != TargetTimeline::Current)
            .map(|timeline| format!("recovery_target_timeline = {timeline}"))
    }

    fn action(&self, action: TargetAction) -> String {
        if self.version < 90_500 {
            setting("pause_at_recovery_target", "on")
        } else {
            setting("recovery_target_action", action.word())
        }
    }
}

impl WalSource {
    fn lines(&self) -> Vec<String> {
        match self {
            WalSource::InPlace => Vec::new(),
            WalSource::Staged { directory } => {
                let directory = command_word(&directory.display().to_string());
                vec![
                    setting("restore_command", &format!("cp {directory}/%f %p")),
                    setting("recovery_end_command", &format!("rm -fr {directory}")),
                ]
            }
            WalSource::Custom(command) => vec![setting("restore_command", command)],
            WalSource::GetWal {
                server,
                user,
                partial,
            } => vec![
                format!("# The 'barman get-wal' command must run as '{user}' user"),
                setting(
                    "restore_command",
                    &format!(
                        "barman get-wal {} {} %f > %p",
                        if *partial { "-P" } else { "" },
                        command_word(server)
                    ),
                ),
            ],
            WalSource::WalRestore {
                server,
                user,
                host,
                port,
                jobs,
                partial,
            } => {
                let partial = if *partial { "-P " } else { "" };
                let port = port
                    .as_ref()
                    .map_or_else(String::new, |port| format!("--port {} ", command_word(port)));
                let ahead = if *jobs > 1 {
                    format!(" -p {jobs}")
                } else {
                    String::new()
                };
                let user = command_word(user);
                let server = command_word(server);
                vec![
                    "# The 'barman-wal-restore' command is provided in the 'barman-cli' package".to_owned(),
                    setting(
                        "restore_command",
                        &format!("barman-wal-restore {partial}-U {user} {port}{host} {server} %f %p{ahead}"),
                    ),
                ]
            }
        }
    }
}

/// `name = 'value'`, quotes doubled.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'", value.replace('\'', "''"))
}

/// A word of a command that PostgreSQL runs through a shell after replacing `%` sequences. Plain words stay as
/// they are.
fn command_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@+,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    crate::base::shell::quote(word).replace('%', "%%")
}

/// A file to write into the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Relative to the destination directory.
    pub path: PathBuf,
    /// The content.
    pub content: Vec<u8>,
    /// Permissions; `None` for a new file's (666 less the umask).
    pub mode: Option<u32>,
    /// The time of last change to give it; `None` for now.
    pub modified: Option<SystemTime>,
}

/// Everything that is written, and what there is to tell about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// The files, in the order of writing: each original before its edited copy.
    pub files: Vec<Written>,
    /// Lines switched off.
    pub changes: Vec<Change>,
    /// Lines to review.
    pub warnings: Vec<Warning>,
    /// Configuration files that the backup does not have.
    pub missing: Vec<String>,
    /// The name of the file that holds the recovery configuration.
    pub recovery_file: String,
}

/// Computes the files to write: `backup` holds the files of the backup's data directory, `file_name` the file for the recovery
/// configuration, `lines` the configuration (`None` when recovery needs none).
///
/// # Errors
/// A configuration file of the backup cannot be read.
pub fn edit<'a>(
    backup: impl Into<Originals<'a>>,
    version: u32,
    file_name: &str,
    lines: Option<&[String]>,
    standby: bool,
) -> Result<Edits, PathError> {
    let backup = backup.into();
    let modern = version >= 120_000;
    let mut edits = Edits {
        recovery_file: if modern { file_name } else { "recovery.conf" }.to_owned(),
        ..Edits::default()
    };
    let mut names = vec!["postgresql.conf".to_owned()];
    if version >= 90_400 {
        names.push("postgresql.auto.conf".to_owned());
    }
    for name in names
        .iter()
        .map(String::as_str)
        .chain(["pg_hba.conf", "pg_ident.conf"])
    {
        if !backup.has(Path::new(name)) {
            edits.missing.push(name.to_owned());
        }
    }
    // A file of another name is there afterwards, even where recovery needs no line.
    let special = modern && !names.contains(&edits.recovery_file);
    if special {
        names.push(edits.recovery_file.clone());
    }
    let appended = lines.or(special.then_some(&[])).filter(|_| modern);
    let mut editor = Editor {
        backup,
        seen: BTreeSet::new(),
        edits,
        superseded: superseded(lines.unwrap_or_default()),
    };
    for name in names {
        let appended = appended.filter(|_| name == editor.edits.recovery_file);
        editor.file(Path::new(&name), appended, DEEPEST_INCLUDE)?;
    }
    let mut edits = editor.edits;
    if let Some(lines) = lines {
        edits.files.extend(signal(modern, standby, lines));
    }
    Ok(edits)
}

/// The empty signal file, or before PostgreSQL 12 the whole `recovery.conf`.
fn signal(modern: bool, standby: bool, lines: &[String]) -> Option<Written> {
    let (name, content) = match (modern, standby) {
        (true, true) => ("standby.signal", String::new()),
        (true, false) => ("recovery.signal", String::new()),
        (false, _) => (
            "recovery.conf",
            lines.iter().map(|line| format!("{line}\n")).collect(),
        ),
    };
    Some(Written {
        path: PathBuf::from(name),
        content: content.into_bytes(),
        mode: None,
        modified: None,
    })
}

/// The settings that the recovery configuration sets: an older value elsewhere no longer counts.
fn superseded(lines: &[String]) -> BTreeSet<String> {
    lines
        .iter()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

struct Editor<'a> {
    backup: Originals<'a>,
    seen: BTreeSet<PathBuf>,
    edits: Edits,
    superseded: BTreeSet<String>,
}

impl Editor<'_> {
    /// Edits one file and those it includes; a file that does not exist is created when lines are to be appended,
    /// even none (a standby needs none).
    fn file(&mut self, path: &Path, appended: Option<&[String]>, depth: usize) -> Result<(), PathError> {
        if !self.seen.insert(path.to_path_buf()) {
            return Ok(());
        }
        let Some(original) = self.backup.file(path)? else {
            if let Some(lines) = appended {
                self.create(path, lines);
            }
            return Ok(());
        };
        let name = path.display().to_string();
        let mut review = settings::review(&name, &original.content);
        if let Some(lines) = appended.filter(|lines| !lines.is_empty()) {
            review.content.extend_from_slice(&block(lines));
        }
        let is_top = depth == DEEPEST_INCLUDE;
        // Files that another one includes are Barman's blind spot: they are touched only where it is needed.
        if is_top || !review.changes.is_empty() {
            let mode = original.mode;
            self.edits.files.push(Written {
                path: origin_of(path),
                ..original
            });
            self.edits.files.push(Written {
                path: path.to_path_buf(),
                content: review.content,
                mode,
                modified: None,
            });
        }
        self.edits.changes.extend(review.changes);
        let superseded = &self.superseded;
        self.edits.warnings.extend(
            review
                .warnings
                .into_iter()
                .filter(|warning| !superseded.contains(&warning.key)),
        );
        if depth > 0 {
            for include in review.includes {
                self.include(path, &include, depth - 1)?;
            }
        }
        Ok(())
    }

    fn include(&mut self, from: &Path, include: &Include, depth: usize) -> Result<(), PathError> {
        let beside = |name: &str| inside(&from.parent().unwrap_or(Path::new("")).join(name));
        match include {
            Include::File(name) => match beside(name) {
                Some(path) => self.file(&path, None, depth),
                None => Ok(()),
            },
            Include::Directory(name) => {
                let Some(directory) = beside(name) else {
                    return Ok(());
                };
                for path in self.backup.listed(&directory)? {
                    self.file(&path, None, depth)?;
                }
                Ok(())
            }
        }
    }

    fn create(&mut self, path: &Path, lines: &[String]) {
        let new = block(lines).split_off(1);
        for (path, content) in [(origin_of(path), Vec::new()), (path.to_path_buf(), new)] {
            self.edits.files.push(Written {
                path,
                content,
                mode: None,
                modified: None,
            });
        }
    }
}

/// The lines as appended to a file that exists: Barman begins with a line break, whatever the file ends with.
fn block(lines: &[String]) -> Vec<u8> {
    let mut block = String::from("\n");
    for line in lines {
        block.push_str(line);
        block.push('\n');
    }
    block.into_bytes()
}

fn origin_of(path: &Path) -> PathBuf {
    crate::base::durable::sibling(path, ".origin")
}

/// A path relative to the data directory that stays inside it.
fn inside(path: &Path) -> Option<PathBuf> {
    let plain = path.components().all(|component| {
        matches!(
            component,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    });
    (plain && path.components().next().is_some()).then(|| path.components().collect())
}

#[cfg(test)]
#[path = "configuration_tests.rs"]
mod tests;
