//! `check`: results as they come in for people, one object per server in JSON, one line for Nagios.

use serde_json::{Map, Value, json};

use super::{Format, Output, Page, Render, Stream, advice, redacted, servers};
use crate::base::report::Reporter;
use crate::check::{CheckReport, CheckResult, Listener, Perfdata};
use crate::config::ServerConfig;

/// Shows results the moment they are known, below the name of the server.
#[derive(Debug)]
pub struct LiveChecks<'a> {
    output: &'a Output,
    hints: bool,
}

impl<'a> LiveChecks<'a> {
    /// Starts with the line of the server. With `hints`, what to do about a failure follows it on lines of their own.
    #[must_use]
    pub fn of(output: &'a Output, server: &ServerConfig, hints: bool) -> LiveChecks<'a> {
        let live = LiveChecks { output, hints };
        live.write(|page| page.line(format!("Server {}{}:", server.name, servers::state(server))));
        live
    }

    fn write(&self, fill: impl Fn(&mut Page)) {
        let style = &self.output.style;
        if style.format == Format::Console && !style.quiet {
            let mut page = Page::new(style.color);
            fill(&mut page);
            self.output.screen.write(Stream::Out, page.text());
        }
    }
}

impl Listener for LiveChecks<'_> {
    fn result(&self, result: &CheckResult) {
        self.write(|page| {
            let verdict = if result.ok {
                page.good("OK")
            } else {
                page.bad("FAILED")
            };
            page.line(format!("\t{}: {verdict}{}", result.name, hint(result)));
            if let Some(found) = result.advice.as_ref().filter(|_| self.hints) {
                page.line(redacted(&format!("\t\t{}", advice::cause(found))));
                for step in &found.steps {
                    page.line(redacted(&format!("\t\t{}", advice::step(step))));
                }
            }
        });
    }

    fn message(&self, message: &str) {
        self.output.info(&format!("\t\t{message}"));
    }
}

/// The results of a server in JSON. People have seen them.
#[derive(Debug)]
pub struct CheckDocument<'a> {
    /// The results.
    pub report: &'a CheckReport,
    /// Whether what to do about failures is among them.
    pub hints: bool,
}

impl Render for CheckDocument<'_> {
    fn console(&self, _page: &mut Page) {}

    fn json(&self, document: &mut Map<String, Value>) {
        let results: Map<String, Value> = self
            .report
            .results
            .iter()
            .map(|result| {
                let status = if result.ok { "OK" } else { "FAILED" };
                let mut value = json!({"hint": result.hint, "status": status});
                if let Some(found) = result.advice.as_ref().filter(|_| self.hints)
                    && let Value::Object(members) = &mut value
                {
                    members.insert("advice".to_owned(), advice::value(found));
                }
                (key(result.name), value)
            })
            .collect();
        document.insert(self.report.server.clone(), Value::Object(results));
    }
}

/// `PostgreSQL server is standby` → `postgresql_server_is_standby`.
fn key(name: &str) -> String {
    name.to_lowercase().replace([' ', '-'], "_").replace('.', "")
}

fn hint(result: &CheckResult) -> String {
    if result.hint.is_empty() {
        String::new()
    } else {
        format!(" ({})", result.hint)
    }
}

/// The answer of a Nagios plugin.
#[derive(Debug)]
pub struct Nagios<'a> {
    /// The servers that were checked.
    pub reports: &'a [CheckReport],
    /// Whether something was wrong before a server could be checked: the configuration, or the name of a server.
    pub misconfigured: bool,
}

impl Nagios<'_> {
    /// The exit code: 0 when all is well, 2 otherwise. There is no warning.
    #[must_use]
    pub fn code(&self) -> u8 {
        if self.misconfigured || !self.issues().is_empty() {
            2
        } else {
            0
        }
    }

    /// The servers with failed checks; none while all of them are inactive. (Once an active one fails, Barman counts the
    /// inactive ones too.)
    fn issues(&self) -> Vec<&CheckReport> {
        let failing: Vec<&CheckReport> = self.reports.iter().filter(|report| report.has_issues()).collect();
        if failing.iter().any(|report| report.active) {
            failing
        } else {
            Vec::new()
        }
    }

    fn ready(&self) -> Vec<&CheckReport> {
        self.reports
            .iter()
            .filter(|report| !report.has_issues())
            .collect()
    }

    fn headline(&self) -> String {
        if self.misconfigured {
            return "BARMAN CRITICAL - Global configuration errors".to_owned();
        }
        let (issues, ready) = (self.issues(), self.ready());
        if issues.is_empty() {
            format!("BARMAN OK - {}{}", readiness(&ready), self.ignoring())
        } else {
            let total = issues.len() + ready.len();
            let subject = match issues.as_slice() {
                [only] if total == 1 => format!("server {} has issues", only.server),
                several => format!("{} server out of {total} have issues", several.len()),
            };
            let details: String = issues
                .iter()
                .map(|report| format!(" * {} FAILED: {}", report.server, failed(report).join(", ")))
                .collect();
            format!("BARMAN CRITICAL - {subject}{details}")
        }
    }

    /// The servers whose failures do not count.
    fn ignoring(&self) -> String {
        self.reports
            .iter()
            .filter(|report| !report.active && report.has_issues())
            .map(|report| format!(" * IGNORING: {}", report.server))
            .collect()
    }

    fn perfdata(&self) -> String {
        let figures: Vec<String> = self
            .reports
            .iter()
            .flat_map(|report| report.results.iter().map(move |result| (&report.server, result)))
            .filter_map(|(server, result)| match result.perfdata? {
                Perfdata::BackupSize(bytes) => Some(format!("{server}={bytes}B")),
                Perfdata::WalSize(bytes) => Some(format!("{server}_wals={bytes}B")),
            })
            .collect();
        if figures.is_empty() {
            String::new()
        } else {
            format!("|{}", figures.join(" "))
        }
    }
}

