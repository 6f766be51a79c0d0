//! Processes at work on a server, found through the locks they hold.
//!
//! Barman looks for `.{server}-*.lock` and so takes the processes of a server `main-2` for those of `main`. Here the
//! name of a lock file has to be exactly one that this server's processes use.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::base::error::{PathContext, PathError};
use crate::base::lock::{LockError, LockFile};
use crate::base::process;
use crate::config::ServerConfig;

/// What processes do, as the names of their lock files end.
const TASKS: [&str; 5] = ["archive-wal", "backup", "cron", "receive-wal", "sync-wal"];

/// The task whose lock file also holds the id of a backup: `.{server}-{id}-sync-backup.lock`.
const SYNC_BACKUP: &str = "sync-backup";

/// How long a process may take to end before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process at work on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProcess {
    /// What it does: `backup`, `archive-wal`, `cron`, `receive-wal`, `sync-backup`, `sync-wal`.
    pub task: String,
    /// Its process id.
    pub pid: u32,
}

/// The processes at work on a server, in the order of the names of their lock files.
///
/// # Errors
/// The directory of lock files, or one of them, cannot be read.
pub fn running(config: &ServerConfig) -> Result<Vec<ServerProcess>, LockError> {
    let mut found = Vec::new();
    for name in lock_files(&config.barman_lock_directory)? {
        let Some(task) = task_of(&config.name, &name) else {
            continue;
        };
        if let Some(pid) = LockFile::owner(&config.barman_lock_directory.join(&name))? {
            found.push(ServerProcess {
                task: task.to_owned(),
                pid,
            });
        }
    }
    Ok(found)
}

/// Asks a process to stop, as Ctrl-C does, and waits for its end. Says whether it has ended.
///
/// # Errors
/// The signal could not be sent.
pub fn terminate(process: &ServerProcess) -> io::Result<bool> {
    process::signal(process.pid, Signal::SIGINT)?;
    let deadline = Instant::now() + PATIENCE;
    while process::alive(process.pid) {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// The names `.*.lock` of a directory, sorted. A directory that does not exist has none.
fn lock_files(directory: &Path) -> Result<Vec<String>, PathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new("read", directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.at("read", directory)?;
        if let Ok(name) = entry.file_name().into_string()
            && name.starts_with('.')
            && name.ends_with(".lock")
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The task that a lock file of this server stands for.
fn task_of(server: &str, file: &str) -> Option<&'static str> {
    let rest = file
        .strip_prefix('.')?
        .strip_prefix(server)?
        .strip_prefix('-')?
        .strip_suffix(".lock")?;
    if let Some(task) = TASKS.into_iter().find(|task| *task == rest) {
        return Some(task);
    }
    let id = rest.strip_suffix(SYNC_BACKUP)?.strip_suffix('-')?;
    is_backup_id(id).then_some(SYNC_BACKUP)
}

fn is_backup_id(text: &str) -> bool {
    text.len() == 15
        && text.bytes().enumerate().all(|(index, byte)| {
            if index == 8 {
                byte == b'T'
            } else {
                byte.is_ascii_digit()
            }
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::path::PathBuf;

    use super::*;

    fn lab(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("barkeep-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn locks_of_a_server_with_a_longer_name_are_not_ours() {
        assert_eq!(task_of("main", ".main-backup.lock"), Some("backup"));
        assert_eq!(task_of("main", ".main-2-backup.lock"), None);
        assert_eq!(task_of("main-2", ".main-2-backup.lock"), Some("backup"));
        assert_eq!(
            task_of("main", ".main-20260101T000000-sync-backup.lock"),
            Some("sync-backup")
        );
        assert_eq!(task_of("main", ".main-xlogdb.lock"), None);
        assert_eq!(task_of("main", ".main-20260101T000000.lock"), None);
    }

    #[test]
    fn only_held_locks_show_processes() {
        let directory = lab("processes");
        let config = ServerConfig {
            name: "main".to_owned(),
            barman_lock_directory: directory.clone(),
            ..ServerConfig::default()
        };
        fs::write(directory.join(".main-cron.lock"), "1\n").unwrap();
        let held = LockFile::try_acquire(&directory.join(".main-backup.lock")).unwrap();
        let backup = ServerProcess {
            task: "backup".to_owned(),
            pid: std::process::id(),
        };
        assert_eq!(running(&config).unwrap(), [backup]);
        drop(held);
        assert_eq!(running(&config).unwrap(), []);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_process_that_obeys_is_gone_and_reported_so() {
        // Whoever runs this in the background of a script has made it ignore the signal.
        let mut child = std::process::Command::new("perl")
            .args(["-e", "$| = 1; $SIG{INT} = 'DEFAULT'; print qq(ready\n); sleep 60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        let victim = ServerProcess {
            task: "backup".to_owned(),
            pid: child.id(),
        };
        // The child stays a zombie, which counts as alive, until it is waited for.
        let waiter = std::thread::spawn(move || child.wait());
        assert!(terminate(&victim).unwrap());
        waiter.join().unwrap().unwrap();
    }
}
