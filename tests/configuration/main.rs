//! The configuration against real Barman: one INI file after the other is read by both, and everything that is shown of it
//! must be the same: every option of every server and model, its file, the messages of disabled servers, the warnings,
//! the errors, the exit codes.
//!
//! Skipped with a notice where `tests/setup` has not installed Barman.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod broken;
mod case;
mod converted;
mod generator;
mod options;
mod programs;
mod random;
#[allow(dead_code)] // the suite uses the rest
#[path = "../suite/support/random.rs"]
mod random_numbers;
mod samples;
mod templates;
mod values;
#[path = "../suite/support/warm_barman.rs"]
mod warm_barman;
