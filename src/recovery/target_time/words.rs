//! English names of months and days of the week, whole or their first three letters, in lower case.

use chrono::Weekday;

/// The number of a month.
pub(super) fn month_number(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    (1..)
        .zip(NAMES)
        .find(|(_, name)| {
            *name == word || name.get(..3) == Some(word) || (word == "sept" && *name == "september")
        })
        .map(|(number, _)| number)
}

/// A day of the week.
pub(super) fn weekday_of(word: &str) -> Option<Weekday> {
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Weekday::Mon),
        ("tuesday", Weekday::Tue),
        ("wednesday", Weekday::Wed),
        ("thursday", Weekday::Thu),
        ("friday", Weekday::Fri),
        ("saturday", Weekday::Sat),
        ("sunday", Weekday::Sun),
    ];
    NAMES
        .iter()
        .find(|(name, _)| *name == word || name.get(..3) == Some(word))
        .map(|(_, weekday)| *weekday)
}
