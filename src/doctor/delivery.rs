//! Whether `archive_command` brings WAL to this server's directories on this host.
//!
//! The proof is the last segment that PostgreSQL calls archived: it is here, or it went elsewhere. Where it went, the command
//! may tell.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::Finding;
use super::probe::{Answers, Postgres};
use crate::base::{calendar, shell};
use crate::catalog::Layout;
use crate::check::advice::{Advice, literal, proposed_command};
use crate::config::ServerConfig;

/// How long the name service may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a command does with a segment, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Delivery {
    /// `barman-wal-archive HOST SERVER %p`.
    Client { host: String, server: String },
    /// A copy to a directory, on another host or not.
    Copy { directory: String },
    /// Nothing: PostgreSQL forgets the segment.
    Nothing,
    /// A script, or something else.
    Unknown,
}

pub(super) fn examine(server: &ServerConfig, answers: &Answers) -> Option<Finding> {
    let postgres = answers.reached().filter(|_| server.archiver)?;
    let facts = &postgres.facts;
    let command = facts.archive_command.as_deref()?;
    if !matches!(facts.archive_mode.as_deref(), Some("on" | "always")) || command.is_empty() {
        return None; // said by the check
    }
    let delivery = understand(command, &server.name);
    if delivery == Delivery::Nothing {
        let advice = Advice::broken(format!("archive_command ({command}) throws all WAL away"));
        return Some(Finding::new("archive_command", repaired(advice, server)));
    }
    let layout = Layout::of(server).ok()?;
    let missing = undelivered(postgres, &layout);
    let fault = fault(server, &delivery);
    let cause = match (missing, fault) {
        // It came here by streaming, and goes to another server's archive as well.
        (None, Some(fault)) if matches!(delivery, Delivery::Client { .. }) && server.streaming_archiver => {
            fault
        }
        (None, _) => return None,
        (Some(missing), Some(fault)) => {
            format!("PostgreSQL has archived {missing}, and it is not here: {fault}")
        }
        // Without a success it may only be on its way.
        (Some(_), None) if facts.archiver.as_ref()?.is_archiving != Some(true) => return None,
        (Some(missing), None) => {
            format!("PostgreSQL has archived {missing}, and it is not here: where did \"{command}\" take it?")
        }
    };
    let advice = Advice::broken(cause);
    let finding = Finding::new("WAL delivery", repaired(advice, server));
    Some(with_client(finding, answers, &delivery))
}

fn repaired(advice: Advice, server: &ServerConfig) -> Advice {
    advice.sql(format!(
        "ALTER SYSTEM SET archive_command = {}; SELECT pg_reload_conf();",
        literal(&proposed_command(&server.name))
    ))
}

/// Says that the program of `archive_command` is not there, when it is not.
fn with_client(mut finding: Finding, answers: &Answers, delivery: &Delivery) -> Finding {
    let absent = answers
        .ssh
        .as_ref()
        .is_some_and(|ssh| ssh.user.is_some() && ssh.client.is_none());
    if absent && matches!(delivery, Delivery::Client { .. }) {
        finding.advice = finding
            .advice
            .note("barman-wal-archive is not in the PATH of the PostgreSQL host");
    }
    finding
}

/// The last archived segment, and when, if it is not here.
fn undelivered(postgres: &Postgres, layout: &Layout) -> Option<String> {
    let archiver = postgres.facts.archiver.as_ref()?;
    let name = archiver.last_archived_wal.as_deref()?;
    let archived = layout.wal_path(name).is_some_and(|path| path.exists());
    let waiting = [&layout.incoming, &layout.streaming, &layout.errors]
        .into_iter()
        .any(|directory| is_in(directory, name));
    if archived || waiting {
        return None;
    }
    let when = archiver.last_archived_time.as_ref().map(calendar::python_str);
    Some(format!(
        "{name} at {}",
        when.unwrap_or_else(|| "an unknown time".to_owned())
    ))
}

/// Whether a file of that name is there, with or without an ending that was added.
fn is_in(directory: &Path, name: &str) -> bool {
    crate::base::directory::names(directory)
        .unwrap_or_default()
        .iter()
        .any(|found| found.starts_with(name))
}

