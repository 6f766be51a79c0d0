//! Retention policies: which backups are still wanted (configuration reference §7).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, Utc};

use super::chains;
use super::{BackupId, BackupInfo, BackupStatus, Backups, KeepTarget};

/// Which backups an operator wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionPolicy {
    /// The newest so many backups.
    Redundancy(u32),
    /// Those needed to return to any moment of a time that ends now.
    RecoveryWindow {
        /// How many units.
        count: u32,
        /// The unit.
        unit: WindowUnit,
    },
}

/// The unit of a recovery window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowUnit {
    /// 24 hours.
    Days,
    /// 7 days.
    Weeks,
    /// 31 days.
    Months,
}

/// A retention policy that does not parse. It is not enforced then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Cannot parse option retention_policy: {0}")]
pub struct InvalidPolicy(pub String);

/// What the policy says of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionStatus {
    /// Wanted.
    Valid,
    /// Not wanted: cron removes it.
    Obsolete,
    /// Not wanted by the policy, but by the minimum redundancy.
    PotentiallyObsolete,
    /// Kept by an operator, with the WAL after it.
    KeepFull,
    /// Kept by an operator, for itself.
    KeepStandalone,
    /// The policy says nothing: the backup is not complete.
    None,
}

impl RetentionStatus {
    /// The word of the listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RetentionStatus::Valid => "VALID",
            RetentionStatus::Obsolete => "OBSOLETE",
            RetentionStatus::PotentiallyObsolete => "OBSOLETE*",
            RetentionStatus::KeepFull => "KEEP:FULL",
            RetentionStatus::KeepStandalone => "KEEP:STANDALONE",
            RetentionStatus::None => "-",
        }
    }
}

impl fmt::Display for RetentionStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl From<KeepTarget> for RetentionStatus {
    fn from(target: KeepTarget) -> Self {
        match target {
            KeepTarget::Full => RetentionStatus::KeepFull,
            KeepTarget::Standalone => RetentionStatus::KeepStandalone,
        }
    }
}

impl FromStr for RetentionPolicy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let count = |digits: &str| {
            Some(digits)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
        };
        let policy = match *words.as_slice() {
            ["REDUNDANCY", number] => count(number).map(RetentionPolicy::Redundancy),
            ["RECOVERY", "WINDOW", "OF", number, unit] => count(number)
                .zip(WindowUnit::parse(unit))
                .map(|(count, unit)| RetentionPolicy::RecoveryWindow { count, unit }),
            _ => None,
        };
        policy.ok_or_else(|| InvalidPolicy(text.to_owned()))
    }
}

impl fmt::Display for RetentionPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetentionPolicy::Redundancy(number) => write!(formatter, "REDUNDANCY {number}"),
            RetentionPolicy::RecoveryWindow { count, unit } => {
                write!(formatter, "RECOVERY WINDOW OF {count} {}", unit.as_str())
            }
        }
    }
}

impl WindowUnit {
    fn parse(word: &str) -> Option<WindowUnit> {
        match word {
            "DAY" | "DAYS" => Some(WindowUnit::Days),
            "WEEK" | "WEEKS" => Some(WindowUnit::Weeks),
            "MONTH" | "MONTHS" => Some(WindowUnit::Months),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            WindowUnit::Days => "DAYS",
            WindowUnit::Weeks => "WEEKS",
            WindowUnit::Months => "MONTHS",
        }
    }

    fn days(self) -> i64 {
        match self {
            WindowUnit::Days => 1,
            WindowUnit::Weeks => 7,
            WindowUnit::Months => 31,
        }
    }
}

impl RetentionPolicy {
    /// The first moment that the policy wants to return to; `None` when it does not count in time.
    #[must_use]
    pub fn horizon(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let RetentionPolicy::RecoveryWindow { count, unit } = self else {
            return None;
        };
        let length = Duration::try_days(i64::from(count).saturating_mul(unit.days()))?;
        now.checked_sub_signed(length)
    }

    /// What the policy says of each backup. `keeps` are the backups kept by an operator.
    ///
    /// An incremental backup shares the fate of the full backup that its chain begins with.
    #[must_use]
    pub fn statuses(
        self,
        backups: &Backups,
        keeps: &BTreeMap<BackupId, KeepTarget>,
        minimum_redundancy: u32,
        now: DateTime<Utc>,
    ) -> BTreeMap<BackupId, RetentionStatus> {
        self.judge(backups, keeps, minimum_redundancy, now)
            .into_iter()
            .map(|(id, judgement)| (id, judgement.status))
            .collect()
    }