impl Render for Nagios<'_> {
    fn console(&self, page: &mut Page) {
        if self.misconfigured {
            page.line(self.headline());
            return;
        }
        let nothing_valid = self.issues().is_empty() && self.ready().is_empty();
        let perfdata = if nothing_valid {
            String::new()
        } else {
            self.perfdata()
        };
        page.line(format!("{}{perfdata}", self.headline()));
        for report in self.issues() {
            for result in report.results.iter().filter(|result| !result.ok) {
                page.line(format!(
                    "{}.{}: FAILED{}",
                    report.server,
                    result.name,
                    hint(result)
                ));
            }
        }
    }

    fn json(&self, _document: &mut Map<String, Value>) {}
}

fn readiness(ready: &[&CheckReport]) -> String {
    const READY: &str = "Ready to serve the Espresso backup for";
    match ready {
        [] => "No server configured".to_owned(),
        [only] => format!("{READY} {}", only.server),
        several => {
            let names: String = several
                .iter()
                .map(|report| format!(" * {}", report.server))
                .collect();
            format!("{READY} {} servers{names}", several.len())
        }
    }
}

fn failed(report: &CheckReport) -> Vec<&'static str> {
    report
        .results
        .iter()
        .filter(|result| !result.ok)
        .map(|result| result.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server: &str, active: bool, failing: &[&'static str]) -> CheckReport {
        let mut results = vec![CheckResult {
            name: "backup minimum size",
            ok: true,
            hint: "0 B".to_owned(),
            perfdata: Some(Perfdata::BackupSize(7)),
            blocks_backup: false,
            advice: None,
        }];
        results.extend(failing.iter().map(|name| CheckResult {
            name,
            ok: false,
            hint: String::new(),
            perfdata: None,
            blocks_backup: true,
            advice: None,
        }));
        CheckReport {
            server: server.to_owned(),
            active,
            results,
            messages: Vec::new(),
        }
    }

    fn text(reports: &[CheckReport], misconfigured: bool) -> (String, u8) {
        let nagios = Nagios {
            reports,
            misconfigured,
        };
        let mut page = Page::new(false);
        nagios.console(&mut page);
        (page.text().to_owned(), nagios.code())
    }

    #[test]
    fn one_line_says_that_all_is_well() {
        let (one, two) = (report("a", true, &[]), report("b", true, &[]));
        let ignored = report("old", false, &["ssh"]);
        assert_eq!(
            text(&[one.clone(), ignored.clone()], false),
            (
                "BARMAN OK - Ready to serve the Espresso backup for a * IGNORING: old|a=7B old=7B\n"
                    .to_owned(),
                0
            )
        );
        assert_eq!(
            text(&[one, two], false),
            (
                "BARMAN OK - Ready to serve the Espresso backup for 2 servers * a * b|a=7B b=7B\n".to_owned(),
                0
            )
        );
        assert_eq!(
            text(&[ignored], false),
            ("BARMAN OK - No server configured * IGNORING: old\n".to_owned(), 0)
        );
    }

    #[test]
    fn failures_are_critical() {
        let failing = report("a", true, &["PostgreSQL", "ssh"]);
        assert_eq!(
            text(std::slice::from_ref(&failing), false),
            (
                "BARMAN CRITICAL - server a has issues * a FAILED: PostgreSQL, ssh|a=7B\na.PostgreSQL: FAILED\n\
                 a.ssh: FAILED\n"
                    .to_owned(),
                2
            )
        );
        let (headline, code) = text(&[failing, report("b", true, &[])], false);
        assert!(headline.starts_with(
            "BARMAN CRITICAL - 1 server out of 2 have issues * a FAILED: PostgreSQL, ssh|a=7B b=7B\n"
        ));
        assert_eq!(code, 2);
        assert_eq!(
            text(&[], true),
            ("BARMAN CRITICAL - Global configuration errors\n".to_owned(), 2)
        );
    }

    #[test]
    fn keys_are_barmans() {
        assert_eq!(
            key("replication slot (WAL streaming)"),
            "replication_slot_(wal_streaming)"
        );
        assert_eq!(key("PostgreSQL"), "postgresql");
    }
}
