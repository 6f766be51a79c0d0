//! Durations for people.

/// Renders seconds as Barman does: `1 day, 1 hour, 1 minute, 1 second`, zero parts left out, `less than one second`
/// below one, ` ago` after negative values.
///
/// ```
/// assert_eq!(barkeep::base::duration::human(61.0), "1 minute, 1 second");
/// assert_eq!(barkeep::base::duration::human(0.3), "less than one second");
/// ```
#[must_use]
#[allow(clippy::cast_possible_truncation)] // whole seconds are what is wanted
pub fn human(seconds: f64) -> String {
    let ago = if seconds < 0.0 { " ago" } else { "" };
    let whole = seconds.abs() as i64;
    let parts = [
        (whole / 86_400, "day"),
        (whole / 3600 % 24, "hour"),
        (whole / 60 % 60, "minute"),
        (whole % 60, "second"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if shown.is_empty() {
        format!("less than one second{ago}")
    } else {
        format!("{}{ago}", shown.join(", "))
    }
}
