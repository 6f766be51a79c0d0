//! `restore … auto`: the backup to start from, chosen by the target (behaviour reference §33).

use crate::base::calendar::Timestamp;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::Timeline;

use super::options::{RestoreOptions, TargetTimeline};
use super::target_time;

/// No backup can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The target says nothing about when it was.
    #[error(
        "For PITR without a backup_id, the only possible recovery targets are target_time and target_lsn. \
         '{0}' recovery target is not allowed without a backup_id."
    )]
    Target(&'static str),
    /// No backup ended before the target.
    #[error("Cannot find any candidate backup for recovery.")]
    NoCandidate,
    /// The target time is not understood.
    #[error(
        "Unable to parse the target time parameter {}: {source}",
        super::target::python_repr(text)
    )]
    Time {
        /// As typed.
        text: String,
        /// Why.
        source: target_time::TargetTimeError,
    },
    /// The target position is none.
    #[error("Invalid LSN: '{0}'")]
    Lsn(String),
}

/// What the choice depends on, of a backup that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// The timeline it was taken on.
    pub timeline: Option<Timeline>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Where it ended.
    pub end_lsn: Option<Lsn>,
}

/// The newest of `candidates` that ended before the target, on the target timeline where one is given.
/// `latest` and `current` name no timeline before a backup is chosen.
///
/// # Errors
/// No backup qualifies, or the target does not allow a choice.
pub fn choose<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    options: &RestoreOptions,
) -> Result<&'a Candidate, SelectionError> {
    for (given, name) in [
        (options.target_xid.is_some(), "target_xid"),
        (options.target_name.is_some(), "target_name"),
        (options.target_immediate, "target_immediate"),
    ] {
        if given {
            return Err(SelectionError::Target(name));
        }
    }
    let time = options
        .target_time
        .as_deref()
        .map(|text| {
            target_time::parse(text).map_err(|source| SelectionError::Time {
                text: text.to_owned(),
                source,
            })
        })
        .transpose()?;
    let position = options
        .target_lsn
        .as_deref()
        .map(|text| {
            text.parse::<Lsn>()
                .map_err(|_| SelectionError::Lsn(text.to_owned()))
        })
        .transpose()?;
    let timeline = match options.target_timeline {
        Some(TargetTimeline::Number(number)) => Some(number),
        _ => None,
    };
    candidates
        .into_iter()
        .filter(|candidate| timeline.is_none() || candidate.timeline == timeline)
        .filter(|candidate| time.is_none_or(|time| candidate.end_time.is_some_and(|end| end <= time.time)))
        .filter(|candidate| position.is_none_or(|target| candidate.end_lsn.is_some_and(|end| end <= target)))
        .max_by(|one, other| one.id.cmp(&other.id))
        .ok_or(SelectionError::NoCandidate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::calendar;

    fn candidates() -> Vec<Candidate> {
        [
            ("1", 1, "2026-01-01 00:00:00+00:00", 100),
            ("2", 1, "2026-02-01 00:00:00+00:00", 200),
            ("3", 2, "2026-03-01 00:00:00+00:00", 300),
        ]
        .into_iter()
        .map(|(id, timeline, end, lsn)| Candidate {
            id: id.to_owned(),
            timeline: Some(timeline),
            end_time: calendar::parse(end),
            end_lsn: Some(Lsn(lsn)),
        })
        .collect()
    }

    fn chosen(change: impl FnOnce(&mut RestoreOptions)) -> Result<String, SelectionError> {
        let mut options = RestoreOptions::default();
        change(&mut options);
        choose(&candidates(), &options).map(|candidate| candidate.id.clone())
    }

    #[test]
    fn newest_that_ended_before_the_target() {
        assert_eq!(chosen(|_| ()).unwrap(), "3");
        assert_eq!(
            chosen(|options| options.target_time = Some("2026-02-15 00:00Z".to_owned())).unwrap(),
            "2"
        );
        assert_eq!(
            chosen(|options| options.target_time = Some("2026-02-01 00:00Z".to_owned())).unwrap(),
            "2"
        );
        assert_eq!(
            chosen(|options| options.target_lsn = Some("0/C7".to_owned())).unwrap(),
            "1"
        );
        assert_eq!(
            chosen(|options| options.target_timeline = Some(TargetTimeline::Number(1))).unwrap(),
            "2"
        );
        assert_eq!(
            chosen(|options| options.target_timeline = Some(TargetTimeline::Latest)).unwrap(),
            "3"
        );
    }

    #[test]
    fn no_candidate_and_targets_without_a_place() {
        assert_eq!(
            chosen(|options| options.target_time = Some("2020-01-01 00:00Z".to_owned())),
            Err(SelectionError::NoCandidate)
        );
        assert_eq!(
            chosen(|options| options.target_timeline = Some(TargetTimeline::Number(9))),
            Err(SelectionError::NoCandidate)
        );
        assert_eq!(
            chosen(|options| options.target_xid = Some("3".to_owned()))
                .unwrap_err()
                .to_string(),
            "For PITR without a backup_id, the only possible recovery targets are target_time and target_lsn. \
             'target_xid' recovery target is not allowed without a backup_id."
        );
    }
}
