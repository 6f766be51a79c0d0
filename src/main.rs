//! The executable: which program was called is decided from its name; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    barkeep::cli::main(std::env::args_os().collect())
}
