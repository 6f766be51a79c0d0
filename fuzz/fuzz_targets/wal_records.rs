//! Any bytes as a WAL segment: its records are walked, without a panic and without reading past its end.
#![no_main]

use barkeep::postgres::wal_header::SegmentHeader;
use barkeep::postgres::wal_records::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(header) = SegmentHeader::parse(data) {
        let _ = check(&header, data);
    }
});