/// Reads a command. Of several deliveries that of `own`, the server's name, counts.
fn understand(command: &str, own: &str) -> Delivery {
    let Ok(words) = shell::split(command) else {
        return Delivery::Unknown;
    };
    let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let first = words.first().map(|word| program(word)).unwrap_or_default();
    if matches!(first.as_str(), "true" | ":" | "echo" | "exit") || (first == "cd" && words.len() <= 2) {
        return Delivery::Nothing;
    }
    let client = words.iter().any(|word| {
        matches!(
            program(word).as_str(),
            "barman-wal-archive" | "barkeep-wal-archive"
        )
    });
    let deliveries = || {
        words.windows(3).filter_map(|words| match words {
            [host, server, path] if client && path == "%p" => Some((host, server)),
            _ => None,
        })
    };
    let ours = deliveries().find(|(_, server)| *server == own);
    if let Some((host, server)) = ours.or_else(|| deliveries().next()) {
        return Delivery::Client {
            host: host.clone(),
            server: server.clone(),
        };
    }
    // rsync, scp, cp: `[user@host:]directory/%f`
    let target = words.iter().rev().find_map(|word| word.strip_suffix("/%f"));
    match target.map(|target| target.rsplit(':').next().unwrap_or_default()) {
        Some(directory) if directory.starts_with('/') => Delivery::Copy {
            directory: directory.trim_end_matches('/').to_owned(),
        },
        _ => Delivery::Unknown,
    }
}

/// What is wrong with where WAL goes.
fn fault(server: &ServerConfig, delivery: &Delivery) -> Option<String> {
    match delivery {
        Delivery::Client { server: named, .. } if *named != server.name => Some(format!(
            "archive_command names the server \"{named}\", and this one is \"{}\"",
            server.name
        )),
        Delivery::Client { host, .. } if leads_elsewhere(host) => Some(format!(
            "archive_command names the host \"{host}\", which is not this one ({})",
            crate::base::host::name()
        )),
        Delivery::Copy { directory } if Path::new(directory) != server.incoming_wals_directory => {
            Some(format!(
                "archive_command copies to {directory}, and the incoming directory of this server is {}",
                server.incoming_wals_directory.display()
            ))
        }
        _ => None,
    }
}

/// Whether a host name certainly means another host. One that cannot be resolved here means what it means there.
fn leads_elsewhere(host: &str) -> bool {
    let own = crate::base::host::name();
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    if host == own || short(host) == short(&own) {
        return false;
    }
    let name = host.to_owned();
    let (sender, addresses) = mpsc::channel();
    let started = std::thread::Builder::new().spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs();
        drop(sender.send(found.map(Iterator::collect::<Vec<_>>)));
    });
    if started.is_err() {
        return false;
    }
    match addresses.recv_timeout(PATIENCE) {
        Ok(Ok(addresses)) => !addresses.is_empty() && addresses.iter().all(|address| !is_own(address.ip())),
        _ => false,
    }
}

/// Whether an address is one of this host: only those can be bound to.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(host: &str, server: &str) -> Delivery {
        Delivery::Client {
            host: host.to_owned(),
            server: server.to_owned(),
        }
    }

    #[test]
    fn commands_are_read() {
        let copy = |directory: &str| Delivery::Copy {
            directory: directory.to_owned(),
        };
        for (command, delivery) in [
            ("barman-wal-archive backup main %p", client("backup", "main")),
            (
                "/usr/bin/barman-wal-archive -U barman --port 2222 backup main %p",
                client("backup", "main"),
            ),
            (
                "test ! -f /stop && rsync -a %p barman@backup:/var/lib/barman/main/incoming/%f",
                copy("/var/lib/barman/main/incoming"),
            ),
            (
                "barman-wal-archive old other %p && barman-wal-archive backup main %p",
                client("backup", "main"),
            ),
            ("barman-wal-archive backup other %p", client("backup", "other")),
            ("cp %p '/srv/wal archive/%f'", copy("/srv/wal archive")),
            ("/bin/true", Delivery::Nothing),
            ("cd .", Delivery::Nothing),
            ("exit 0", Delivery::Nothing),
            ("/opt/archive.sh %p %f", Delivery::Unknown),
            ("barman-wal-archive %p", Delivery::Unknown),
            ("'", Delivery::Unknown),
        ] {
            assert_eq!(understand(command, "main"), delivery, "{command}");
        }
    }

    #[test]
    fn only_what_certainly_leads_elsewhere_is_a_fault() {
        assert!(!leads_elsewhere(&crate::base::host::name()));
        assert!(!leads_elsewhere("127.0.0.1"));
        assert!(leads_elsewhere("192.0.2.1"), "an address for documentation");
        assert!(!leads_elsewhere("no-such-host.invalid"));
    }
}
