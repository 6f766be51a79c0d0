//! The syntax of a configuration file: Python's `ConfigParser(strict=False)`, as Barman uses it.
//!
//! The `configparser` crate assembles keys and values. Its rules differ from Python's in a few places, so a scan over
//! the lines comes first. It refuses what Python refuses (with file and line, which the crate does not have), notes the
//! line of every key, and rewrites the rest so that both sets of rules agree:
//!
//! * an indented `[x]` under a key is part of its value, not a section: a guard character hides the bracket;
//! * `[ x ]` and `[x]` are two sections: guards keep the blanks from being trimmed;
//! * keys are folded to lower case and section names are not, where the crate folds both or neither.
//!
//! Only whole-line comments exist (`#`, `;`); a comment inside a value of several lines is dropped.

use std::collections::HashMap;
use std::path::Path;

use configparser::ini::{Ini, IniDefault};

use super::error::ConfigError;
use super::lines::{Line, Lines, is_blank};

/// A private-use character put before text that the crate must not interpret. Refused in the input.
const GUARD: char = '\u{F8FF}';

/// The section whose options appear in every other section of the same file.
const DEFAULT_SECTION: &str = "DEFAULT";

/// A value as written, before interpolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawValue {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A section: its keys in lower case, with the options of `[DEFAULT]` among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawSection {
    pub(super) name: String,
    /// In the order of their first appearance, those of `[DEFAULT]` last.
    pub(super) options: Vec<(String, RawValue)>,
}

impl RawSection {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&RawValue> {
        self.options
            .iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }
}

/// Reads the text of a file into its sections, in the order of their first appearance.
///
/// # Errors
/// A line that is neither a section, nor an option, nor the continuation of one; or an option before any section.
pub(super) fn parse(text: &str, file: &Path) -> Result<Vec<RawSection>, ConfigError> {
    let scan = Scan::run(text, file)?;
    let mut rules = IniDefault::default();
    rules.comment_symbols = vec!['#', ';'];
    rules.inline_comment_symbols = Some(Vec::new());
    rules.delimiters = vec!['=', ':'];
    rules.case_sensitive = true;
    rules.multiline = true;
    rules.cascade_defaults = false;
    let mut ini = Ini::new_from_defaults(rules);
    let mut values = ini.read(scan.text).map_err(|reason| ConfigError::Syntax {
        file: file.to_path_buf(),
        line: 1,
        reason,
    })?;

    let mut assemble = |section: &Positions| -> Vec<(String, RawValue)> {
        let mut texts = values.remove(&guarded(&section.name)).unwrap_or_default();
        let key_line = |key: &String| section.lines.get(key).copied().unwrap_or_default();
        section
            .order
            .iter()
            .map(|key| {
                let text = texts.remove(key).flatten().unwrap_or_default();
                let value = RawValue {
                    text: text.replace(GUARD, ""),
                    line: key_line(key),
                };
                (key.clone(), value)
            })
            .collect()
    };
    let (defaults, own): (Vec<_>, Vec<_>) = scan
        .sections
        .iter()
        .partition(|section| section.name == DEFAULT_SECTION);
    let defaults: Vec<(String, RawValue)> = defaults.into_iter().flat_map(&mut assemble).collect();
    Ok(own
        .into_iter()
        .map(|section| {
            let mut options = assemble(section);
            let inherited: Vec<_> = defaults
                .iter()
                .filter(|(key, _)| !section.lines.contains_key(key))
                .cloned()
                .collect();
            options.extend(inherited);
            RawSection {
                name: section.name.clone(),
                options,
            }
        })
        .collect())
}

/// A margin in blanks that the crate counts.
fn plain(margin: &str) -> String {
    " ".repeat(margin.chars().count())
}

/// A section's name in a form that the crate leaves alone.
fn guarded(name: &str) -> String {
    format!("{GUARD}{name}{GUARD}")
}

/// Where the keys of a section are.
struct Positions {
    name: String,
    order: Vec<String>,
    lines: HashMap<String, usize>,
}

/// The scan over the lines of a file.
struct Scan<'a> {
    file: &'a Path,
    /// The rewritten text.
    text: String,
    sections: Vec<Positions>,
    /// The section being read, as an index.
    current: Option<usize>,
    lines: Lines,
}

