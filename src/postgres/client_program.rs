//! The client programs of PostgreSQL on this host: where they are, and whether they fit the server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::process;

use super::version::{PgVersion, major_of};

/// A client program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgram {
    /// Where it is.
    pub path: PathBuf,
    /// The version it prints: `15.18`.
    pub version: Option<String>,
}

impl ClientProgram {
    /// Looks for the first of `names` that is in a directory of `path_prefix` or of `PATH`, and asks for its version.
    #[must_use]
    pub fn find(names: &[&str], path_prefix: Option<&str>) -> Option<ClientProgram> {
        let path = names.iter().find_map(|name| search(name, path_prefix))?;
        let version = process::output(Command::new(&path).arg("--version"))
            .ok()
            .and_then(|output| version_word(&String::from_utf8_lossy(&output.stdout)));
        Some(ClientProgram { path, version })
    }

    /// Its major version (that of 9.6 is 9); `None` when its version is unknown.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        Some(ordinal(self.version.as_deref()?)? / 100)
    }

    /// Whether the program can talk to a server: one of its own version or older. `None` when its version is unknown.
    #[must_use]
    pub fn fits(&self, server: PgVersion) -> Option<bool> {
        let client = self.version.as_deref().and_then(ordinal)?;
        Some(server >= PgVersion::MINIMAL && major(server) <= client)
    }
}

fn search(name: &str, path_prefix: Option<&str>) -> Option<PathBuf> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(path_prefix.unwrap_or_default())
        .chain(std::env::split_paths(&inherited))
        .map(|directory| directory.join(name))
        .find(|path| executable(path))
}

fn executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// `pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-1)` → `15.18`.
fn version_word(text: &str) -> Option<String> {
    let mut depth = 0_u32;
    let plain: String = text
        .chars()
        .filter(|character| {
            match character {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect();
    plain.split_whitespace().nth(1).map(str::to_owned)
}

/// `15.18` → 1500, `9.6.24` → 906.
fn ordinal(text: &str) -> Option<u32> {
    let major = major_of(text);
    let mut parts = major.split('.').map(str::parse::<u32>);
    let first = parts.next()?.ok()?;
    let second = match parts.next() {
        Some(second) => second.ok()?,
        None => 0,
    };
    first.checked_mul(100)?.checked_add(second)
}

fn major(version: PgVersion) -> u32 {
    if version.at_least(10) {
        version.0 / 10_000 * 100
    } else {
        version.0 / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_client_programs() {
        assert_eq!(
            version_word("pg_receivewal (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(),
            Some("15.18")
        );
        assert_eq!(version_word("nonsense"), None);
        assert_eq!(ordinal("9.6.24"), Some(906));
        assert_eq!(ordinal("17beta1"), Some(1700));
        assert!(ordinal("9.6.1") < ordinal("10.0"));
        assert_eq!(ordinal("99999999999.1"), None);
        assert_eq!(major(PgVersion(90_624)), 906);
        assert_eq!(major(PgVersion(150_018)), 1500);
    }

    #[test]
    fn an_older_program_does_not_fit_a_newer_server() {
        let program = |version: &str| ClientProgram {
            path: PathBuf::new(),
            version: Some(version.to_owned()),
        };
        assert_eq!(program("15.18").fits(PgVersion(150_002)), Some(true));
        assert_eq!(program("16.1").fits(PgVersion(90_624)), Some(true));
        assert_eq!(program("9.6.24").fits(PgVersion(150_002)), Some(false));
        assert_eq!(program("strange").fits(PgVersion(150_002)), None);
        assert_eq!(
            (program("9.6.1").major(), program("17beta1").major()),
            (Some(9), Some(17))
        );
    }

    #[test]
    fn the_prefix_is_searched_first() {
        let found = ClientProgram::find(&["no-such-program", "sh"], Some("/nonexistent:/bin"));
        assert_eq!(found.map(|program| program.path), Some(PathBuf::from("/bin/sh")));
        assert_eq!(ClientProgram::find(&["no-such-program"], None), None);
    }
}
