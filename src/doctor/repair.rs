//! What can be repaired on this host without a question: directories that are missing, locks that nobody holds.

use crate::base::durable;
use crate::base::error::PathError;
use crate::catalog::{Catalog, locks};
use crate::config::ServerConfig;

/// What was done, and what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs {
    /// What was done.
    pub done: Vec<String>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
}

/// Creates the directories of a server, and removes lock files that nobody holds, as `cron` does.
#[must_use]
pub fn repair(server: &ServerConfig) -> Repairs {
    let mut repairs = Repairs::default();
    if let Ok(catalog) = Catalog::of(server) {
        let missing = catalog
            .layout()
            .directories()
            .into_iter()
            .filter(|path| !path.is_dir());
        for path in missing {
            repairs.note(
                durable::create_dir_all(path),
                format!("created the directory {}", path.display()),
            );
        }
    }
    let directory = &server.barman_lock_directory;
    if !directory.is_dir() {
        repairs.note(
            durable::create_dir_all(directory),
            format!("created the directory {}", directory.display()),
        );
        return repairs;
    }
    match locks::clean(directory) {
        Ok(cleaned) => {
            repairs.done.extend(
                cleaned
                    .removed
                    .iter()
                    .map(|path| format!("removed {}, which nobody held", path.display())),
            );
            repairs
                .failed
                .extend(cleaned.failed.iter().map(ToString::to_string));
        }
        Err(error) => repairs.failed.push(error.to_string()),
    }
    repairs
}

impl Repairs {
    fn note(&mut self, outcome: Result<(), PathError>, what: String) {
        match outcome {
            Ok(()) => self.done.push(what),
            Err(error) => {
                let reason = error.to_string();
                // One directory above all of them may be the reason.
                if !self.failed.contains(&reason) {
                    self.failed.push(reason);
                }
            }
        }
    }
}
