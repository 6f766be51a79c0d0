//! References between options: `%(name)s` stands for another option of the same section.
//!
//! Python's basic interpolation, with two departures: Barman crashes on any literal `%`, written `%` or `%%`; here both
//! mean a percent sign, because passwords and commands contain them. A reference to an option that does not exist stays
//! an error.

use super::ini::RawSection;

/// How deep references may refer to references, as in Python.
const MAX_DEPTH: usize = 10;

/// The longest value that references may grow to.
const MAX_LENGTH: usize = 64 * 1024;

/// How many references one value may lead to: without it, references to references to nothing cost exponential time.
const MAX_REFERENCES: usize = 10_000;

/// Replaces the references in a value.
///
/// # Errors
/// What is wrong with a reference.
pub(super) fn expand(text: &str, section: &RawSection) -> Result<String, String> {
    let mut expansion = Expansion {
        section,
        text: String::with_capacity(text.len()),
        references: 0,
    };
    expansion.expand(text, 0)?;
    Ok(expansion.text)
}

struct Expansion<'a> {
    section: &'a RawSection,
    text: String,
    references: usize,
}

impl Expansion<'_> {
    fn expand(&mut self, text: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("references are nested more than {MAX_DEPTH} deep"));
        }
        let mut rest = text;
        while let Some(position) = rest.find('%') {
            let (before, from_percent) = rest.split_at(position);
            self.append(before)?;
            rest = if let Some(after) = from_percent.strip_prefix("%%") {
                self.append("%")?;
                after
            } else if let Some(reference) = from_percent.strip_prefix("%(") {
                let (name, after) = reference
                    .split_once(")s")
                    .ok_or_else(|| format!("the reference \"{from_percent}\" does not end with \")s\""))?;
                self.reference(name, depth)?;
                after
            } else {
                self.append("%")?;
                from_percent.strip_prefix('%').unwrap_or_default()
            };
        }
        self.append(rest)
    }

    fn reference(&mut self, name: &str, depth: usize) -> Result<(), String> {
        self.references += 1;
        if self.references > MAX_REFERENCES {
            return Err(format!(
                "the value leads to more than {MAX_REFERENCES} references"
            ));
        }
        let value = self
            .section
            .get(&name.to_lowercase())
            .ok_or_else(|| format!("\"%({name})s\" refers to an option that this section does not have"))?;
        self.expand(&value.text, depth + 1)
    }

    fn append(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > MAX_LENGTH {
            return Err(format!(
                "references make the value longer than {MAX_LENGTH} bytes"
            ));
        }
        self.text.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let section = super::super::ini::parse(text, Path::new("t")).unwrap().remove(0);
        expand(&section.get("x").unwrap().text, &section)
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(expanded("[s]\nx=%(A)s-%(b)s\na=1\nb=<%(a)s>").unwrap(), "1-<1>");
        assert_eq!(expanded("[s]\nx=%(a)s\n[DEFAULT]\na=d").unwrap(), "d");
    }

    #[test]
    fn a_percent_sign_is_a_percent_sign() {
        assert_eq!(expanded("[s]\nx=100% %%f %p%").unwrap(), "100% %f %p%");
    }

    #[test]
    fn broken_references_are_errors() {
        assert!(expanded("[s]\nx=%(nosuch)s").unwrap_err().contains("%(nosuch)s"));
        assert!(expanded("[s]\nx=%(open").is_err());
        assert!(expanded("[s]\nx=%(x)s").unwrap_err().contains("nested"));
        let mut bomb = String::from("[s]\nx=%(a8)s\na0=0123456789\n");
        for level in 1..9 {
            bomb.push_str(&format!(
                "a{level}={}\n",
                format!("%(a{})s", level - 1).repeat(10)
            ));
        }
        assert!(expanded(&bomb).unwrap_err().contains("longer"));
        assert!(
            expanded(&bomb.replace("0123456789", ""))
                .unwrap_err()
                .contains("leads to more")
        );
    }
}
