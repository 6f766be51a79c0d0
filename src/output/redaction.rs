//! Keeping passwords out of everything that is written.
//!
//! Two places hold passwords in the texts of this program: `password=` (and `sslpassword=`) of a connection string, and
//! the user part of a connection URI. Barman hides them on its console only; here they are hidden in every format and
//! in the log.

use std::borrow::Cow;

use serde_json::Value;

const HIDDEN: &str = "*REDACTED*";

/// The text without passwords.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    // Nearly every text is innocent; find that out before anything is copied.
    let lower = text.to_ascii_lowercase();
    let mut shown = Cow::Borrowed(text);
    if lower.contains("password") {
        shown = Cow::Owned(without_keywords(&shown));
    }
    if lower.contains("postgres://") || lower.contains("postgresql://") {
        shown = Cow::Owned(without_uri_passwords(&shown));
    }
    shown
}

/// Redacts every string of a JSON document.
pub(super) fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = redacted(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(members) => members.values_mut().for_each(redact_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Hides what follows `password=`: a word, or a quoted text with its escapes, or the rest of a URI parameter.
fn without_keywords(text: &str) -> String {
    const KEYWORD: &str = "password";
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut rest = 0;
    while let Some(found) = lower.get(rest..).and_then(|tail| tail.find(KEYWORD)) {
        let after_keyword = rest + found + KEYWORD.len();
        let tail = text.get(after_keyword..).unwrap_or_default();
        let Some(value) = after_equals(tail) else {
            shown.push_str(text.get(rest..after_keyword).unwrap_or_default());
            rest = after_keyword;
            continue;
        };
        let value_start = after_keyword + (tail.len() - value.len());
        shown.push_str(text.get(rest..value_start).unwrap_or_default());
        let length = value_length(value);
        if length > 0 {
            shown.push_str(HIDDEN);
        }
        rest = value_start + length;
    }
    shown.push_str(text.get(rest..).unwrap_or_default());
    shown
}

/// What follows an equals sign, which libpq allows blanks around.
fn after_equals(tail: &str) -> Option<&str> {
    let value = tail.trim_start_matches(' ').strip_prefix('=')?;
    Some(value.trim_start_matches(' '))
}

/// The length of a value of a connection string.
fn value_length(value: &str) -> usize {
    let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let mut escaped = false;
    for (index, character) in value.char_indices() {
        let ends = match quote {
            Some(quote) => index > 0 && character == quote,
            None => character.is_whitespace() || matches!(character, '\'' | '"' | '&' | ',' | ')'),
        };
        if ends && !escaped {
            return if quote.is_some() {
                index + character.len_utf8()
            } else {
                index
            };
        }
        escaped = character == '\\' && !escaped;
    }
    value.len()
}

/// Hides `secret` of `postgresql://user:secret@host`.
fn without_uri_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        shown.push_str(before);
        rest = after;
        if !(before.ends_with("postgres://") || before.ends_with("postgresql://")) {
            continue;
        }
        let end = after
            .find(|character: char| character.is_whitespace() || matches!(character, '/' | '?' | '\'' | '"'))
            .unwrap_or(after.len());
        let authority = after.get(..end).unwrap_or_default();
        let Some((account, _)) = authority.rsplit_once('@') else {
            continue;
        };
        let Some((user, secret)) = account.split_once(':') else {
            continue;
        };
        if !secret.is_empty() {
            shown.push_str(user);
            shown.push(':');
            shown.push_str(HIDDEN);
            rest = after.get(account.len()..).unwrap_or_default();
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_of_every_spelling_are_hidden() {
        for (text, shown) in [
            ("nothing to hide", "nothing to hide"),
            (
                "host=a password=secret dbname=b",
                "host=a password=*REDACTED* dbname=b",
            ),
            ("password=secret", "password=*REDACTED*"),
            ("password = 'se cret\\' x' user=u", "password = *REDACTED* user=u"),
            (
                "PASSWORD=secret sslpassword=other",
                "PASSWORD=*REDACTED* sslpassword=*REDACTED*",
            ),
            (
                "postgresql://u:p%40@h/db?x=1",
                "postgresql://u:*REDACTED*@h/db?x=1",
            ),
            ("postgres://u:p:q@h1,h2/db", "postgres://u:*REDACTED*@h1,h2/db"),
            (
                "postgresql://h/db?user=u&password=x&a=b",
                "postgresql://h/db?user=u&password=*REDACTED*&a=b",
            ),
            ("postgresql://u@h/db", "postgresql://u@h/db"),
            (
                "'conninfo': 'host=a password=x', 'b'",
                "'conninfo': 'host=a password=*REDACTED*', 'b'",
            ),
            ("https://u:p@h", "https://u:p@h"),
            ("the password is wrong", "the password is wrong"),
            ("password=", "password="),
            (
                "password=é postgres://é:é@é",
                "password=*REDACTED* postgres://é:*REDACTED*@é",
            ),
        ] {
            assert_eq!(redacted(text), shown, "{text}");
            assert_eq!(redacted(&redacted(text)), shown, "twice: {text}");
        }
    }

    #[test]
    fn documents_are_redacted_in_depth() {
        let mut value = json!({"a": [{"conninfo": "password=x"}], "n": 1});
        redact_value(&mut value);
        assert_eq!(value, json!({"a": [{"conninfo": "password=*REDACTED*"}], "n": 1}));
    }
}
