//! Every suite that needs real servers, in one program.
//!
//! Run all of it with `cargo test --test suite`, a part with `cargo test --test suite -- conformance::list`.
//! Environment: `BARKEEP_TEST_TOOL` (a directory with another tool under test), `BARKEEP_TEST_CACHE` (where
//! `tests/setup` put things), `BARKEEP_TEST_KEEP` (keep the temporary directories).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod archiving;
mod base_backups;
mod chains;
mod completions;
mod configuring;
mod conformance;
mod crash;
mod differential;
mod engine;
mod in_use;
mod incremental;
mod interop;
mod lifecycle;
mod moving;
mod reflinks;
mod restoring;
mod resume;
mod sample_hooks;
mod scale;
mod scenario;
mod sending;
mod streaming;
mod support;
mod sync;
mod transports;
mod traps;
mod unusual_backups;

use std::os::unix::process::CommandExt;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use conformance::Fixtures;
use support::scratch::Scratch;
use support::tool::Tool;

fn main() {
    with_small_memory();
    let mut arguments = Arguments::from_args();
    // Most trials wait: for a connection, an archiver, another program.
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    arguments.test_threads.get_or_insert(3 * cores);
    support::cleanup::install();
    if !arguments.list && !nix::unistd::Uid::effective().is_root() {
        eprintln!(
            "The suites start an sshd that logs in several accounts: run them as root, with tests/run."
        );
        std::process::exit(1);
    }
    let programs = Scratch::new("bin");
    let barkeep = Tool::barkeep(&programs);
    let fixtures = Arc::new(Fixtures::new(barkeep.clone()));
    let mut trials = differential::trials(&barkeep);
    trials.extend(scenario::trials(&barkeep));
    trials.extend(transports::trials(&barkeep));
    trials.extend(engine::trials(&barkeep));
    trials.extend(interop::trials(&barkeep));
    trials.extend(base_backups::trials(&barkeep));
    trials.extend(chains::trials(&barkeep));
    trials.extend(incremental::trials(&barkeep));
    trials.extend(crash::trials(&barkeep));
    trials.extend(lifecycle::trials(&barkeep));
    trials.extend(resume::trials(&barkeep));
    trials.extend(traps::trials(&barkeep));
    trials.extend(scale::trials(&barkeep));
    trials.extend(reflinks::trials(&barkeep));
    trials.extend(unusual_backups::trials(&barkeep));
    trials.extend(streaming::trials(&barkeep));
    trials.extend(sample_hooks::trials(&barkeep));
    trials.extend(sending::trials(&barkeep));
    trials.extend(restoring::trials(&barkeep));
    trials.extend(moving::trials(&barkeep));
    trials.extend(archiving::trials(&barkeep));
    trials.extend(completions::trials(&barkeep));
    trials.extend(configuring::trials(&barkeep));
    trials.extend(in_use::trials(&barkeep));
    trials.extend(sync::trials(&barkeep));
    let (computing, one_by_one) = conformance::trials(&fixtures);
    let trials = interleaved([computing, one_by_one, trials]);
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` runs no Drop: servers and directories go first.
    drop(fixtures);
    drop(programs);
    conclusion.exit();
}

/// Starts the program again with a malloc that gives back what is freed: WAL segments and backups are read and forgotten, and
/// every command that is started in another account's name copies the tables of all pages that this program holds.
fn with_small_memory() {
    const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
    if std::env::var_os(THRESHOLD).is_some() {
        return;
    }
    let error = std::process::Command::new(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(THRESHOLD, "262144")
        .env("MALLOC_ARENA_MAX", "2")
        .exec();
    eprintln!("cannot start the suites again: {error}");
}

/// All trials, those of each group evenly spread: some keep a core busy, some mostly wait, some wait for each other. The
/// first group, of the shortest ones, fills the end.
fn interleaved(groups: [Vec<Trial>; 3]) -> Vec<Trial> {
    let mut placed: Vec<(usize, Trial)> = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        let share = if number == 0 { 1000 } else { 930 };
        let count = group.len().max(1);
        let places = (0..).map(|index| index * share * 1000 / count);
        placed.extend(places.zip(group));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, trial)| trial).collect()
}
