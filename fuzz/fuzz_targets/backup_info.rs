//! Any text as `backup.info`: what is read is written so that it reads the same.
#![no_main]

use std::path::Path;

use barkeep::catalog::{BackupId, BackupInfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(id) = BackupId::parse("20260101T000000") else {
        return;
    };
    let read = |text: &str| BackupInfo::from_text(id.clone(), text, Path::new("backup.info"));
    if let Ok(info) = read(text) {
        let written = info.to_text();
        let again = read(&written).map(|info| info.to_text());
        assert_eq!(again.ok(), Some(written));
    }
});
