//! Settings of a restored cluster that would hurt: some are switched off, others are reported.
//!
//! A copy of a production server that keeps its `archive_command` writes into the production archive; one that keeps a
//! recovery target stops where nobody asked. Such lines are commented out with `#BARMAN#`, and `archive_command`
//! is replaced by `false` (behaviour reference §17.5). Paths and includes that point out of the new directory
//! are reported for review.
//!
//! Barman looks at lower-case names only and never follows an include. PostgreSQL does both, and so does this module.

/// The prefix of a line that was switched off.
pub const MARK: &[u8] = b"#BARMAN#";

/// Settings that are switched off.
const SWITCHED_OFF: [&str; 10] = [
    "archive_command",
    "archive_library",
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
];

/// Settings that are reported.
const REPORTED: [&str; 19] = [
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "ssl_crl_file",
    "unix_socket_directory",
    "unix_socket_directories",
    "include",
    "include_dir",
    "include_if_exists",
    // Commands and connections of the old server, which Barman does not look at.
    "restore_command",
    "recovery_end_command",
    "archive_cleanup_command",
    "primary_conninfo",
    "primary_slot_name",
];

/// A line that was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, relative to the data directory.
    pub file: String,
    /// The index of the line in the original file, counted from zero (as Barman does).
    pub line: usize,
    /// The setting.
    pub key: String,
    /// What it was replaced by; `None` when the line was only commented out.
    pub value: Option<String>,
}

/// A line to review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file, relative to the data directory.
    pub file: String,
    /// The index of the line in the new file, counted from zero.
    pub line: usize,
    /// The setting.
    pub key: String,
    /// Everything after the equals sign, as written.
    pub value: String,
}

/// A file that another one includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// `include` or `include_if_exists`.
    File(String),
    /// `include_dir`.
    Directory(String),
}

/// A configuration file made harmless.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Review {
    /// The new content.
    pub content: Vec<u8>,
    /// The lines switched off.
    pub changes: Vec<Change>,
    /// The lines to review.
    pub warnings: Vec<Warning>,
    /// The files it includes, in order.
    pub includes: Vec<Include>,
}

/// Goes through one configuration file.
#[must_use]
pub fn review(file: &str, content: &[u8]) -> Review {
    let mut review = Review::default();
    let mut line_of_new_file = 0;
    for (line, text) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let setting = Setting::of(text);
        let key = setting.as_ref().map_or("", |setting| setting.key.as_str());
        if SWITCHED_OFF.contains(&key) && !setting.as_ref().is_some_and(Setting::is_no_library) {
            line_of_new_file += switch_off(&mut review, file, line, key, text);
            continue;
        }
        if let Some(setting) = setting.filter(|setting| REPORTED.contains(&setting.key.as_str())) {
            review.includes.extend(setting.include());
            review.warnings.push(Warning {
                file: file.to_owned(),
                line: line_of_new_file,
                key: setting.key,
                value: setting.value,
            });
        }
        review.content.extend_from_slice(text);
        line_of_new_file += 1;
    }
    review
}

/// Comments a line out and says how many lines it became.
fn switch_off(review: &mut Review, file: &str, line: usize, key: &str, text: &[u8]) -> usize {
    let archiving = key == "archive_command";
    review.content.extend_from_slice(MARK);
    review.content.extend_from_slice(text);
    if archiving {
        if !text.ends_with(b"\n") {
            review.content.push(b'\n');
        }
        review.content.extend_from_slice(b"archive_command = false\n");
    }
    review.changes.push(Change {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        value: archiving.then(|| "false".to_owned()),
    });
    if archiving { 2 } else { 1 }
}

/// `name = value` of one line, read as PostgreSQL does: the equals sign is optional, the name in any case.
#[derive(Debug)]
struct Setting {
    key: String,
    value: String,
}

