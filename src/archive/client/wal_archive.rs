//! `barman-wal-archive`: an `archive_command` that sends WAL files to `barman put-wal` (command reference §7).
//!
//! PostgreSQL may recycle a file once this returned 0, so 0 means that the Barman host said that the file is on its disk:
//! to this call, or to an earlier one, about exactly the content that the file has now ([`acknowledged`]).
//!
//! PostgreSQL asks for one segment at a time. While it waits, the segments behind that one that are ready to be archived
//! travel in the same stream ([`followers`]), over a connection that an earlier call has left ([`Master`]); and while it asks
//! for those, the next ones travel ([`ahead`]). All these are ways to be faster and nothing else: where anything about them is wrong, the one file goes over a connection of its own, as it
//! does with Barman's program. The other side cannot tell the difference; a delivery of several files is as old as
//! `put-wal` is.

mod acknowledged;
mod ahead;
mod followers;
mod hashes;
mod stream;
mod together;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::archive::sums::Sums;
use crate::base::process::exit_code;
use crate::codec::{Compression, Level};
use crate::transport;

use super::Console;
use super::master::{self, Master};
use super::private_directory::PrivateDirectory;
use super::remote::{Remote, SSH_FAILED, word};
use acknowledged::{Acknowledged, Lead};
use followers::followers;
use stream::{Broken, Form, Sent, nameless};
use together::Ask;

/// The exit code of a failure on this host.
const LOCAL_FAILURE: i32 = 2;
/// The exit code of a failure of ssh.
const CONNECTION_FAILURE: i32 = 3;
/// A kept connection that failed within this time is worth a second attempt without it. One that took longer has waited
/// for a host that does not answer, and another wait would only add to it.
const QUICK: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 5 });

/// One call of the program.
#[derive(Debug, Clone)]
pub struct WalArchive {
    /// The Barman host.
    pub remote: Remote,
    /// The server's name there.
    pub server: String,
    /// The file to archive.
    pub wal_path: PathBuf,
    /// Only see whether the Barman host would accept files.
    pub test: bool,
    /// Use MD5 checksums, for Barman hosts older than 3.
    pub md5: bool,
    /// How to compress the file before it is sent.
    pub compression: Option<Compression>,
    /// How hard.
    pub level: Level,
    /// Seconds for which the connection is kept for the next call; 0 keeps none.
    pub persist: u32,
    /// How many of the segments behind `wal_path` may travel with it.
    pub look_ahead: u32,
    /// A directory for this user alone, which is made when it is needed: for the socket of the connection, and for the
    /// notes of what is acknowledged.
    pub private_directory: PathBuf,
    /// Where the compressed copy is put meanwhile, without a name.
    pub temporary_directory: PathBuf,
    /// The name and the arguments with which this program runs [`WalArchive::send_behind`]; empty for no such process.
    pub background: Vec<OsString>,
}

impl WalArchive {
    /// Sends the file. Returns the program's exit code.
    pub fn run(&self, console: &mut Console<'_>) -> i32 {
        if self.wal_path.is_dir() {
            console.error(format_args!(
                "WAL_PATH cannot be a directory: {}",
                self.wal_path.display()
            ));
            return LOCAL_FAILURE;
        }
        if self.test {
            return self.run_test(console);
        }
        match self.archive(console) {
            Ok(0) => 0,
            Ok(SSH_FAILED) => {
                console.error("Connection problem with ssh (the same command with --test says why)");
                CONNECTION_FAILURE
            }
            Ok(code) => {
                console.error("Remote 'barman put-wal' command has failed!");
                code
            }
            Err(Failure(text)) => {
                console.error(text);
                LOCAL_FAILURE
            }
        }
    }

    fn config(&self) -> Option<String> {
        // Barman's own spelling: the quotes are for the shell of the other side.
        self.remote
            .config
            .as_ref()
            .map(|config| format!("--config='{config}'"))
    }

    fn run_test(&self, console: &mut Console<'_>) -> i32 {
        let words = ["put-wal".to_owned(), word(&self.server), "--test".to_owned()];
        let mut command = self.remote.barman_test(self.config(), &words);
        match Remote::test(&mut command) {
            Ok((text, code)) => {
                console.stdout(&text);
                code
            }
            Err(error) => {
                console.error(format_args!("Error executing ssh: {error}"));
                LOCAL_FAILURE
            }
        }
    }

    /// Sees to it that the file is archived. Returns the exit code of ssh.
    fn archive(&self, console: &mut Console<'_>) -> Result<i32, Failure> {
        let Some(directory) = self.private(console) else {
            return self.send_alone(None, console);
        };
        let acknowledged = self.acknowledged(&directory);
        if let Some(acknowledged) = &acknowledged
            && (acknowledged.holds(&self.wal_path) || acknowledged.awaits(&self.wal_path))
        {
            return Ok(0);
        }
        let master = Master::of(&directory, &self.remote, self.persist);
        if let Some(acknowledged) = &acknowledged {
            match self.send_with_followers(&directory, acknowledged, master.as_ref(), console) {
                Together::Ended(code) => return Ok(code),
                Together::Alone => {}
                Together::AloneWithoutMaster { useless } => {
                    return self.send_without(master.as_ref().filter(|_| useless), console);
                }
            }
        }
        self.send_alone(master.as_ref(), console)
    }

