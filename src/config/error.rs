//! Why a configuration cannot be used at all.

use std::path::PathBuf;

use crate::base::error::PathError;

/// A configuration that stops the program before any command runs. The text is what Barman prints before it exits
/// with 1; where Barman would crash instead, it is our own and names the file and line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given by `--config` or `BARMAN_CONFIG_FILE` is missing.
    #[error("Configuration file '{}' does not exist", .0.display())]
    NotFound(PathBuf),
    /// None of the default files exists.
    #[error(
        "Could not find any configuration file at default locations.\nCheck Barman's documentation for more help."
    )]
    NoDefaultFile,
    /// A file other than the main one changes `[barman]`.
    #[error("FATAL: the configuration file {0} contains a not empty [barman] section")]
    BarmanSectionElsewhere(String),
    /// A server is called `all`.
    #[error("FATAL: the reserved word 'all' is not allowed as server name.Please rename it.")]
    ReservedName {
        /// What there was to say about the sections before.
        warnings: Vec<String>,
    },
    /// Options that must be there are not. `warnings` and `errors` are to be reported before the text of this error.
    #[error("Your configuration is missing required parameters. Exiting.")]
    MissingRequired {
        /// What there was to say before.
        warnings: Vec<String>,
        /// One line for each missing option.
        errors: Vec<String>,
    },
    /// A file is not well formed.
    #[error("cannot read the configuration: {file}:{line}: {reason}", file = file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] PathError),
}

impl ConfigError {
    /// The warnings to be reported before the error, without the prefix `WARNING: `.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match self {
            ConfigError::ReservedName { warnings } | ConfigError::MissingRequired { warnings, .. } => {
                warnings
            }
            _ => &[],
        }
    }
}
