//! Connection strings, as far as the configuration looks into them: libpq does the rest.

/// Whether libpq can take a string apart: a URI, or `key = value` pairs with quotes and backslashes by libpq's rules.
///
/// Barman accepts only pairs without quotes and blanks, and calls everything else invalid.
pub(super) fn is_well_formed(conninfo: &str) -> bool {
    if ["postgresql://", "postgres://"]
        .iter()
        .any(|scheme| conninfo.starts_with(scheme))
    {
        return true;
    }
    let mut rest = conninfo.trim_start();
    while !rest.is_empty() {
        let Some((key, value)) = rest.split_once('=') else {
            return false;
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return false;
        }
        let Some(after) = skip_value(value.trim_start()) else {
            return false;
        };
        rest = after.trim_start();
    }
    true
}

/// What follows the value at the start of `text`; `None` when its quote is never closed.
fn skip_value(text: &str) -> Option<&str> {
    let quoted = text.strip_prefix('\'');
    let mut characters = quoted.unwrap_or(text).char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '\'' if quoted.is_some() => return quoted?.get(position + 1..),
            blank if quoted.is_none() && blank.is_whitespace() => return text.get(position..),
            _ => {}
        }
    }
    if quoted.is_some() { None } else { Some("") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libpq_takes_is_well_formed() {
        for conninfo in [
            "host=a dbname=b",
            "host = a  dbname= b",
            "application_name='a b' password='it\\'s' host=x",
            "password=a\\ b host=x",
            "postgresql://u:p@h/db?sslmode=require",
            "host=",
        ] {
            assert!(is_well_formed(conninfo), "{conninfo}");
        }
        for conninfo in ["host", "host=a b", "password='open", "=x", "a b=c"] {
            assert!(!is_well_formed(conninfo), "{conninfo}");
        }
    }
}
