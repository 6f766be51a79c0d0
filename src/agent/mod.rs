//! The far side of the copy engine, and the near side's way to talk to it.
//!
//! `barkeep agent` runs on the host whose files are copied, speaks framed messages on its standard streams, keeps no state,
//! and ends when its standard input closes. [`host::Host`] offers its simple verbs (look, read, write, remove) for any host.

pub mod filter;
pub mod host;

use std::process::ExitCode;

/// Runs the agent on this process's standard streams: the hidden command `barkeep agent`, with the arguments after it.
///
/// `--build-id` prints the identity of this executable and exits.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::FAILURE
}
