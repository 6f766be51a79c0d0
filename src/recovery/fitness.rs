//! Whether the directories of the destination may be written to.
//!
//! Without `--delta-restore` they must be empty or absent, hidden files included. With it, everything in them that is not in
//! the backup is removed (gotcha B47): so they must be what a restore or PostgreSQL made, and no server may run there.

use std::path::Path;

use super::destination::Destination;
use super::error::RestoreError;
use super::tablespaces::Relocation;

/// Names of which a data directory has at least one, also after a restore that was cut short.
const MARKS_OF_A_CLUSTER: [&str; 4] = ["PG_VERSION", ".barman-recover.info", "global", "base"];

/// The most names that a message lists.
const LISTED: usize = 5;

/// Checks every directory.
///
/// # Errors
/// A directory is not fit; the message says what to do.
pub fn check(
    destination: &Destination,
    data: &Path,
    shown: &str,
    tablespaces: &[Relocation],
    delta: bool,
) -> Result<(), RestoreError> {
    let found = destination.occupants(data)?;
    if delta {
        check_cluster(destination, data, &found)?;
    } else if !found.is_empty() {
        return Err(RestoreError::Destination(format!(
            "The restore operation cannot proceed because the destination folder '{shown}' is not empty. To prevent \
             accidental data loss, the destination must be empty. Please choose a different location or manually \
             empty the folder.{}",
            hidden(&found)
        )));
    }
    for relocation in tablespaces {
        check_tablespace(destination, relocation, delta)?;
    }
    Ok(())
}

fn check_cluster(destination: &Destination, data: &Path, found: &[String]) -> Result<(), RestoreError> {
    let is_cluster = MARKS_OF_A_CLUSTER
        .iter()
        .any(|mark| found.iter().any(|name| name == mark));
    if !found.is_empty() && !is_cluster {
        return Err(RestoreError::Destination(format!(
            "The destination directory '{}' is not a PostgreSQL data directory: --delta-restore would remove everything \
             in it.\nHINT: Restore into an empty directory, or name the data directory of the cluster to replace",
            data.display()
        )));
    }
    match destination.postmaster(data)? {
        Some(pid) => Err(RestoreError::Destination(format!(
            "A PostgreSQL server (pid {pid}) is running in the destination directory '{}'.\n\
             HINT: Stop it first; if the pid belongs to something else, remove postmaster.pid",
            data.display()
        ))),
        None => Ok(()),
    }
}

fn check_tablespace(
    destination: &Destination,
    relocation: &Relocation,
    delta: bool,
) -> Result<(), RestoreError> {
    let location = &relocation.location;
    let found = destination.occupants(location)?;
    let name = &relocation.tablespace.name;
    if delta {
        if found.is_empty() || found.iter().any(|name| name.starts_with("PG_")) {
            return Ok(());
        }
        return Err(RestoreError::Destination(format!(
            "The destination path '{}' for the tablespace '{name}' is not a tablespace of PostgreSQL: --delta-restore \
             would remove everything in it.\nHINT: Use --tablespace {name}:LOCATION to name another directory",
            location.display()
        )));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(RestoreError::Destination(format!(
        "The restore operation cannot proceed. The destination path '{}' for the tablespace '{name}' is not empty. To \
         prevent accidental data loss, the tablespace destination must be empty. Please choose a different location \
         or manually empty the folder.{}",
        location.display(),
        hidden(&found)
    )))
}

/// Checks the directory that WAL is put in before PostgreSQL reads it: when recovery ends, it is removed with
/// everything in it, and a strange segment in it would be replayed.
///
/// # Errors
/// It holds something.
pub fn check_staging(destination: &Destination, directory: &Path, delta: bool) -> Result<(), RestoreError> {
    let found = destination.occupants(directory)?;
    if delta || found.is_empty() {
        return Ok(());
    }
    Err(RestoreError::Destination(format!(
        "The WAL staging directory '{}' is not empty, and it is removed when recovery ends.\n\
         HINT: Name a directory that does not exist, or empty it",
        directory.display()
    )))
}

/// Where nothing but hidden files is in the way, they are named: `ls` does not show them.
fn hidden(found: &[String]) -> String {
    if found.iter().any(|name| !name.starts_with('.')) {
        return String::new();
    }
    let more = if found.len() > LISTED { ", …" } else { "" };
    let names: Vec<&str> = found.iter().take(LISTED).map(String::as_str).collect();
    format!("\nHINT: It holds hidden files: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("barkeep-fitness-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn checked(path: &Path, delta: bool) -> Result<(), String> {
        check(&Destination::local(), path, "typed", &[], delta).map_err(|error| error.to_string())
    }

    #[test]
    fn hidden_files_are_in_the_way() {
        let scratch = scratch("hidden");
        assert_eq!(checked(&scratch.0, false), Ok(()));
        fs::write(scratch.0.join(".x"), "").unwrap();
        let text = checked(&scratch.0, false).unwrap_err();
        assert!(
            text.starts_with("The restore operation cannot proceed because the destination folder 'typed'")
        );
        assert!(text.ends_with("hidden files: .x"));
    }

    #[test]
    fn a_delta_restore_takes_only_a_cluster_that_is_down() {
        let scratch = scratch("delta");
        assert_eq!(checked(&scratch.0, true), Ok(()));
        fs::write(scratch.0.join("thesis.odt"), "").unwrap();
        assert!(
            checked(&scratch.0, true)
                .unwrap_err()
                .contains("not a PostgreSQL data directory")
        );
        fs::write(scratch.0.join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(checked(&scratch.0, true), Ok(()));
        fs::write(
            scratch.0.join("postmaster.pid"),
            format!("{}\n", std::process::id()),
        )
        .unwrap();
        assert!(checked(&scratch.0, true).unwrap_err().contains("is running"));
    }
}
