//! `doctor`: what to repair, in its order, for somebody who was woken up.

use serde_json::{Map, Value, json};

use super::{Page, Render, advice, redacted};
use crate::check::advice::{Place, Standing};
use crate::doctor::repair::Repairs;
use crate::doctor::{Diagnosis, Finding};

/// What is wrong with a server, and what has been repaired.
#[derive(Debug)]
pub struct Prescription<'a> {
    /// What is wrong.
    pub diagnosis: &'a Diagnosis,
    /// What has been repaired; `None` when nothing was to be.
    pub repairs: Option<&'a Repairs>,
}

impl Render for Prescription<'_> {
    fn console(&self, page: &mut Page) {
        let found = self.diagnosis;
        page.line(format!(
            "Server {}: {}{}",
            found.server,
            self.verdict(page),
            self.about()
        ));
        if let Some(repairs) = self.repairs {
            for line in &repairs.done {
                page.line(format!("  Repaired: {line}"));
            }
            for line in &repairs.failed {
                page.line(format!("  Not repaired: {line}"));
            }
        }
        for (number, finding) in found.broken.iter().enumerate() {
            write(page, &format!("{:>3}.", number + 1), finding);
        }
        for (root, names) in consequences(&found.consequences) {
            page.line(format!("  Wait for {root}: {}", names.join(", ")));
        }
        if !found.not_yet.is_empty() {
            page.line("  Not yet:");
            found
                .not_yet
                .iter()
                .for_each(|finding| write(page, "   -", finding));
        }
        if let Some(unexamined) = &found.unexamined {
            page.line(format!("  Not examined: {unexamined}"));
        }
        if !found.remarks.is_empty() {
            page.line("  Could be better:");
            found
                .remarks
                .iter()
                .for_each(|finding| write(page, "   -", finding));
        }
        if self.repairs.is_some() {
            self.script(page);
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let found = self.diagnosis;
        let list = |findings: &[Finding]| -> Vec<Value> {
            findings
                .iter()
                .map(|finding| json!({"about": finding.about, "advice": advice::value(&finding.advice)}))
                .collect()
        };
        let repairs = self.repairs.cloned().unwrap_or_default();
        document.insert(
            found.server.clone(),
            json!({
                "active": found.active,
                "healthy": found.is_healthy(),
                "postgresql_version": found.postgres,
                "problems": list(&found.broken),
                "not_yet": list(&found.not_yet),
                "consequences": list(&found.consequences),
                "remarks": list(&found.remarks),
                "not_examined": found.unexamined,
                "repaired": repairs.done,
                "not_repaired": repairs.failed,
            }),
        );
    }
}

impl Prescription<'_> {
    fn verdict(&self, page: &Page) -> String {
        let found = self.diagnosis;
        match found.broken.len() {
            _ if found.is_healthy() => page.good(if found.active { "healthy" } else { "inactive" }),
            0 => "nothing is broken, and not everything is there yet".to_owned(),
            1 => page.bad("1 problem"),
            several => page.bad(&format!("{several} problems, in the order to repair them")),
        }
    }

    fn about(&self) -> String {
        self.diagnosis
            .postgres
            .as_ref()
            .map_or_else(String::new, |version| format!(" (PostgreSQL {version})"))
    }

    /// The statements of all findings in one piece, to be pasted.
    fn script(&self, page: &mut Page) {
        let statements: Vec<&str> = self
            .diagnosis
            .broken
            .iter()
            .flat_map(|finding| &finding.advice.steps)
            .filter(|step| step.place == Place::Database)
            .map(|step| step.action.as_str())
            .collect();
        if !statements.is_empty() {
            page.line("  SQL for the rest, as superuser:");
            statements
                .into_iter()
                .for_each(|statement| page.line(redacted(&format!("{statement}\n")).trim_end()));
        }
    }
}

fn write(page: &mut Page, bullet: &str, finding: &Finding) {
    let found = &finding.advice;
    page.line(redacted(&format!("{bullet} {}: {}", finding.about, found.cause)));
    for step in &found.steps {
        page.line(redacted(&format!("       {}", advice::step(step))));
    }
}

/// What waits for which repair, in the order of the findings.
fn consequences(findings: &[Finding]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in findings {
        let Standing::Follows(root) = finding.advice.standing else {
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == root) {
            Some((_, names)) => names.push(finding.about),
            None => groups.push((root, vec![finding.about])),
        }
    }
    groups
}
