//! Sizes for people.

/// Renders bytes as Barman does: units of 1024, one decimal above a kibibyte, whole bytes cut off below.
///
/// ```
/// assert_eq!(barkeep::base::size::pretty(1023.9), "1023 B");
/// assert_eq!(barkeep::base::size::pretty(1536.0), "1.5 KiB");
/// ```
#[must_use]
pub fn pretty(bytes: f64) -> String {
    const UNITS: [&str; 8] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    if bytes.abs() < 1024.0 {
        return format!("{} B", bytes.trunc());
    }
    let mut value = bytes / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// [`pretty`] for a count of bytes.
#[must_use]
#[allow(clippy::cast_precision_loss)] // for display only
pub fn pretty_bytes(bytes: u64) -> String {
    pretty(bytes as f64)
}
