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
}
