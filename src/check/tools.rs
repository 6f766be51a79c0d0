//! PostgreSQL's client programs: where they are, and which version they have.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::process;
use crate::postgres::version::{major_of, server_text};

/// A client program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its version: `15.18`.
    pub(super) version: Option<String>,
}

impl Tool {
    /// Looks for the first of `names` in the directories of `path_prefix`, then in those of `PATH`.
    #[must_use]
    pub(super) fn find(names: &[&str], path_prefix: Option<&str>) -> Option<Tool> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = path_prefix
            .map(|prefix| env::split_paths(prefix).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .chain(env::split_paths(&inherited))
            .collect();
        let path = names
            .iter()
            .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
            .find(|path| is_program(path))?;
        Some(Tool {
            version: version(&path),
            path,
        })
    }

    /// Whether the program can talk to a server: it must not be older.
    #[must_use]
    pub(super) fn serves(&self, server: &str) -> bool {
        let number = |version: &str| -> Option<f64> { major_of(version).parse().ok() };
        self.version
            .as_deref()
            .and_then(number)
            .zip(number(server))
            .is_some_and(|(tool, server)| server <= tool)
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The version a program prints: `pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(path: &Path) -> Option<String> {
    let output = process::output(Command::new(path).arg("--version")).ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

fn version_in(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().filter(|word| !word.starts_with('('));
    let version = words.nth(1)?;
    let starts_well = version.starts_with(|first: char| first.is_ascii_digit());
    starts_well.then(|| server_text(&format!("PostgreSQL {version}")).unwrap_or_else(|| version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        let printed = "pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(version_in(printed).as_deref(), Some("15.18"));
        assert_eq!(
            version_in("pg_basebackup (PostgreSQL) 9.6.24"),
            Some("9.6.24".to_owned())
        );
        assert_eq!(
            version_in("pg_basebackup (PostgreSQL) 18beta1"),
            Some("18beta1".to_owned())
        );
        assert_eq!(version_in("usage: something"), None);
    }

    #[test]
    fn an_older_program_cannot_talk_to_a_newer_server() {
        let tool = |version: &str| Tool {
            path: PathBuf::new(),
            version: Some(version.to_owned()),
        };
        assert!(tool("15.18").serves("15.2"));
        assert!(tool("16.1").serves("9.6.24"));
        assert!(!tool("9.6.24").serves("15.2"));
        assert!(!tool("15.18").serves("16.0"));
    }
}
