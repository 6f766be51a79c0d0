//! Changing options in a configuration file without disturbing anything else in it: comments, order, blank lines, line ends.
//!
//! The lines are told apart by the rules by which the file is read, and the new text is read again before it counts: it
//! must differ from the old one in exactly the options that were to change. Barman goes by the beginnings of lines, and
//! glues options together where sections are not separated by a blank line.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::files;
use super::ini::{self, RawSection};
use super::lines::{Line, Lines};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};

/// The permissions of a file that did not exist: connection strings may hold passwords.
const NEW_FILE_MODE: u32 = 0o600;

/// An option of a section, and the text it is to have.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The section, with its case.
    pub section: &'a str,
    /// The option, in lower case.
    pub option: &'a str,
    /// The value as it would be written in the file.
    pub value: &'a str,
}

/// Why a file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It, or the text it would become, is not well formed.
    #[error(transparent)]
    Syntax(#[from] ConfigError),
    /// The value cannot be written so that it would be read again as it is.
    #[error("the value of option '{option}' for section '{section}' cannot be written to \"{}\"", file.display())]
    NotWritable {
        /// The file.
        file: PathBuf,
        /// The section.
        section: String,
        /// The option.
        option: String,
    },
    /// It cannot be read or replaced.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Makes the changes in a file, all at once and durably. A file that does not exist is created. `before` is where the old text
/// is kept while a file is written whose directory is not ours to write to.
///
/// # Errors
/// As [`EditError`] says; the file is then as it was.
pub fn change(file: &Path, changes: &[Change<'_>], before: &Path) -> Result<(), EditError> {
    // What the name stands for is replaced, not the name: configurations are linked into place.
    let file = match file.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => file.to_path_buf(),
        Err(error) => return Err(PathError::new("read", file, error).into()),
    };
    let old = match files::read_file(&file) {
        Ok(text) => text,
        Err(ConfigError::Io(error)) if error.source.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let new = changes
        .iter()
        .try_fold(old.clone(), |text, change| changed(&text, *change, &file))?;
    if new == old {
        return Ok(());
    }
    match replace(&file, &new) {
        Err(error) if is_fixed(&error) && file.exists() => overwrite(&file, &old, &new, before)?,
        other => other?,
    }
    Ok(())
}

/// Whether no file can take the place of another one: the directory is not ours, or the file is a mount by itself.
fn is_fixed(error: &PathError) -> bool {
    use ErrorKind::{PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(
        error.source.kind(),
        PermissionDenied | ReadOnlyFilesystem | ResourceBusy
    )
}

/// Writes the new text into the file. One that becomes shorter first gets blank lines: whenever this is stopped, the file
/// can be read.
fn overwrite(file: &Path, old: &str, new: &str, before: &Path) -> Result<(), PathError> {
    let there = fs::OpenOptions::new().write(true).open(file).at("write", file)?;
    replace(before, old)?;
    let mut text = new.to_owned();
    text.extend(std::iter::repeat_n('\n', old.len().saturating_sub(new.len())));
    let written = there
        .write_all_at(text.as_bytes(), 0)
        .and_then(|()| there.sync_all())
        .and_then(|()| there.set_len(new.len() as u64))
        .and_then(|()| there.sync_all());
    if let Err(error) = written {
        log::error!(
            target: "barman.config",
            "\"{}\" could not be written; its text before is in \"{}\"", file.display(), before.display()
        );
        return Err(PathError::new("write", file, error));
    }
    durable::remove(before)
}

/// The text with one option changed.
fn changed(text: &str, change: Change<'_>, file: &Path) -> Result<String, EditError> {
    let new = edited(text, change);
    let refused = || EditError::NotWritable {
        file: file.to_path_buf(),
        section: change.section.to_owned(),
        option: change.option.to_owned(),
    };
    let mut wanted = ini::parse(text, file)?;
    put(&mut wanted, change);
    // Text that ends in the middle of another value, or begins a section, is read as something else.
    let got = ini::parse(&new, file).map_err(|_| refused())?;
    if !same(&got, &wanted) {
        return Err(refused());
    }
    for section in got.iter().filter(|section| section.name == change.section) {
        files::entries(section, file)?;
    }
    Ok(new)
}

/// What reading the changed file must give.
fn put(sections: &mut Vec<RawSection>, change: Change<'_>) {
    let value = ini::RawValue {
        text: lines_of(change.value).join("\n"),
        line: 0,
    };
    let found = sections
        .iter_mut()
        .position(|section| section.name == change.section);
    let section = match found.and_then(|index| sections.get_mut(index)) {
        Some(section) => section,
        None => {
            sections.push(RawSection {
                name: change.section.to_owned(),
                options: Vec::new(),
            });
            let Some(last) = sections.last_mut() else { return };
            last
        }
    };
    match section.options.iter_mut().find(|(name, _)| name == change.option) {
        Some((_, old)) => *old = value,
        None => section.options.push((change.option.to_owned(), value)),
    }
}

/// Whether two readings hold the same values. A section that is new also has the options of `[DEFAULT]`.
fn same(got: &[RawSection], wanted: &[RawSection]) -> bool {
    let holds = |a: &RawSection, b: &RawSection| {
        a.options
            .iter()
            .all(|(name, value)| b.get(name).is_some_and(|other| other.text == value.text))
    };
    got.len() == wanted.len()
        && got.iter().zip(wanted).all(|(got, wanted)| {
            got.name == wanted.name && holds(wanted, got) && (wanted.options.len() == 1 || holds(got, wanted))
        })
}

/// The lines of a value, without the blanks that reading it would drop.
fn lines_of(value: &str) -> Vec<&str> {
    value.trim().split('\n').map(str::trim).collect()
}

/// The option's lines: those after the first are indented more than the option.
fn option_lines(margin: &str, change: Change<'_>, end: &str) -> String {
    let mut lines = lines_of(change.value).into_iter();
    let first = lines.next().unwrap_or_default();
    let mut text = format!("{margin}{} = {first}", change.option)
        .trim_end()
        .to_owned();
    text.push_str(end);
    for line in lines {
        text.push_str(format!("{margin}    {line}").trim_end());
        text.push_str(end);
    }
    text
}

/// The text with the option replaced where it counts, added to its section, or added with its section.
fn edited(text: &str, change: Change<'_>) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = Place::find(&lines, change);
    let mut new = String::with_capacity(text.len() + 128);
    let terminated = |new: &mut String| {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push_str(end);
        }
    };
    for (index, line) in lines.iter().enumerate() {
        if place.insert == Some(index) {
            terminated(&mut new);
            new.push_str(&option_lines(&place.margin, change, end));
        }
        if !place.replaced.contains(&index) {
            new.push_str(line);
        }
    }
    if place.insert.is_none_or(|index| index >= lines.len()) {
        terminated(&mut new);
        if place.insert.is_none() {
            if !new.is_empty() {
                new.push_str(end);
            }
            new.push_str(&format!("[{}]{end}", change.section));
        }
        new.push_str(&option_lines(&place.margin, change, end));
    }
    new
}

/// Where the option goes.
#[derive(Debug, Default)]
struct Place {
    /// Before which line; `None` where the section is missing.
    insert: Option<usize>,
    /// The lines that it replaces.
    replaced: Vec<usize>,
    /// The blanks before it.
    margin: String,
}

impl Place {
    /// The last of several values counts, and so does the last of several parts of a section.
    fn find(lines: &[&str], change: Change<'_>) -> Place {
        let mut teller = Lines::default();
        let mut place = Place::default();
        let (mut inside, mut in_option, mut found) = (false, false, false);
        for (index, line) in lines.iter().enumerate() {
            // Only the first line can have the mark.
            let line = line.trim_start_matches('\u{FEFF}');
            match teller.tell(line) {
                Line::Section { name } => {
                    inside = name == change.section;
                    in_option = false;
                    if inside && !found {
                        place.insert = Some(index + 1);
                    }
                }
                Line::Option { margin, key, .. } if inside => {
                    in_option = key.to_lowercase() == change.option;
                    if in_option {
                        found = true;
                        place = Place {
                            insert: Some(index),
                            replaced: vec![index],
                            margin: margin.to_owned(),
                        };
                    } else if !found {
                        place.insert = Some(index + 1);
                        place.margin = margin.to_owned();
                    }
                }
                Line::Continuation { .. } if in_option => place.replaced.push(index),
                Line::Continuation { .. } if inside && !found => place.insert = Some(index + 1),
                _ => {}
            }
        }
        place
    }
}

/// Puts the new text in the place of the old one: with its permissions and, where that is possible, its owner.
fn replace(file: &Path, text: &str) -> Result<(), PathError> {
    let temporary = durable::sibling(file, ".tmp");
    let replaced = write_beside(file, &temporary, text).and_then(|()| durable::rename(&temporary, file));
    if replaced.is_err()
        && let Err(error) = fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        log::warn!(target: "barman.config", "\"{}\" is left: {error}", temporary.display());
    }
    replaced
}

/// The text in a file of its own, as the old one belongs to somebody and may be read by somebody.
fn write_beside(file: &Path, temporary: &Path, text: &str) -> Result<(), PathError> {
    let before = fs::metadata(file).ok();
    let mode = before
        .as_ref()
        .map_or(NEW_FILE_MODE, |metadata| metadata.mode() & 0o7777);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(PathError::new("replace", temporary, error));
        }
        _ => {}
    }
    let mut new = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(NEW_FILE_MODE)
        .open(temporary)
        .at("create", temporary)?;
    if let Some(before) = &before {
        let own = new.metadata().at("examine", temporary)?;
        if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
            // Only root may give files away; the group often can be kept.
            let whole = std::os::unix::fs::fchown(&new, Some(before.uid()), Some(before.gid()));
            if whole.is_err() && std::os::unix::fs::fchown(&new, None, Some(before.gid())).is_err() {
                log::warn!(target: "barman.config", "\"{}\" now belongs to another user and group", file.display());
            }
        }
    }
    new.set_permissions(fs::Permissions::from_mode(mode))
        .at("set permissions of", temporary)?;
    new.write_all(text.as_bytes()).at("write", temporary)?;
    new.sync_all().at("sync", temporary)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(text: &str, section: &str, option: &str, value: &str) -> Result<String, EditError> {
        let change = Change {
            section,
            option,
            value,
        };
        changed(text, change, Path::new("test.conf"))
    }

    fn done(text: &str, section: &str, option: &str, value: &str) -> String {
        set(text, section, option, value).unwrap()
    }

    #[test]
    fn what_barman_corrupts_is_changed_in_place() {
        assert_eq!(
            done("[a]\nx=1\n[b]\n", "a", "opt", "v"),
            "[a]\nx=1\nopt = v\n[b]\n"
        );
        assert_eq!(done("[a]\nx=1\n[b]", "b", "opt", "v"), "[a]\nx=1\n[b]\nopt = v\n");
        assert_eq!(done("[a]\nx=1", "a", "y", "2"), "[a]\nx=1\ny = 2\n");
    }

    #[test]
    fn comments_blank_lines_and_order_stay() {
        let text = "# head\n[a]\n; one\nX : 1\n# two\n\ny = 2\n# three\n\n[b]\nx = 9\n";
        assert_eq!(
            done(text, "a", "x", "5"),
            "# head\n[a]\n; one\nx = 5\n# two\n\ny = 2\n# three\n\n[b]\nx = 9\n"
        );
        assert_eq!(
            done(text, "a", "z", "5"),
            "# head\n[a]\n; one\nX : 1\n# two\n\ny = 2\nz = 5\n# three\n\n[b]\nx = 9\n"
        );
    }

    #[test]
    fn the_value_that_counts_is_the_one_that_changes() {
        assert_eq!(
            done("[a]\nx=1\nx=2\n[b]\n[a]\nx=3\n", "a", "x", "4"),
            "[a]\nx=1\nx=2\n[b]\n[a]\nx = 4\n"
        );
        assert_eq!(
            done("[a]\nxy=1\n xx = 2\n", "a", "x", "4"),
            "[a]\nxy=1\n xx = 2\nx = 4\n"
        );
    }

    #[test]
    fn values_of_several_lines() {
        let text = "[a]\n  x = 1\n    2\n# c\n    3\n  y = 1\n";
        assert_eq!(done(text, "a", "x", "9"), "[a]\n  x = 9\n# c\n  y = 1\n");
        assert_eq!(
            done("[a]\ny=1\n", "a", "x", "1\n2\n[b]"),
            "[a]\ny=1\nx = 1\n    2\n    [b]\n"
        );
        assert_eq!(done("[a]\n", "a", "x", ""), "[a]\nx =\n");
    }

    #[test]
    fn a_section_that_is_missing_is_added() {
        assert_eq!(done("", "m", "x", "1"), "[m]\nx = 1\n");
        assert_eq!(done("[a]\nx=1", "m", "x", "1"), "[a]\nx=1\n\n[m]\nx = 1\n");
        assert_eq!(
            done("[DEFAULT]\nd=1\n", "m", "x", "1"),
            "[DEFAULT]\nd=1\n\n[m]\nx = 1\n"
        );
    }

    #[test]
    fn ends_of_lines_and_marks_stay() {
        assert_eq!(
            done("\u{FEFF}[a]\r\nx=1\r\n", "a", "y", "2"),
            "\u{FEFF}[a]\r\nx=1\r\ny = 2\r\n"
        );
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        for (section, value) in [
            ("a", "1\n# comment"),
            ("a\n[b]", "1"),
            ("a]\n[b", "1"),
            ("", "1"),
            ("DEFAULT", "1"),
        ] {
            assert!(
                set("[a]\nx = 0\n[b]\n", section, "x", value).is_err(),
                "{section:?} {value:?}"
            );
        }
        assert!(set("[a]\n", "a", "x", "%(nosuch)s").is_err());
        assert!(set("[a]\nlonely\n", "a", "x", "1").is_err());
    }

    #[test]
    fn a_file_keeps_its_permissions_and_its_link() {
        let directory = std::env::temp_dir().join(format!("barkeep-edit-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let before = directory.join("before");
        let (file, link) = (directory.join("real.conf"), directory.join("link.conf"));
        fs::write(&file, "[a]\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let one = Change {
            section: "a",
            option: "x",
            value: "1",
        };
        change(&link, &[one], &before).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "[a]\nx = 1\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let new = directory.join("new.conf");
        change(&new, &[one], &before).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o600);
        assert!(!before.exists());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_is_written_in_place_has_the_new_text_only() {
        let directory = std::env::temp_dir().join(format!("barkeep-overwrite-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, before) = (directory.join("b.conf"), directory.join("before"));
        for (old, new) in [("[a]\nx = 123456\n", "[a]\nx = 1\n"), ("[a]\n", "[a]\nx = 1\n")] {
            fs::write(&file, old).unwrap();
            let number = fs::metadata(&file).unwrap().ino();
            overwrite(&file, old, new, &before).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), new);
            assert_eq!(fs::metadata(&file).unwrap().ino(), number);
            assert!(!before.exists());
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