    /// As [`RetentionPolicy::statuses`], with the reasons.
    #[must_use]
    pub fn judge(
        self,
        backups: &Backups,
        keeps: &BTreeMap<BackupId, KeepTarget>,
        minimum_redundancy: u32,
        now: DateTime<Utc>,
    ) -> BTreeMap<BackupId, Judgement> {
        let roots = match self {
            RetentionPolicy::Redundancy(number) => {
                if number < minimum_redundancy {
                    log::warn!(
                        "Retention policy redundancy ({number}) is lower than the required minimum redundancy \
                         ({minimum_redundancy}). Enforce {minimum_redundancy}."
                    );
                }
                redundancy(backups, keeps, number.max(minimum_redundancy))
            }
            RetentionPolicy::RecoveryWindow { .. } => {
                recovery_window(backups, keeps, minimum_redundancy, self.horizon(now))
            }
        };
        backups
            .values()
            .map(|info| (info.id.clone(), judge_one(info, backups, &roots)))
            .collect()
    }
}

/// What the policy says of one backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What it says.
    pub status: RetentionStatus,
    /// Why.
    pub reason: Reason,
}

/// Why a backup is wanted or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It takes one of the places of the redundancy.
    #[error("number {place} of the {number} newest full backups")]
    Newest {
        /// Its place, from 1.
        place: u32,
        /// How many places there are.
        number: u32,
    },
    /// There is no place left for it.
    #[error("there are {0} newer full backups")]
    Surplus(u32),
    /// It ended within the recovery window.
    #[error("ended within the window")]
    InWindow,
    /// It is the one that recovery to the begin of the window starts from.
    #[error("first backup older than the window: recovery to the begin of the window starts from it")]
    Anchor,
    /// The whole window can be recovered from newer ones.
    #[error("older than backup {0}, from which the whole window can be recovered")]
    BeforeWindow(BackupId),
    /// It is older than that, and too few would remain.
    #[error("not needed for the window, but for minimum_redundancy = {0}")]
    MinimumRedundancy(u32),
    /// An operator keeps it.
    #[error("kept by 'barman keep --target {}'", .0.as_str())]
    Kept(KeepTarget),
    /// It goes with the full backup that its chain begins with.
    #[error("builds on full backup {0}")]
    Chain(BackupId),
    /// It is not complete.
    #[error("is {0}: the policy does not count it")]
    Incomplete(BackupStatus),
    /// The full backup that its chain begins with is missing or not complete.
    #[error("has no complete full backup below it: the policy does not count it")]
    Rootless,
}

/// What is decided for a full backup: what it shows, and what its incrementals show.
#[derive(Debug, Clone)]
struct Verdict {
    own: RetentionStatus,
    children: RetentionStatus,
    reason: Reason,
}

type Verdicts = BTreeMap<BackupId, Verdict>;

fn judge_one(info: &BackupInfo, backups: &Backups, roots: &Verdicts) -> Judgement {
    if let Some(verdict) = roots.get(&info.id) {
        return Judgement {
            status: verdict.own,
            reason: verdict.reason.clone(),
        };
    }
    if !info.is_incremental() {
        return Judgement {
            status: RetentionStatus::None,
            reason: Reason::Incomplete(info.status),
        };
    }
    // Whether it is complete itself does not matter. An incremental whose root is gone or incomplete: nothing is said of
    // it, hence nothing done.
    chains::root(backups, &info.id)
        .and_then(|root| Some((root, roots.get(&root.id)?)))
        .map_or(
            Judgement {
                status: RetentionStatus::None,
                reason: Reason::Rootless,
            },
            |(root, verdict)| Judgement {
                status: verdict.children,
                reason: Reason::Chain(root.id.clone()),
            },
        )
}

/// The full backups that count, newest first.
fn complete_roots(backups: &Backups) -> impl Iterator<Item = &BackupInfo> {
    backups
        .values()
        .rev()
        .filter(|info| info.status == BackupStatus::Done && !info.is_incremental())
}

fn verdict(status: RetentionStatus, reason: Reason, keep: Option<KeepTarget>) -> Verdict {
    let (own, children) = match keep {
        None => (status, status),
        Some(KeepTarget::Full) => (RetentionStatus::KeepFull, RetentionStatus::Valid),
        Some(KeepTarget::Standalone) => (RetentionStatus::KeepStandalone, status),
    };
    Verdict {
        own,
        children,
        reason: keep.map_or(reason, Reason::Kept),
    }
}

/// Kept backups take up places of the redundancy, as in Barman.
fn redundancy(backups: &Backups, keeps: &BTreeMap<BackupId, KeepTarget>, number: u32) -> Verdicts {
    (1..)
        .zip(complete_roots(backups))
        .map(|(place, info)| {
            let (status, reason) = if place <= number {
                (RetentionStatus::Valid, Reason::Newest { place, number })
            } else {
                (RetentionStatus::Obsolete, Reason::Surplus(number))
            };
            (
                info.id.clone(),
                verdict(status, reason, keeps.get(&info.id).copied()),
            )
        })
        .collect()
}

