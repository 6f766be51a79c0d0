//! Words of a shell command: quoting and splitting.

/// Quotes one argument the way Barman does: always in single quotes.
#[must_use]
pub fn quote(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// Joins arguments into one command line for `sh -c` or a remote shell.
#[must_use]
pub fn join<S: AsRef<str>>(arguments: &[S]) -> String {
    arguments
        .iter()
        .map(|argument| quote(argument.as_ref()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A quote was opened and never closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no closing quotation in: {0}")]
pub struct UnclosedQuote(pub String);

/// Splits a command into words by POSIX shell rules (quotes and backslashes; no expansion).
///
/// # Errors
/// A quotation mark without its partner.
pub fn split(command: &str) -> Result<Vec<String>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let target = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inner) => target.push(inner),
                        None => return Err(UnclosedQuote(command.to_owned())),
                    }
                }
            }
            '"' => {
                let target = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => target.push(escaped),
                            Some(other) => target.extend(['\\', other]),
                            None => return Err(UnclosedQuote(command.to_owned())),
                        },
                        Some(inner) => target.push(inner),
                        None => return Err(UnclosedQuote(command.to_owned())),
                    }
                }
            }
            '\\' => match characters.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err(UnclosedQuote(command.to_owned())),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn splits_like_a_shell() {
        assert_eq!(
            split("ssh -q -o 'A=b c' \"d e\"f g\\ h").unwrap(),
            ["ssh", "-q", "-o", "A=b c", "d ef", "g h"]
        );
        assert!(split("ssh 'open").is_err());
    }

    #[test]
    fn what_is_quoted_splits_back() {
        let words = ["it's", "a b", "", "$x"];
        assert_eq!(split(&join(&words)).unwrap(), words);
    }
}
