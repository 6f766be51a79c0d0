//! `barkeep agent`: the far side of a copy, started over ssh.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the agent on standard input and output.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    // Behind the program and the command.
    let rest = arguments.iter().skip(2);
    let rest: Vec<String> = rest.map(|word| word.to_string_lossy().into_owned()).collect();
    crate::agent::run(&rest)
}
