//! `barman doctor`: what is wrong with a server, in the order in which to repair it.
//!
//! Everything that `check` finds, with its advice, and what `check` does not look at: who owns the files, whether
//! `archive_command` leads here, what the slot keeps, clocks, room for the next backup, cron. It is run when something is down,
//! so PostgreSQL and ssh are asked at the same time and given up after some seconds. Nothing is changed, unless
//! [`repair`] is asked to.

mod clocks;
mod delivery;
mod host;
mod primary_node;
mod probe;
pub mod repair;
mod server;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::check::advice::{Advice, Standing};
use crate::check::{CheckError, CheckOptions, Intrusion, Known, Unheard, check};
use crate::config::ServerConfig;

use probe::Answers;

/// How long PostgreSQL and ssh are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: the name of a check, or another word.
    pub about: &'static str,
    /// Why, and what to do.
    pub advice: Advice,
}

impl Finding {
    fn new(about: &'static str, advice: Advice) -> Finding {
        Finding { about, advice }
    }
}

/// What was found out about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The server.
    pub server: String,
    /// Whether it is in use: what is wrong with an inactive server does not count.
    pub active: bool,
    /// The version of PostgreSQL, when it answered.
    pub postgres: Option<String>,
    /// What has to be repaired, in this order.
    pub broken: Vec<Finding>,
    /// What has not happened yet.
    pub not_yet: Vec<Finding>,
    /// What goes away when something else is repaired.
    pub consequences: Vec<Finding>,
    /// What works, and could be better.
    pub remarks: Vec<Finding>,
    /// What was not examined, and why.
    pub unexamined: Option<String>,
}

impl Diagnosis {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.active || (self.broken.is_empty() && self.not_yet.is_empty() && self.consequences.is_empty())
    }
}

/// The order of repairs: what others need comes first. What is not named comes at the end.
const ORDER: [&str; 50] = [
    "configuration",
    "disk",
    "WAL archive space",
    "directories",
    "ownership",
    "lock files",
    "cloud storage configuration",
    "retention policy settings",
    "compression settings",
    "encryption",
    "cron",
    "ssh",
    "ssh output clean",
    "primary node",
    "WAL of the primary node",
    "PostgreSQL",
    "PostgreSQL server is standby",
    "Primary server is not a standby",
    "Primary and standby have same system ID",
    "systemid coherence",
    "no access to backup functions",
    "no access to monitoring functions",
    "backup_label",
    "PostgreSQL streaming",
    "wal_level",
    "not in recovery",
    "exclusive backup supported",
    "max_wal_senders",
    "max_replication_slots",
    "pg_basebackup",
    "pg_basebackup compatible",
    "pg_receivexlog",
    "pg_receivexlog compatible",
    "archive_mode",
    "archive_command",
    "continuous archiving",
    "WAL delivery",
    "lost slot",
    "replication slot",
    "receive-wal running",
    "WAL archive",
    "incoming WALs directory",
    "streaming WALs directory",
    "wal gaps",
    "archiver errors",
    "clocks",
    "failed backups",
    "abandoned backups",
    "minimum redundancy requirements",
    "backup maximum age",
];

/// Examines a server. `configuration` is the main configuration file.
///
/// # Errors
/// The program was asked to stop. What is wrong with the server is in the diagnosis.
pub fn examine(server: &ServerConfig, configuration: &Path) -> Result<Diagnosis, CheckError> {
    // Before anything of ours touches the directory of the locks.
    let mut findings = host::examine(server);
    let answers = probe::ask(server, PATIENCE)?;
    let mut options = CheckOptions::new(server, None, Intrusion::Examination, configuration.to_path_buf());
    options.known = Known {
        facts: answers.facts(),
        streaming: answers.streaming.clone(),
        ssh: answers.ssh.as_ref().map(|ssh| ssh.answer.clone()),
    };
    let report = check(server, &options, &Unheard)?;
    findings.extend(
        report
            .results
            .into_iter()
            .filter(|result| !result.ok)
            .map(|result| Finding {
                about: result.name,
                advice: result.advice.unwrap_or_else(|| Advice::broken(result.hint)),
            }),
    );
    findings.extend(server::examine(server, &answers));
    findings.extend(primary_node::examine(server));
    findings.extend(delivery::examine(server, &answers));
    findings.extend(clocks::examine(&answers));
    let mut diagnosis = sort(server, findings);
    diagnosis.remarks = remarks(server, &answers);
    diagnosis.postgres = answers.version();
    diagnosis.unexamined = answers.unexamined(server);
    Ok(diagnosis)
}

/// Puts findings into the order of repairs.
fn sort(server: &ServerConfig, mut findings: Vec<Finding>) -> Diagnosis {
    let rank = |finding: &Finding| {
        ORDER
            .iter()
            .position(|about| *about == finding.about)
            .unwrap_or(ORDER.len())
    };
    findings.sort_by_key(rank);
    // `check` may have found the same: the first says it in more detail.
    findings.dedup_by_key(|finding| finding.about);
    let cron = findings
        .iter()
        .find(|finding| finding.about == "cron")
        .map(|finding| finding.advice.cause.clone());
    for finding in findings.iter_mut().filter(|finding| finding.about != "cron") {
        if cron.as_ref() == Some(&finding.advice.cause) {
            finding.advice.standing = Standing::Follows("cron");
        }
    }
    let (consequences, findings): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| matches!(finding.advice.standing, Standing::Follows(_)));
    let (not_yet, broken) = findings
        .into_iter()
        .partition(|finding| finding.advice.standing == Standing::NotYet);
    Diagnosis {
        server: server.name.clone(),
        active: server.active,
        postgres: None,
        broken,
        not_yet,
        consequences,
        remarks: Vec::new(),
        unexamined: None,
    }
}

/// What works, and could be better.
fn remarks(server: &ServerConfig, answers: &Answers) -> Vec<Finding> {
    let mut remarks = Vec::new();
    if server.retention_policy.is_none() {
        remarks.push(Finding::new(
            "retention",
            Advice::broken("no retention_policy: backups and WAL are kept until somebody deletes them")
                .note("retention_policy = RECOVERY WINDOW OF 4 WEEKS"),
        ));
    } else if server.minimum_redundancy == 0 {
        remarks.push(Finding::new(
            "retention",
            Advice::broken("minimum_redundancy = 0: the last backup can be deleted, too")
                .note("minimum_redundancy = 1"),
        ));
    }
    remarks.extend(server::remarks(server, answers));
    remarks
}
