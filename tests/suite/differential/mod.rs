//! The library's judgements against real Barman's, on many random catalogs: retention, sizes, and what a deletion removes.
//!
//! The catalogs come from seeds: a failure can be had again. `BARKEEP_TEST_SEED` tries another one, and with
//! `BARKEEP_TEST_SECONDS` each trial goes on to the next ones for so long.

mod commands;
mod deletion;
mod killed;
mod listing;
mod random;
mod servers;

use libtest_mimic::Trial;

use crate::support::random::{Random, seeds};
use crate::support::tool::Tool;
use crate::support::warm_barman::WarmBarman;

/// The tests of this module.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    let tool = barkeep.clone();
    vec![
        Trial::test("differential::delete_killed", move || {
            killed::every_step_of_delete(&tool);
            Ok(())
        }),
        property("commands", barkeep, commands::same_words),
        property("listing", barkeep, |random, barman, _| {
            listing::same_retention_and_sizes(random, barman)
        }),
        property(
            "backup_info",
            barkeep,
            listing::backup_info_is_rewritten_byte_for_byte,
        ),
        property("deletion", barkeep, deletion::same_files_remain),
        property("retention", barkeep, |random, barman, _| {
            deletion::same_backups_survive_retention(random, barman)
        }),
    ]
}

/// A trial on random catalogs; the property names the differences that it finds.
fn property(
    name: &str,
    barkeep: &Tool,
    examine: impl Fn(&mut Random, &WarmBarman, &Tool) -> Vec<String> + Send + 'static,
) -> Trial {
    let (barkeep, label) = (barkeep.clone(), name.to_owned());
    Trial::test(format!("differential::{name}"), move || {
        let barman = WarmBarman::start(&Tool::barman().program("barman"));
        let mut seen = 0;
        for seed in seeds(0.0) {
            let differences = examine(&mut Random::of(seed), &barman, &barkeep);
            assert!(
                differences.is_empty(),
                "seed {seed}, after {seen} others:\n{}",
                differences.join("\n")
            );
            seen += 1;
        }
        if seen > 1 {
            eprintln!("{label}: {seen} seeds");
        }
        Ok(())
    })
}
