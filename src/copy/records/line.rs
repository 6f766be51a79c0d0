//! One line of the records.

use std::io::Write;

use super::{FileChecksum, FileRecord, Form};
use crate::agent::message::Time;
use crate::postgres::manifest::Checksum;
use crate::postgres::page_sum::PageSum;

/// Appends the line of a record, with its line feed.
pub(super) fn render(record: &FileRecord, line: &mut Vec<u8>) {
    let Time { seconds, nanoseconds } = record.modified;
    // Writing to memory cannot fail.
    let _ = write!(
        line,
        "{:o} {} {seconds}.{nanoseconds:09} ",
        record.mode, record.size
    );
    let _ = match record.sum {
        Some(sum) => write!(line, "{:032x} ", sum.0),
        None => write!(line, "- "),
    };
    let _ = match record.form {
        Form::Whole => write!(line, "w {} ", record.stored),
        Form::Blocks { longest } => write!(line, "{longest} {} ", record.stored),
    };
    match &record.checksum {
        Some(checksum) => {
            let _ = write!(line, "{}:", checksum.algorithm.name());
            for byte in &checksum.value {
                let _ = write!(line, "{byte:02x}");
            }
            line.push(b' ');
        }
        None => line.extend_from_slice(b"- "),
    }
    for byte in &record.path {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
}

/// Reads a line without its line feed; the error names what it has not.
pub(super) fn parse(line: &[u8]) -> Result<FileRecord, &'static str> {
    let mut parts = line.splitn(8, |byte| *byte == b' ');
    let mut next = |what: &'static str| parts.next().ok_or(what);
    let mode = text(next("mode")?)
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .ok_or("mode")?;
    let size = number(next("size")?).ok_or("size")?;
    let modified = time(next("time")?).ok_or("time")?;
    let sum = sum(next("sum")?).ok_or("sum")?;
    let form = match next("form")? {
        b"w" => Form::Whole,
        blocks => Form::Blocks {
            longest: number(blocks).ok_or("form")?,
        },
    };
    let stored = number(next("stored size")?).ok_or("stored size")?;
    let checksum = checksum(next("checksum")?).ok_or("checksum")?;
    let path = path(next("path")?).ok_or("path")?;
    Ok(FileRecord {
        path,
        mode,
        size,
        modified,
        sum,
        form,
        stored,
        checksum,
    })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    text(bytes)?.parse().ok()
}

fn time(bytes: &[u8]) -> Option<Time> {
    let (seconds, nanoseconds) = text(bytes)?.split_once('.')?;
    Some(Time {
        seconds: seconds.parse().ok()?,
        nanoseconds: nanoseconds.parse().ok().filter(|part| *part < 1_000_000_000)?,
    })
}

fn sum(bytes: &[u8]) -> Option<Option<PageSum>> {
    match bytes {
        b"-" => Some(None),
        digits => {
            let sum = u128::from_str_radix(text(digits)?, 16).ok()?;
            Some(Some(PageSum(sum)))
        }
    }
}

fn checksum(bytes: &[u8]) -> Option<Option<FileChecksum>> {
    if bytes == b"-" {
        return Some(None);
    }
    let (name, digits) = text(bytes)?.split_once(':')?;
    let algorithm = Checksum::from_name(name).filter(|algorithm| *algorithm != Checksum::None)?;
    let value: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(text(pair)?, 16).ok())
        .collect();
    Some(Some(FileChecksum {
        algorithm,
        value: value.filter(|value| !value.is_empty() && digits.len() == value.len() * 2)?,
    }))
}

fn path(bytes: &[u8]) -> Option<Box<[u8]>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => match rest.next()? {
                b'n' => plain.push(b'\n'),
                b'\\' => plain.push(b'\\'),
                _ => return None,
            },
            other => plain.push(*other),
        }
    }
    (!plain.is_empty()).then(|| plain.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }

        #[test]
        fn nor_does_one_that_is_almost_right(line in "[0-9]{1,3} [0-9]{1,25} [0-9.-]{1,12} [0-9a-f-]{1,40} (w|[0-9]{1,12}) [0-9]{1,5} (-|CRC32C:[0-9a-fé]{0,9}) .*") {
            let _ = parse(line.as_bytes());
        }
    }
}