impl Setting {
    fn of(line: &[u8]) -> Option<Setting> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_start().trim_end_matches(['\n', '\r']);
        let length = text
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.')
            .count();
        let (key, rest) = text.split_at(length);
        if key.is_empty() {
            return None;
        }
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').map_or(rest, str::trim_start);
        Some(Setting {
            key: key.to_ascii_lowercase(),
            value: value.to_owned(),
        })
    }

    /// An `archive_library` that names no library is harmless.
    fn is_no_library(&self) -> bool {
        self.key == "archive_library" && self.text().is_empty()
    }

    fn include(&self) -> Option<Include> {
        match self.key.as_str() {
            "include" | "include_if_exists" => Some(Include::File(self.text())),
            "include_dir" => Some(Include::Directory(self.text())),
            _ => None,
        }
    }

    /// The value without quotes and comment.
    fn text(&self) -> String {
        let Some(quoted) = self.value.strip_prefix('\'') else {
            return self
                .value
                .split(['#', ' ', '\t'])
                .next()
                .unwrap_or_default()
                .to_owned();
        };
        let mut text = String::new();
        let mut characters = quoted.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\'' if characters.peek() == Some(&'\'') => text.extend(characters.next()),
                '\'' => break,
                '\\' => text.extend(characters.next()),
                other => text.push(other),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The input and the output as Barman 3.19.1 produced them.
    #[test]
    fn lines_are_switched_off_as_barman_does() {
        let before = b"# first\narchive_command = 'a' # comment\n  archive_command='b'\narchive_command 'c'\narchive_command\n\
            archive_command_x = 'e'\nxarchive_command = 'e'\nrecovery_target_name = 'x' # y\nrestore_command = 'r'\n\
            hba_file ='/c'\ninclude 'i.conf'\n#data_directory = '/a'\nhba_file = \nrecovery_target_timeline='3'";
        let review = review("postgresql.conf", before);
        assert_eq!(
            String::from_utf8(review.content).unwrap(),
            "# first\n#BARMAN#archive_command = 'a' # comment\narchive_command = false\n#BARMAN#  archive_command='b'\n\
             archive_command = false\n#BARMAN#archive_command 'c'\narchive_command = false\n#BARMAN#archive_command\n\
             archive_command = false\narchive_command_x = 'e'\nxarchive_command = 'e'\n\
             #BARMAN#recovery_target_name = 'x' # y\nrestore_command = 'r'\nhba_file ='/c'\ninclude 'i.conf'\n\
             #data_directory = '/a'\nhba_file = \n#BARMAN#recovery_target_timeline='3'"
        );
        let lines: Vec<_> = review.changes.iter().map(|change| change.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 7, 13]);
        assert_eq!(review.changes[4].value, None);
        assert_eq!(review.changes[0].value.as_deref(), Some("false"));
        let shown: Vec<_> = review
            .warnings
            .iter()
            .map(|warning| format!("{} {} = {}", warning.line, warning.key, warning.value))
            .collect();
        assert_eq!(
            shown,
            [
                "12 restore_command = 'r'",
                "13 hba_file = '/c'",
                "14 include = 'i.conf'",
                "16 hba_file = "
            ]
        );
        assert_eq!(review.includes, [Include::File("i.conf".to_owned())]);
    }

    #[test]
    fn capitals_and_libraries_are_seen() {
        let review = review(
            "f",
            b"ARCHIVE_Command='x'\nArchive_Library = 'basic'\narchive_library = ''\nInclude_Dir 'it''s' # d\n",
        );
        assert_eq!(
            String::from_utf8(review.content).unwrap(),
            "#BARMAN#ARCHIVE_Command='x'\narchive_command = false\n#BARMAN#Archive_Library = 'basic'\n\
             archive_library = ''\nInclude_Dir 'it''s' # d\n"
        );
        assert_eq!(review.changes[1].key, "archive_library");
        assert_eq!(review.includes, [Include::Directory("it's".to_owned())]);
    }

    #[test]
    fn a_last_line_without_its_end_is_not_glued_to_the_replacement() {
        let review = review("f", b"archive_command = 'x'");
        assert_eq!(
            review.content,
            b"#BARMAN#archive_command = 'x'\narchive_command = false\n"
        );
    }

    #[test]
    fn bytes_that_are_no_text_pass_unchanged() {
        let bytes = b"\xff\xfe = \xe9\n\0\nport = 1";
        assert_eq!(review("f", bytes).content, bytes);
    }
}
