//! Any bytes as `backup_label` and as a timeline history.
#![no_main]

use barkeep::postgres::history::History;
use barkeep::postgres::label::{BackupLabel, as_full};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let full = as_full(data);
    assert!(full.len() <= data.len());
    assert_eq!(as_full(&full), full);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = BackupLabel::parse(text);
        let _ = History::parse(9, text);
    }
});
