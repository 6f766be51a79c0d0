//! What `config-update` needs to know before it changes a file: which options there are, whether a value is one, and where it
//! is written.

use std::path::PathBuf;

use super::files::{AUTO_FILE, BARMAN_SECTION, Entry};
use super::lenient;
use super::options::{SERVER_OPTIONS, ServerConfig};
use super::table::{Emptiness, OptionType};
use super::{Config, model};

/// What has options of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionHolder {
    /// A server.
    Server,
    /// A model.
    Model,
}

impl OptionHolder {
    /// Whether the section may have the option.
    #[must_use]
    pub fn knows(self, option: &str) -> bool {
        match self {
            OptionHolder::Server => SERVER_OPTIONS.iter().any(|spec| spec.name == option),
            OptionHolder::Model => model::allows(option),
        }
    }

    /// Whether a text is a value of the option. `place` says for whom: `server 'main'`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn validate(self, option: &str, text: &str, place: &str) -> Result<(), String> {
        if option == model::MARK {
            return bool::read(text)
                .map(|_| ())
                .map_err(|refusal| refusal.describe(option, place));
        }
        let empty = SERVER_OPTIONS
            .iter()
            .find(|spec| spec.name == option)
            .map(|spec| spec.empty);
        if text.is_empty() && matches!(empty, Some(Emptiness::Unset | Emptiness::Inherited)) {
            return Ok(());
        }
        let mut trial = ServerConfig::default();
        let text = lenient::accepted(&mut trial, option, text);
        trial
            .assign(option, &text)
            .map_err(|refusal| refusal.describe(option, place))
    }
}

impl Config {
    /// What a section says about an option by itself.
    #[must_use]
    pub fn written(&self, section: &str, option: &str) -> Option<&str> {
        self.entry(section, option).map(|entry| entry.text.as_str())
    }

    /// The file in which an option of a section is to be changed: the one that has it, or has it for all servers, or the
    /// one for changes by program.
    #[must_use]
    pub fn file_of(&self, section: &str, option: &str) -> PathBuf {
        self.entry(section, option)
            .or_else(|| self.entry(BARMAN_SECTION, option))
            .map_or_else(
                || self.main.barman_home.join(AUTO_FILE),
                |entry| entry.source.file.clone(),
            )
    }

    fn entry(&self, section: &str, option: &str) -> Option<&Entry> {
        self.sections.get(section)?.get(option)
    }
}
