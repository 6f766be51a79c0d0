//! The command line: arguments, and one short file per command that resolves, calls and renders.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program that `arguments[0]` names.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let _ = arguments;
    ExitCode::FAILURE
}
