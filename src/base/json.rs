//! JSON in the exact bytes of Python's `json.dumps`: `", "` and `": "` between items, everything outside ASCII escaped.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::float::float_repr;

/// Renders a value on one line. Keys of `serde_json::Map` come out sorted.
///
/// # Errors
/// A value that has no JSON form (a map with keys that are not strings).
pub fn line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    render(value, PythonFormatter(OneLine))
}

/// Renders a value over several lines with four blanks per level (Python's `indent=4`).
///
/// # Errors
/// A value that has no JSON form.
pub fn indented<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    render(value, PythonFormatter(PrettyFormatter::with_indent(b"    ")))
}

/// Renders a value with `width` blanks per level.
///
/// # Errors
/// A value that has no JSON form.
pub fn indented_by<T: Serialize>(value: &T, width: usize) -> Result<String, serde_json::Error> {
    let blanks = vec![b' '; width];
    render(value, PythonFormatter(PrettyFormatter::with_indent(&blanks)))
}

fn render<T: Serialize, F: Formatter>(value: &T, formatter: F) -> Result<String, serde_json::Error> {
    let mut buffer = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut buffer, formatter))?;
    String::from_utf8(buffer).map_err(serde::ser::Error::custom)
}

struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Adds ASCII escapes to another formatter.
struct PythonFormatter<F>(F);

impl<F: Formatter> Formatter for PythonFormatter<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0u16; 2];
        for character in fragment.chars() {
            if character.is_ascii() && character != '\u{7f}' {
                writer.write_all(&[character as u8])?;
            } else if character == '\u{7f}' {
                writer.write_all(b"\x7f")?;
            } else {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float_repr(value).as_bytes())
    }
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    #[test]
    fn matches_python() {
        let value = json!({"b": [1, "é𝄞\n"], "a": null});
        assert_eq!(
            super::line(&value).unwrap(),
            r#"{"a": null, "b": [1, "\u00e9\ud834\udd1e\n"]}"#
        );
        assert_eq!(
            super::indented(&json!({"a": [], "b": {}})).unwrap(),
            "{\n    \"a\": [],\n    \"b\": {}\n}"
        );
    }
}
