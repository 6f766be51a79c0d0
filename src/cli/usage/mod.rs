//! Parsing with clap, failing like Python's `argparse`.
//!
//! Scripts and people know Barman's errors: the usage of the command, then `barman backup: error: {reason}`, exit
//! code 2. clap accepts nearly the same command lines; its errors are translated here. Two habits of argparse need
//! more than words: it collects everything it does not know and complains about it last, and it says which options an
//! ambiguous abbreviation could mean.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Why parsing ended without arguments to run with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// `--help`: show this text and succeed.
    Help(String),
    /// `--version`.
    Version,
    /// A mistake: show this text on standard error and exit with 2.
    Mistake(String),
}

/// Commands whose options Barman names with the long form first (`--jobs/-j`). Elsewhere the short form comes first.
const LONG_FIRST: [&str; 4] = ["backup", "restore", "get-wal", "put-wal"];

/// Parses `arguments`, of which the first is the name of the program.
pub(super) fn parse(command: &Command, mut arguments: Vec<OsString>) -> Result<ArgMatches, Stop> {
    let mut command = command.clone();
    command.build();
    let mut unknown: Vec<String> = Vec::new();
    // Each turn takes one unknown argument away, so there are at most as many turns as arguments.
    for _ in 0..=arguments.len() {
        let error = match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) if unknown.is_empty() => return Ok(matches),
            Ok(_) => return Err(unrecognized(&command, &unknown)),
            Err(error) => error,
        };
        let active = active_command(&command, &arguments);
        if error.kind() == ErrorKind::UnknownArgument {
            let invalid = context(&error, ContextKind::InvalidArg);
            let candidates = abbreviated(active, &invalid);
            if candidates.len() > 1 {
                let reason = format!(
                    "ambiguous option: {invalid} could match {}",
                    candidates.join(", ")
                );
                return Err(mistake(&command, active, &reason));
            }
            if let Some(index) = position(&arguments, &invalid) {
                unknown.push(arguments.remove(index).to_string_lossy().into_owned());
                continue;
            }
            unknown.push(invalid);
            return Err(unrecognized(&command, &unknown));
        }
        return Err(translate(&command, active, &error));
    }
    Err(unrecognized(&command, &unknown))
}

/// A mistake that a command finds in its own arguments.
fn mistake(root: &Command, active: &Command, reason: &str) -> Stop {
    let name = full_name(root, active);
    Stop::Mistake(format!("{}{name}: error: {reason}\n", synopsis(active, &name)))
}

fn unrecognized(root: &Command, unknown: &[String]) -> Stop {
    mistake(
        root,
        root,
        &format!("unrecognized arguments: {}", unknown.join(" ")),
    )
}

fn full_name(root: &Command, active: &Command) -> String {
    if active.get_name() == root.get_name() {
        root.get_name().to_owned()
    } else {
        format!("{} {}", root.get_name(), active.get_name())
    }
}

fn translate(root: &Command, active: &Command, error: &clap::Error) -> Stop {
    let invalid = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    // clap reads the values of global options last, when the command is known already.
    let active = if find(active, &invalid).is_none() && find(root, &invalid).is_some() {
        root
    } else {
        active
    };
    let argument = find(active, &invalid);
    let shown = argument.map_or_else(|| invalid.clone(), |argument| display_name(active, argument));
    let reason = match error.kind() {
        ErrorKind::DisplayHelp => return Stop::Help(error.render().to_string()),
        ErrorKind::DisplayVersion => return Stop::Version,
        ErrorKind::MissingRequiredArgument => {
            format!("the following arguments are required: {}", bare_names(error))
        }
        ErrorKind::InvalidSubcommand => format!(
            "argument command: invalid choice: '{}' (choose from {})",
            context(error, ContextKind::InvalidSubcommand),
            quoted(subcommand_names(root))
        ),
        ErrorKind::InvalidValue if value.is_empty() => format!("argument {shown}: expected one argument"),
        ErrorKind::InvalidValue => format!(
            "argument {shown}: invalid choice: '{value}' (choose from {})",
            quoted(argument.map(choices).unwrap_or_default())
        ),
        ErrorKind::TooManyValues => format!("argument {shown}: ignored explicit argument '{value}'"),
        ErrorKind::ArgumentConflict => {
            let prior = context(error, ContextKind::PriorArg);
            let prior = find(active, &prior).map_or(prior, |argument| display_name(active, argument));
            // clap starts with the one that was defined first, argparse with the one that was given last.
            format!("argument {prior}: not allowed with argument {shown}")
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            format!(
                "argument {shown}: {}",
                source.unwrap_or_else(|| format!("invalid value: '{value}'"))
            )
        }
        _ => first_line(error),
    };
    mistake(root, active, &reason)
}

/// clap's own words, for the mistakes that argparse does not know.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

/// `<server_name>...` and `--from <TOOL>` without their decoration.
fn bare_names(error: &clap::Error) -> String {
    let names = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names.clone(),
        Some(ContextValue::String(name)) => vec![name.clone()],
        _ => Vec::new(),
    };
    let bare: Vec<&str> = names
        .iter()
        .map(|name| match name.split_once(' ') {
            Some((option, _)) => option,
            None => name.trim_end_matches("...").trim_matches(['<', '>']),
        })
        .collect();
    bare.join(", ")
}

fn quoted(words: Vec<String>) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(", ")
}

/// The commands that Barman does not have; its list of choices is reproduced to the letter.
const OWN: [&str; 4] = ["convert-config", "doctor", "merge", "recovery-windows"];

