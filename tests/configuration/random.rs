//! Random configurations, read by both programs. The seeds are the same in every run.
//!
//! `BARKEEP_TEST_SECONDS` gives each test more time than it has by itself, and `BARKEEP_TEST_SEED` another first seed.

use regex::Regex;

use crate::broken::{broken, changed};
use crate::case::barman;
use crate::generator::configuration;
use crate::programs::{Home, Run, compare};
use crate::random_numbers::{Random, seeds};
use crate::warm_barman::WarmBarman;

/// How many servers a configuration has: starting Barman costs more than all of them.
const SERVERS: u32 = 40;

const COMMANDS: [&[&str]; 4] = [
    &["show-servers", "all"],
    &["-f", "json", "show-servers", "all"],
    &["list-servers"],
    &["diagnose", "--show-config-source"],
];

/// Makes a configuration of each seed and collects what `examine` finds, for as long as there is time; at least once.
fn for_seeds(seconds: f64, what: &str, examine: impl Fn(&mut Random, &WarmBarman) -> Vec<String>) {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let barman = WarmBarman::start(&barman);
    let mut failures = Vec::new();
    let mut seen = Vec::new();
    for seed in seeds(seconds) {
        let found = examine(&mut Random::of(seed), &barman);
        failures.extend(found.into_iter().map(|line| format!("seed {seed}: {line}")));
        seen.push(seed);
        if failures.len() > 200 {
            break;
        }
    }
    eprintln!(
        "{} {what}, seeds {:?} to {:?}",
        seen.len(),
        seen.first(),
        seen.last()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_is_read_is_read_alike() {
    for_seeds(5.0, "configurations", |random, barman| {
        let home = Home::new(&configuration(random, SERVERS));
        // The last one takes as long as the others together.
        let count = if random.one_in(3) { COMMANDS.len() } else { 3 };
        COMMANDS[..count]
            .iter()
            .flat_map(|words| alike(&home, barman, words))
            .collect()
    });
}

#[test]
fn what_is_refused_is_refused_alike() {
    for_seeds(2.0, "broken configurations", |random, barman| {
        alike(&Home::new(&broken(random)), barman, &["list-servers"])
    });
}

#[test]
fn what_was_changed_anywhere_is_read_or_refused_alike() {
    for_seeds(3.0, "configurations with changes at random", |random, barman| {
        alike(&Home::new(&changed(random)), barman, &["show-servers", "all"])
    });
}

/// Where Barman crashes, we go on or say where the mistake is; else both say the same.
fn alike(home: &Home, barman: &WarmBarman, words: &[&str]) -> Vec<String> {
    let [theirs, ours] = [home.barman(barman, words), home.barkeep(words)];
    // differences.md, "a section header without its end".
    if ours
        .stderr
        .contains("the closing \"]\" of the section is missing")
    {
        return Vec::new();
    }
    let crashes = [&theirs.stdout, &theirs.stderr]
        .iter()
        .any(|text| text.contains("EXCEPTION") || text.contains("Traceback"));
    if !crashes {
        let found = compare(words, &theirs, &ours);
        return if found.is_empty() || is_intended(home, &theirs) {
            Vec::new()
        } else {
            found
        };
    }
    if ours.code == 0 || is_clear(&ours) {
        return Vec::new();
    }
    vec![format!(
        "Barman crashes: {}\nbarkeep: {} {}",
        theirs.stderr, ours.code, ours.stderr
    )]
}

/// Whether a change at random made what only barkeep understands (differences.md, "connection strings"), or a URL that is none
/// to Python itself.
fn is_intended(home: &Home, theirs: &Run) -> bool {
    let blanks = Regex::new(r#"conninfo": "[^"]*?(?:\s=|=\s|')"#).unwrap();
    blanks.is_match(&home.barkeep(&["-f", "json", "show-servers", "all"]).stdout)
        || theirs
            .stderr
            .contains("does not appear to be an IPv4 or IPv6 address")
}

/// Whether a refusal says where the mistake is, or what it is in Barman's words.
fn is_clear(run: &Run) -> bool {
    let said = run.stdout.clone() + &run.stderr;
    let clear = Regex::new(r#"\.conf:\d+: |(?m)^(ERROR|FATAL): |"_ERROR": \["#).unwrap();
    run.code == 1 && clear.is_match(&said) && !said.contains("EXCEPTION") && !said.contains("panicked")
}
