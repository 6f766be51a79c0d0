//! Any bytes as `pg_control`.
#![no_main]

use barkeep::postgres::control_file::ControlFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ControlFile::parse(data);
});
