//! `barkeep agent`: the far side of a copy, started over ssh.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the agent on standard input and output.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    crate::agent::run(&arguments)
}
