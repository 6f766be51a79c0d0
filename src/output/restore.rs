//! `restore`: what changed in the configuration, what is left to do, and that it is done (commands reference §6.28).

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::base::{calendar, duration};
use crate::recovery::RestoreReport;

impl Render for RestoreReport {
    fn console(&self, page: &mut Page) {
        if !self.changes.is_empty() {
            page.blank();
            page.line("IMPORTANT");
            page.line("These settings have been modified to prevent data losses");
            page.blank();
            for change in &self.changes {
                let value = change.value.as_deref().unwrap_or("None");
                page.line(format!(
                    "{} line {}: {} = {value}",
                    change.file, change.line, change.key
                ));
            }
        }
        if !self.warnings.is_empty() {
            page.blank();
            page.line("WARNING");
            page.line("You are required to review the following options as potentially dangerous");
            page.blank();
            for warning in &self.warnings {
                page.line(format!(
                    "{} line {}: {} = {}",
                    warning.file, warning.line, warning.key, warning.value
                ));
            }
        }
        if !self.missing_files.is_empty() {
            page.blank();
            page.line("WARNING");
            page.line(
                "The following configuration files have not been saved during backup, hence they have not been restored.",
            );
            page.line(
                "You need to manually restore them in order to start the restored PostgreSQL instance:",
            );
            page.blank();
            for file in &self.missing_files {
                page.line(format!("    {file}"));
            }
        }
        if let Some(file) = &self.get_wal_file {
            page.blank();
            page.line("WARNING: 'get-wal' is in the specified 'recovery_options'.");
            page.line(format!(
                "Before you start up the PostgreSQL server, please review the {file} file"
            ));
            page.line(
                "inside the target directory. Make sure that 'restore_command' can be executed by the PostgreSQL user.",
            );
        }
        page.blank();
        page.line(format!(
            "Restore operation completed (start time: {}, elapsed time: {})",
            calendar::python_str(&self.start),
            duration::human(self.elapsed_seconds)
        ));
        if self.complete && self.damaged_files.is_empty() {
            page.line("Your PostgreSQL server has been successfully prepared for recovery!");
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        warn(document, self);
        let changes: Vec<Value> = self
            .changes
            .iter()
            .map(|change| json!([change.file, change.line, change.key, change.value]))
            .collect();
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|warning| json!([warning.file, warning.line, warning.key, warning.value]))
            .collect();
        document.insert("changes_count".to_owned(), json!(changes.len()));
        document.insert("changes".to_owned(), Value::Array(changes));
        document.insert("warnings_count".to_owned(), json!(warnings.len()));
        document.insert("warnings".to_owned(), Value::Array(warnings));
        document.insert("missing_files".to_owned(), json!(self.missing_files));
        if !self.damaged_files.is_empty() {
            document.insert("damaged_files".to_owned(), json!(self.damaged_files));
        }
        document.insert(
            "recovery_start_time".to_owned(),
            json!(calendar::python_str(&self.start)),
        );
        document.insert(
            "recovery_start_time_timestamp".to_owned(),
            json!(self.start.timestamp().to_string()),
        );
        document.insert(
            "recovery_elapsed_time".to_owned(),
            json!(duration::human(self.elapsed_seconds)),
        );
        document.insert(
            "recovery_elapsed_time_seconds".to_owned(),
            json!(self.elapsed_seconds),
        );
    }
}

/// In JSON the blocks for people become warnings that point to the lists.
fn warn(document: &mut Map<String, Value>, report: &RestoreReport) {
    let lines = [
        (
            !report.changes.is_empty(),
            "IMPORTANT! Some settings have been modified to prevent data losses. See 'changes' key.",
        ),
        (
            !report.warnings.is_empty(),
            "WARNING! You are required to review the options as potentially dangerous. See 'warnings' key.",
        ),
        (
            !report.missing_files.is_empty(),
            "WARNING! Some configuration files have not been saved during backup, hence they have not been restored. \
             See 'missing_files' key.",
        ),
        (
            report.get_wal_file.is_some(),
            "WARNING: 'get-wal' is in the specified 'recovery_options'. Before you start up the PostgreSQL server, \
             please review the recovery configuration inside the target directory. Make sure that 'restore_command' \
             can be executed by the PostgreSQL user.",
        ),
    ];
    let shown: Vec<Value> = lines
        .into_iter()
        .filter(|(shown, _)| *shown)
        .map(|(_, line)| json!(line))
        .collect();
    if shown.is_empty() {
        return;
    }
    match document.entry("_WARNING").or_insert_with(|| json!([])) {
        Value::Array(list) => list.extend(shown),
        other => *other = Value::Array(shown),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recovery::{Change, Warning};

    fn report() -> RestoreReport {
        RestoreReport {
            server: "off".to_owned(),
            backup: "20260106T100000".to_owned(),
            destination: "/tmp/x".into(),
            changes: vec![
                Change {
                    file: "postgresql.conf".to_owned(),
                    line: 1,
                    key: "archive_command".to_owned(),
                    value: Some("false".to_owned()),
                },
                Change {
                    file: "postgresql.auto.conf".to_owned(),
                    line: 1,
                    key: "recovery_target_name".to_owned(),
                    value: None,
                },
            ],
            warnings: vec![Warning {
                file: "postgresql.conf".to_owned(),
                line: 3,
                key: "ssl_cert_file".to_owned(),
                value: "'a'".to_owned(),
            }],
            missing_files: vec!["pg_ident.conf".to_owned()],
            get_wal_file: None,
            start: calendar::parse("2026-11-20 21:17:28.338084+00:00").unwrap(),
            elapsed_seconds: 0.293_873,
            complete: true,
            wal_files: 0,
            copied_bytes: 0,
            damaged_files: Vec::new(),
        }
    }

    /// The document that Barman 3.19.1 printed, without its `_INFO`.
    #[test]
    fn json_as_barman_writes_it() {
        let mut document = Map::new();
        report().json(&mut document);
        assert_eq!(
            crate::base::json::line(&Value::Object(document)).unwrap(),
            r#"{"_WARNING": ["IMPORTANT! Some settings have been modified to prevent data losses. See 'changes' key.", "WARNING! You are required to review the options as potentially dangerous. See 'warnings' key.", "WARNING! Some configuration files have not been saved during backup, hence they have not been restored. See 'missing_files' key."], "changes": [["postgresql.conf", 1, "archive_command", "false"], ["postgresql.auto.conf", 1, "recovery_target_name", null]], "changes_count": 2, "missing_files": ["pg_ident.conf"], "recovery_elapsed_time": "less than one second", "recovery_elapsed_time_seconds": 0.293873, "recovery_start_time": "2026-11-20 21:17:28.338084+00:00", "recovery_start_time_timestamp": "1795209448", "warnings": [["postgresql.conf", 3, "ssl_cert_file", "'a'"]], "warnings_count": 1}"#
        );
    }

    #[test]
    fn nothing_is_called_prepared_that_lacks_wal() {
        let mut report = report();
        let mut page = Page::new(false);
        report.console(&mut page);
        assert!(page.text().starts_with("\nIMPORTANT\nThese settings"));
        assert!(page.text().ends_with(
            "\nRestore operation completed (start time: 2026-11-20 21:17:28.338084+00:00, elapsed time: less than one \
             second)\nYour PostgreSQL server has been successfully prepared for recovery!\n"
        ));
        report.complete = false;
        let mut page = Page::new(false);
        report.console(&mut page);
        assert!(!page.text().contains("successfully"));
    }
}
