//! Where each tablespace of a backup goes.

use std::path::{Component, Path, PathBuf};

use super::source::{BackupSource, SourceTablespace};

/// A tablespace and its new place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The tablespace in the backup.
    pub tablespace: SourceTablespace,
    /// The directory it is restored into.
    pub location: PathBuf,
}

/// A rule that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablespaceError {
    /// The rule has no colon, or nothing on one side of it.
    #[error(
        "Invalid tablespace relocation rule '{0}'\nHINT: The valid syntax for a relocation rule is NAME:LOCATION"
    )]
    Rule(String),
    /// The backup has no tablespace of this name.
    #[error("Invalid tablespace name '{name}'\nHINT: Please use any of the following tablespaces: {}", known.join(", "))]
    Name {
        /// As typed.
        name: String,
        /// The names of the backup's tablespaces.
        known: Vec<String>,
    },
    /// A link with a relative target would lead elsewhere.
    #[error("Invalid location '{}' for the tablespace '{name}': it must be an absolute path", location.display())]
    Relative {
        /// The tablespace.
        name: String,
        /// As typed.
        location: PathBuf,
    },
    /// Two things would be restored into one directory.
    #[error(
        "The tablespace '{name}' cannot be restored into '{}', which {reason}\n\
         HINT: Use --tablespace {name}:LOCATION to give it a directory of its own", location.display()
    )]
    Overlap {
        /// The tablespace.
        name: String,
        /// Its location.
        location: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads the rules `NAME:LOCATION`; of several for one tablespace the last one counts.
///
/// # Errors
/// A rule is malformed or names no tablespace of the backup.
pub fn parse_rules(
    rules: &[String],
    backup: &BackupSource,
) -> Result<Vec<(String, PathBuf)>, TablespaceError> {
    let mut parsed: Vec<(String, PathBuf)> = Vec::new();
    for rule in rules {
        let (name, location) = rule
            .split_once(':')
            .filter(|(name, location)| !name.is_empty() && !location.is_empty())
            .ok_or_else(|| TablespaceError::Rule(rule.clone()))?;
        if !backup
            .tablespaces
            .iter()
            .any(|tablespace| tablespace.name == name)
        {
            return Err(TablespaceError::Name {
                name: name.to_owned(),
                known: backup
                    .tablespaces
                    .iter()
                    .map(|tablespace| tablespace.name.clone())
                    .collect(),
            });
        }
        let location = PathBuf::from(location);
        if !location.is_absolute() {
            return Err(TablespaceError::Relative {
                name: name.to_owned(),
                location,
            });
        }
        parsed.retain(|(other, _)| other != name);
        parsed.push((name.to_owned(), location));
    }
    Ok(parsed)
}

/// Decides where each tablespace goes: by its rule, else where it was on the server.
///
/// # Errors
/// Two tablespaces, or a tablespace and the data directory, would share a directory.
pub fn relocate(
    backup: &BackupSource,
    rules: &[(String, PathBuf)],
    destination: &Path,
) -> Result<Vec<Relocation>, TablespaceError> {
    let mut relocations: Vec<Relocation> = Vec::new();
    for tablespace in &backup.tablespaces {
        let location = rules
            .iter()
            .find(|(name, _)| *name == tablespace.name)
            .map_or_else(|| tablespace.location.clone(), |(_, location)| location.clone());
        let relocation = Relocation {
            tablespace: tablespace.clone(),
            location: normal(&location),
        };
        relocation.check(destination, &relocations)?;
        relocations.push(relocation);
    }
    Ok(relocations)
}

impl Relocation {
    fn check(&self, destination: &Path, others: &[Relocation]) -> Result<(), TablespaceError> {
        let destination = normal(destination);
        let overlap = |reason: String| {
            Err(TablespaceError::Overlap {
                name: self.tablespace.name.clone(),
                location: self.location.clone(),
                reason,
            })
        };
        if destination.starts_with(&self.location) {
            return overlap("is or contains the destination directory".to_owned());
        }
        if self.location.starts_with(destination.join("pg_tblspc")) {
            return overlap("is where the links to the tablespaces are".to_owned());
        }
        for other in others {
            if self.location.starts_with(&other.location) || other.location.starts_with(&self.location) {
                return overlap(format!(
                    "overlaps with '{}' of the tablespace '{}'",
                    other.location.display(),
                    other.tablespace.name
                ));
            }
        }
        Ok(())
    }

    /// The link in the data directory that leads to the tablespace.
    #[must_use]
    pub fn link(&self, destination: &Path) -> PathBuf {
        destination
            .join("pg_tblspc")
            .join(self.tablespace.oid.to_string())
    }
}

/// A path without `.`, doubled and trailing slashes. (`..` stays: it cannot be undone without looking at links.)
fn normal(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| !matches!(component, Component::CurDir))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recovery::source::tests::backup;

    fn rules(texts: &[&str]) -> Result<Vec<(String, PathBuf)>, TablespaceError> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        parse_rules(&texts, &backup())
    }

    #[test]
    fn rules_in_barmans_words() {
        assert_eq!(
            rules(&["ts1"]).unwrap_err().to_string(),
            "Invalid tablespace relocation rule 'ts1'\nHINT: The valid syntax for a relocation rule is NAME:LOCATION"
        );
        assert_eq!(
            rules(&["x:/x"]).unwrap_err().to_string(),
            "Invalid tablespace name 'x'\nHINT: Please use any of the following tablespaces: ts1"
        );
        assert!(matches!(rules(&["ts1:"]), Err(TablespaceError::Rule(_))));
        assert!(matches!(
            rules(&["ts1:rel"]),
            Err(TablespaceError::Relative { .. })
        ));
        assert_eq!(
            rules(&["ts1:/a", "ts1:/b:c"]).unwrap(),
            [("ts1".to_owned(), PathBuf::from("/b:c"))]
        );
    }

    #[test]
    fn every_directory_has_one_owner() {
        let mut backup = backup();
        let place = |backup: &BackupSource, location: &str| {
            relocate(
                backup,
                &[("ts1".to_owned(), PathBuf::from(location))],
                Path::new("/d/data/"),
            )
        };
        assert_eq!(place(&backup, "/x/./y/").unwrap()[0].location, Path::new("/x/y"));
        assert_eq!(
            place(&backup, "/d/data/ts").unwrap()[0].link(Path::new("/d")),
            Path::new("/d/pg_tblspc/16384")
        );
        for location in ["/d/data", "/d", "/d/data/pg_tblspc/1"] {
            assert!(place(&backup, location).is_err(), "{location}");
        }
        let mut second = backup.tablespaces[0].clone();
        second.name = "ts2".to_owned();
        backup.tablespaces.push(second);
        assert!(place(&backup, "/srv/ts1/below").is_err());
        assert!(place(&backup, "/srv/ts2").is_ok());
    }
}
