//! Any bytes as the records of a backup, as they are and compressed.
#![no_main]

use barkeep::copy::records::{RecordsError, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("barkeep-fuzz-records-{}", std::process::id()));
    let compressed = zstd::stream::encode_all(data, 1).unwrap_or_default();
    for content in [data, &compressed] {
        if std::fs::write(&path, content).is_ok() {
            let _ = read::<RecordsError>(&path, &mut |_| Ok(()));
        }
    }
});
