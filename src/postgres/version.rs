//! Versions of PostgreSQL: numbers, texts, and the names that changed between them.

use std::fmt;

/// A server version as PostgreSQL numbers it (`server_version_num`): 150018 is 15.18, 90624 is 9.6.24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PgVersion(pub u32);

impl PgVersion {
    /// The oldest server that can be backed up.
    pub const MINIMAL: PgVersion = PgVersion(90_600);

    /// Whether the version is `major` or newer; `major` counts from 10.
    #[must_use]
    pub fn at_least(self, major: u32) -> bool {
        self.0 >= major * 10_000
    }

    /// The major version as text: `15`, `9.6`.
    #[must_use]
    pub fn major(self) -> String {
        if self.at_least(10) {
            (self.0 / 10_000).to_string()
        } else {
            format!("{}.{}", self.0 / 10_000, self.0 / 100 % 100)
        }
    }

    /// `wal` since version 10, `xlog` before: the word in the names of functions and directories.
    #[must_use]
    pub fn wal_word(self) -> &'static str {
        if self.at_least(10) { "wal" } else { "xlog" }
    }

    /// `lsn` since version 10, `location` before: the word in the names of functions.
    #[must_use]
    pub fn lsn_word(self) -> &'static str {
        if self.at_least(10) { "lsn" } else { "location" }
    }

    /// `walfile` since version 10, `xlogfile` before: the word in the names of functions.
    #[must_use]
    pub fn walfile_word(self) -> &'static str {
        if self.at_least(10) { "walfile" } else { "xlogfile" }
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at_least(10) {
            write!(formatter, "{}.{}", self.0 / 10_000, self.0 % 10_000)
        } else {
            write!(
                formatter,
                "{}.{}.{}",
                self.0 / 10_000,
                self.0 / 100 % 100,
                self.0 % 100
            )
        }
    }
}

/// The version in the text of `version()`: its second word (`PostgreSQL 15.18 (Debian …)`); the last component is
/// dropped for EnterpriseDB's server, which adds one (behaviour reference §41).
#[must_use]
pub fn server_text(version: &str) -> Option<String> {
    let mut words = version.split_whitespace();
    let product = words.next()?;
    let text = words.next()?.trim_end_matches(',');
    if product == "EnterpriseDB" {
        return Some(text.rsplit_once('.').map_or(text, |(head, _)| head).to_owned());
    }
    Some(text.to_owned())
}

/// The major version of a version text: `15.18` → `15`, `9.6.24` → `9.6`, `16beta1` → `16`.
#[must_use]
pub fn major_of(text: &str) -> String {
    let mut parts = text.split('.');
    let first = leading_digits(parts.next().unwrap_or_default());
    match (first.parse::<u32>(), parts.next()) {
        (Ok(major), Some(second)) if major < 10 => format!("{first}.{}", leading_digits(second)),
        _ => first.to_owned(),
    }
}

fn leading_digits(text: &str) -> &str {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts() {
        assert_eq!(PgVersion(150_018).to_string(), "15.18");
        assert_eq!(PgVersion(90_624).to_string(), "9.6.24");
        assert_eq!(PgVersion(90_624).major(), "9.6");
        assert_eq!(PgVersion(180_000).major(), "18");
        assert!(PgVersion(150_000).at_least(15) && !PgVersion(140_099).at_least(15));
        for (text, major) in [
            ("15.18", "15"),
            ("9.6.24", "9.6"),
            ("16beta1", "16"),
            ("17devel", "17"),
        ] {
            assert_eq!(major_of(text), major);
        }
        assert_eq!(
            server_text("PostgreSQL 15.18 (Debian 15.18-1) on x86_64, compiled by gcc").as_deref(),
            Some("15.18")
        );
        assert_eq!(
            server_text("EnterpriseDB 9.6.24.31 on x").as_deref(),
            Some("9.6.24")
        );
    }
}
