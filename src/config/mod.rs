//! The configuration: Barman's INI files, read as Barman reads them.
//!
//! Reading happens in three steps, because Barman does things between them. [`MainFile::read`] reads the main file: it
//! says which user to become and where to log. [`MainFile::complete`] reads the other files. [`Settings::instantiate`]
//! builds every server and model, and happens only for commands that need one, because it has something to say about
//! each mistake it finds. [`Config::load`] does all three.
//!
//! The options themselves are the rows of one table, [`options`].

mod backup_compression;
mod choices;
mod coherence;
mod conninfo;
pub mod convert;
pub mod edit;
mod error;
mod files;
mod holder;
mod ini;
mod interpolate;
mod kinds;
mod lenient;
mod lines;
pub mod manual;
mod model;
mod options;
mod paths;
pub mod privileges;
mod resolve;
mod server;
mod shown;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use files::{AUTO_FILE, BARMAN_SECTION, Sections};

pub use backup_compression::Ends;
pub use choices::{
    AwsEncryption, BackupCompression, BackupCompressionFormat, BackupCompressionLocation, BackupMethod,
    BackupOptions, CombineMode, CompressionLevel, CreateSlot, Encryption, RecoveryOptions, ReuseBackup,
    StagingLocation, WalCompression, WalValidation,
};
pub use error::ConfigError;
pub use holder::OptionHolder;
pub use kinds::{AbsolutePath, ByteSize, Location, NameList, NotLocal, SlotName, TablespaceLimits};
pub use options::{MAIN_OPTIONS, MainConfig, SERVER_OPTIONS, ServerConfig};
pub use shown::Shown;
pub use source::Source;
pub use table::{OptionSpec, Scope};

/// Everything the configuration files say.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    /// `[barman]`.
    pub main: MainConfig,
    /// The servers, by name.
    pub servers: BTreeMap<String, ServerConfig>,
    /// The models, by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// `[barman]` as it is written, with quotes: every option in it, also those that servers inherit.
    pub barman_section: BTreeMap<String, (String, Source)>,
    /// Warnings about the files, to be reported once, in this order, without the prefix `WARNING: `.
    pub warnings: Vec<String>,
    /// Errors to be reported once, after the warnings; the command runs on, and its exit code is 1.
    pub reported_errors: Vec<String>,
    /// Mistakes that concern several servers (path conflicts): nearly every command reports them and stops.
    pub errors: Vec<String>,
    /// All sections as they are written.
    sections: Sections,
}

/// A model: options that can be applied on top of the servers of one cluster.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The name of its section.
    pub name: String,
    /// The cluster whose servers it applies to.
    pub cluster: String,
    /// The options it sets, as text.
    pub overrides: BTreeMap<&'static str, String>,
    /// Where each option is written.
    pub sources: BTreeMap<&'static str, Source>,
}

impl Config {
    /// Reads everything: the file `explicit` (from `--config`), else `from_environment` (the value of
    /// `BARMAN_CONFIG_FILE`), else the first default file that exists; then the files it refers to.
    ///
    /// # Errors
    /// No file, a file that is not well formed, or a mistake that concerns the whole configuration.
    pub fn load(explicit: Option<&Path>, from_environment: Option<&Path>) -> Result<Config, ConfigError> {
        let settings = MainFile::read(explicit, from_environment)?.complete()?;
        let mut warnings = settings.warnings.clone();
        let mut config = settings.instantiate()?;
        warnings.append(&mut config.warnings);
        config.warnings = warnings;
        Ok(config)
    }
}

impl Config {
    /// Reads a text as the main file, and no other file of the configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        let mut sections = Sections::default();
        sections.read_text(text, Path::new("barman.conf"))?;
        let (main, warnings) = resolve::main_config(sections.get(BARMAN_SECTION));
        let settings = Settings {
            path: PathBuf::from("barman.conf"),
            main,
            warnings,
            sections,
        };
        settings.instantiate()
    }
}

/// The main file alone.
#[derive(Debug)]
pub struct MainFile {
    /// The file.
    pub path: PathBuf,
    /// `[barman]` as the main file has it.
    pub main: MainConfig,
    warnings: Vec<String>,
    sections: Sections,
}

/// All files, before servers are built.
#[derive(Debug)]
pub struct Settings {
    /// The main file.
    pub path: PathBuf,
    /// `[barman]`.
    pub main: MainConfig,
    /// Warnings about `[barman]`, to be reported at once.
    pub warnings: Vec<String>,
    sections: Sections,
}

impl MainFile {
    /// Finds and reads the main file.
    ///
    /// # Errors
    /// There is none, or it is not well formed.
    pub fn read(explicit: Option<&Path>, from_environment: Option<&Path>) -> Result<MainFile, ConfigError> {
        let path = files::main_file(explicit, from_environment)?;
        let mut sections = Sections::default();
        sections.read_main(&path)?;
        let (main, warnings) = resolve::main_config(sections.get(BARMAN_SECTION));
        Ok(MainFile {
            path,
            main,
            warnings,
            sections,
        })
    }

