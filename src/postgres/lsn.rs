//! A position in the write-ahead log (`XLogRecPtr`).

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL, written `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// Text that is not a WAL position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a WAL position (expected X/Y, both hexadecimal)")]
pub struct InvalidLsn(pub String);

impl Lsn {
    /// The offset within its segment of `segment_size` bytes.
    #[must_use]
    pub fn offset_in_segment(self, segment_size: u64) -> u64 {
        self.0.checked_rem(segment_size).unwrap_or(0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidLsn(text.to_owned());
        let (high, low) = text.trim().split_once('/').ok_or_else(invalid)?;
        let half = |digits: &str| {
            if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            u64::from_str_radix(digits, 16).map_err(|_| invalid())
        };
        Ok(Lsn(half(high)? << 32 | half(low)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_round_trip() {
        assert_eq!("16/B374D848".parse::<Lsn>().unwrap().to_string(), "16/B374D848");
        for bad in ["", "1", "1/", "/1", "G/1", "123456789/0", "+1/2"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }
}
