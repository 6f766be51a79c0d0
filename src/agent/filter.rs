//! Which files are left out: rsync's pattern language, as far as Barman uses it.
//!
//! * The first rule that matches decides; without a match the file is taken.
//! * A leading `/` ties the pattern to the root of the transfer.
//! * A pattern without another `/` is matched against the last component, one with `/` against the end of the path.
//! * `*` matches within a component, `**` across components, `?` one character, `[…]` a set. A trailing `/` matches directories
//!   only.
//! * A directory that is left out is not looked into.
//!
//! Source: rsync(1), FILTER RULES.

use serde::{Deserialize, Serialize};

/// Rules in order; see the module for the language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// `--include=P`: taken, whatever later rules say.
    Include(String),
    /// `--exclude=P`: left out; at a destination with deletion it is removed.
    Exclude(String),
    /// `--exclude=P --filter=P_P`: left out, and kept at the destination.
    ExcludeAndProtect(String),
}

/// What a filter decides about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied.
    Take,
    /// It is not copied.
    LeaveOut,
    /// It is not copied, and stays where it is at a destination.
    Protect,
}

impl Filter {
    /// A filter of these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Filter {
        Filter { rules }
    }

    /// Adds `--include` rules.
    #[must_use]
    pub fn include<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Filter {
        self.rules
            .extend(patterns.into_iter().map(|pattern| Rule::Include(pattern.into())));
        self
    }

    /// Adds `--exclude` rules.
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Filter {
        self.rules
            .extend(patterns.into_iter().map(|pattern| Rule::Exclude(pattern.into())));
        self
    }

    /// Adds `--exclude` rules whose matches are also protected from deletion at the destination.
    #[must_use]
    pub fn protect<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Filter {
        self.rules.extend(
            patterns
                .into_iter()
                .map(|pattern| Rule::ExcludeAndProtect(pattern.into())),
        );
        self
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides about `path`, relative to the root of the transfer, without a leading `/`.
    #[must_use]
    pub fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        for rule in &self.rules {
            let (pattern, verdict) = match rule {
                Rule::Include(pattern) => (pattern, Verdict::Take),
                Rule::Exclude(pattern) => (pattern, Verdict::LeaveOut),
                Rule::ExcludeAndProtect(pattern) => (pattern, Verdict::Protect),
            };
            if matches(pattern.as_bytes(), path, is_directory) {
                return verdict;
            }
        }
        Verdict::Take
    }
}

fn matches(pattern: &[u8], path: &[u8], is_directory: bool) -> bool {
    let (pattern, directories_only) = match pattern.strip_suffix(b"/") {
        Some(stripped) => (stripped, true),
        None => (pattern, false),
    };
    if directories_only && !is_directory {
        return false;
    }
    if let Some(anchored) = pattern.strip_prefix(b"/") {
        return wild(anchored, path);
    }
    let whole_path = pattern.contains(&b'/') || pattern.windows(2).any(|pair| pair == b"**");
    if !whole_path {
        return wild(pattern, path.rsplit(|byte| *byte == b'/').next().unwrap_or(path));
    }
    let starts = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(starts)
        .any(|start| path.get(start..).is_some_and(|tail| wild(pattern, tail)))
}

/// Matches the whole of `text`.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    match first {
        b'*' if rest.first() == Some(&b'*') => {
            let rest = rest.get(1..).unwrap_or_default();
            (0..=text.len()).any(|skip| text.get(skip..).is_some_and(|tail| wild(rest, tail)))
        }
        b'*' => {
            let component = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=component).any(|skip| text.get(skip..).is_some_and(|tail| wild(rest, tail)))
        }
        b'?' => text
            .split_first()
            .is_some_and(|(byte, tail)| *byte != b'/' && wild(rest, tail)),
        b'[' => match (set(rest), text.split_first()) {
            (Some((members, negated, rest)), Some((byte, tail))) => {
                *byte != b'/' && in_set(members, *byte) != negated && wild(rest, tail)
            }
            (None, Some((b'[', tail))) => wild(rest, tail),
            _ => false,
        },
        b'\\' => match (rest.split_first(), text.split_first()) {
            (Some((escaped, rest)), Some((byte, tail))) => escaped == byte && wild(rest, tail),
            _ => false,
        },
        literal => text
            .split_first()
            .is_some_and(|(byte, tail)| byte == literal && wild(rest, tail)),
    }
}

