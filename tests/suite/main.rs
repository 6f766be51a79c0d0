//! Every suite that needs real servers, in one program.
//!
//! Run all of it with `cargo test --test suite`, a part with `cargo test --test suite -- conformance::list`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod support;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    support::cleanup::install();
    let trials = Vec::new();
    let conclusion = libtest_mimic::run(&arguments, trials);
    conclusion.exit();
}
