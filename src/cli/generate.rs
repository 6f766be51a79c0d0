//! `barkeep generate`: manual pages and shell completions, from the same definitions that parse the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::client;
use super::completions;
use super::manager::Manager;
use super::wal_archive::WalArchive;
use super::wal_restore::WalRestore;
use crate::VERSION;
use crate::base::error::{PathContext, PathError};

/// Writes what is made from the definitions of the command line.
#[derive(Debug, Parser)]
#[command(name = "barkeep", disable_help_subcommand = true, color = clap::ColorChoice::Never)]
struct Generate {
    #[command(subcommand)]
    family: Family,
}

/// `barkeep generate …`: the first word has been seen already, but is parsed with the rest.
#[derive(Debug, Subcommand)]
enum Family {
    /// Write manual pages or shell completions
    Generate {
        /// What to write
        #[command(subcommand)]
        what: What,
    },
}

#[derive(Debug, Subcommand)]
enum What {
    /// The manual pages
    Man(Destination),
    /// The completions of bash, zsh and fish
    Completions(Destination),
}

#[derive(Debug, Args)]
struct Destination {
    /// The directory that receives them
    #[arg(value_name = "directory")]
    directory: PathBuf,
}

/// Runs the command.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    client::parse(&Generate::command(), &arguments, |matches, output| {
        let written = match Generate::from_arg_matches(matches) {
            Ok(Generate {
                family: Family::Generate { what },
            }) => write(&what).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(text) = written {
            output.plain_error(&format!("ERROR: {text}"));
            output.fail_with(1);
        }
    })
}

fn write(what: &What) -> Result<(), PathError> {
    let (directory, files) = match what {
        What::Man(destination) => (&destination.directory, manual_pages()),
        What::Completions(destination) => (&destination.directory, completions::files(programs())),
    };
    fs::create_dir_all(directory).at("create", directory)?;
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).at("write", &path)?;
    }
    Ok(())
}

/// What the definitions of the command line do not say about `barman`.
const ABOUT_BARMAN: &str = r#".SH SERVERS
Commands that take several servers work on them in alphabetical order; "all" stands for every server of the
configuration. Servers that are inactive, passive or out of order because of a mistake in their configuration are
skipped with a message by the commands that make no sense for them.
.SH FILES
.TP
~/.barman.conf, /etc/barman.conf, /etc/barman/barman.conf
The configuration, see
.BR barman (5).
The first that exists is read.
.SH ENVIRONMENT
.TP
BARMAN_CONFIG_FILE
The configuration file, unless \-\-config is given.
.TP
NO_COLOR
If it is not empty, \-\-color auto means never.
.SH EXIT STATUS
.TP
0
No error was reported. Warnings, and servers that were skipped, are no errors.
.TP
1
At least one error was reported.
.TP
2
The command line is wrong; or check \-\-nagios found a problem.
.TP
3
get\-wal: the name is not that of a WAL file, or the output file cannot be opened.
.SH SEE ALSO
.BR barman (5),
.BR barman\-wal\-archive (1),
.BR barman\-wal\-restore (1)
"#;

/// What the definitions of the command line do not say about `barman-wal-archive`.
const ABOUT_WAL_ARCHIVE: &str = r#".SH THE KEPT CONNECTION
The first call leaves its ssh connection for the next ones, until it has been idle for the time of \-\-persist. No
connection is used for longer than two minutes, so what changes in the name service or in the keys takes effect. When a
kept connection fails, the file is sent over one of its own. In a container whose first process is PostgreSQL none is
kept: PostgreSQL would inherit the process, and take its end for a crash. Start such a container with an init.
.SH SEVERAL FILES AT ONCE
PostgreSQL asks for one segment at a time. When more are ready to be archived, those that follow are sent along, and
what the backup host has acknowledged is noted. PostgreSQL's next questions are answered from the notes, after it has been
made sure that the file still has the content that was acknowledged. Notes count for two minutes. If a delivery of
several files fails, the one that PostgreSQL asked for is sent alone, and so are those of the next minute.
.SH FILES
.TP
.I /tmp/.barkeep.UID
The socket of the kept connection and the notes, in a directory that only this user can write to (below
.B TMPDIR
where that is set). If there can be no such directory, every file is sent alone over a connection of its own, with a
warning. It may be removed at any time.
.SH EXIT STATUS
0 means that the backup host has the WAL file on its disk. 2 is a failure on this host, 3 one of ssh, anything else
comes from the backup host.
.SH SEE ALSO
.BR barman (1),
.BR barman\-wal\-restore (1)
"#;

