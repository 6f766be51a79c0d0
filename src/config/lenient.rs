//! Options whose mistakes Barman only logs: it takes their text as it is, and a fallback once the server is used.

use super::kinds::TablespaceLimits;
use super::options::ServerConfig;
use super::table::OptionType;

/// Options whose text a model keeps as it is.
pub(super) const UNREAD: [&str; 4] = [
    "bandwidth_limit",
    "minimum_redundancy",
    "retention_policy_mode",
    "tablespace_bandwidth_limit",
];

/// The text to use for an option: the one given, or the fallback after a mistake, which is noted for the log.
pub(super) fn accepted(server: &mut ServerConfig, option: &str, text: &str) -> String {
    let name = server.name.clone();
    let mut note = |line: String| server.log_warnings.push(line);
    match option {
        "bandwidth_limit" if !text.is_empty() && u64::read(text).is_err() => {
            note(format!(
                "Invalid bandwidth_limit \"{text}\" for server \"{name}\" (fallback to \"0\")"
            ));
            String::new()
        }
        "minimum_redundancy" if u32::read(text).is_err() => {
            let fault = if i64::read(text).is_ok_and(|number| number < 0) {
                "Negative value of"
            } else {
                "Invalid"
            };
            note(format!(
                "{fault} minimum_redundancy \"{text}\" for server \"{name}\" (fallback to \"0\")"
            ));
            "0".to_owned()
        }
        "retention_policy_mode" if text != "auto" => {
            note(format!(
                "Unsupported retention_policy_mode \"{}\" for server \"{name}\" (fallback to \"auto\")",
                none_if_empty(text)
            ));
            "auto".to_owned()
        }
        "tablespace_bandwidth_limit" => tablespace_rules(server, text),
        _ => text.to_owned(),
    }
}

/// A text as Python shows it where nothing is `None`.
pub(super) fn none_if_empty(text: &str) -> &str {
    if text.is_empty() { "None" } else { text }
}

/// The policy for WAL files is looked at only when there is one for backups.
pub(super) fn wal_retention_policy(server: &mut ServerConfig) {
    if server.retention_policy.is_none() || server.wal_retention_policy == "main" {
        return;
    }
    server.log_warnings.push(format!(
        "Unsupported wal_retention_policy value \"{}\" for server \"{}\" (fallback to \"main\")",
        none_if_empty(&server.wal_retention_policy),
        server.name
    ));
    server.emptied.remove("wal_retention_policy");
    "main".clone_into(&mut server.wal_retention_policy);
}

/// The rules that are well formed, without those that say no more than `bandwidth_limit`. None are left of some as a blank:
/// the option has been set all the same.
fn tablespace_rules(server: &mut ServerConfig, text: &str) -> String {
    let mut kept = Vec::new();
    for rule in text.split_whitespace() {
        match TablespaceLimits::read(rule) {
            Ok(TablespaceLimits(limits)) => {
                let general = server.bandwidth_limit.unwrap_or_default();
                if limits.iter().any(|(_, limit)| *limit != general) {
                    kept.push(rule);
                }
            }
            Err(_) => server
                .log_warnings
                .push(format!("Invalid tablespace_bandwidth_limit rule '{rule}'")),
        }
    }
    if kept.is_empty() && !text.is_empty() {
        return " ".to_owned();
    }
    kept.join(" ")
}
