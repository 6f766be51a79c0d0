//! Which files are read, in which order, and how their sections are merged (configuration reference §1).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::ini::{self, RawSection};
use super::interpolate;
use super::source::Source;
use crate::base::error::{PathContext, PathError};
use crate::base::host;

/// The section of the program itself.
pub(super) const BARMAN_SECTION: &str = "barman";

/// The file that `config-update` writes to, in `barman_home`.
pub(super) const AUTO_FILE: &str = ".barman.auto.conf";

/// The largest file that is read: far beyond any real one.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A value with its references replaced and its quotes removed, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) text: String,
    /// The same with its quotes: `diagnose` shows `[barman]` so.
    pub(super) quoted: String,
    pub(super) source: Source,
}

impl Entry {
    /// The text of the value; the word `None` means nothing.
    pub(super) fn meant(&self) -> &str {
        if self.text == "None" { "" } else { &self.text }
    }
}

/// The options of a section by name.
pub(super) type Section = BTreeMap<String, Entry>;

/// The sections of all files, merged.
#[derive(Debug, Clone, Default)]
pub(super) struct Sections {
    /// The names, in the order in which they were first read.
    order: Vec<String>,
    sections: BTreeMap<String, Section>,
}

impl Sections {
    /// A section by its name.
    pub(super) fn get(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }

    /// All sections, in the order in which they were first read.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.order
            .iter()
            .filter_map(|name| Some((name.as_str(), self.sections.get(name)?)))
    }

    /// Reads the main file into the sections.
    ///
    /// # Errors
    /// The file cannot be read, or is not well formed.
    pub(super) fn read_main(&mut self, file: &Path) -> Result<(), ConfigError> {
        self.read_text(&read_file(file)?, file)
    }

    /// Reads a text that stands for the main file.
    ///
    /// # Errors
    /// The text is not well formed.
    pub(super) fn read_text(&mut self, text: &str, file: &Path) -> Result<(), ConfigError> {
        for section in ini::parse(text, file)? {
            self.merge(section, file)?;
        }
        Ok(())
    }

    /// Reads another file into the sections.
    ///
    /// # Errors
    /// Also: the file changes `[barman]`.
    pub(super) fn read_other(&mut self, file: &Path) -> Result<(), ConfigError> {
        for section in ini::parse(&read_file(file)?, file)? {
            if section.name == BARMAN_SECTION {
                self.check_unchanged(&section, file)?;
            }
            self.merge(section, file)?;
        }
        Ok(())
    }

    fn merge(&mut self, section: RawSection, file: &Path) -> Result<(), ConfigError> {
        if !self.sections.contains_key(&section.name) {
            self.order.push(section.name.clone());
        }
        let read = entries(&section, file)?;
        self.sections.entry(section.name).or_default().extend(read);
        Ok(())
    }

    fn check_unchanged(&self, section: &RawSection, file: &Path) -> Result<(), ConfigError> {
        let known = self.sections.get(BARMAN_SECTION);
        let read = entries(section, file)?;
        let same = read.iter().all(|(key, entry)| {
            known
                .and_then(|known| known.get(key))
                .is_some_and(|old| old.text == entry.text)
        });
        if same {
            return Ok(());
        }
        let name = file.file_name().unwrap_or(file.as_os_str());
        Err(ConfigError::BarmanSectionElsewhere(
            name.to_string_lossy().into_owned(),
        ))
    }
}

/// The values of a section as they are meant.
pub(super) fn entries(section: &RawSection, file: &Path) -> Result<Section, ConfigError> {
    let mut read = Section::new();
    for (key, value) in &section.options {
        // The placeholders of a log format look like references to options.
        let text = if section.name == BARMAN_SECTION && key == "log_format" {
            value.text.replace("%%", "%")
        } else {
            interpolate::expand(&value.text, section).map_err(|reason| ConfigError::Syntax {
                file: file.to_path_buf(),
                line: value.line,
                reason: format!("{key} in [{}]: {reason}", section.name),
            })?
        };
        let entry = Entry {
            text: unquote(&text).to_owned(),
            quoted: text,
            source: Source {
                file: file.to_path_buf(),
                line: value.line,
            },
        };
        read.insert(key.clone(), entry);
    }
    Ok(read)
}

/// Removes one pair of quotes around the whole of a one-line value.
fn unquote(text: &str) -> &str {
    if text.contains('\n') {
        return text;
    }
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

pub(super) fn read_file(file: &Path) -> Result<String, ConfigError> {
    read_source(fs::File::open(file).at("read", file)?, file)
}

/// Reads the text of a source that messages call `file`.
///
/// # Errors
/// It cannot be read, is no text, or too long for a configuration.
pub(super) fn read_source(source: impl Read, file: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let length = source
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .at("read", file)?;
    if length as u64 > MAX_FILE {
        let reason = std::io::Error::other("it is longer than any configuration file");
        return Err(PathError::new("read", file, reason).into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        ConfigError::Syntax {
            file: file.to_path_buf(),
            line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
            reason: "the text is not UTF-8".to_owned(),
        }
    })
}

/// The main file: the one that was asked for, else the first default one that exists.
///
/// # Errors
/// None of them exists.
pub(super) fn main_file(
    explicit: Option<&Path>,
    from_environment: Option<&Path>,
) -> Result<PathBuf, ConfigError> {
    let asked = explicit.or(from_environment.filter(|path| !path.as_os_str().is_empty()));
    if let Some(asked) = asked {
        // The existence is tested before "~" is expanded, as Barman does.
        return if asked.exists() {
            Ok(expanded(asked))
        } else {
            Err(ConfigError::NotFound(asked.to_path_buf()))
        };
    }
    [
        host::expand_home("~/.barman.conf"),
        PathBuf::from("/etc/barman.conf"),
        PathBuf::from("/etc/barman/barman.conf"),
    ]
    .into_iter()
    .find(|file| file.exists())
    .ok_or(ConfigError::NoDefaultFile)
}

fn expanded(path: &Path) -> PathBuf {
    path.to_str()
        .map_or_else(|| path.to_path_buf(), host::expand_home)
}

/// The files of `configuration_files_directory`: every `*.conf` that is a regular file and not hidden, in byte order.
///
/// # Errors
/// The directory cannot be listed.
pub(super) fn directory_files(directory: &str) -> Result<Vec<PathBuf>, PathError> {
    let directory = host::expand_home(directory);
    if !directory.is_dir() {
        log::warn!(
            target: "barman.config",
            "Ignoring the \"configuration_files_directory\" option as \"{}\" is not a directory",
            directory.display()
        );
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).at("list directory", &directory)? {
        let path = entry.at("list directory", &directory)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") || !name.ends_with(b".conf") {
            continue;
        }
        if path.is_file() {
            files.push(path);
        } else {
            let basename = String::from_utf8_lossy(name).into_owned();
            log::warn!(target: "barman.config", "Discarding configuration file: {basename} (not a file)");
        }
    }
    files.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_quotes_is_removed() {
        assert_eq!(unquote("\"a b\""), "a b");
        assert_eq!(unquote("'a' 'b'"), "a' 'b");
        assert_eq!(unquote("'"), "'");
        assert_eq!(unquote("'a\""), "'a\"");
        assert_eq!(unquote("''"), "");
        assert_eq!(unquote("'a\nb'"), "'a\nb'");
    }
}
