//! One run of the manager: the order in which things are set up, and what a command then works with.
//!
//! The order is Barman's: arguments, main configuration file, user, log, output, the other files, the command.

use std::cell::{OnceCell, RefCell};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::arguments::{Color, Format, GlobalOptions, LogLevel};
use super::failure::Failure;
use super::signals;
use crate::base::report::Reporter;
use crate::base::sys;
use crate::config::privileges::{self, Became};
use crate::config::{Config, ConfigError, MainConfig, MainFile, Settings};
use crate::cron::Program;
use crate::output::log_file::{self, Logging};
use crate::output::{self, Output, Style};

/// What a command works with.
#[derive(Debug)]
pub(super) struct Session {
    /// Where it writes.
    pub(super) output: Output,
    /// The name the program was called by.
    pub(super) program: &'static str,
    /// The full help, for a program called by a name.
    pub(super) help: fn(&'static str) -> String,
    /// `[barman]`.
    pub(super) main: MainConfig,
    settings: RefCell<Option<Settings>>,
    config: OnceCell<Config>,
}

impl Session {
    /// Sets up everything; `nagios` asks for the output of a check.
    pub(super) fn start(
        program: &'static str,
        help: fn(&'static str) -> String,
        global: &GlobalOptions,
        nagios: bool,
    ) -> Result<Session, Failure> {
        let from_environment = std::env::var_os("BARMAN_CONFIG_FILE").map(PathBuf::from);
        let file =
            MainFile::read(global.config.as_deref(), from_environment.as_deref()).map_err(Failure::from)?;
        become_configured_user(&file.main.barman_user)?;
        let outcome = start_log(global, &file.main);
        let output = Output::new(style(global, nagios));
        signals::end_on_ctrl_c(&output);
        let settings = file.complete().map_err(|error| refused(&output, error))?;
        if let Err(line) = outcome {
            log::warn!(target: "barman.cli", "{line}");
        }
        for line in &settings.warnings {
            output.warning(line);
        }
        Ok(Session {
            output,
            program,
            help,
            main: settings.main.clone(),
            settings: RefCell::new(Some(settings)),
            config: OnceCell::new(),
        })
    }

    /// The whole configuration, read when it is first needed.
    pub(super) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let Some(settings) = self.settings.borrow_mut().take() else {
            // The first attempt failed and ended the command.
            return Err(Failure::reported());
        };
        let config = settings
            .instantiate()
            .map_err(|error| refused(&self.output, error))?;
        for line in &config.warnings {
            self.output.warning(line);
        }
        for line in &config.reported_errors {
            self.output.error(line);
        }
        Ok(self.config.get_or_init(|| config))
    }

    /// The configuration as it is now that its files have changed. What there is to say about it has been said.
    pub(super) fn reread(&self) -> Result<Config, Failure> {
        Ok(MainFile::read(Some(self.config_path()?), None)?
            .complete()?
            .instantiate()?)
    }

    /// How to start this program again.
    pub(super) fn this_program(&self, keep_descriptors: bool) -> Result<Program, Failure> {
        let path = std::env::current_exe()
            .map_err(|error| Failure::exception(format!("cannot find this program: {error}")))?;
        Ok(Program {
            path,
            name: self.program.to_owned(),
            keep_descriptors,
        })
    }

    /// The configuration file, to hand it to processes that are started.
    pub(super) fn config_path(&self) -> Result<&Path, Failure> {
        Ok(&self.config()?.path)
    }
}

/// ` (SSH host: 10.0.0.1)` when this program was started over ssh: what clients see of errors should say where from.
pub(super) fn ssh_host() -> String {
    std::env::var("SSH_CONNECTION")
        .ok()
        .and_then(|connection| connection.split_whitespace().next().map(str::to_owned))
        .map_or_else(String::new, |host| format!(" (SSH host: {host})"))
}

/// Becomes `barman_user`, so that nothing written from here on belongs to root.
fn become_configured_user(user: &str) -> Result<(), Failure> {
    match privileges::become_user(user) {
        Ok(Became::Unchanged) => Ok(()),
        Ok(Became::Changed { home }) => {
            sys::set_home(&home);
            Ok(())
        }
        Err(error) => Err(Failure::plain(error.to_string())),
    }
}

/// Reports what there is to say before the error.
fn refused(output: &Output, error: ConfigError) -> Failure {
    for line in error.warnings() {
        output.warning(line);
    }
    Failure::from(error)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        match &error {
            ConfigError::MissingRequired { errors, .. } => {
                let mut lines: Vec<String> = errors.iter().map(|line| format!("ERROR: {line}")).collect();
                lines.push(error.to_string());
                Failure::plain(lines.join("\n"))
            }
            _ => Failure::plain(error.to_string()),
        }
    }
}

/// Starts the log. A level that cannot be read is reported by the caller, once there is an output.
fn start_log(global: &GlobalOptions, main: &MainConfig) -> Result<(), String> {
    let (level, outcome) = match global.log_level {
        Some(level) => (named_level(level), Ok(())),
        None => match log_file::level(&main.log_level) {
            Some(level) => (level, Ok(())),
            None => (
                LevelFilter::Info,
                Err(format!("unknown log_level in config file: {}", main.log_level)),
            ),
        },
    };
    log_file::start(Logging {
        path: main.log_file.clone(),
        level,
        layout: main.log_format.clone(),
    });
    outcome
}

fn named_level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Notset => LevelFilter::Trace,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Critical => LevelFilter::Off,
    }
}

pub(super) fn style(global: &GlobalOptions, nagios: bool) -> Style {
    let format = match global.format {
        _ if nagios => output::Format::Nagios,
        Format::Json => output::Format::Json,
        Format::Console => output::Format::Console,
    };
    let terminal = std::io::stderr().is_terminal();
    let color = match global.color {
        Color::Always => true,
        Color::Never => false,
        // NO_COLOR wins over what we find out ourselves, not over what the operator asks for.
        Color::Auto => {
            terminal
                && std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Style {
        format,
        quiet: global.quiet,
        debug: global.debug,
        color,
        progress: terminal && !dumb && !global.quiet && format == output::Format::Console,
    }
}

/// The style of what is written before a session exists.
pub(super) fn plain_style() -> Style {
    Style {
        format: output::Format::Console,
        quiet: false,
        debug: false,
        color: false,
        progress: false,
    }
}
