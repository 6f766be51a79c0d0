//! The configuration: Barman's INI files, read as Barman reads them.
//!
//! Reading happens in three steps, because Barman does things between them. [`MainFile::read`] reads the main file: it
//! says which user to become and where to log. [`MainFile::complete`] reads the other files. [`Settings::instantiate`]
//! builds every server and model, and happens only for commands that need one, because it has something to say about
//! each mistake it finds. [`Config::load`] does all three.
//!
//! The options themselves are the rows of one table, [`options`].

mod choices;
mod error;
mod kinds;
mod options;
mod shown;
mod source;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use choices::{
    AwsEncryption, BackupCompression, BackupCompressionFormat, BackupCompressionLocation, BackupMethod,
    BackupOptions, CombineMode, CompressionLevel, CreateSlot, Encryption, RecoveryOptions, ReuseBackup,
    StagingLocation, WalCompression,
};
pub use error::ConfigError;
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
    /// Warnings about the files, to be reported once, in this order, without the prefix `WARNING: `.
    pub warnings: Vec<String>,
    /// Mistakes that concern several servers (path conflicts): nearly every command reports them and stops.
    pub errors: Vec<String>,
}

/// A model: options that can be applied on top of the servers of one cluster.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The name of its section.
    pub name: String,
    /// The cluster whose servers it applies to.
    pub cluster: String,
    /// The options it sets, by name: their text and where it was written.
    pub overrides: BTreeMap<&'static str, (String, Source)>,
}

impl Config {
    /// Reads everything: the file `explicit` (from `--config`), else `from_environment` (the value of
    /// `BARMAN_CONFIG_FILE`), else the first default file that exists; then the files it refers to.
    ///
    /// # Errors
    /// No file, a file that is not well formed, or a mistake that concerns the whole configuration.
    pub fn load(explicit: Option<&Path>, from_environment: Option<&Path>) -> Result<Config, ConfigError> {
        MainFile::read(explicit, from_environment)?
            .complete()?
            .instantiate()
    }
}

/// The main file alone.
#[derive(Debug)]
pub struct MainFile {
    /// The file.
    pub path: PathBuf,
    /// `[barman]` as the main file has it.
    pub main: MainConfig,
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
}

impl MainFile {
    /// Finds and reads the main file.
    ///
    /// # Errors
    /// There is none, or it is not well formed.
    pub fn read(explicit: Option<&Path>, from_environment: Option<&Path>) -> Result<MainFile, ConfigError> {
        let _ = from_environment;
        Err(ConfigError::NotFound(
            explicit.unwrap_or(Path::new("")).to_path_buf(),
        ))
    }

    /// Reads the other files: those of `configuration_files_directory`, then `.barman.auto.conf`.
    ///
    /// # Errors
    /// A file is not well formed, or one of them changes `[barman]`, or `[barman]` lacks a required option.
    pub fn complete(self) -> Result<Settings, ConfigError> {
        Err(ConfigError::NotFound(self.path))
    }
}

impl Settings {
    /// Builds every model and server.
    ///
    /// # Errors
    /// A reserved name, or a model without its required options.
    pub fn instantiate(self) -> Result<Config, ConfigError> {
        Err(ConfigError::NotFound(self.path))
    }
}