/// A window without a horizon reaches back before all time: everything is valid.
fn recovery_window(
    backups: &Backups,
    keeps: &BTreeMap<BackupId, KeepTarget>,
    minimum_redundancy: u32,
    horizon: Option<DateTime<Utc>>,
) -> Verdicts {
    // The first backup older than the window is the one recovery would start from.
    let mut anchor: Option<&BackupId> = None;
    let mut valid = 0;
    complete_roots(backups)
        .map(|info| {
            let (status, reason) = match anchor {
                None => {
                    let older = info
                        .end_time
                        .zip(horizon)
                        .is_some_and(|(end, horizon)| end < horizon);
                    anchor = older.then_some(&info.id);
                    valid += 1;
                    let reason = if older { Reason::Anchor } else { Reason::InWindow };
                    (RetentionStatus::Valid, reason)
                }
                Some(_) if valid < minimum_redundancy => {
                    valid += 1;
                    (
                        RetentionStatus::PotentiallyObsolete,
                        Reason::MinimumRedundancy(minimum_redundancy),
                    )
                }
                Some(anchor) => (RetentionStatus::Obsolete, Reason::BeforeWindow(anchor.clone())),
            };
            (
                info.id.clone(),
                verdict(status, reason, keeps.get(&info.id).copied()),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn policies_are_read_in_any_case_and_shown_in_one_way() {
        for (text, shown) in [
            ("redundancy 3", "REDUNDANCY 3"),
            ("  REDUNDANCY   0 ", "REDUNDANCY 0"),
            ("recovery window of 7 days", "RECOVERY WINDOW OF 7 DAYS"),
            ("RECOVERY WINDOW OF 1 Week", "RECOVERY WINDOW OF 1 WEEKS"),
            ("RECOVERY WINDOW OF 2 MONTH", "RECOVERY WINDOW OF 2 MONTHS"),
        ] {
            assert_eq!(text.parse::<RetentionPolicy>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "REDUNDANCY",
            "REDUNDANCY -1",
            "REDUNDANCY +1",
            "RECOVERY WINDOW OF 7",
            "7 DAYS",
            "REDUNDANCY 3 x",
        ] {
            assert!(bad.parse::<RetentionPolicy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_judgement_has_its_reason() {
        let backup = |id: &str, end: &str, status: BackupStatus| {
            let mut info = BackupInfo::empty(BackupId::parse(id).unwrap());
            info.status = status;
            info.mode = Some("rsync".to_owned());
            info.end_time = crate::base::calendar::parse(end);
            (info.id.clone(), info)
        };
        let backups = Backups::from([
            backup("20260101T000000", "2026-01-01 01:00:00+00:00", BackupStatus::Done),
            backup("20260102T000000", "2026-01-02 01:00:00+00:00", BackupStatus::Done),
            backup("20260103T000000", "2026-01-03 01:00:00+00:00", BackupStatus::Done),
            backup(
                "20260104T000000",
                "2026-01-04 01:00:00+00:00",
                BackupStatus::Failed,
            ),
            backup("20260109T000000", "2026-01-09 01:00:00+00:00", BackupStatus::Done),
        ]);
        let now = DateTime::parse_from_rfc3339("2026-01-12T00:00:00Z")
            .unwrap()
            .to_utc();
        let policy: RetentionPolicy = "RECOVERY WINDOW OF 7 DAYS".parse().unwrap();
        let judged = |minimum| -> Vec<String> {
            let all = policy.judge(&backups, &BTreeMap::new(), minimum, now);
            all.values()
                .map(|one| format!("{}: {}", one.status, one.reason))
                .collect()
        };
        assert_eq!(
            judged(3),
            [
                "OBSOLETE: older than backup 20260103T000000, from which the whole window can be recovered",
                "OBSOLETE*: not needed for the window, but for minimum_redundancy = 3",
                "VALID: first backup older than the window: recovery to the begin of the window starts from it",
                "-: is FAILED: the policy does not count it",
                "VALID: ended within the window",
            ]
        );
        let kept = BTreeMap::from([(BackupId::parse("20260101T000000").unwrap(), KeepTarget::Full)]);
        let statuses = policy.judge(&backups, &kept, 0, now);
        let first = statuses.values().next().unwrap();
        assert_eq!(first.reason.to_string(), "kept by 'barman keep --target full'");
        assert_eq!(first.status, RetentionStatus::KeepFull);
    }
}