fn subcommand_names(root: &Command) -> Vec<String> {
    root.get_subcommands()
        .filter(|command| !command.is_hide_set() && !OWN.contains(&command.get_name()))
        .flat_map(|command| std::iter::once(command.get_name()).chain(command.get_visible_aliases()))
        .map(str::to_owned)
        .collect()
}

fn choices(argument: &Arg) -> Vec<String> {
    argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect()
}

/// The argument that clap's rendering `--jobs <NJOBS>` or `<server_name>` means.
fn find<'a>(command: &'a Command, rendered: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| {
        let own = argument.to_string();
        own == rendered || own.split([' ', '=']).next() == rendered.split([' ', '=']).next()
    })
}

/// An argument as argparse names it in errors: all its forms, or the name of a positional.
fn display_name(command: &Command, argument: &Arg) -> String {
    if argument.is_positional() {
        return value_name(argument);
    }
    forms(command, argument).join("/")
}

/// The forms of an option, in Barman's order.
fn forms(command: &Command, argument: &Arg) -> Vec<String> {
    let long = argument
        .get_long_and_visible_aliases()
        .unwrap_or_default()
        .into_iter()
        .map(|name| format!("--{name}"));
    let short = argument
        .get_short_and_visible_aliases()
        .unwrap_or_default()
        .into_iter()
        .map(|letter| format!("-{letter}"));
    if LONG_FIRST.contains(&command.get_name()) && argument.get_id() != "help" {
        long.chain(short).collect()
    } else {
        short.chain(long).collect()
    }
}

fn value_name(argument: &Arg) -> String {
    argument
        .get_value_names()
        .and_then(|names| names.first())
        .map_or_else(|| argument.get_id().to_string(), ToString::to_string)
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The long options that `--ab` abbreviates, when it is not the name of one.
fn abbreviated(command: &Command, typed: &str) -> Vec<String> {
    let Some(prefix) = typed.split('=').next().and_then(|typed| typed.strip_prefix("--")) else {
        return Vec::new();
    };
    command
        .get_arguments()
        .flat_map(|argument| argument.get_long_and_visible_aliases().unwrap_or_default())
        .filter(|name| !prefix.is_empty() && name.starts_with(prefix))
        .map(|name| format!("--{name}"))
        .collect()
}

/// Where the argument stands that clap complains about; clap leaves `=value` away.
fn position(arguments: &[OsString], invalid: &str) -> Option<usize> {
    let with_value = format!("{invalid}=");
    let exact = arguments.iter().skip(1).position(|argument| argument == invalid);
    exact
        .or_else(|| {
            arguments
                .iter()
                .skip(1)
                .position(|argument| argument.to_string_lossy().starts_with(&with_value))
        })
        .map(|index| index + 1)
}

/// The subcommand that the arguments name, or the root if they name none.
fn active_command<'a>(root: &'a Command, arguments: &[OsString]) -> &'a Command {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if !word.starts_with('-') {
            return root.find_subcommand(word.as_ref()).unwrap_or(root);
        }
        if !word.contains('=') && expects_next(root, &word) {
            words.next();
        }
    }
    root
}

/// Whether the option `word` takes its value from the next word.
fn expects_next(root: &Command, word: &str) -> bool {
    let option = match word.strip_prefix("--") {
        Some(long) => {
            let names = abbreviated(root, word);
            root.get_arguments().find(|argument| {
                argument.get_long_and_visible_aliases().is_some_and(|own| {
                    own.contains(&long) || own.iter().any(|name| names == [format!("--{name}")])
                })
            })
        }
        None => word
            .strip_prefix('-')
            .filter(|letters| letters.len() == 1)
            .and_then(|letters| letters.chars().next())
            .and_then(|letter| {
                root.get_arguments()
                    .find(|argument| argument.get_short() == Some(letter))
            }),
    };
    option.is_some_and(takes_value)
}

/// The usage as argparse shows it: `usage: barman keep [-h] [-r] … server_name backup_id`, wrapped.
pub(super) fn synopsis(command: &Command, name: &str) -> String {
    let options = command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && !argument.is_hide_set())
        .map(|argument| format!("[{}]", option_synopsis(command, argument)));
    let mut words: Vec<String> = Vec::new();
    // argparse shows -h first; clap adds it last.
    let (help, others): (Vec<_>, Vec<_>) = options.partition(|option| option == "[-h]");
    words.extend(help);
    words.extend(others);
    words.extend(command.get_positionals().map(positional_synopsis));
    if command.has_subcommands() {
        words.push("COMMAND".to_owned());
        words.push("...".to_owned());
    }
    wrap(&format!("usage: {name}"), &words)
}

fn option_synopsis(command: &Command, argument: &Arg) -> String {
    let form = forms(command, argument).into_iter().next().unwrap_or_default();
    if !takes_value(argument) {
        return form;
    }
    let possible = choices(argument);
    let value = if possible.is_empty() {
        value_name(argument)
    } else {
        format!("{{{}}}", possible.join(","))
    };
    match argument.get_num_args() {
        Some(range) if range.min_values() == 0 => format!("{form} [{value}]"),
        _ => format!("{form} {value}"),
    }
}

fn positional_synopsis(argument: &Arg) -> String {
    let name = value_name(argument);
    match argument.get_num_args() {
        Some(range) if range.max_values() > 1 => format!("{name} [{name} ...]"),
        _ if !argument.is_required_set() => format!("[{name}]"),
        _ => name,
    }
}

/// Fills lines of 78 columns, the continuation lines indented to stand under the first word.
fn wrap(start: &str, words: &[String]) -> String {
    const WIDTH: usize = 78;
    let mut text = start.to_owned();
    let mut column = start.len();
    let indent = start.len();
    for word in words {
        if column + 1 + word.len() > WIDTH && column > indent {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
