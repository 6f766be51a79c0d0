//! Readers of option values. Their errors are the words of Barman, which appear after `argument --name: `.

use std::path::PathBuf;

use crate::codec::Level;

/// A whole number from 0.
pub(super) fn non_negative(text: &str) -> Result<u32, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("'{text}' is not a valid non negative integer"))
}

/// A whole number from 1.
pub(super) fn positive(text: &str) -> Result<u32, String> {
    match text.trim().parse::<i64>() {
        Err(_) => Err(format!("'{text}' is not a valid input")),
        Ok(number) => match u32::try_from(number) {
            Ok(number) if number >= 1 => Ok(number),
            _ => Err(format!("'{text}' is not a valid positive integer")),
        },
    }
}

/// A byte offset from 1.
pub(super) fn positive_offset(text: &str) -> Result<u64, String> {
    match text.trim().parse::<i64>() {
        Err(_) => Err(format!("'{text}' is not a valid input")),
        Ok(number) => match u64::try_from(number) {
            Ok(number) if number >= 1 => Ok(number),
            _ => Err(format!("'{text}' is not a valid positive integer")),
        },
    }
}

/// Any whole number.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("invalid int value: '{text}'"))
}

/// A name for a backup: not empty, not a backup id, not a word that already means a backup.
pub(super) fn backup_name(text: &str) -> Result<String, String> {
    const RESERVED: [&str; 8] = [
        "latest",
        "last",
        "oldest",
        "first",
        "last-failed",
        "latest-full",
        "last-full",
        "auto",
    ];
    if text.is_empty() {
        Err("Backup name cannot be empty".to_owned())
    } else if looks_like_backup_id(text) {
        Err(format!("Backup name '{text}' is not allowed: backup ID"))
    } else if RESERVED.contains(&text) {
        Err(format!("Backup name '{text}' is not allowed: reserved word"))
    } else {
        Ok(text.to_owned())
    }
}

/// `20260131T235959`, without regard to the calendar.
fn looks_like_backup_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 15
        && bytes.iter().enumerate().all(|(index, byte)| {
            if index == 8 {
                *byte == b'T'
            } else {
                byte.is_ascii_digit()
            }
        })
}

/// A timeline: a number from 1, `current` or `latest`.
pub(super) fn target_timeline(text: &str) -> Result<String, String> {
    if matches!(text, "current" | "latest") {
        return Ok(text.to_owned());
    }
    positive(text).map(|number| number.to_string())
}

/// What PostgreSQL does at the recovery target.
pub(super) fn target_action(text: &str) -> Result<String, String> {
    if matches!(text, "pause" | "shutdown" | "promote") {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is not a valid recovery target action"))
    }
}

/// An absolute path.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("'{text}' is not an absolute path"))
    }
}

/// A size with one of the suffixes of configuration files: `30Gi`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    crate::config::ByteSize::parse(text)
        .map(|size| size.0)
        .ok_or_else(|| format!("'{text}' is not a size: a number and one of k, Ki, M, Mi, G, Gi, T, Ti"))
}

/// A level of compression of `barman-wal-archive`: a word or a number.
pub(super) fn compression_level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| format!("'{text}' is not a level: low, medium, high or a number"))
}

/// The choice whose word the command line gave (and has checked).
pub(super) fn chosen<T: Copy>(
    word: Option<&str>,
    all: &[T],
    keyword: impl Fn(T) -> &'static str,
) -> Option<T> {
    all.iter().copied().find(|choice| Some(keyword(*choice)) == word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_fail_in_barmans_words() {
        assert_eq!(non_negative("0").unwrap(), 0);
        assert_eq!(
            non_negative("-3").unwrap_err(),
            "'-3' is not a valid non negative integer"
        );
        assert_eq!(
            non_negative("1.5").unwrap_err(),
            "'1.5' is not a valid non negative integer"
        );
        assert_eq!(positive("+3").unwrap(), 3);
        assert_eq!(positive("0").unwrap_err(), "'0' is not a valid positive integer");
        assert_eq!(
            positive("-1").unwrap_err(),
            "'-1' is not a valid positive integer"
        );
        assert_eq!(positive("main").unwrap_err(), "'main' is not a valid input");
        assert_eq!(integer("x").unwrap_err(), "invalid int value: 'x'");
    }

    #[test]
    fn names_of_backups_are_not_ids_and_not_words_with_a_meaning() {
        assert_eq!(backup_name("weekly").unwrap(), "weekly");
        assert_eq!(backup_name("20261340T999999x").unwrap(), "20261340T999999x");
        for (name, reason) in [
            ("", "Backup name cannot be empty"),
            ("latest", "Backup name 'latest' is not allowed: reserved word"),
            (
                "20261340T999999",
                "Backup name '20261340T999999' is not allowed: backup ID",
            ),
        ] {
            assert_eq!(backup_name(name).unwrap_err(), reason);
        }
    }

    #[test]
    fn timelines_are_numbers_or_words() {
        assert_eq!(target_timeline("2").unwrap(), "2");
        assert_eq!(target_timeline("latest").unwrap(), "latest");
        assert_eq!(target_timeline("x").unwrap_err(), "'x' is not a valid input");
        assert_eq!(
            target_timeline("0").unwrap_err(),
            "'0' is not a valid positive integer"
        );
    }
}
