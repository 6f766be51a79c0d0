//! The log file: Barman's line format, appended to a file that may be rotated away underneath.
//!
//! The file is looked at before each line (Python's `WatchedFileHandler`), so that logrotate needs no signal. A log
//! file that cannot be opened is replaced by standard error, with a warning.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::{Level, LevelFilter, Record};

use super::redaction::redacted;
use crate::base::calendar;
use crate::base::error::{PathContext, PathError};

/// How and where to log.
#[derive(Debug, Clone)]
pub struct Logging {
    /// The log file; standard error if there is none.
    pub path: Option<PathBuf>,
    /// The least severe level.
    pub level: LevelFilter,
    /// The layout of a line, in the notation of Python's `logging`.
    pub layout: String,
}

/// Starts to log. Called once; a second call changes nothing.
pub fn start(logging: Logging) {
    let Logging { path, level, layout } = logging;
    let opened = path.map(WatchedFile::open);
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(level)
        .format(move |buffer, record| buffer.write_all(line(&layout, record).as_bytes()));
    let refused = match opened {
        Some(Ok(file)) => {
            builder.target(env_logger::Target::Pipe(Box::new(file)));
            None
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    if builder.try_init().is_err() {
        return;
    }
    if let Some(error) = refused {
        log::warn!(
            target: "barman.utils",
            "Failed opening the requested log file. Using standard error instead. ({error})"
        );
    }
}

/// The level of a word or a number of the configuration or the command line; `None` for a word that is none.
#[must_use]
pub fn level(word: &str) -> Option<LevelFilter> {
    let number = match word.to_ascii_uppercase().as_str() {
        "NOTSET" => 0,
        "DEBUG" => 10,
        "INFO" => 20,
        "WARNING" | "WARN" => 30,
        "ERROR" => 40,
        "CRITICAL" | "FATAL" => 50,
        other => other.trim().parse::<i64>().ok()?,
    };
    Some(match number {
        ..10 => LevelFilter::Trace,
        10..20 => LevelFilter::Debug,
        20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=40 => LevelFilter::Error,
        _ => LevelFilter::Off,
    })
}

/// The name of the logger: Barman's, where the line of the code gives none. People's log filters know them.
fn logger(target: &str) -> &str {
    let Some(module) = target.strip_prefix("barkeep::") else {
        return target;
    };
    match module.split("::").next().unwrap_or_default() {
        "backup" => "barman.backup_executor",
        "catalog" => "barman.backup",
        "archive" => "barman.wal_archiver",
        "recovery" => "barman.recovery_executor",
        "check" | "cron" | "status" => "barman.server",
        "hooks" => "barman.hooks",
        "copy" | "agent" => "barman.copy_controller",
        "transport" => "barman.command_wrappers",
        "postgres" => "barman.postgres",
        "config" => "barman.config",
        "codec" => "barman.compression",
        "base" => "barman.utils",
        _ => "barman.cli",
    }
}

/// One record in the layout, with its line end.
fn line(layout: &str, record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug | Level::Trace => "DEBUG",
    };
    let message = record.args().to_string();
    let mut text = layout
        .replace(
            "%(asctime)s",
            &calendar::now().format("%Y-%m-%d %H:%M:%S,%3f").to_string(),
        )
        .replace("%(levelname)s", level)
        .replace("%(name)s", logger(record.target()));
    for process in ["%(process)s", "%(process)d"] {
        text = text.replace(process, &std::process::id().to_string());
    }
    // Last, because a message may contain anything.
    text = text.replace("%(message)s", &redacted(&message));
    text.push('\n');
    text
}

/// A file that is opened anew when its path leads to another file.
struct WatchedFile {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
}

impl WatchedFile {
    fn open(path: PathBuf) -> Result<WatchedFile, PathError> {
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            fs::create_dir_all(directory).at("create", directory)?;
        }
        let file = append(&path)?;
        let identity = identity(&file.metadata().at("look at", &path)?);
        Ok(WatchedFile { path, file, identity })
    }

    fn follow(&mut self) {
        let current = fs::metadata(&self.path).map(|metadata| identity(&metadata));
        if current.is_ok_and(|current| current == self.identity) {
            return;
        }
        match WatchedFile::open(self.path.clone()) {
            Ok(new) => *self = new,
            // The old file still takes the lines; say once a line why they are there.
            Err(error) => {
                let _ = writeln!(self.file, "cannot follow the log file: {error}");
            }
        }
    }
}

impl Write for WatchedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.follow();
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> Result<File, PathError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .at("open", path)
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_barmans() {
        let text = line(
            "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s",
            &Record::builder()
                .level(Level::Warn)
                .target("barman.server")
                .args(format_args!("conninfo password=x %(name)s"))
                .build(),
        );
        let (time, rest) = text.split_once(" [").unwrap();
        assert_eq!(time.len(), "2026-11-21 02:00:48,353".len());
        assert_eq!(time.as_bytes()[19], b',');
        assert_eq!(
            rest,
            format!(
                "{}] barman.server WARNING: conninfo password=*REDACTED* %(name)s\n",
                std::process::id()
            )
        );
    }

    #[test]
    fn words_and_numbers_are_levels() {
        assert_eq!(level("debug"), Some(LevelFilter::Debug));
        assert_eq!(level("30"), Some(LevelFilter::Warn));
        assert_eq!(level("CRITICAL"), Some(LevelFilter::Off));
        assert_eq!(level("loud"), None);
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let directory = std::env::temp_dir().join(format!("barkeep-log-{}", std::process::id()));
        let path = directory.join("deep/barman.log");
        let mut file = WatchedFile::open(path.clone()).unwrap();
        file.write_all(b"one\n").unwrap();
        fs::rename(&path, directory.join("old.log")).unwrap();
        file.write_all(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(directory.join("old.log")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(&directory).unwrap();
    }
}