    /// Reads the other files: those of `configuration_files_directory`, then `.barman.auto.conf`.
    ///
    /// # Errors
    /// A file is not well formed, or one of them changes `[barman]`, or `[barman]` lacks a required option.
    pub fn complete(mut self) -> Result<Settings, ConfigError> {
        if let Some(directory) = &self.main.configuration_files_directory {
            for file in files::directory_files(directory)? {
                self.sections.read_other(&file)?;
            }
        }
        if self.main.barman_home.as_os_str().is_empty() {
            return Err(ConfigError::MissingRequired {
                warnings: self.warnings,
                errors: vec!["Parameter \"barman_home\" is required in [barman] section.".to_owned()],
            });
        }
        let auto = self.main.barman_home.join(AUTO_FILE);
        if auto.exists() {
            self.sections.read_other(&auto)?;
        }
        let mut warnings = self.warnings;
        if let Some(section) = self.sections.get(BARMAN_SECTION) {
            warnings.extend(resolve::unknown_options(BARMAN_SECTION, section, is_known));
        }
        Ok(Settings {
            path: self.path,
            main: self.main,
            warnings,
            sections: self.sections,
        })
    }
}

/// Whether an option may stand in `[barman]`. Those of servers may even where they have no effect.
fn is_known(option: &str) -> bool {
    MAIN_OPTIONS
        .iter()
        .chain(SERVER_OPTIONS)
        .any(|spec| spec.name == option)
}

impl Settings {
    /// Builds every model and server. [`Self::warnings`] are not repeated in [`Config::warnings`].
    ///
    /// # Errors
    /// A reserved name, or a model without its required options.
    pub fn instantiate(self) -> Result<Config, ConfigError> {
        let written = self.sections.get(BARMAN_SECTION).into_iter().flatten();
        let mut config = Config {
            barman_section: written
                .map(|(name, entry)| (name.clone(), (entry.quoted.clone(), entry.source.clone())))
                .collect(),
            path: self.path,
            main: self.main,
            servers: BTreeMap::new(),
            models: BTreeMap::new(),
            warnings: Vec::new(),
            reported_errors: Vec::new(),
            errors: Vec::new(),
            sections: Sections::default(),
        };
        let global = self.sections.get(BARMAN_SECTION);
        for (name, section) in self.sections.iter().filter(|(name, _)| *name != BARMAN_SECTION) {
            if name == "all" {
                return Err(ConfigError::ReservedName {
                    warnings: config.warnings,
                });
            }
            let is_model = model::is_model(section).map_err(|(source, reason)| ConfigError::Syntax {
                file: source.file,
                line: source.line,
                reason: format!("model in [{name}]: {reason}"),
            })?;
            let warnings = if is_model {
                config
                    .warnings
                    .extend(resolve::unknown_options(name, section, model::allows));
                if !section.contains_key("cluster") {
                    return Err(ConfigError::MissingRequired {
                        warnings: config.warnings,
                        errors: vec![format!("Parameter \"cluster\" is required in [{name}] section.")],
                    });
                }
                let (model, refused) = model::build(name, section, global);
                config.models.insert(name.to_owned(), model);
                refused
            } else {
                let known = |option: &str| SERVER_OPTIONS.iter().any(|spec| spec.name == option);
                let mut warnings = resolve::unknown_options(name, section, known);
                let (server, refused) = resolve::server(name, section, global, &config.main);
                warnings.extend(refused);
                config.servers.insert(name.to_owned(), server);
                warnings
            };
            config.warnings.extend(warnings);
        }
        config.sections = self.sections;
        config.settle();
        Ok(config)
    }
}

impl Config {
    /// The object `global.config` of `diagnose`: what `[barman]` says, and the defaults of three options.
    #[must_use]
    pub fn diagnose_global(&self, with_sources: bool) -> Map<String, Value> {
        let defaults = [
            "barman_lock_directory",
            "config_changes_queue",
            "lock_directory_cleanup",
        ];
        let mut values: BTreeMap<&str, (Value, Option<&Source>)> = self
            .barman_section
            .iter()
            .map(|(name, (text, source))| (name.as_str(), (json!(text), Some(source))))
            .collect();
        for name in defaults {
            let shown = (self.main.held(name).json(), self.main.sources.get(name));
            values.insert(name, shown);
        }
        let mut shown: Map<String, Value> = values
            .into_iter()
            .map(|(name, (value, source))| {
                (name.to_owned(), server::with_source(value, source, with_sources))
            })
            .collect();
        shown.insert("errors_list".to_owned(), json!(self.errors));
        shown
    }

    /// What needs all servers and models: active models, shared directories, options that do not fit together.
    fn settle(&mut self) {
        self.errors = paths::conflicts(&mut self.servers);
        let names: Vec<String> = self.servers.keys().cloned().collect();
        for name in &names {
            model::apply_active(self, name);
        }
        for server in self.servers.values_mut() {
            coherence::examine(server);
        }
    }
}
