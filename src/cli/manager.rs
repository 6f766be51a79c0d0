//! The manager: its command line is parsed, a session set up, the command run.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::arguments::GlobalOptions;
use super::commands::Command;
use super::session::{Session, plain_style, style};
use super::usage::{self, Stop};
use crate::output::Output;
use crate::{BARMAN_LEVEL, VERSION};

/// The manager's command line.
#[derive(Debug, Parser)]
#[command(
    name = "barman",
    about = "Backs up PostgreSQL servers, archives their WAL and restores them.",
    after_help = concat!("barkeep ", env!("CARGO_PKG_VERSION"), ", compatible with Barman 3.19.1."),
    disable_help_subcommand = true,
    version = crate::BARMAN_LEVEL,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    color = clap::ColorChoice::Never,
    max_term_width = 100
)]
pub(super) struct Manager {
    /// Show the version and exit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Runs the manager.
pub(super) fn main(program: &'static str, arguments: Vec<OsString>) -> ExitCode {
    // Three commands are not for operators: they have nothing to do with configuration, and no place in the help.
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("agent") => return super::agent::main(&arguments),
        Some("complete") => return super::complete::main(&arguments),
        Some("generate") => return super::generate::main(arguments),
        _ => {}
    }
    let definition = Manager::command().name(program);
    let parsed = usage::parse(&definition, arguments).and_then(|matches| {
        Manager::from_arg_matches(&matches).map_err(|error| Stop::Mistake(error.to_string()))
    });
    let screen = Output::new(plain_style());
    match parsed {
        Ok(manager) => ExitCode::from(run(program, manager)),
        Err(Stop::Help(text)) => {
            screen.plain(&text);
            ExitCode::from(screen.finish())
        }
        Err(Stop::Version) => {
            screen.plain(&format!("{}\n", version(program)));
            ExitCode::from(screen.finish())
        }
        Err(Stop::Mistake(text)) => {
            screen.plain_error(text.trim_end());
            ExitCode::from(2)
        }
    }
}

/// The answer to `--version`. Scripts read the first word as the level of Barman they can rely on.
fn version(program: &str) -> String {
    let name = if program == "barman" {
        "barman by barkeep"
    } else {
        program
    };
    format!("{BARMAN_LEVEL} {name} {VERSION} (compatible with Barman {BARMAN_LEVEL})")
}

/// The full help, as `barman help` and `barman` alone show it.
fn help(program: &'static str) -> String {
    Manager::command().name(program).render_help().to_string()
}

fn run(program: &'static str, manager: Manager) -> u8 {
    let Manager { global, command, .. } = manager;
    if let Some(Command::ConvertConfig(conversion)) = &command {
        let output = Output::new(style(&global, false));
        if let Err(failure) = conversion.convert(&output) {
            failure.report(&output);
        }
        return output.finish();
    }
    let nagios = matches!(&command, Some(Command::Check(check)) if check.nagios);
    let session = match Session::start(program, help, &global, nagios) {
        Ok(session) => session,
        Err(failure) => {
            let output = Output::new(plain_style());
            failure.report(&output);
            return output.finish();
        }
    };
    let done = match command {
        Some(command) => command.run(&session),
        None => {
            session.output.plain(&help(program));
            Ok(())
        }
    };
    if let Err(failure) = done {
        failure.report(&session.output);
    }
    session.output.finish()
}
