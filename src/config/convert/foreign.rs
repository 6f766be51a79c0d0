//! The configuration file of another tool: sections with lines `option = value`, and what has been made of each.
//!
//! BART and pgBackRest read their files alike: blanks around a line, an option and a value do not count, `#` begins a
//! line that is a comment, no value goes on in the next line, and an option may be repeated.

use std::cell::Cell;
use std::path::Path;

use crate::config::ConfigError;

/// A line `option = value`.
#[derive(Debug)]
pub(super) struct Setting {
    /// The option in lower case.
    pub(super) option: String,
    /// May be a secret: it never goes into a message.
    pub(super) value: String,
    pub(super) line: usize,
    /// Whether something has been made of it.
    done: Cell<bool>,
}

/// A section, with the lines of all its pieces.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    /// Where it begins.
    pub(super) line: usize,
    pub(super) settings: Vec<Setting>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Foreign<'a> {
    pub(super) file: &'a Path,
    /// In the order in which they begin.
    pub(super) sections: Vec<Section>,
}

impl<'a> Foreign<'a> {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// A line that is none of these, or an option before any section. Its text is not repeated: it may be a secret.
    pub(super) fn read(text: &str, file: &'a Path) -> Result<Foreign<'a>, ConfigError> {
        let mut foreign = Foreign {
            file,
            sections: Vec::new(),
        };
        let text = text
            .trim_start_matches('\u{FEFF}')
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        let mut current: Option<usize> = None;
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let name = rest.strip_suffix(']').map(str::trim).unwrap_or_default();
                if name.is_empty() {
                    return Err(foreign.refuse(number, "this is not the name of a section in brackets"));
                }
                current = Some(foreign.enter(name, number));
                continue;
            }
            let setting = setting(line, number).ok_or_else(|| {
                foreign.refuse(number, "the line is neither a [section] nor \"option = value\"")
            })?;
            let Some(section) = current.and_then(|index| foreign.sections.get_mut(index)) else {
                return Err(foreign.refuse(number, "there is text before the first [section]"));
            };
            section.settings.push(setting);
        }
        Ok(foreign)
    }

    fn enter(&mut self, name: &str, line: usize) -> usize {
        let known = self.sections.iter().position(|section| section.name == name);
        known.unwrap_or_else(|| {
            self.sections.push(Section {
                name: name.to_owned(),
                line,
                settings: Vec::new(),
            });
            self.sections.len() - 1
        })
    }

    /// The section of that name, whatever the case.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.eq_ignore_ascii_case(name))
    }

    /// The error about a line.
    pub(super) fn refuse(&self, line: usize, reason: impl Into<String>) -> ConfigError {
        ConfigError::Syntax {
            file: self.file.to_path_buf(),
            line,
            reason: reason.into(),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// The value is none.
    pub(super) fn number(&self, setting: &Setting) -> Result<i64, ConfigError> {
        setting.value.parse().map_err(|_| {
            self.refuse(
                setting.line,
                format!("the value of {} is not a number", setting.option),
            )
        })
    }

    /// A switch: `y`, `yes`, `enabled` and the like.
    ///
    /// # Errors
    /// The value is none.
    pub(super) fn switch(&self, setting: &Setting) -> Result<bool, ConfigError> {
        match setting.value.to_ascii_lowercase().as_str() {
            "y" | "yes" | "enabled" | "enable" | "true" | "on" | "1" => Ok(true),
            "n" | "no" | "disabled" | "disable" | "false" | "off" | "0" => Ok(false),
            _ => Err(self.refuse(
                setting.line,
                format!("the value of {} is neither yes nor no", setting.option),
            )),
        }
    }

    /// A value that becomes one word of a command or of a connection string, where it must not be taken for more.
    ///
    /// # Errors
    /// It is none: it is empty, or has blanks, quotes, or a leading hyphen.
    pub(super) fn word<'s>(&self, setting: &'s Setting) -> Result<&'s str, ConfigError> {
        let word = setting.unquoted();
        let legal = |character: char| {
            !character.is_whitespace() && !character.is_control() && !"'\"\\%`$;&|<>()#".contains(character)
        };
        if word.is_empty() || word.starts_with('-') || !word.chars().all(legal) {
            return Err(self.refuse(
                setting.line,
                format!(
                    "the value of {} cannot be part of a command or of a connection string",
                    setting.option
                ),
            ));
        }
        Ok(word)
    }
}

fn setting(line: &str, number: usize) -> Option<Setting> {
    let (option, value) = line.split_once('=')?;
    let option = option.trim().to_lowercase();
    (!option.is_empty()).then(|| Setting {
        option,
        value: value.trim().to_owned(),
        line: number,
        done: Cell::new(false),
    })
}

impl Setting {
    /// The value without the quotes around it.
    pub(super) fn unquoted(&self) -> &str {
        ['"', '\'']
            .into_iter()
            .find_map(|quote| self.value.strip_prefix(quote)?.strip_suffix(quote))
            .unwrap_or(&self.value)
            .trim()
    }

    /// Says that something has been made of it.
    pub(super) fn settle(&self) {
        self.done.set(true);
    }
}

impl Section {
    /// The value of an option: the last one, when there are several. They are settled.
    pub(super) fn take(&self, option: &str) -> Option<&Setting> {
        let found = self.settings.iter().filter(|setting| setting.option == option);
        found.inspect(|setting| setting.settle()).last()
    }

    /// What nothing has been made of.
    pub(super) fn rest(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(|setting| !setting.done.get())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Foreign<'_>, ConfigError> {
        Foreign::read(text, Path::new("f.cfg"))
    }

    #[test]
    fn sections_and_options() {
        let text = "\u{FEFF}# c\r\n[A]\r\n  Host = a = b \r\n;x\n[B]\nk=\n[A]\nhost=2\n";
        let foreign = read(text).unwrap();
        assert_eq!(foreign.sections.len(), 2);
        let section = foreign.section("a").unwrap();
        let values: Vec<_> = section
            .settings
            .iter()
            .map(|s| (s.value.as_str(), s.line))
            .collect();
        assert_eq!(values, [("a = b", 3), ("2", 8)]);
        assert_eq!(section.take("host").unwrap().line, 8);
        assert_eq!(section.rest().count(), 0);
        assert_eq!(foreign.section("b").unwrap().rest().count(), 1);
    }

    #[test]
    fn mistakes_name_the_line_and_not_the_text() {
        for (text, place) in [
            ("[A]\nsecret\n", "f.cfg:2: the line is neither"),
            ("secret = 1\n", "f.cfg:1: there is text before"),
            ("[A]\n= secret\n", "f.cfg:2: the line is neither"),
            ("[secret\n", "f.cfg:1: this is not the name"),
            ("\n[]\n", "f.cfg:2: this is not the name"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(place) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn words_cannot_be_more_than_one() {
        let foreign = read("[A]\na=h\nb='h'\nc=-oProxyCommand=x\nd=h x\ne=\nf=a'b\ng=$(x)\n").unwrap();
        let section = foreign.section("A").unwrap();
        let word = |option| foreign.word(section.take(option).unwrap());
        assert_eq!((word("a").unwrap(), word("b").unwrap()), ("h", "h"));
        for option in ["c", "d", "e", "f", "g"] {
            assert!(
                word(option).unwrap_err().to_string().contains("f.cfg:"),
                "{option}"
            );
        }
    }
}
