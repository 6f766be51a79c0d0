//! One case: prepare a site, run Barman, prepare it again, run barkeep, compare.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::{Failed, Trial};

use super::fixture::{Fixtures, servers};
use super::outcome::{Comparison, Outcome, command_of};
use super::verdict::assert_bullet;
use super::{
    cases_archive, cases_catalog, cases_chains, cases_command_line, cases_delete, cases_restore,
    cases_streaming, normalise, table, tarballs,
};
use crate::support::manager::Manager;
use crate::support::process::{Account, Finished, run_with_input};
use crate::support::scratch::{make_directory, write_file};
use crate::support::tool::Tool;
use crate::support::tree;

/// How the standard error of a case is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    Exact,
    /// Usage errors: the last line is interface, the usage text above it is not.
    LastLine,
}

/// Which outputs a case is run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formats {
    Both,
    ConsoleOnly,
}

/// What barkeep must print where it deviates from Barman on purpose.
pub struct Difference {
    bullet: &'static str,
    rewrite: fn(&mut Outcome),
}

/// What is done to a site before the tools run.
type Preparation = Box<dyn Fn(&Site) + Send>;

/// One row of the table.
pub struct Case {
    name: String,
    arguments: Vec<String>,
    program: &'static str,
    formats: Formats,
    errors: Errors,
    global: String,
    replacements: Vec<(String, String)>,
    /// The one server that the site has, when not all of them.
    only: Option<String>,
    /// Whether the log is compared, too: not where an outcome is rewritten by a function.
    log: bool,
    prepare: Vec<Preparation>,
    input: Vec<u8>,
    difference: Option<Difference>,
    environment: Vec<(String, String)>,
}

/// Builds a case: `arguments` is a command line of words; `{dest}`, `{site}`, `{home}` and `{ssh}` are filled in.
pub fn case(name: &str, arguments: &str) -> Case {
    Case {
        name: name.to_owned(),
        arguments: arguments
            .split_whitespace()
            .map(|word| word.replace('~', " "))
            .collect(),
        program: "barman",
        formats: Formats::Both,
        errors: Errors::Exact,
        global: String::new(),
        replacements: Vec::new(),
        only: None,
        log: true,
        prepare: Vec::new(),
        input: Vec::new(),
        difference: None,
        environment: Vec::new(),
    }
}

impl Case {
    /// Only console output is compared.
    pub fn console(mut self) -> Case {
        self.formats = Formats::ConsoleOnly;
        self
    }

    /// A usage error: of standard error only the last line is compared.
    pub fn usage(mut self) -> Case {
        self.errors = Errors::LastLine;
        self.formats = Formats::ConsoleOnly;
        self
    }

    /// Runs another program than `barman`.
    pub fn program(mut self, program: &'static str) -> Case {
        self.program = program;
        self.formats = Formats::ConsoleOnly;
        self
    }

    /// Changes the site before each run.
    pub fn prepare(mut self, action: impl Fn(&Site) + Send + 'static) -> Case {
        self.prepare.push(Box::new(action));
        self
    }

    /// Gives the command standard input.
    pub fn input(mut self, bytes: &[u8]) -> Case {
        self.input = bytes.to_vec();
        self
    }

    /// Adds lines to the `[barman]` section.
    pub fn global(mut self, lines: &str) -> Case {
        self.global.push_str(lines);
        self.global.push('\n');
        self
    }

    /// Adds lines to one server's section (the last value of an option wins).
    pub fn server(mut self, name: &str, lines: &str) -> Case {
        self.replacements.push((name.to_owned(), lines.to_owned()));
        self
    }

    /// The site has only this server.
    pub fn only(mut self, server: &str) -> Case {
        self.only = Some(server.to_owned());
        self
    }

