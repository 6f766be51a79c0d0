//! Connection strings: what they set, how they are shown without secrets, and the forms other programs need.
//!
//! libpq parses them, so that URIs, quoted values and every keyword are understood (Barman understands neither of the
//! first two).

use super::libpq::{self, Setting};

/// What stands in the place of a password in everything that is shown or logged.
pub const REDACTED: &str = "*REDACTED*";

/// A connection string that libpq does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConninfo(pub String);

/// The keywords that a connection string sets, in libpq's order, and their values.
///
/// # Errors
/// It is not well formed.
pub fn parse(conninfo: &str) -> Result<Vec<(String, String)>, InvalidConninfo> {
    Ok(settings(conninfo)?
        .into_iter()
        .map(|setting| (setting.keyword, setting.value))
        .collect())
}

/// The value of one keyword, when the string sets it.
///
/// # Errors
/// It is not well formed.
pub fn value_of(conninfo: &str, keyword: &str) -> Result<Option<String>, InvalidConninfo> {
    Ok(parse(conninfo)?
        .into_iter()
        .find(|(name, _)| name == keyword)
        .map(|(_, value)| value))
}

/// The connection string with every password replaced. A string that cannot be parsed is withheld as a whole when it
/// could hold one.
#[must_use]
pub fn redacted(conninfo: &str) -> String {
    let Ok(settings) = settings(conninfo) else {
        let could_hold_one = ["password", "://"].iter().any(|mark| conninfo.contains(mark));
        return if could_hold_one {
            REDACTED.to_owned()
        } else {
            conninfo.to_owned()
        };
    };
    if settings.iter().all(|setting| !setting.secret) {
        return conninfo.to_owned();
    }
    let shown = settings.into_iter().map(|setting| {
        let value = if setting.secret {
            REDACTED.to_owned()
        } else {
            setting.value
        };
        (setting.keyword, value)
    });
    if conninfo.contains("://") {
        return keyword_value(shown);
    }
    // Operators recognise their own string: only the values are replaced where that can be done without doubt.
    replace_values(conninfo, |keyword| {
        keyword == "password" || keyword == "sslpassword"
    })
    .unwrap_or_else(|| keyword_value(shown))
}

/// The string for a replication connection, as Barman makes it: sorted keywords, the database `replication`, dates in
/// ISO form, physical replication.
///
/// # Errors
/// It is not well formed.
pub fn for_replication(conninfo: &str) -> Result<String, InvalidConninfo> {
    let forced = [
        ("dbname", "replication"),
        ("options", "-cdatestyle=iso"),
        ("replication", "true"),
    ];
    let mut pairs = parse(conninfo)?;
    pairs.retain(|(keyword, _)| forced.iter().all(|(name, _)| name != keyword));
    pairs.extend(
        forced
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    pairs.sort();
    Ok(keyword_value(pairs.into_iter()))
}

/// A connection string for the argument list of a client program, which everybody on this host can read, and the password
/// that it needs in its environment (`PGPASSWORD`).
///
/// # Errors
/// It is not well formed, or holds a secret that cannot be passed in any other way.
pub fn without_secrets(conninfo: &str) -> Result<(String, Option<String>), InvalidConninfo> {
    let mut password = None;
    let mut shown = Vec::new();
    for setting in settings(conninfo)? {
        match setting.keyword.as_str() {
            "password" => password = Some(setting.value),
            keyword if setting.secret => {
                return Err(InvalidConninfo(format!(
                    "{keyword} in a connection string would be seen by everybody on this host in the arguments of a client \
                     program: use a service file (service=NAME) instead"
                )));
            }
            _ => shown.push((setting.keyword, setting.value)),
        }
    }
    shown.sort();
    Ok((keyword_value(shown.into_iter()), password))
}

/// `key=value` pairs as one connection string, values quoted where libpq needs it.
pub fn keyword_value(pairs: impl Iterator<Item = (String, String)>) -> String {
    pairs
        .map(|(keyword, value)| format!("{keyword}={}", quoted(&value)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn settings(conninfo: &str) -> Result<Vec<Setting>, InvalidConninfo> {
    libpq::parse_conninfo(conninfo).map_err(InvalidConninfo)
}

fn quoted(value: &str) -> String {
    let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\');
    if plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// Replaces the values of some keywords in a string of `key=value` pairs; `None` when its structure is not understood.
/// The grammar is that of libpq's `conninfo_parse`.
fn replace_values(conninfo: &str, hidden: impl Fn(&str) -> bool) -> Option<String> {
    let mut shown = String::new();
    let mut rest = conninfo;
    loop {
        let start = rest.trim_start();
        shown.push_str(rest.get(..rest.len() - start.len())?);
        if start.is_empty() {
            return Some(shown);
        }
        let (keyword, after) = start.split_once('=')?;
        let value = after.trim_start();
        let length = value_length(value)?;
        if hidden(keyword.trim_end()) {
            shown.push_str(&format!("{}={REDACTED}", keyword.trim_end()));
        } else {
            let up_to_value = start.len() - value.len();
            shown.push_str(start.get(..up_to_value + length)?);
        }
        rest = value.get(length..)?;
    }
}

fn value_length(value: &str) -> Option<usize> {
    let quoted = value.starts_with('\'');
    let mut characters = value.char_indices().skip(usize::from(quoted));
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '\'' if quoted => return Some(position + 1),
            blank if !quoted && blank.is_whitespace() => return Some(position),
            _ => {}
        }
    }
    (!quoted).then_some(value.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (conninfo, expected) in [
            ("host=a user=b", "host=a user=b"),
            (
                "host=a password=secret user=b",
                "host=a password=*REDACTED* user=b",
            ),
            (
                "host=a  password = 'se cr\\'et'  user=b",
                "host=a  password=*REDACTED*  user=b",
            ),
            ("password=a\\ b", "password=*REDACTED*"),
            (
                "postgresql://u:secret@h/d",
                "user=u password=*REDACTED* dbname=d host=h",
            ),
            ("password=secret host", "*REDACTED*"),
        ] {
            let shown = redacted(conninfo);
            assert!(!shown.contains("ecret") && !shown.contains("cr\\'et"), "{shown}");
            if !conninfo.contains("://") {
                assert_eq!(shown, expected);
            }
        }
        assert!(redacted("postgresql://u:secret@h/d").contains("password=*REDACTED*"));
    }

    #[test]
    fn uris_and_quotes_are_understood() {
        assert_eq!(
            value_of("postgresql://u@h:5/d", "port").unwrap().as_deref(),
            Some("5")
        );
        assert_eq!(value_of("user='a b'", "user").unwrap().as_deref(), Some("a b"));
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn secrets_stay_out_of_argument_lists() {
        let (shown, password) = without_secrets("user=b password='se cret' host=a").unwrap();
        assert_eq!(
            (shown.as_str(), password.as_deref()),
            ("host=a user=b", Some("se cret"))
        );
        let (shown, password) = without_secrets("postgresql://u@h/d").unwrap();
        assert_eq!((shown.as_str(), password), ("dbname=d host=h user=u", None));
        assert!(without_secrets("host=a sslpassword=x").is_err());
    }

    #[test]
    fn replication_form_is_barmans() {
        assert_eq!(
            for_replication("user=barman host=pg dbname=postgres").unwrap(),
            "dbname=replication host=pg options=-cdatestyle=iso replication=true user=barman"
        );
    }
}
