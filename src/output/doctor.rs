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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::advice::Advice;

    fn finding(about: &'static str, advice: Advice) -> Finding {
        Finding { about, advice }
    }

    #[test]
    fn what_is_wrong_comes_first_and_in_order() {
        let diagnosis = Diagnosis {
            server: "main".to_owned(),
            active: true,
            postgres: Some("15.18".to_owned()),
            broken: vec![
                finding("ssh", Advice::broken("db accepts no key").here("ssh-copy-id db")),
                finding(
                    "wal_level",
                    Advice::broken("too low").sql("ALTER SYSTEM SET wal_level = 'replica';"),
                ),
            ],
            not_yet: vec![finding(
                "minimum redundancy requirements",
                Advice::not_yet("no backup").here("barman backup main"),
            )],
            consequences: vec![
                finding("replication slot", Advice::follows("PostgreSQL", "")),
                finding("receive-wal running", Advice::follows("PostgreSQL", "")),
            ],
            remarks: Vec::new(),
            unexamined: None,
        };
        let repairs = Repairs {
            done: vec!["created the directory /b/main".to_owned()],
            failed: Vec::new(),
        };
        let mut page = Page::new(false);
        Prescription {
            diagnosis: &diagnosis,
            repairs: Some(&repairs),
        }
        .console(&mut page);
        assert_eq!(
            page.text(),
            "Server main: 2 problems, in the order to repair them (PostgreSQL 15.18)\n\
             \u{20} Repaired: created the directory /b/main\n\
             \u{20} 1. ssh: db accepts no key\n\
             \u{20}      on this host: ssh-copy-id db\n\
             \u{20} 2. wal_level: too low\n\
             \u{20}      SQL, as superuser: ALTER SYSTEM SET wal_level = 'replica';\n\
             \u{20} Wait for PostgreSQL: replication slot, receive-wal running\n\
             \u{20} Not yet:\n\
             \u{20}  - minimum redundancy requirements: no backup\n\
             \u{20}      on this host: barman backup main\n\
             \u{20} SQL for the rest, as superuser:\n\
             ALTER SYSTEM SET wal_level = 'replica';\n"
        );
    }
}
