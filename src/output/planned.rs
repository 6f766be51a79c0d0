//! `delete --dry-run` and `cron --dry-run`: what would go, what stays, and why.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::base::size;
use crate::catalog::BackupId;
use crate::catalog::deletion_plan::{DeletionPlan, DeletionStep};
use crate::catalog::enforcement::{Foreseen, RetentionPlan};
use crate::catalog::retention::RetentionStatus;

/// What a deletion would remove.
#[derive(Debug)]
pub struct PlannedDeletion<'a> {
    /// The server.
    pub server: &'a str,
    /// The plan.
    pub plan: &'a DeletionPlan,
}

impl Render for PlannedDeletion<'_> {
    fn console(&self, page: &mut Page) {
        page.line(format!(
            "Nothing is deleted (--dry-run). Deleting backup {} of server {} removes:",
            self.plan.id, self.server
        ));
        for step in &self.plan.steps {
            let reason = match &step.info.parent_backup_id {
                _ if step.info.id == self.plan.id => "asked for".to_owned(),
                Some(parent) => format!("builds on {parent}"),
                None => format!("builds on {}", self.plan.id),
            };
            page.line(format!("\tbackup {}: {reason}", backup(step)));
            page.line(format!("\t\t{}", wal(step)));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        document.insert(self.server.to_owned(), json!({"remove": steps(self.plan)}));
    }
}

/// What the retention policy of a server would remove.
#[derive(Debug)]
pub struct PlannedRetention<'a> {
    /// The server.
    pub server: &'a str,
    /// What the policy wants, and what would become of what it does not want; `None` without a policy.
    pub plan: Option<&'a (RetentionPlan, Vec<Foreseen>)>,
    /// Why cron would not do it now.
    pub postponed: Option<&'a str>,
}

impl Render for PlannedRetention<'_> {
    fn console(&self, page: &mut Page) {
        let Some((plan, foreseen)) = self.plan else {
            page.line(format!(
                "Server {}: no retention_policy, nothing is removed",
                self.server
            ));
            return;
        };
        page.line(format!("Server {}: {}", self.server, plan.policy));
        if let Some(reason) = self.postponed {
            page.line(format!("\tnothing is removed now: {reason}"));
        }
        for (id, judgement) in plan.judgements.iter().rev() {
            let fate = match judgement.status {
                RetentionStatus::Obsolete => "remove",
                _ => "keep",
            };
            page.line(format!(
                "\t{fate} {id} ({}): {}",
                judgement.status, judgement.reason
            ));
        }
        for id in &plan.begun {
            page.line(format!("\tremove {id}: its deletion was begun and not finished"));
        }
        for (id, refusal) in &plan.given_up {
            page.line(format!("\tkeep {id}, whose deletion was begun: {refusal}"));
        }
        for id in &plan.orphans {
            page.line(format!("\tnot counted {id}: it has metadata and no data"));
        }
        for problem in &plan.problems {
            page.line(format!("\tproblem: {problem}"));
        }
        if foreseen.is_empty() {
            page.line("\tNothing is to be removed.");
            return;
        }
        page.line("\tNothing is deleted (--dry-run). The removal takes:");
        for one in foreseen {
            match &one.outcome {
                Ok(plan) => plan
                    .steps
                    .iter()
                    .for_each(|step| page.line(format!("\t\tbackup {}, {}", backup(step), wal(step)))),
                Err(error) => page.line(format!("\t\tnot backup {}: {error}", one.id)),
            }
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let value = self.plan.map_or(Value::Null, |(plan, foreseen)| {
            let judged: Vec<Value> = plan
                .judgements
                .iter()
                .map(|(id, judgement)| {
                    json!({
                        "backup_id": id.as_str(),
                        "status": judgement.status.as_str(),
                        "reason": judgement.reason.to_string(),
                    })
                })
                .collect();
            let outcomes = foreseen.iter().map(|one| match &one.outcome {
                Ok(plan) => json!({"backup_id": one.id.as_str(), "remove": steps(plan), "refused": null}),
                Err(error) => {
                    json!({"backup_id": one.id.as_str(), "remove": [], "refused": error.to_string()})
                }
            });
            json!({
                "policy": plan.policy.to_string(),
                "backups": judged,
                "begun": ids(&plan.begun),
                "orphans": ids(&plan.orphans),
                "removals": outcomes.collect::<Vec<_>>(),
                "postponed": self.postponed,
            })
        });
        document.insert(self.server.to_owned(), value);
    }
}

fn ids(ids: &[BackupId]) -> Vec<&str> {
    ids.iter().map(BackupId::as_str).collect()
}

fn steps(plan: &DeletionPlan) -> Vec<Value> {
    plan.steps
        .iter()
        .map(|step| {
            let names: Option<BTreeSet<&str>> = step
                .wal
                .as_ref()
                .map(|wal| wal.iter().map(|entry| entry.name.as_str()).collect());
            json!({"backup_id": step.info.id.as_str(), "wal_files": names})
        })
        .collect()
}

/// `20260101T000000 (DONE, 1.2 GiB)`
fn backup(step: &DeletionStep) -> String {
    let info = &step.info;
    let bytes = info.deduplicated_size.or(info.size);
    let bytes = bytes.map_or_else(String::new, |bytes| format!(", {}", size::pretty_bytes(bytes)));
    format!("{} ({}{bytes})", info.id, info.status)
}

/// The WAL that goes with a backup, and why no more does.
fn wal(step: &DeletionStep) -> String {
    let Some(entries) = &step.wal else {
        return match &step.previous {
            Some(older) => format!("no WAL: backup {older} needs it"),
            None => "no WAL: other backups need it".to_owned(),
        };
    };
    // A segment that was archived twice has two lines.
    let files: BTreeMap<&str, u64> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.size))
        .collect();
    match files.keys().next().zip(files.keys().next_back()) {
        None => "no WAL: none belongs to it alone".to_owned(),
        Some((first, last)) => format!(
            "{} WAL files, {first} to {last} ({}): nothing else needs them",
            files.len(),
            size::pretty_bytes(files.values().sum())
        ),
    }
}
