//! Any bytes as an INCREMENTAL file: a header that is accepted is the one that it writes.
#![no_main]

use barkeep::postgres::incremental::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The file may be longer than what there is of it, and shorter.
    for size in [data.len() as u64, 1 << 30, 12] {
        let mut input = data;
        if let Ok(header) = Header::read(&mut input, size) {
            let bytes = header.to_bytes();
            assert_eq!(header.length(), bytes.len() as u64);
            let again = Header::read(&mut bytes.as_slice(), header.file_size());
            assert_eq!(again.ok(), Some(header));
        }
    }
});
