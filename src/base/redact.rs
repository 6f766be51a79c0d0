//! Passwords never reach a log or a screen.

use std::borrow::Cow;

/// What a password is replaced by, as in Barman.
const REDACTED: &str = "*REDACTED*";

/// Replaces the passwords of connection strings inside a text: `password=…` in every form libpq accepts (bare, quoted,
/// with backslashes, as a parameter of a URI) and `user:password@` of a URI.
///
/// ```
/// use barkeep::base::redact::passwords;
/// assert_eq!(passwords("host=a password=b c=d"), "host=a password=*REDACTED* c=d");
/// assert_eq!(passwords("postgresql://me:pw@host/db"), "postgresql://me:*REDACTED*@host/db");
/// ```
#[must_use]
pub fn passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("password") && !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((kept, secret_length)) = next_secret(rest) {
        let (before, from_secret) = rest.split_at(kept);
        redacted.push_str(before);
        redacted.push_str(REDACTED);
        rest = from_secret.get(secret_length..).unwrap_or_default();
    }
    if redacted.is_empty() {
        return Cow::Borrowed(text);
    }
    redacted.push_str(rest);
    Cow::Owned(redacted)
}

/// The first secret: its position and length in bytes.
fn next_secret(text: &str) -> Option<(usize, usize)> {
    let assigned = assigned_secret(text, 0);
    let embedded = uri_secret(text, 0);
    match (assigned, embedded) {
        (Some(first), Some(second)) => Some(if first.0 <= second.0 { first } else { second }),
        (first, second) => first.or(second),
    }
}

/// `password = secret`.
fn assigned_secret(text: &str, from: usize) -> Option<(usize, usize)> {
    const KEY: &str = "password";
    let key = from + text.get(from..)?.find(KEY)?;
    let after_key = key + KEY.len();
    let rest = text.get(after_key..)?;
    let Some(value) = rest.trim_start().strip_prefix('=') else {
        return assigned_secret(text, after_key);
    };
    let value = value.trim_start_matches([' ', '\t']);
    let start = text.len() - value.len();
    let length = secret_length(value);
    if length == 0 {
        return assigned_secret(text, start);
    }
    Some((start, length))
}

/// The length of the value at the start of a text, quotes included.
fn secret_length(value: &str) -> usize {
    let quoted = value.starts_with('\'');
    let mut characters = value.char_indices().skip(usize::from(quoted));
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '\'' if quoted => return position + 1,
            '"' | '&' | '\'' if !quoted => return position,
            blank if !quoted && blank.is_whitespace() => return position,
            _ => {}
        }
    }
    value.len()
}

/// `scheme://user:secret@`.
fn uri_secret(text: &str, from: usize) -> Option<(usize, usize)> {
    let authority = from + text.get(from..)?.find("://")? + 3;
    let rest = text.get(authority..)?;
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '"' | '\''))
        .unwrap_or(rest.len());
    let found = rest.get(..end).and_then(|part| {
        let at = part.rfind('@')?;
        let colon = part.get(..at)?.find(':')?;
        let length = at - colon - 1;
        (length > 0).then_some((authority + colon + 1, length))
    });
    // A password that was replaced already must not be found again.
    match found {
        Some((start, length)) if text.get(start..start + length) == Some(REDACTED) => {
            uri_secret(text, start + length)
        }
        Some(found) => Some(found),
        None => uri_secret(text, authority),
    }
}

#[cfg(test)]
mod tests {
    use super::passwords;

    #[test]
    fn every_form_of_password_is_hidden() {
        for (text, expected) in [
            ("password=a", "password=*REDACTED*"),
            ("x password = 'a b' y", "x password = *REDACTED* y"),
            ("password='it\\'s' host=h", "password=*REDACTED* host=h"),
            ("password=a\\ b host=h", "password=*REDACTED* host=h"),
            (
                "sslpassword=k password=p",
                "sslpassword=*REDACTED* password=*REDACTED*",
            ),
            (
                "\"postgres://u:p:q@h\" and postgresql://h/db?password=s&x=y",
                "\"postgres://u:*REDACTED*@h\" and postgresql://h/db?password=*REDACTED*&x=y",
            ),
            (
                "conninfo: password=p\n\tnext",
                "conninfo: password=*REDACTED*\n\tnext",
            ),
            (
                "{\"conninfo\": \"host=h password=p\"}",
                "{\"conninfo\": \"host=h password=*REDACTED*\"}",
            ),
        ] {
            assert_eq!(passwords(text), expected);
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "no password given",
            "password= ",
            "https://example.org/a:b@c",
            "postgres://u@h",
            "fe_sendauth: no password supplied",
        ] {
            assert_eq!(passwords(text), text);
        }
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let once = passwords("postgres://u:p@h password=q").into_owned();
        assert_eq!(passwords(&once), once);
    }
}
