//! The far side of the copy engine, and the near side's way to talk to it.
//!
//! `barkeep agent` runs on the host whose files are copied, speaks framed messages on its standard streams, keeps no state,
//! and ends when its standard input closes. [`host::Host`] offers its simple verbs (look, read, write, remove) for any host.

pub mod ahead;
mod blocks;
mod bootstrap;
mod commands;
pub mod connection;
mod conversation;
pub mod delta;
pub mod executable;
mod fetch;
pub mod filter;
pub mod host;
pub mod message;
mod reading;
mod refusal;
pub mod serve;
mod simple;
pub mod source;
mod spans;
pub mod syncer;
pub mod tree;
pub mod writing;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Runs the agent on this process's standard streams: the hidden command `barkeep agent`, with the arguments after it.
///
/// `--build-id` prints the identity of this executable and exits.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let result = match arguments.first().map(String::as_str) {
        Some("--build-id") => print_build_id(),
        None => serve_standard_streams(),
        Some(other) => Err(format!("unknown argument \"{other}\"")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // The near side logs what comes here.
            let _ = writeln!(std::io::stderr(), "barkeep agent: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn print_build_id() -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let id = executable::build_id(&own).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{id}").map_err(|error| error.to_string())
}

fn serve_standard_streams() -> Result<(), String> {
    // Files instead of std's handles: frames are buffered already.
    let input = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    match (input, output) {
        (Ok(input), Ok(output)) => serve::serve(input, output).map_err(|error| error.to_string()),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    }
}
