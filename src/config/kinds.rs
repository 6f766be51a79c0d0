//! The kinds of values that are not a choice from a list: booleans, numbers, intervals, sizes, paths, names.
//!
//! Each reader accepts exactly what Barman's accepts (configuration reference §2) and refuses in its words (§11).

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use super::shown::{Shown, python_list};
use super::table::{Emptiness, OptionType, Refusal};

impl OptionType for bool {
    const KIND: &'static str = "boolean";

    fn read(text: &str) -> Result<Self, Refusal> {
        match text.to_lowercase().as_str() {
            "true" | "t" | "yes" | "1" | "on" => Ok(true),
            "false" | "f" | "no" | "0" | "off" => Ok(false),
            _ => Err(
                "Invalid boolean representation (must be one in: true|t|yes|1|on | false|f|no|0|off)"
                    .to_owned()
                    .into(),
            ),
        }
    }

    fn shown(&self) -> Shown {
        Shown::Bool(*self)
    }
}

/// Python's `int()`: blanks around, a sign, and single underscores between digits are accepted.
fn python_int(text: &str) -> Result<i64, Refusal> {
    let refused = || {
        Refusal::Reason(format!(
            "invalid literal for int() with base 10: {}",
            python_quoted(text)
        ))
    };
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let well_formed = !digits.is_empty()
        && digits
            .split('_')
            .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    if !well_formed {
        return Err(refused());
    }
    trimmed
        .replace('_', "")
        .parse()
        .map_err(|_| format!("the number {trimmed} is out of range").into())
}

fn python_quoted(text: &str) -> String {
    python_list(&[text]).trim_matches(['[', ']']).to_owned()
}

impl OptionType for i64 {
    const KIND: &'static str = "integer";

    fn read(text: &str) -> Result<Self, Refusal> {
        python_int(text)
    }

    fn shown(&self) -> Shown {
        Shown::Int(*self)
    }
}

impl OptionType for u32 {
    const KIND: &'static str = "integer, not negative";

    fn read(text: &str) -> Result<Self, Refusal> {
        let number = python_int(text)?;
        u32::try_from(number)
            .map_err(|_| format!("the number {number} is out of range (0 to {})", u32::MAX).into())
    }

    fn shown(&self) -> Shown {
        Shown::Int(i64::from(*self))
    }
}

/// A rate in units of 1024 bytes per second, as rsync's `--bwlimit`.
impl OptionType for u64 {
    const KIND: &'static str = "integer, not negative";
    const EMPTY: Emptiness = Emptiness::Unset;

    fn read(text: &str) -> Result<Self, Refusal> {
        let number = python_int(text)?;
        u64::try_from(number).map_err(|_| format!("the number {number} must not be negative").into())
    }

    fn shown(&self) -> Shown {
        i64::try_from(*self).map_or_else(|_| Shown::Text(self.to_string()), Shown::Int)
    }
}

impl OptionType for String {
    const KIND: &'static str = "text";
    const EMPTY: Emptiness = Emptiness::Unset;