    /// The directory for what is kept between calls; `None` when nothing is to be kept or there is no safe place for it.
    fn private(&self, console: &mut Console<'_>) -> Option<PrivateDirectory> {
        if self.persist == 0 && self.look_ahead == 0 {
            return None;
        }
        match PrivateDirectory::prepare(&self.private_directory) {
            Ok(directory) => Some(directory),
            Err(error) => {
                console.warning(format_args!(
                    "every WAL file is sent by itself over a connection of its own, because \"{}\" cannot be used: {error}",
                    self.private_directory.display()
                ));
                None
            }
        }
    }

    fn acknowledged(&self, directory: &PrivateDirectory) -> Option<Acknowledged> {
        if self.look_ahead == 0 {
            return None;
        }
        let identity = master::identity(&self.remote).to_le_bytes();
        let config = self.remote.config.as_deref().unwrap_or_default();
        let way = [&identity[..], config.as_bytes(), self.server.as_bytes()];
        match Acknowledged::of(directory, &way, &self.wal_path) {
            Ok(acknowledged) => Some(acknowledged),
            Err(error) => {
                log::debug!(
                    "cannot find the directory of \"{}\": {error}",
                    self.wal_path.display()
                );
                None
            }
        }
    }

    /// Sends the file and those that wait behind it, if any do.
    fn send_with_followers(
        &self,
        directory: &PrivateDirectory,
        acknowledged: &Acknowledged,
        master: Option<&Master>,
        console: &mut Console<'_>,
    ) -> Together {
        let mut files = followers(&self.wal_path, self.look_ahead);
        if files.is_empty() {
            return Together::Alone;
        }
        let mut lead = match acknowledged.lead() {
            Ok(Some(lead)) => lead,
            Ok(None) => return Together::Alone,
            Err(error) => {
                console.warning(format_args!("WAL files are sent one by one: {error}"));
                return Together::Alone;
            }
        };
        directory.sweep();
        files.insert(0, self.wal_path.clone());
        let route = Route::of(master, &self.remote);
        let begun = Instant::now();
        let (next, reason) = match self.deliver_together(&files, &route, &mut lead, Ask::Never, console) {
            Ok((0, sent)) => {
                note(lead, &sent, console);
                if let Some(last) = files.get(sent.len().saturating_sub(1)) {
                    self.go_on_behind(last);
                }
                return Together::Ended(0);
            }
            Ok((SSH_FAILED, _)) if route.may_be_to_blame(begun) => (
                Together::AloneWithoutMaster { useless: !route.warm },
                "the connection failed".to_owned(),
            ),
            Ok((SSH_FAILED, _)) => return Together::Ended(SSH_FAILED),
            Ok((code, _)) => (Together::Alone, format!("exit code {code}")),
            Err(Failure(text)) => (Together::Alone, text),
        };
        console.warning(format_args!(
            "could not send {} WAL files at once: {reason}; sending only the first",
            files.len()
        ));
        next
    }

    /// Sends the one file: over the kept connection, and if that fails, over a connection of its own.
    fn send_alone(&self, master: Option<&Master>, console: &mut Console<'_>) -> Result<i32, Failure> {
        let route = Route::of(master, &self.remote);
        let begun = Instant::now();
        let (code, _) = self.deliver(std::slice::from_ref(&self.wal_path), &route, self.sums(), console)?;
        if code != SSH_FAILED || !route.may_be_to_blame(begun) {
            return Ok(code);
        }
        self.send_without(master.filter(|_| !route.warm), console)
    }

    /// Sends the one file over a connection of its own, after a kept one has failed. If that works, `useless` is the one
    /// that could not even be made.
    fn send_without(&self, useless: Option<&Master>, console: &mut Console<'_>) -> Result<i32, Failure> {
        log::debug!("the kept connection has failed: trying without it");
        let files = std::slice::from_ref(&self.wal_path);
        let (code, _) = self.deliver(files, &Route::default(), self.sums(), console)?;
        if code != SSH_FAILED
            && let Some(master) = useless
        {
            master.renounce();
        }
        Ok(code)
    }

