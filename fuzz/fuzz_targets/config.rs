//! Any bytes as the main configuration file: it is read or refused, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // What was read can be shown, too.
        if let Ok(config) = barkeep::config::Config::parse(text) {
            for server in config.servers.values() {
                let _ = server.diagnose(true);
            }
        }
    }
});