/// Splits `0-9]…` into its members, whether they are negated, and what follows; `None` without a closing bracket.
fn set(pattern: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (pattern, negated) = match pattern.first() {
        Some(b'!' | b'^') => (pattern.get(1..)?, true),
        _ => (pattern, false),
    };
    // A closing bracket in first place is a member.
    let end = pattern.iter().skip(1).position(|byte| *byte == b']')? + 1;
    Some((pattern.get(..end)?, negated, pattern.get(end + 1..)?))
}

fn in_set(mut members: &[u8], byte: u8) -> bool {
    while let Some((low, rest)) = members.split_first() {
        if let [b'-', high, after @ ..] = rest {
            if (*low..=*high).contains(&byte) {
                return true;
            }
            members = after;
        } else {
            if *low == byte {
                return true;
            }
            members = rest;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Barman's lists for PGDATA.
    fn barman() -> Filter {
        Filter::default()
            .exclude([
                "/pg_log/*",
                "/log/*",
                "/pg_xlog/*",
                "/pg_wal/*",
                "/global/pg_control",
            ])
            .exclude([
                "pgsql_tmp*",
                "postmaster.pid",
                "**/[0-9]*/t[0-9]*_[0-9]*",
                "pg_dynshmem/*",
                "pg_stat_tmp/*",
            ])
            .protect(["/pg_tblspc/16400"])
    }

    #[test]
    fn barmans_patterns_mean_what_rsync_makes_of_them() {
        let filter = barman();
        let left_out = [
            "pg_wal/000000010000000000000001",
            "log/x",
            "global/pg_control",
            "base/5/pgsql_tmp",
            "base/pgsql_tmp/x.1",
            "postmaster.pid",
            "base/5/t3_16384",
            "pg_dynshmem/mmap.1",
            "sub/pg_stat_tmp/db_0.stat",
            "pg_wal/summaries",
        ];
        for path in left_out {
            // The directory pgsql_tmp itself is left out, so what is in it is never looked at.
            let verdict = if path.starts_with("base/pgsql_tmp/") {
                filter.verdict(b"base/pgsql_tmp", true)
            } else {
                filter.verdict(path.as_bytes(), false)
            };
            assert_eq!(verdict, Verdict::LeaveOut, "{path}");
        }
        for path in [
            "pg_wal",
            "log",
            "global/pg_control2",
            "sub/pg_wal/x",
            "base/5/16384",
            "t3_16384",
            "base/t3_16384",
        ] {
            assert_eq!(filter.verdict(path.as_bytes(), false), Verdict::Take, "{path}");
        }
        assert_eq!(filter.verdict(b"pg_tblspc/16400", true), Verdict::Protect);
        assert_eq!(filter.verdict(b"pg_tblspc/16401", true), Verdict::Take);
    }

    #[test]
    fn the_first_match_decides() {
        let filter = Filter::default().include(["/PG_15_*"]).exclude(["/*"]);
        assert_eq!(filter.verdict(b"PG_15_202209061", true), Verdict::Take);
        assert_eq!(filter.verdict(b"PG_14_202107181", true), Verdict::LeaveOut);
        assert_eq!(filter.verdict(b"PG_15_202209061/5", true), Verdict::Take);
    }

    #[test]
    fn sets_and_odd_patterns() {
        assert!(wild(b"[!a]b", b"xb") && !wild(b"[!a]b", b"ab"));
        assert!(wild(b"[]]", b"]") && wild(b"[x", b"[x") && wild(b"\\*", b"*") && !wild(b"\\*", b"x"));
        assert!(matches(b"cache/", b"a/cache", true) && !matches(b"cache/", b"a/cache", false));
    }
}
