//! The manual page `barman.5`, written from the option table.

use super::options::{MAIN_OPTIONS, SERVER_OPTIONS};
use super::table::{OptionSpec, Scope};

/// Renders the page in roff.
#[must_use]
pub fn barman_5() -> String {
    let mut page = Page::default();
    page.raw(".TH BARMAN 5 \"\" \"barkeep\" \"File formats\"");
    page.raw(".nh");
    page.raw(".ad l");
    page.section("NAME");
    page.raw("barman \\- configuration of Barman and barkeep, backup and recovery managers for PostgreSQL");
    page.section("DESCRIPTION");
    for paragraph in INTRODUCTION {
        page.paragraph(paragraph);
    }
    page.section("FILES");
    page.paragraph("Read in this order; a later value replaces an earlier one:");
    for (file, meaning) in FILES {
        page.term(file, meaning);
    }
    page.section("SYNTAX");
    for paragraph in SYNTAX {
        page.paragraph(paragraph);
    }
    page.section("VALUES");
    for (kind, meaning) in KINDS {
        page.term(kind, meaning);
    }
    page.section("MODELS");
    page.paragraph(MODELS);
    page.section("OPTIONS OF THE PROGRAM");
    page.paragraph("In the section [barman] only.");
    for option in MAIN_OPTIONS {
        page.option(option);
    }
    page.section("OPTIONS OF SERVERS");
    page.paragraph(
        "In the section of a server. Scope says where else an option may stand: in [barman], from which every server \
         inherits it, and in models.",
    );
    for option in SERVER_OPTIONS.iter().filter(|option| option.scope.server) {
        page.option(option);
    }
    page.section("SEE ALSO");
    page.raw(".BR barman (1),");
    page.raw(".BR barman-wal-archive (1),");
    page.raw(".BR barman-wal-restore (1)");
    page.text
}

const INTRODUCTION: [&str; 2] = [
    "The configuration says where backups and WAL files are kept, which PostgreSQL servers they come from, and by \
     which rules they are made and removed. It is the configuration of Barman 3.19, and both programs read the same \
     files. Barman warns about the few options that it does not know, and ignores them.",
    "The section [barman] concerns the program and holds what servers inherit. Every other section is a server, \
     named after the section, or a model. The name \"all\" is reserved.",
];

const FILES: [(&str, &str); 3] = [
    (
        "barman.conf",
        "The main file: the one given by --config or the environment variable BARMAN_CONFIG_FILE, else the first that \
         exists of ~/.barman.conf, /etc/barman.conf and /etc/barman/barman.conf.",
    ),
    (
        "*.conf",
        "The files of configuration_files_directory, in byte order of their names. They may not change the section \
         [barman].",
    ),
    (".barman.auto.conf", "In barman_home: what config-update changed."),
];

const SYNTAX: [&str; 6] = [
    "option = value or option: value. Names of options are not case-sensitive, names of sections are. Indented lines \
     continue the value above them.",
    "Lines that start with # or ; are comments. There are no comments behind a value.",
    "A pair of quotes around the whole value is removed.",
    "%(name)s stands for the value of another option of the same section in the same file. Any other percent sign is \
     itself; %% is one percent sign.",
    "Options of a section [DEFAULT] appear in every section of that file.",
    "A text option that is set to nothing, or to None, has no value: neither the inherited one nor the default is used.",
];

const KINDS: [(&str, &str); 5] = [
    (
        "boolean",
        "true, t, yes, 1, on or false, f, no, 0, off, in any case.",
    ),
    ("integer", "Digits, with a sign and with _ between digits."),
    (
        "interval",
        "A number, a blank, and hour, day, week or month, with or without s. A month is 31 days.",
    ),
    (
        "size",
        "A whole number of bytes, or of k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024). The case \
         matters.",
    ),
    (
        "path or URL",
        "A directory of this host, or the URL of an object store.",
    ),
];

const MODELS: &str = "A section with model = true is a model: options that config-switch can apply on top of the servers \
    of one cluster. It must name its cluster, can set options but not unset them, and does not inherit.";

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A line of roff as it is.
    fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.raw(&format!(".SH {title}"));
    }

    fn paragraph(&mut self, text: &str) {
        self.raw(".PP");
        self.raw(&escape(text));
    }

    fn term(&mut self, term: &str, meaning: &str) {
        self.raw(".TP");
        self.raw(&format!("\\fB{}\\fR", escape(term)));
        self.raw(&escape(meaning));
    }

    fn option(&mut self, option: &OptionSpec) {
        self.term(option.name, &option.help_text().replace('`', ""));
        let mut facts = vec![format!("Value: {}.", option.kind)];
        if let Some(default) = option.default.filter(|default| !default.is_empty()) {
            facts.push(format!("Default: {default}."));
        }
        if option.scope != Scope::G {
            facts.push(format!("Scope: {}.", places(option.scope)));
        }
        if let Some(release) = option.deprecated {
            facts.push(format!("Deprecated since Barman {release}."));
        }
        if option.own.is_some() {
            facts.push("Not an option of Barman.".to_owned());
        }
        self.raw(".br");
        self.raw(&escape(&facts.join(" ")));
    }
}

fn places(scope: Scope) -> String {
    [
        (scope.global, "[barman]"),
        (scope.server, "servers"),
        (scope.model, "models"),
    ]
    .iter()
    .filter_map(|(allowed, place)| allowed.then_some(*place))
    .collect::<Vec<_>>()
    .join(", ")
}

/// Text that roff prints as it is.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_described() {
        let page = barman_5();
        for option in MAIN_OPTIONS.iter().chain(SERVER_OPTIONS) {
            assert!(option.help_text().len() > 10, "{} has no help", option.name);
            if option.scope.server || option.scope == Scope::G {
                assert!(
                    page.contains(&format!("\\fB{}\\fR", option.name)),
                    "{}",
                    option.name
                );
            }
        }
        assert!(page.contains("Default: 30Gi. Scope: [barman], servers, models."));
        assert!(!page.contains('`'));
    }

    #[test]
    fn no_line_is_a_request_by_accident() {
        assert_eq!(escape(".conf a-b"), "\\&.conf a\\-b");
    }
}
