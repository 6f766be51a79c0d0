//! The name under which other hosts know this one.

use std::process::Command;

use crate::base::{host, process};

/// What Python's `socket.getfqdn()` gives: the address of this host is looked up, and of the names of that address the first
/// with a dot, else the first.
#[must_use]
pub fn name() -> String {
    let own = host::name();
    let address = lookup(&own).and_then(|words| words.into_iter().next());
    let names = address.and_then(|address| lookup(&address)).unwrap_or_default();
    let names = names.get(1..).unwrap_or_default();
    names
        .iter()
        .find(|name| name.contains('.'))
        .or_else(|| names.first())
        .cloned()
        .unwrap_or(own)
}

/// The words of the answer: the address, then names.
fn lookup(name: &str) -> Option<Vec<String>> {
    let output = process::output(Command::new("getent").arg("hosts").arg(name)).ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<String> = text
        .lines()
        .next()?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    (!words.is_empty()).then_some(words)
}
