//! Any bytes as the beginning of a WAL segment, and as names of WAL files.
#![no_main]

use barkeep::postgres::wal_header::SegmentHeader;
use barkeep::postgres::wal_name::{SegmentName, WalKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let header = SegmentHeader::parse(data);
    let name = String::from_utf8_lossy(data);
    let _ = WalKind::of(&name);
    if let Some(segment) = SegmentName::parse(&name) {
        // Barman takes names in small letters, too.
        assert_eq!(segment.to_string(), name.to_uppercase());
        if let Some(header) = header {
            let _ = header.belongs_to(segment);
        }
    }
});
