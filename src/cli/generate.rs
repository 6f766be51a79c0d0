//! `barkeep generate`: manual pages and shell completions, from the same definitions that parse the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::client;

/// Writes what is made from the definitions of the command line.
#[derive(Debug, Parser)]
#[command(name = "barkeep", disable_help_subcommand = true, color = clap::ColorChoice::Never)]
struct Generate {
    #[command(subcommand)]
    what: Family,
}

/// `barkeep generate …`: the first word has been seen already, but is parsed with the rest.
#[derive(Debug, Subcommand)]
enum Family {
    /// Write manual pages or shell completions
    Generate {
        /// What to write
        #[command(subcommand)]
        what: What,
    },
}

#[derive(Debug, Subcommand)]
enum What {
    /// The manual pages
    Man(Destination),
    /// The completions of bash, zsh and fish
    Completions(Destination),
}

#[derive(Debug, Args)]
struct Destination {
    /// The directory that receives them
    #[arg(value_name = "directory")]
    directory: PathBuf,
}

/// Runs the command.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    client::parse(&Generate::command(), &arguments, |matches, output| {
        match Generate::from_arg_matches(matches) {
            Ok(Generate {
                what:
                    Family::Generate {
                        what: What::Man(destination) | What::Completions(destination),
                    },
            }) => output.plain_error(&format!("{}", destination.directory.display())),
            Err(error) => output.plain_error(&error.to_string()),
        }
        output.fail_with(1);
    })
}