    fn read(text: &str) -> Result<Self, Refusal> {
        Ok(text.to_owned())
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

impl OptionType for PathBuf {
    const KIND: &'static str = "path";

    fn read(text: &str) -> Result<Self, Refusal> {
        Ok(PathBuf::from(text))
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }
}

/// A path that must be absolute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AbsolutePath(pub PathBuf);

impl OptionType for AbsolutePath {
    const KIND: &'static str = "absolute path";

    fn read(text: &str) -> Result<Self, Refusal> {
        if text.starts_with('/') {
            Ok(AbsolutePath(PathBuf::from(text)))
        } else {
            Err(format!("Invalid value : '{text}' (must be an absolute path)").into())
        }
    }

    fn shown(&self) -> Shown {
        self.0.shown()
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// Where backups or WAL files are kept: a directory of this host, or an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Local(PathBuf),
    /// The URL of an object store.
    Cloud(String),
}

impl Default for Location {
    fn default() -> Self {
        Location::Local(PathBuf::new())
    }
}

/// A directory was needed where an object store is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is an object store, and this operation needs a directory of this host")]
pub struct NotLocal(pub String);

impl Location {
    /// The directory.
    ///
    /// # Errors
    /// The location is an object store.
    pub fn local(&self) -> Result<&Path, NotLocal> {
        match self {
            Location::Local(path) => Ok(path),
            Location::Cloud(url) => Err(NotLocal(url.clone())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => write!(formatter, "{}", path.display()),
            Location::Cloud(url) => formatter.write_str(url),
        }
    }
}

impl OptionType for Location {
    const KIND: &'static str = "path or URL";

    fn read(text: &str) -> Result<Self, Refusal> {
        if !text.contains("://") {
            return Ok(Location::Local(PathBuf::from(text)));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        let known = match scheme.to_ascii_lowercase().as_str() {
            "s3" | "gs" | "azure" => true,
            "http" | "https" => {
                rest.contains("blob.core.windows.net") || rest.contains("console.cloud.google.com")
            }
            _ => false,
        };
        if known {
            Ok(Location::Cloud(text.to_owned()))
        } else {
            Err(
                "The URL is not compatible with any of the supported cloud providers"
                    .to_owned()
                    .into(),
            )
        }
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl OptionType for TimeDelta {
    const KIND: &'static str = "interval";
    const EMPTY: Emptiness = Emptiness::Inherited;

    /// `{n} {day|week|month|hour}[s]` in any case; a month is 31 days.
    fn read(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::Reason(format!("Invalid value for a time interval {text}"));
        let (digits, rest) = text.trim().split_at(
            text.trim()
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(refused)?,
        );
        let unit = rest.trim_start();
        let number: i64 = digits.parse().map_err(|_| refused())?;
        if unit.len() == rest.len() {
            return Err(refused());
        }
        let unit = unit.to_ascii_lowercase();
        let hours: i64 = match unit.strip_suffix('s').unwrap_or(&unit) {
            "hour" => 1,
            "day" => 24,
            "week" => 7 * 24,
            "month" => 31 * 24,
            _ => return Err(refused()),
        };
        number
            .checked_mul(hours)
            .and_then(TimeDelta::try_hours)
            .ok_or_else(refused)
    }

    fn shown(&self) -> Shown {
        Shown::Duration(*self)
    }
}

/// A number of bytes, written with a unit: `30Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Reads a size as configuration files write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<ByteSize> {
        <ByteSize as OptionType>::read(text).ok()
    }
}

impl OptionType for ByteSize {
    const KIND: &'static str = "size";
    const EMPTY: Emptiness = Emptiness::Inherited;

    /// `{n}[ ]*[k|Ki|M|Mi|G|Gi|T|Ti]`: case-sensitive, whole numbers, `k` is 1000 and `Ki` is 1024.
    fn read(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::Reason(format!("Invalid value for a number {text}"));
        // Blanks may follow, and not precede.
        let trimmed = text.trim_end();
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(end);
        let factor: u64 = match unit.trim_start() {
            "" => 1,
            "k" => 1_000,
            "Ki" => 1 << 10,
            "M" => 1_000_000,
            "Mi" => 1 << 20,
            "G" => 1_000_000_000,
            "Gi" => 1 << 30,
            "T" => 1_000_000_000_000,
            "Ti" => 1 << 40,
            _ => return Err(refused()),
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(ByteSize)
            .ok_or_else(refused)
    }

    fn shown(&self) -> Shown {
        self.0.shown()
    }
}

/// The name of a replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotName(pub String);

impl fmt::Display for SlotName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl OptionType for SlotName {
    const KIND: &'static str = "name of a replication slot";

    fn read(text: &str) -> Result<Self, Refusal> {
        let name = text.to_lowercase();
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !name.is_empty() && name.bytes().all(legal) {
            Ok(SlotName(name))
        } else {
            Err(
                "Replication slot names may only contain lower case letters, numbers, and the underscore \
                 character."
                    .to_owned()
                    .into(),
            )
        }
    }

    fn shown(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

/// A comma-separated list of names, as written between the commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameList(pub Vec<String>);

impl OptionType for NameList {
    const KIND: &'static str = "comma-separated list";

    fn read(text: &str) -> Result<Self, Refusal> {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err(python_list(&names).into());
        }
        Ok(NameList(names))
    }

    fn shown(&self) -> Shown {
        Shown::List(self.0.clone())
    }
}

/// Limits of bandwidth by tablespace, in units of 1024 bytes per second, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablespaceLimits(pub Vec<(String, u64)>);

impl OptionType for TablespaceLimits {
    const KIND: &'static str = "list of NAME:LIMIT separated by blanks";
    const EMPTY: Emptiness = Emptiness::Unset;

    fn read(text: &str) -> Result<Self, Refusal> {
        let mut limits: Vec<(String, u64)> = Vec::new();
        for rule in text.split_whitespace() {
            let (name, limit) = rule
                .split_once(':')
                .and_then(|(name, limit)| Some((name, u64::read(limit).ok()?)))
                .ok_or_else(|| format!("Invalid tablespace_bandwidth_limit rule '{rule}'"))?;
            limits.retain(|(known, _)| known != name);
            limits.push((name.to_owned(), limit));
        }
        Ok(TablespaceLimits(limits))
    }

    fn shown(&self) -> Shown {
        if self.0.is_empty() {
            return Shown::Null;
        }
        Shown::Limits(self.0.clone())
    }
}
