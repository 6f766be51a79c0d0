//! Random configurations, read by both programs. The seeds are the same in every run.
//!
//! `BARKEEP_TEST_SECONDS` gives it more time than its ten seconds, and `BARKEEP_TEST_SEED` another first seed.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::case::barman;
use crate::generator::{self, Files};
use crate::programs::{Home, Run, barkeep, compare};
use crate::random_numbers::Random;

/// How many servers a configuration has: starting Barman costs more than all of them.
const SERVERS: u32 = 40;

const COMMANDS: [&[&str]; 4] = [
    &["show-servers", "all"],
    &["-f", "json", "show-servers", "all"],
    &["list-servers"],
    &["diagnose", "--show-config-source"],
];

/// The seeds, for as long as there is time; at least the first of them.
fn seeds(share: f64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("BARKEEP_TEST_SECONDS").unwrap_or(10)).mul_f64(share);
    let first = number("BARKEEP_TEST_SEED").unwrap_or(1);
    let start = Instant::now();
    (first..).take_while(move |seed| *seed == first || start.elapsed() < time)
}

#[test]
fn what_is_read_is_read_alike() {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    for seed in seeds(0.7) {
        let mut random = Random::of(seed);
        let home = Home::new(&generator::configuration(&mut random, SERVERS));
        for words in COMMANDS {
            let found = home.compare(&barman, words);
            failures.extend(found.into_iter().map(|line| format!("seed {seed}: {line}")));
        }
        count += 1;
        if failures.len() > 200 {
            break;
        }
    }
    eprintln!("{count} configurations of {SERVERS} servers");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_refused_is_refused_alike() {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    for seed in seeds(0.3) {
        let files = generator::broken(&mut Random::of(seed));
        let found = refused_alike(&files, &barman);
        failures.extend(found.into_iter().map(|line| format!("seed {seed}: {line}")));
        count += 1;
    }
    eprintln!("{count} broken configurations");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Where Barman crashes, we go on or say where the mistake is; else both say the same.
fn refused_alike(files: &Files, barman: &Path) -> Vec<String> {
    let home = Home::new(files);
    let words = ["list-servers"];
    let [theirs, ours] = [barman, barkeep()].map(|program| home.run(program, &words));
    // differences.md, "reserved server name".
    if theirs.stderr.contains("reserved word") {
        let error = theirs.stderr.lines().last();
        let same = (ours.code, ours.stderr.lines().last()) == (theirs.code, error);
        return if same { Vec::new() } else { vec![ours.stderr] };
    }
    let crashes = theirs.stderr.contains("EXCEPTION: ") || theirs.stderr.contains("Traceback");
    if !crashes {
        return compare(&words, &theirs, &ours);
    }
    let refused = ours.code == 1 && ours.stdout.is_empty() && names_a_line(&ours);
    if refused || ours.code == 0 {
        Vec::new()
    } else {
        vec![format!(
            "Barman crashes: {}\nbarkeep: {} {}",
            theirs.stderr, ours.code, ours.stderr
        )]
    }
}

fn names_a_line(run: &Run) -> bool {
    let place = regex::Regex::new(r"\.conf:\d+: ").unwrap();
    place.is_match(&run.stderr)
}
