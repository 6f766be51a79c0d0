//! The client programs of PostgreSQL on this host: where they are, and whether they fit the server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::process;
use crate::config::ServerConfig;
use crate::postgres::facts::Facts;
use crate::postgres::shown::Fact;
use crate::postgres::version::{PgVersion, major_of};

/// A program that was found.
struct Tool {
    path: PathBuf,
    version: Option<String>,
}

/// What is listed about `pg_basebackup`.
pub(super) fn base_backup(config: &ServerConfig, facts: Option<&Facts>) -> Vec<(&'static str, Fact)> {
    let tool = find(config, "pg_basebackup");
    // Bandwidth limits and tablespace mapping came with 9.4; older clients have not been shipped for years.
    let capable = || tool.as_ref().map_or(Fact::Null, |_| Fact::Bool(true));
    vec![
        ("pg_basebackup_installed", Fact::Bool(tool.is_some())),
        ("pg_basebackup_path", path(tool.as_ref())),
        ("pg_basebackup_version", version(tool.as_ref())),
        ("pg_basebackup_compatible", compatible(tool.as_ref(), facts)),
        ("pg_basebackup_bwlimit", capable()),
        ("pg_basebackup_tbls_mapping", capable()),
    ]
}

/// What is listed about `pg_receivewal`, under its old name.
pub(super) fn receive_wal(config: &ServerConfig, facts: Option<&Facts>) -> Vec<(&'static str, Fact)> {
    let tool = find(config, "pg_receivewal").or_else(|| find(config, "pg_receivexlog"));
    let known = tool.as_ref().and(facts);
    let synchronous = known.map_or(Fact::Null, |facts| {
        let name = config.streaming_archiver_name.as_str();
        let names = &facts.synchronous_standby_names;
        Fact::Bool(names.iter().any(|listed| listed == name || listed == "*"))
    });
    vec![
        ("pg_receivexlog_installed", Fact::Bool(tool.is_some())),
        ("pg_receivexlog_path", path(tool.as_ref())),
        ("pg_receivexlog_version", version(tool.as_ref())),
        ("pg_receivexlog_compatible", compatible(tool.as_ref(), facts)),
        (
            "pg_receivexlog_supports_slots",
            known.map_or(Fact::Null, |_| Fact::Bool(true)),
        ),
        ("pg_receivexlog_synchronous", synchronous),
    ]
}

fn path(tool: Option<&Tool>) -> Fact {
    tool.map_or(Fact::Null, |tool| Fact::Text(tool.path.display().to_string()))
}

fn version(tool: Option<&Tool>) -> Fact {
    Fact::text(tool.and_then(|tool| tool.version.as_ref()))
}

/// A client fits servers of its own and of older versions.
fn compatible(tool: Option<&Tool>, facts: Option<&Facts>) -> Fact {
    let client = tool.and_then(|tool| tool.version.as_deref()).and_then(ordinal);
    match (client, facts) {
        (Some(client), Some(facts)) => {
            let server = facts.version;
            Fact::Bool(server >= PgVersion::MINIMAL && major(server) <= client)
        }
        _ => Fact::Null,
    }
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
    Some(first * 100 + second)
}

fn major(version: PgVersion) -> u32 {
    if version.at_least(10) {
        version.0 / 10_000 * 100
    } else {
        version.0 / 100
    }
}

/// Looks for a program in `path_prefix`, then in `PATH`, and asks for its version.
fn find(config: &ServerConfig, program: &str) -> Option<Tool> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let prefix = config.path_prefix.clone().unwrap_or_default();
    let path = std::env::split_paths(&prefix)
        .chain(std::env::split_paths(&inherited))
        .map(|directory| directory.join(program))
        .find(|path| executable(path))?;
    let version = process::output(Command::new(&path).arg("--version"))
        .ok()
        .and_then(|output| version_word(&String::from_utf8_lossy(&output.stdout)));
    Some(Tool { path, version })
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
        assert_eq!(major(PgVersion(90_624)), 906);
        assert_eq!(major(PgVersion(150_018)), 1500);
    }
}
