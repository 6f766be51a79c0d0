//! Timeline histories: `{timeline}.history`, which PostgreSQL writes when it is promoted (`timeline.c`).

use super::lsn::Lsn;
use super::wal_name::Timeline;

/// A timeline that came to its end, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The timeline that was left.
    pub parent: Timeline,
    /// The position at which it was left.
    pub switchpoint: Lsn,
    /// Why, in PostgreSQL's words.
    pub reason: String,
}

/// The history of a timeline: its ancestors, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The timeline whose history this is.
    pub timeline: Timeline,
    /// Its ancestors, oldest first.
    pub switches: Vec<Switch>,
}

/// A line of a history that PostgreSQL would refuse as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of the history of timeline {timeline} is not valid: {line:?}")]
pub struct InvalidHistory {
    /// The timeline whose history it is.
    pub timeline: Timeline,
    /// The number of the line, from 1.
    pub number: usize,
    /// The line.
    pub line: String,
}

impl History {
    /// Reads the text of a file. Empty lines and comments (`#`) are ignored.
    ///
    /// # Errors
    /// A line that is not `timeline position reason`, or timelines that do not increase.
    pub fn parse(timeline: Timeline, text: &str) -> Result<History, InvalidHistory> {
        let mut switches: Vec<Switch> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let last = switches.last().map_or(0, |switch| switch.parent);
            let switch = parse_switch(line)
                .filter(|switch| switch.parent > last && switch.parent < timeline)
                .ok_or_else(|| InvalidHistory {
                    timeline,
                    number: index + 1,
                    line: line.to_owned(),
                })?;
            switches.push(switch);
        }
        Ok(History { timeline, switches })
    }

    /// Where `ancestor` was left on the way to this timeline; `None` when it is no ancestor.
    #[must_use]
    pub fn switchpoint_of(&self, ancestor: Timeline) -> Option<Lsn> {
        self.switches
            .iter()
            .find(|switch| switch.parent == ancestor)
            .map(|switch| switch.switchpoint)
    }

    /// The name of the file: `00000002.history`.
    #[must_use]
    pub fn file_name(timeline: Timeline) -> String {
        format!("{timeline:08X}.history")
    }
}

fn parse_switch(line: &str) -> Option<Switch> {
    let (parent, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (switchpoint, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some(Switch {
        parent: parent.parse().ok()?,
        switchpoint: switchpoint.parse().ok()?,
        reason: reason.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ancestors_in_their_order() {
        let text =
            "1\t0/A000198\tno recovery target specified\n\n# comment\n2\t0/C0000A0\tbefore 2026-01-01\n";
        let history = History::parse(3, text).unwrap();
        assert_eq!(history.switches.len(), 2);
        assert_eq!(history.switchpoint_of(2), Some(Lsn(0xC00_00A0)));
        assert_eq!(history.switchpoint_of(7), None);
        assert_eq!(
            history.switches.first().unwrap().reason,
            "no recovery target specified"
        );
        assert_eq!(History::file_name(26), "0000001A.history");
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        for bad in [
            "x\t0/1\tr",
            "1",
            "1\tnope\tr",
            "2\t0/1\tr\n1\t0/2\tr",
            "3\t0/1\tr",
        ] {
            assert!(History::parse(3, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([0-9A-F/\t\n# ]|.)*") {
            let _ = History::parse(9, &text);
        }
    }
}
