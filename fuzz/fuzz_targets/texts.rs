//! Any text as the small formats that come from files and from other hosts: a line of the WAL database, what a primary node
//! tells, a connection string, a configuration of another tool.
#![no_main]

use std::path::Path;

use barkeep::catalog::WalEntry;
use barkeep::config::convert::{Tool, convert};
use barkeep::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(entry) = WalEntry::parse(data) {
        let line = entry.to_line();
        let again = WalEntry::parse(line.trim_end().as_bytes()).map(|entry| entry.to_line());
        assert_eq!(again, Some(line));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = barkeep::postgres::conninfo::parse(text);
    for tool in [Tool::Bart, Tool::PgBackRest] {
        // What is made of a file must be readable.
        if let Ok(conversion) = convert(tool, text, Path::new("other.conf")) {
            let read = Config::parse(&format!("[barman]\nbarman_home = /srv\n{}", conversion.text));
            assert!(read.is_ok(), "{:?}\n{}", read.err(), conversion.text);
        }
    }
});