    pub fn environment(mut self, key: &str, value: &str) -> Case {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Declares an intended difference: `bullet` stands in differences.md, `rewrite` makes Barman's outcome barkeep's.
    pub fn differs(mut self, bullet: &'static str, rewrite: fn(&mut Outcome)) -> Case {
        self.difference = Some(Difference { bullet, rewrite });
        self.log = false;
        self
    }

    /// What rules and reports know it by.
    fn label(&self) -> String {
        let state = self
            .name
            .strip_prefix("table::")
            .and_then(|rest| rest.split("::").next());
        format!("{}: {}", state.unwrap_or("all"), self.arguments.join(" "))
    }
}

/// A barman home of one case, at the same path for both tools.
pub struct Site {
    pub manager: Manager,
    /// Where restores go.
    pub destination: PathBuf,
    /// What hooks have seen.
    pub hook_log: PathBuf,
    pub ssh: String,
}

/// All cases as trials: those that run on copies, and those that share one running server.
pub fn trials(fixtures: &Arc<Fixtures>) -> (Vec<Trial>, Vec<Trial>) {
    let mut cases = cases_catalog::cases();
    cases.extend(cases_command_line::cases());
    cases.extend(cases_delete::cases());
    cases.extend(cases_chains::cases());
    cases.extend(cases_archive::cases());
    cases.extend(cases_restore::cases());
    cases.extend(cases_streaming::cases());
    let (of_table, on_lab) = table::cases();
    cases.extend(of_table);
    let mut trials = Vec::new();
    for case in cases {
        let case = Arc::new(std::sync::Mutex::new(case));
        let (name, formats) = {
            let case = case.lock().unwrap();
            (case.name.clone(), case.formats)
        };
        let kinds: &[&str] = if formats == Formats::Both {
            &["console", "json"]
        } else {
            &["console"]
        };
        for kind in kinds {
            let (fixtures, case, kind) = (Arc::clone(fixtures), Arc::clone(&case), *kind);
            let label = if kind == "json" { " (json)" } else { "" };
            trials.push(Trial::test(format!("conformance::{name}{label}"), move || {
                let case = case.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                compare(&fixtures, &case, kind == "json")
            }));
        }
    }
    trials.push(super::help::trial(Arc::clone(fixtures)));
    (trials, super::cases_live::trials(fixtures, on_lab))
}

fn compare(fixtures: &Fixtures, case: &Case, json: bool) -> Result<(), Failed> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    if let Some(difference) = &case.difference {
        assert_bullet(difference.bullet);
    }
    let directory = fixtures
        .scratch
        .join(format!("s{}", SERIAL.fetch_add(1, Ordering::Relaxed)));
    let mut expected = run_case(fixtures, case, json, &directory, &fixtures.barman);
    // When Barman plays the tool under test it has no intended differences from itself.
    let itself = fixtures.barkeep.bin == fixtures.barman.bin;
    let mut declared = Vec::new();
    if let (Some(difference), false) = (&case.difference, itself) {
        let before = expected.clone();
        (difference.rewrite)(&mut expected);
        if before != expected {
            declared.push(difference.bullet.to_owned());
        }
    }
    let actual = run_case(fixtures, case, json, &directory, &fixtures.barkeep);
    let kind = if json { " (json)" } else { "" };
    Comparison {
        name: format!("{}{kind}", case.name),
        label: case.label(),
        command: command_of(&case.arguments, case.program),
        line: format!("barman {}", case.arguments.join(" ")),
    }
    .settle(expected, actual, declared)
}

fn run_case(
    fixtures: &Fixtures,
    case: &Case,
    json: bool,
    directory: &std::path::Path,
    tool: &Tool,
) -> Outcome {
    let site = make_site(fixtures, case, directory);
    for action in &case.prepare {
        action(&site);
    }
    let fill = |text: &str| {
        fixtures
            .tarballs
            .filled_in(text, fixtures)
            .replace("{dest}", &site.destination.display().to_string())
            .replace("{site}", &site.manager.directory.display().to_string())
            .replace("{home}", &site.manager.home().display().to_string())
            .replace("{ssh}", &site.ssh)
    };
    let arguments: Vec<String> = case.arguments.iter().map(|word| fill(word)).collect();
    let mut command: Command = if case.program == "barman" {
        let mut words: Vec<&str> = if json { vec!["-f", "json"] } else { Vec::new() };
        words.extend(arguments.iter().map(String::as_str));
        site.manager.command(tool, &words)
    } else {
        let mut command = site.manager.bare_command(tool, case.program);
        command.args(&arguments);
        command
    };
    for (key, value) in &case.environment {
        command.env(key, fill(value));
    }
    let finished = run_with_input(command, &case.input);
    let outcome = collect(case, &site, &finished, tool);
    std::fs::remove_dir_all(directory).unwrap();
    outcome
}