impl<'a> Scan<'a> {
    fn run(text: &str, file: &'a Path) -> Result<Scan<'a>, ConfigError> {
        let mut scan = Scan {
            file,
            text: String::with_capacity(text.len() + 64),
            sections: Vec::new(),
            current: None,
            lines: Lines::default(),
        };
        let text = text
            .trim_start_matches('\u{FEFF}')
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        for (number, line) in (1..).zip(text.split('\n')) {
            if line.contains(GUARD) {
                return Err(scan.refuse(number, "the character U+F8FF is not allowed"));
            }
            scan.line(number, line)?;
            scan.text.push('\n');
        }
        Ok(scan)
    }

    /// The text of the line is not repeated: it may hold a password.
    fn refuse(&self, line: usize, reason: &str) -> ConfigError {
        ConfigError::Syntax {
            file: self.file.to_path_buf(),
            line,
            reason: reason.to_owned(),
        }
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), ConfigError> {
        match self.lines.tell(line) {
            Line::Ignored => {
                let text = line.trim_matches(is_blank);
                self.text.push_str(text);
            }
            Line::Continuation { margin, text } => {
                self.text.push_str(&plain(margin));
                if text.starts_with('[') {
                    self.text.push(GUARD);
                }
                self.text.push_str(text);
            }
            Line::Section { name } => {
                self.text.push('[');
                self.text.push_str(&guarded(name));
                self.text.push(']');
                self.enter(name);
            }
            other => return self.option(number, other),
        }
        Ok(())
    }

    fn enter(&mut self, name: &str) {
        let known = self.sections.iter().position(|section| section.name == name);
        self.current = known.or_else(|| {
            self.sections.push(Positions {
                name: name.to_owned(),
                order: Vec::new(),
                lines: HashMap::new(),
            });
            Some(self.sections.len() - 1)
        });
    }

    fn option(&mut self, number: usize, line: Line<'_>) -> Result<(), ConfigError> {
        let Some(section) = self.current else {
            return Err(self.refuse(number, "there is text before the first [section]"));
        };
        let (margin, key, value) = match line {
            Line::Option { margin, key, value } => (margin, key.to_lowercase(), value),
            Line::Nameless => return Err(self.refuse(number, "the name of the option is missing")),
            Line::Unclosed => return Err(self.refuse(number, "the closing \"]\" of the section is missing")),
            _ => return Err(self.refuse(number, "the line is neither a [section] nor \"option = value\"")),
        };
        let value = value.trim_matches(is_blank);
        self.text.push_str(&format!("{}{key}={value}", plain(margin)));
        let Some(section) = self.sections.get_mut(section) else {
            return Ok(());
        };
        if section.lines.insert(key.clone(), number).is_none() {
            section.order.push(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sections(text: &str) -> Vec<RawSection> {
        parse(text, Path::new("test.conf")).unwrap()
    }

    fn value(text: &str, section: &str, key: &str) -> Option<(String, usize)> {
        sections(text)
            .iter()
            .find(|found| found.name == section)
            .and_then(|found| found.get(key))
            .map(|value| (value.text.clone(), value.line))
    }

    fn refusal(text: &str) -> String {
        parse(text, Path::new("test.conf")).unwrap_err().to_string()
    }

    #[test]
    fn keys_are_folded_and_sections_are_not() {
        let text = "[S]\nKey = 1\n[s]\nkey: 2\n[ s ]\nkey=3\n";
        assert_eq!(value(text, "S", "key"), Some(("1".into(), 2)));
        assert_eq!(value(text, "s", "key"), Some(("2".into(), 4)));
        assert_eq!(value(text, " s ", "key"), Some(("3".into(), 6)));
    }

    #[test]
    fn the_last_value_wins_and_gives_the_line() {
        let text = "[s]\na=1\n[t]\nb=1\n[s]\nA = 2\n";
        assert_eq!(value(text, "s", "a"), Some(("2".into(), 6)));
        assert_eq!(sections(text).len(), 2);
    }

    #[test]
    fn only_whole_lines_are_comments() {
        let text = "[s] ; tail\na = x # not a comment ; nor this\n# b = 1\n  ; c = 2\n";
        assert_eq!(
            value(text, "s", "a"),
            Some(("x # not a comment ; nor this".into(), 2))
        );
        assert_eq!(value(text, "s", "b"), None);
    }

    #[test]
    fn indented_lines_go_on_with_the_value() {
        let text = "[s]\na = x\n  y = z\n# comment\n  [t]\n\n  end\nb = c\n\n";
        assert_eq!(value(text, "s", "a"), Some(("x\ny = z\n[t]\n\nend".into(), 2)));
        assert_eq!(value(text, "s", "b"), Some(("c".into(), 8)));
        assert_eq!(sections(text).len(), 1);
    }

    #[test]
    fn an_indented_section_starts_one_where_no_value_is_open() {
        assert_eq!(
            value("  [s]\n  a = 1\n  b = 2\n", "s", "b"),
            Some(("2".into(), 3))
        );
    }

    #[test]
    fn default_section_reaches_every_section_of_the_file() {
        let text = "[s]\na=1\n[DEFAULT]\na=9\nb=8\n[t]\n";
        assert_eq!(value(text, "s", "a"), Some(("1".into(), 2)));
        assert_eq!(value(text, "s", "b"), Some(("8".into(), 5)));
        assert_eq!(value(text, "t", "a"), Some(("9".into(), 4)));
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line() {
        assert!(refusal("[s]\nlonely\n").contains("test.conf:2: the line is neither"));
        assert!(refusal("a = 1\n").contains("test.conf:1:"));
        assert!(refusal("[s]\n\n = 1\n").contains("test.conf:3:"));
        assert!(refusal("[s\na=1\n").contains("test.conf:1:"));
        assert!(refusal("[s]\n[]\n").contains("test.conf:2:"));
    }

    #[test]
    fn line_ends_of_other_systems_are_accepted() {
        assert_eq!(
            value("\u{FEFF}[s]\r\na = 1\r\n  2\r\n", "s", "a"),
            Some(("1\n2".into(), 2))
        );
    }
}
