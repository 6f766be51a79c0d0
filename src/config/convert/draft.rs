//! Barman's configuration while it is being written: sections, options, and comments that say what became of the rest.

use std::path::Path;

use super::foreign::{Foreign, Section as ForeignSection, Setting};
use super::{Conversion, Unconverted};
use crate::config::{ConfigError, files, ini};

/// The width that comments are filled to.
const WIDTH: usize = 110;

/// A section with its lines.
#[derive(Debug)]
pub(super) struct Section {
    name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Option { name: &'static str, value: String },
    Comment(String),
}

/// The configuration.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    file: &'a Path,
    heading: String,
    sections: Vec<Section>,
    unconverted: Vec<Unconverted>,
}

impl Section {
    pub(super) fn new(name: &str) -> Section {
        Section {
            name: name.to_owned(),
            lines: Vec::new(),
        }
    }

    /// Adds an option. A percent sign would keep Barman from reading anything, so such a value is left to the operator.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        if value.contains('%') {
            self.remark(format!(
                "Barman cannot read a percent sign in a value, barkeep can: {name} = {value}"
            ));
        } else {
            self.lines.push(Line::Option { name, value });
        }
    }

    /// Adds a comment.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Comment(text.into()));
    }

    /// Whether an option has a value.
    pub(super) fn has(&self, option: &str) -> bool {
        self.value(option).is_some()
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.lines.iter().rev().find_map(|line| match line {
            Line::Option { name, value } if *name == option => Some(value.as_str()),
            _ => None,
        })
    }

    fn render(&self, text: &mut String) {
        text.push_str(&format!("\n[{}]\n", self.name));
        for line in &self.lines {
            match line {
                Line::Option { name, value } if value.is_empty() => text.push_str(&format!("{name} =\n")),
                Line::Option { name, value } => text.push_str(&format!("{name} = {}\n", quoted(value))),
                Line::Comment(comment) => text.push_str(&filled(comment)),
            }
        }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(file: &'a Path, tool: &str) -> Draft<'a> {
        let heading = format!(
            "Configuration of Barman and barkeep, converted from {} of {tool}. Read it before you use it: a comment \
             that begins with a file and a line says what became of the option there. Passwords are not copied: they \
             belong into the file .pgpass in the home of barman_user.",
            name(file)
        );
        Draft {
            file,
            heading,
            sections: Vec::new(),
            unconverted: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Notes in `to` what became of an option that is not needed any more.
    pub(super) fn idle(&self, setting: &Setting, reason: &str, to: &mut Section) {
        to.remark(format!(
            "{}:{}: {}: {reason}",
            name(self.file),
            setting.line,
            setting.option
        ));
        setting.settle();
    }

    /// Notes in `to` and for the operator that an option has no equivalent.
    pub(super) fn missing(
        &mut self,
        setting: &Setting,
        from: &ForeignSection,
        advice: &str,
        to: &mut Section,
    ) {
        self.idle(setting, advice, to);
        self.unconverted.push(Unconverted {
            file: self.file.to_path_buf(),
            line: setting.line,
            section: from.name.clone(),
            option: setting.option.clone(),
            advice: advice.to_owned(),
        });
    }

    /// The text, after it has been read again: every option must have the value that was meant.
    ///
    /// # Errors
    /// A value that cannot be written so that it is read again as it is.
    pub(super) fn finish(mut self, from: &Foreign<'_>) -> Result<Conversion, ConfigError> {
        let mut text = filled(&self.heading);
        for section in &self.sections {
            section.render(&mut text);
        }
        let read = ini::parse(&text, self.file)?;
        for section in &self.sections {
            let found = read.iter().find(|found| found.name == section.name);
            let entries = found.map(|found| files::entries(found, self.file)).transpose()?;
            let entries = entries.unwrap_or_default();
            for line in &section.lines {
                let Line::Option { name, .. } = line else { continue };
                let meant = section.value(name).unwrap_or_default();
                if entries.get(*name).map(|entry| entry.text.as_str()) != Some(meant) {
                    let reason = format!(
                        "{name} of [{}] cannot be written to a configuration file",
                        section.name
                    );
                    return Err(from.refuse(1, reason));
                }
            }
        }
        self.unconverted.sort_by_key(|option| option.line);
        Ok(Conversion {
            text,
            unconverted: self.unconverted,
        })
    }
}

/// The name of the file without its directory.
fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// A value whose own quotes would be removed gets another pair.
fn quoted(value: &str) -> String {
    let loses = ['"', '\'']
        .into_iter()
        .any(|quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote));
    if loses {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}

/// A comment in lines that fit a screen.
fn filled(text: &str) -> String {
    let mut lines = String::from(";");
    let mut column = 1;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 1 && column + 1 + width > WIDTH {
            lines.push_str("\n;");
            column = 1;
        }
        lines.push(' ');
        lines.push_str(word);
        column += 1 + width;
    }
    lines.push('\n');
    lines
}
