//! The library's judgements against real Barman's, on many random catalogs: retention, sizes, and what a deletion removes.
//!
//! The catalogs come from a fixed seed: a failure can be had again. `BARKEEP_TEST_SEED` tries another one.

mod commands;
mod deletion;
mod killed;
mod listing;
mod random;

use libtest_mimic::Trial;

use crate::support::tool::Tool;

/// The tests of this module.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    let (barkeep, of_commands) = (barkeep.clone(), barkeep.clone());
    vec![
        Trial::test("differential::commands", move || {
            commands::same_words(&of_commands);
            Ok(())
        }),
        Trial::test("differential::delete_killed", move || {
            killed::every_step_of_delete(&barkeep);
            Ok(())
        }),
        Trial::test("differential::listing", || {
            listing::same_retention_and_sizes();
            Ok(())
        }),
        Trial::test("differential::backup_info", || {
            listing::backup_info_is_rewritten_byte_for_byte();
            Ok(())
        }),
        Trial::test("differential::deletion", || {
            deletion::same_files_remain();
            Ok(())
        }),
        Trial::test("differential::retention", || {
            deletion::same_backups_survive_retention();
            Ok(())
        }),
    ]
}