/// What the definitions of the command line do not say about `barman-wal-restore`.
const ABOUT_WAL_RESTORE: &str = r#".SH FETCHING AHEAD
With \-\-parallel, a process in the background fetches the segments that follow while PostgreSQL replays. It starts with
the first segment that PostgreSQL gets and ends by itself: when the server stops, when its recovery ends, when the archive
has no more, or when PostgreSQL has asked for nothing for a minute. Every segment is checked for its name, its size and its
cluster when it arrives, and again when it is handed out. The spool has a directory for each backup host, server, cluster
and start of the machine, which only this user can read. All fetches share one connection, which is kept in
.I /tmp/.barkeep.UID
(below
.B TMPDIR
where that is set).
.SH EXIT STATUS
.TP
0
The WAL file is in place. PostgreSQL goes on with it.
.TP
1 to 125
The WAL file was not fetched: 1 or 2 if the backup host does not have it, 2 if the backup host cannot be reached, 3 if
WAL_DEST cannot be written, anything else comes from the backup host. PostgreSQL takes all of them for "there is no such
file": a standby asks again, after
.BR wal_retrieve_retry_interval ;
a recovery that is to end (with
.IR recovery.signal )
ends, and the server opens for writing. So in such a recovery only a backup host that says that it does not have the file
leads to one of these.
.TP
255
In a recovery that is to end it is not known whether the file exists, because the backup host could not be reached, failed,
or sent a damaged file for as long as \-\-retry says, or because WAL_DEST cannot be written. PostgreSQL takes it for a failure and stops. When the cause is
removed, start the server: its recovery goes on where it was.
.SH SEE ALSO
.BR barman (1),
.BR barman\-wal\-archive (1)
"#;

/// The programs of which everything is made, under the names that operators call.
fn programs() -> Vec<Command> {
    vec![
        Manager::command().name("barman"),
        Manager::command().name("barkeep"),
        WalArchive::command(),
        WalRestore::command(),
    ]
}

/// Every manual page, by file name.
fn manual_pages() -> BTreeMap<String, Vec<u8>> {
    let mut pages = BTreeMap::new();
    pages.insert(
        "barman.5".to_owned(),
        crate::config::manual::barman_5().into_bytes(),
    );
    // What describes barman describes barkeep: the other name gets a page that refers to it.
    pages.insert("barkeep.1".to_owned(), b".so man1/barman.1\n".to_vec());
    for program in programs() {
        if program.get_name() == "barkeep" {
            continue;
        }
        let name = program.get_name().to_owned();
        for command in program.get_subcommands() {
            let title = format!("{name}-{}", command.get_name());
            pages.insert(
                format!("{title}.1"),
                page(described(
                    command,
                    &title,
                    &format!("{name} {}", command.get_name()),
                )),
            );
        }
        let mut own = page(described(&program, &name, &name).version(VERSION));
        let about = match name.as_str() {
            "barman" => ABOUT_BARMAN,
            "barman-wal-archive" => ABOUT_WAL_ARCHIVE,
            _ => ABOUT_WAL_RESTORE,
        };
        own.extend_from_slice(about.as_bytes());
        pages.insert(format!("{name}.1"), own);
    }
    pages
}

/// A definition under the title of its page, with the line that starts it as `shown`.
fn described(command: &Command, title: &str, shown: &str) -> Command {
    command.clone().name(title.to_owned()).bin_name(shown.to_owned())
}

fn page(command: Command) -> Vec<u8> {
    let title = command.get_name().to_uppercase();
    let manual = clap_mangen::Man::new(command)
        .title(title)
        .section("1")
        .date("")
        .source(format!("barkeep {VERSION}"))
        .manual("Backup and recovery of PostgreSQL");
    let mut text = Vec::new();
    if let Err(error) = manual.render(&mut text) {
        // A vector takes everything; an empty page fails the comparison that keeps the pages current.
        log::error!("cannot render a manual page: {error}");
        text.clear();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    /// The files of a directory of the repository are exactly the generated ones.
    fn compare(directory: &str, generated: &BTreeMap<String, Vec<u8>>) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            kept.insert(
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            );
        }
        assert_eq!(
            kept.keys().collect::<Vec<_>>(),
            generated.keys().collect::<Vec<_>>(),
            "{}: run `cargo run -- generate`, see the README",
            directory.display()
        );
        for (name, content) in generated {
            assert!(
                kept.get(name) == Some(content),
                "{name} is not current: run `cargo run -- generate`"
            );
        }
    }

    #[test]
    fn manual_pages_are_current() {
        compare("man", &manual_pages());
    }

    #[test]
    fn completions_are_current() {
        compare("conf/completions", &completions::files(programs()));
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = manual_pages();
        assert_eq!(
            pages.keys().filter(|name| name.starts_with("barman-")).count(),
            41 + 2
        );
        for (name, text) in &pages {
            assert!(text.len() > 15, "{name}");
        }
    }
}