fn make_site(fixtures: &Fixtures, case: &Case, directory: &std::path::Path) -> Site {
    let mut manager = Manager::new(directory);
    std::fs::remove_dir(manager.home()).unwrap();
    match &case.only {
        None => tree::copy(fixtures.synthetic(), &manager.home()),
        Some(server) => {
            make_directory(&manager.home(), &manager.account);
            let catalog = fixtures.synthetic().join(server);
            if catalog.exists() {
                tree::copy(&catalog, &manager.server(server));
            }
        }
    }
    manager
        .environment
        .insert("TZ".to_owned(), "America/New_York".to_owned());
    let sections: Vec<(&str, String)> = servers()
        .into_iter()
        .filter(|(name, _)| case.only.as_ref().is_none_or(|only| only == name))
        .map(|(name, body)| {
            let more: Vec<&str> = case
                .replacements
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, lines)| lines.as_str())
                .collect();
            let body = format!("{body}\n{}", more.join("\n"));
            (name, body.replace("{site}", &directory.display().to_string()))
        })
        .collect();
    manager.configure(
        &case.global.replace("{site}", &directory.display().to_string()),
        &sections,
    );
    let destination = directory.join("restored");
    make_directory(&destination, &Account::barman());
    let hook_log = directory.join("hooks.log");
    let script = format!(
        "#!/bin/sh\nseen=$(env | grep '^BARMAN_' | LC_ALL=C sort)\n# One write: hooks of two processes do not mix.\n\
         printf -- '--- %s\\n%s\\n' \"$*\" \"$seen\" >>{}\nexit ${{1:-0}}\n",
        hook_log.display()
    );
    write_file(&directory.join("hook"), script, 0o755, &manager.account);
    let needs_ssh = case.arguments.iter().any(|word| word.contains("{ssh}"));
    let ssh = if needs_ssh {
        fixtures.sshd().command_for("postgres")
    } else {
        String::new()
    };
    Site {
        manager,
        destination,
        hook_log,
        ssh,
    }
}

fn collect(case: &Case, site: &Site, finished: &Finished, tool: &Tool) -> Outcome {
    let same_tool = |text: &str| text.replace(&tool.bin.display().to_string(), "TOOL");
    let stdout = if finished.bytes.len() > 400_000 || std::str::from_utf8(&finished.bytes).is_err() {
        format!(
            "{} bytes, {}",
            finished.bytes.len(),
            tree::digest(&finished.bytes)
        )
    } else {
        normalise::text(&same_tool(&ordered(case, &finished.stdout)))
    };
    let mut stderr = normalise::text(&same_tool(&finished.stderr));
    if case.errors == Errors::LastLine {
        stderr = stderr.trim_end().lines().last().unwrap_or_default().to_owned();
    }
    let hooks = std::fs::read_to_string(&site.hook_log).unwrap_or_default();
    let hooks = if command_of(&case.arguments, case.program) == "cron" {
        in_any_order(&hooks)
    } else {
        hooks
    };
    let log = if case.log {
        let log = normalise::log(&same_tool(&site.manager.log()));
        normalise::text(&log)
    } else {
        String::new()
    };
    Outcome {
        log,
        stdout,
        stderr,
        code: finished.code,
        hooks: normalise::text(&hooks),
        catalog: normalise::text(&tree::describe(&site.manager.home())),
        destination: normalise::text(&format!(
            "{}{}",
            tree::describe(&site.destination),
            tarballs::describe_exports(&site.destination)
        )),
    }
}

/// `sync-info` writes its members in the order in which Barman finds them, which nobody may rely on.
fn ordered(case: &Case, stdout: &str) -> String {
    if command_of(&case.arguments, case.program) != "sync-info" {
        return stdout.to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(stdout) {
        Ok(document) => serde_json::to_string_pretty(&document).unwrap(),
        Err(_) => stdout.to_owned(),
    }
}

/// The processes that `cron` starts run their hooks when they like.
fn in_any_order(hooks: &str) -> String {
    let mut calls: Vec<&str> = hooks.split("--- ").collect();
    calls.sort_unstable();
    calls.join("--- ")
}
