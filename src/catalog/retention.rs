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
            .map(|info| (info.id.clone(), status_of(info, backups, &roots)))
            .collect()
    }
}

/// What is decided for a full backup: what it shows, and what its incrementals show.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    own: RetentionStatus,
    children: RetentionStatus,
}

type Verdicts = BTreeMap<BackupId, Verdict>;

fn status_of(info: &BackupInfo, backups: &Backups, roots: &Verdicts) -> RetentionStatus {
    if let Some(verdict) = roots.get(&info.id) {
        return verdict.own;
    }
    if !info.is_incremental() {
        return RetentionStatus::None;
    }
    // Whether it is complete itself does not matter. An incremental whose root is gone or incomplete: nothing is said of
    // it, hence nothing done.
    chains::root(backups, &info.id)
        .and_then(|root| roots.get(&root.id))
        .map_or(RetentionStatus::None, |verdict| verdict.children)
}

/// The full backups that count, newest first.
fn complete_roots(backups: &Backups) -> impl Iterator<Item = &BackupInfo> {
    backups
        .values()
        .rev()
        .filter(|info| info.status == BackupStatus::Done && !info.is_incremental())
}

fn verdict(status: RetentionStatus, keep: Option<KeepTarget>) -> Verdict {
    match keep {
        None => Verdict {
            own: status,
            children: status,
        },
        Some(KeepTarget::Full) => Verdict {
            own: RetentionStatus::KeepFull,
            children: RetentionStatus::Valid,
        },
        Some(KeepTarget::Standalone) => Verdict {
            own: RetentionStatus::KeepStandalone,
            children: status,
        },
    }
}

/// Kept backups take up places of the redundancy, as in Barman.
fn redundancy(backups: &Backups, keeps: &BTreeMap<BackupId, KeepTarget>, number: u32) -> Verdicts {
    let mut left = number;
    complete_roots(backups)
        .map(|info| {
            let status = if left > 0 {
                RetentionStatus::Valid
            } else {
                RetentionStatus::Obsolete
            };
            left = left.saturating_sub(1);
            (info.id.clone(), verdict(status, keeps.get(&info.id).copied()))
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
    let mut reached = false;
    let mut valid = 0;
    complete_roots(backups)
        .map(|info| {
            let status = if !reached {
                // The first backup older than the window is the one recovery would start from.
                reached = info
                    .end_time
                    .zip(horizon)
                    .is_some_and(|(end, horizon)| end < horizon);
                valid += 1;
                RetentionStatus::Valid
            } else if valid < minimum_redundancy {
                valid += 1;
                RetentionStatus::PotentiallyObsolete
            } else {
                RetentionStatus::Obsolete
            };
            (info.id.clone(), verdict(status, keeps.get(&info.id).copied()))
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
}
