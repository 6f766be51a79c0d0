//! What a command came to, and the comparison of two.

use libtest_mimic::Failed;

use super::verdict::{Verdict, judge, record};
use crate::support::diff;

/// Everything that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
    pub hooks: String,
    pub catalog: String,
    pub destination: String,
    /// What monitoring would look for in the log.
    pub log: String,
}

impl Outcome {
    fn render(&self) -> String {
        format!(
            "exit code {}\n=== stdout\n{}\n=== stderr\n{}\n=== hooks\n{}\n=== log\n{}\n=== destination\n{}\n=== catalog\n{}",
            self.code, self.stdout, self.stderr, self.hooks, self.log, self.destination, self.catalog
        )
    }
}

/// What a comparison is known by.
pub struct Comparison {
    pub name: String,
    /// What rules look at.
    pub label: String,
    /// The command, for counting.
    pub command: String,
    /// What was run, for messages.
    pub line: String,
}

impl Comparison {
    /// Compares, notes the verdict, and fails on a difference that nobody intended. `declared` are the bullets of the
    /// differences that have been made equal already.
    pub fn settle(
        self,
        mut expected: Outcome,
        mut actual: Outcome,
        declared: Vec<String>,
    ) -> Result<(), Failed> {
        let verdict = match judge(&self.label, &mut expected, &mut actual) {
            Verdict::Unintended => Verdict::Unintended,
            Verdict::Identical if declared.is_empty() => Verdict::Identical,
            Verdict::Identical => Verdict::Intended(declared),
            Verdict::Intended(more) => Verdict::Intended([declared, more].concat()),
        };
        record(&self.name, &self.command, &verdict);
        if verdict != Verdict::Unintended {
            return Ok(());
        }
        let text = diff::lines(&expected.render(), &actual.render()).unwrap_or_default();
        Err(Failed::from(format!(
            "{} ('-' Barman, '+' barkeep)\n{}",
            self.line,
            diff::around_changes(&text)
        )))
    }
}

/// The command of a command line.
pub fn command_of(arguments: &[String], program: &str) -> String {
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-f" | "--color" | "--colour" | "--log-level" | "-c" => drop(words.next()),
            _ if word.starts_with('-') => {}
            _ if program == "barman" => return word.to_owned(),
            _ => break,
        }
    }
    program.to_owned()
}
