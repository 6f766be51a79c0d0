//! Any bytes as `backup_manifest`, as they are and with a right checksum of its own.
#![no_main]

use std::io::Write;

use barkeep::postgres::{manifest, manifest_head};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("barkeep-fuzz-manifest-{}", std::process::id()));
    let mut sealed = data.to_vec();
    sealed.push(b'\n');
    let sum: String = Sha256::digest(&sealed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let _ = writeln!(sealed, "\"Manifest-Checksum\": \"{sum}\"}}");
    for content in [data, &sealed] {
        if std::fs::write(&path, content).is_ok() {
            let _ = manifest::read(&path, &mut |_| {});
            let _ = manifest_head::read(&path);
        }
    }
});
