//! What each line of a configuration file is, by the rules of Python's `ConfigParser`: for whoever reads the file, and for
//! whoever changes it and must leave everything else as it was.

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing but blanks, or a comment.
    Ignored,
    /// More of the value above: its margin and the rest.
    Continuation { margin: &'a str, text: &'a str },
    /// `[name]`
    Section { name: &'a str },
    /// `key = value`: the key as it is written, the value from behind the `=` or `:`.
    Option {
        margin: &'a str,
        key: &'a str,
        value: &'a str,
    },
    /// `[` without its end.
    Unclosed,
    /// `= value`
    Nameless,
    /// None of these.
    Other,
}

/// Tells the lines of one file, from the first to the last.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Whether there is a value that may go on, with the indentation of its key.
    open: bool,
    indent: usize,
}

impl Lines {
    /// What the next line is.
    pub(super) fn tell<'a>(&mut self, line: &'a str) -> Line<'a> {
        let text = line.trim_matches(is_blank);
        if text.is_empty() || text.starts_with(['#', ';']) {
            return Line::Ignored;
        }
        let margin = line
            .strip_suffix(line.trim_start_matches(is_blank))
            .unwrap_or_default();
        let indent = margin.chars().count();
        if self.open && indent > self.indent {
            return Line::Continuation { margin, text };
        }
        self.indent = indent;
        if let Some(name) = section_name(text) {
            self.open = false;
            return Line::Section { name };
        }
        let Some((key, value)) = text.split_once(['=', ':']) else {
            return Line::Other;
        };
        let key = key.trim_end_matches(is_blank);
        if key.is_empty() {
            return Line::Nameless;
        }
        if key.starts_with('[') {
            return Line::Unclosed;
        }
        self.open = true;
        Line::Option { margin, key, value }
    }
}

/// What Python takes for a blank: the separators of ASCII, too.
pub(super) fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// The name in a section header: from the first bracket to the last; what follows that is ignored.
fn section_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix('[')?;
    let end = name.rfind(']')?;
    name.get(..end).filter(|name| !name.is_empty())
}
