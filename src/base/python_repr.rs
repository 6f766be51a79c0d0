//! Strings as Python's `repr` writes them: in `backup.info`, and in lists that commands show.

use std::fmt::Write;

/// Python's `repr` of a string.
#[must_use]
pub fn string_repr(string: &str) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    put_string(&mut text, string);
    text
}

/// The same, at the end of another text.
pub fn put_string(text: &mut String, string: &str) {
    // Double quotes only where they save escaping.
    let quote = if string.contains('\'') && !string.contains('"') {
        '"'
    } else {
        '\''
    };
    text.push(quote);
    for character in string.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            _ if character == quote => {
                text.push('\\');
                text.push(quote);
            }
            _ if printable(character) => text.push(character),
            _ => put_escape(text, u32::from(character)),
        }
    }
    text.push(quote);
}

fn put_escape(text: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xFF => write!(text, "\\x{code:02x}"),
        0x100..=0xFFFF => write!(text, "\\u{code:04x}"),
        _ => write!(text, "\\U{code:08x}"),
    };
}

/// Python's `str.isprintable` for one character: nothing of the Unicode categories Other and Separator, except the
/// blank. Unassigned code points, which also count as not printable, are told by Rust's `Debug` escapes, which follow
/// the same tables.
fn printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    if character.is_control() || character.is_whitespace() || is_format(character) {
        return false;
    }
    // `escape_debug` also escapes combining marks at the start of a text, which Python prints.
    !matches!(character.escape_debug().next(), Some('\\')) || is_mark(character)
}

/// Category Cf, and the separators that `is_whitespace` leaves out.
fn is_format(character: char) -> bool {
    matches!(u32::from(character),
        0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x180E | 0x200B..=0x200F
        | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB | 0x110BD | 0x110CD
        | 0x13430..=0x1343F | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0001 | 0xE0020..=0xE007F)
}

/// The common blocks of combining marks.
fn is_mark(character: char) -> bool {
    matches!(u32::from(character),
        0x300..=0x36F | 0x483..=0x489 | 0x591..=0x5BD | 0x610..=0x61A | 0x64B..=0x65F | 0x900..=0x903
        | 0x1AB0..=0x1ACE | 0x1DC0..=0x1DFF | 0x20D0..=0x20F0 | 0x3099..=0x309A | 0xFE00..=0xFE0F | 0xFE20..=0xFE2F
        | 0xE0100..=0xE01EF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        for (text, repr) in [
            ("it's", "\"it's\""),
            ("'\"", r#"'\'"'"#),
            ("a\\b\n", r"'a\\b\n'"),
            ("ünï ½ 𝄞", "'ünï ½ 𝄞'"),
            ("\u{200b}\u{a0}\u{1}", r"'\u200b\xa0\x01'"),
            ("e\u{301}\u{2028}", "'e\u{301}\\u2028'"),
        ] {
            assert_eq!(string_repr(text), repr);
        }
    }
}