    /// Runs ssh and feeds it. Returns its exit code, and what the other side has when that is 0.
    fn deliver(
        &self,
        files: &[PathBuf],
        route: &Route,
        sums: Sums,
        console: &mut Console<'_>,
    ) -> Result<(i32, Vec<Sent>), Failure> {
        let execute = |error: &dyn std::fmt::Display| Failure(format!("Error executing ssh: {error}"));
        // What cannot be opened is no reason to call the other side.
        if let Some(first) = files.first() {
            File::open(first).map_err(|error| self.cannot("open", &error))?;
        }
        let mut words = vec!["put-wal".to_owned(), word(&self.server)];
        if sums == Sums::Xxh128 {
            words.push("--xxh128".to_owned());
        }
        let mut command = self.remote.barman_with(&route.options, self.config(), &words);
        let (input, output) = transport::pipe().map_err(|error| execute(&error))?;
        let mut said = route
            .is_kept()
            .then(|| nameless(&self.temporary_directory))
            .and_then(Result::ok);
        if let Some(copy) = said.as_ref().and_then(|said| said.try_clone().ok()) {
            // An ssh older than 8.5 that stays in the background keeps its standard error: PostgreSQL's logging collector
            // would wait for it when PostgreSQL is stopped.
            command.stderr(copy);
        }
        let spawned = command.stdin(Stdio::from(OwnedFd::from(input))).spawn();
        // The command has our copy of the reading end: without it, the end of ssh is noticed.
        drop(command);
        let mut child = spawned.map_err(|error| execute(&error))?;
        let written = self
            .form(sums)
            .write(files, output)
            .map_err(|broken| match broken {
                Broken::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Broken::File(self.cannot("send", &error).0)
                }
                other => other,
            });
        if let Err(Broken::File(_)) = &written {
            // Not the other side's doing: it must not mistake what it got for everything. (It would not: the list of
            // checksums, which comes last, is missing.)
            end(&mut child);
        }
        let status = child.wait().map_err(|error| execute(&error))?;
        if let Some(said) = &mut said {
            pass_on(said, console);
        }
        match (exit_code(status), written) {
            (0, Ok(sent)) => Ok((0, sent)),
            (_, Err(Broken::File(text))) => Err(Failure(text)),
            // A remote side that reports success without having read everything has not archived it.
            (0, Err(Broken::Output(error))) => Err(self.cannot("send", &error)),
            (code, _) => Ok((code, Vec::new())),
        }
    }

    /// The checksums that every Barman host understands.
    fn sums(&self) -> Sums {
        if self.md5 { Sums::Md5 } else { Sums::Sha256 }
    }

    fn form(&self, sums: Sums) -> Form<'_> {
        Form {
            sums,
            compression: self.compression,
            level: self.level,
            temporary_directory: &self.temporary_directory,
        }
    }

    fn cannot(&self, action: &str, error: &io::Error) -> Failure {
        Failure(format!(
            "cannot {action} \"{}\": {}",
            self.wal_path.display(),
            crate::base::error::strerror(error)
        ))
    }
}

/// What went wrong on this host.
struct Failure(String);

/// How an attempt to send several files ended.
enum Together {
    /// With this exit code of ssh.
    Ended(i32),
    /// The file is to be sent alone: nothing waits behind it, or what was wrong may have been the others' fault.
    Alone,
    /// The same, and over a connection of its own, because the kept one failed: `useless` if it could not even be made.
    AloneWithoutMaster { useless: bool },
}

/// How the other side is reached.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// The options of ssh for a kept connection; none for a plain one.
    options: Vec<String>,
    /// Whether an earlier call has made the connection.
    warm: bool,
}

impl Route {
    /// Over the kept connection, or over a connection of its own.
    pub(super) fn of(master: Option<&Master>, remote: &Remote) -> Route {
        let Some(master) = master else {
            return Route::default();
        };
        let warm = master.is_warm();
        Route {
            options: master.options(remote),
            warm,
        }
    }

    /// What ssh is told in front of everything else.
    pub(super) fn options(&self) -> &[String] {
        &self.options
    }

    fn is_kept(&self) -> bool {
        !self.options.is_empty()
    }

    /// Whether a failure of ssh may come from keeping the connection: an old one was lost, or ssh did not even try.
    pub(super) fn may_be_to_blame(&self, begun: Instant) -> bool {
        self.is_kept() && (self.warm || begun.elapsed() < QUICK)
    }
}

/// Notes what was acknowledged beyond what was asked for. Where that fails it is sent again, which is slow and no more.
fn note(mut lead: Lead<'_>, sent: &[Sent], console: &mut Console<'_>) {
    if let Err(error) = lead.record(sent.get(1..).unwrap_or_default(), false) {
        console.warning(format_args!("WAL files will be sent a second time: {error}"));
    }
}

fn end(child: &mut Child) {
    if let Err(error) = child.kill() {
        log::debug!("cannot end ssh: {error}");
    }
}

/// Passes on what ssh and the other side wrote to their standard error.
fn pass_on(said: &mut File, console: &mut Console<'_>) {
    const LIMIT: u64 = 64 * 1024;
    let mut text = Vec::new();
    match said
        .seek(SeekFrom::Start(0))
        .and_then(|_| said.take(LIMIT).read_to_end(&mut text))
    {
        Ok(0) => {}
        Ok(_) => console.stderr(format_args!("{}", String::from_utf8_lossy(&text))),
        Err(error) => log::debug!("cannot read what ssh has said: {error}"),
    }
}

#[cfg(test)]
mod tests;
