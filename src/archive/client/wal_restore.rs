//! `barman-wal-restore`: a `restore_command` that fetches one WAL file with `barman get-wal` (command reference §8).
//!
//! `WAL_DEST` is complete or absent: what arrives is written beside it, checked, and renamed. With `--parallel` a process
//! in the background fetches the segments that follow into a [`Spool`] while PostgreSQL replays ([`ahead`]).

mod ahead;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Console;
use super::fetch::{Failure, Fetch, Kept, Transfer};
use super::private_directory::PrivateDirectory;
use super::recovering::{self, Recovery};
use super::remote::{Remote, word};
use super::spool::Spool;
use crate::base::error::{python_text, strerror};
use crate::postgres::wal_name::WalKind;

/// The exit code of ssh failures and of files that `--parallel` finds missing.
const FAILURE: i32 = 2;
/// The exit code for a `WAL_DEST` that cannot be written.
const BAD_DESTINATION: i32 = 3;
/// The exit code that stops PostgreSQL instead of ending its recovery: see [`recovering`].
const STOP_RECOVERY: i32 = 255;
/// The greatest exit code that PostgreSQL takes for a missing file.
const MISSING_AT_MOST: i32 = 125;
/// The pause before the first attempt after a failure; each one doubles it.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often to look whether a segment that is on its way has arrived.
const LOOK: Duration = Duration::from_millis(2);

/// One call of the program.
#[derive(Debug, Clone)]
pub struct WalRestore {
    /// The Barman host.
    pub remote: Remote,
    /// The server's name there.
    pub server: String,
    /// The file that PostgreSQL wants.
    pub wal_name: String,
    /// Where it wants it.
    pub wal_dest: PathBuf,
    /// Seconds to wait after a failure before it is reported.
    pub sleep: u64,
    /// How many files to fetch at once while PostgreSQL replays; 0 fetches none ahead.
    pub parallel: u32,
    /// Seconds to go on trying in a recovery that a missing file would end, when it is not known whether the file exists.
    pub retry: u32,
    /// Seconds for which the connection is kept for the next call; 0 keeps none.
    pub persist: u32,
    /// A directory for this user alone, which is made when it is needed, for the socket of the connection.
    pub private_directory: PathBuf,
    /// The name and the arguments with which this program runs [`WalRestore::fetch_ahead`]; empty for no such process.
    pub background: Vec<OsString>,
    /// Below which directory files are kept that were fetched ahead.
    pub spool_dir: PathBuf,
    /// Also accept a segment that is not complete.
    pub partial: bool,
    /// How the file travels.
    pub transfer: Transfer,
    /// Only see whether the Barman host would send files.
    pub test: bool,
    /// PostgreSQL's data directory: the directory `restore_command` is run in.
    pub data_directory: PathBuf,
}

impl WalRestore {
    /// Fetches the file. Returns the program's exit code.
    pub fn run(&self, console: &mut Console<'_>) -> i32 {
        self.announce_deprecated(console);
        if self.test {
            return self.run_test(console);
        }
        if self.wal_dest.is_dir() {
            console.error(format_args!(
                "WAL_DEST cannot be a directory: {}",
                self.wal_dest.display()
            ));
            return self.not_ending(BAD_DESTINATION, console);
        }
        let temporary = self.temporary();
        if let Err(error) = create_new(&temporary) {
            console.error(format_args!(
                "Cannot open '{}' (WAL_DEST) for writing: {}",
                self.wal_dest.display(),
                python_text(&error, &self.wal_dest)
            ));
            return self.not_ending(BAD_DESTINATION, console);
        }
        let outcome = self.restore(&temporary, console);
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            console.warning(format_args!("cannot remove \"{}\": {error}", temporary.display()));
        }
        match outcome {
            Ok(()) => 0,
            Err(failure) => self.report(&failure, console),
        }
    }

    fn announce_deprecated(&self, console: &mut Console<'_>) {
        if let Transfer::Compressed(compression) = self.transfer {
            let text = format!(
                "WARNING: `{compression}` option is deprecated and will be removed in future versions. For WAL \
                 compression, please make sure to enable it directly on the Barman server via the `compression` \
                 configuration option\n"
            );
            console.stdout(text.as_bytes());
        }
    }

    /// Puts the file in place, and sees to it that those that follow are fetched meanwhile.
    fn restore(&self, temporary: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
        let Some(spool) = self.spool(console) else {
            return self.fetch_now(temporary, console);
        };
        if !self.take_from(&spool, temporary, console) {
            self.fetch_now(temporary, console)?;
        }
        if let Err(error) = self.keep_filled(&spool) {
            console.warning(format_args!("not fetching ahead: {error}"));
        }
        Ok(())
    }

    /// Where segments are fetched ahead to, if any are.
    fn spool(&self, console: &mut Console<'_>) -> Option<Spool> {
        let is_segment = matches!(WalKind::of(&self.wal_name), Some(WalKind::Segment(_)));
        if self.parallel == 0 || !is_segment {
            return None;
        }
        let spool = Spool::new(&self.spool_dir, &self.remote, &self.server, self.cluster());
        match spool.prepare() {
            Ok(()) => Some(spool),
            Err(error) => {
                console.warning(format_args!(
                    "not fetching ahead: \"{}\" cannot be a spool (--spool-dir): {}",
                    self.spool_dir.display(),
                    strerror(&error)
                ));
                None
            }
        }
    }

    /// Fetches the file over the network. Where a failure would look like the end of the WAL it is tried again.
    fn fetch_now(&self, temporary: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
        let kept = self.kept();
        let fetch = self.fetch(self.partial, kept.as_ref());
        let patience = Duration::from_secs(u64::from(self.retry));
        let begun = Instant::now();
        let mut pause = PAUSE;
        loop {
            match fetch.to_file(&self.wal_name, temporary) {
                Ok(()) => {
                    return fs::rename(temporary, &self.wal_dest)
                        .map_err(|error| Failure::local(&self.wal_dest, &error));
                }
                Err(Failure::NotFound { .. }) if self.parallel > 0 => {
                    return Err(Failure::NotAvailable(self.wal_name.clone()));
                }
                Err(failure) if failure.is_definite() || self.recovery() != Recovery::Ending => {
                    return Err(failure);
                }
                Err(failure) if begun.elapsed() + pause > patience => return Err(failure),
                Err(failure) => {
                    console.warning(format_args!("{failure}; trying again"));
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn recovery(&self) -> Recovery {
        recovering::recovery(&self.data_directory)
    }

    fn cluster(&self) -> Option<u64> {
        recovering::system_identifier(&self.data_directory)
    }

    fn kept(&self) -> Option<Kept> {
        if self.persist == 0 {
            return None;
        }
        match PrivateDirectory::prepare(&self.private_directory) {
            Ok(directory) => Some(Kept {
                directory,
                persist: self.persist,
            }),
            Err(error) => {
                log::debug!("the connection is not kept: {error}");
                None
            }
        }
    }

    fn fetch<'a>(&'a self, partial: bool, kept: Option<&'a Kept>) -> Fetch<'a> {
        Fetch {
            remote: &self.remote,
            server: &self.server,
            transfer: self.transfer,
            partial,
            cluster: self.cluster(),
            kept,
        }
    }

    /// Delivers the segment if it was fetched ahead, or is just being fetched. One that does not stand the check is thrown
    /// away.
    fn take_from(&self, spool: &Spool, temporary: &Path, console: &mut Console<'_>) -> bool {
        let (spooled, coming) = (spool.path(&self.wal_name), spool.temporary(&self.wal_name));
        loop {
            // In this order: between the two looks it may arrive.
            let is_coming = coming.exists() && spool.is_being_filled();
            if spooled.is_file() {
                break;
            }
            if !is_coming {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        let moved = recovering::check_segment(&spooled, &self.wal_name, self.cluster())
            .and_then(|()| move_file(&spooled, temporary, &self.wal_dest).map_err(|error| error.to_string()));
        match moved {
            Ok(()) => true,
            Err(reason) => {
                console.warning(format_args!("the file fetched ahead is not used: {reason}"));
                spool.remove(&self.wal_name);
                false
            }
        }
    }

    /// Notes what PostgreSQL has got, and starts the process that fetches ahead unless it runs.
    fn keep_filled(&self, spool: &Spool) -> std::io::Result<()> {
        spool.note_delivered(&self.wal_name, fs::metadata(&self.wal_dest)?.len())?;
        let Some((program, arguments)) = self.background.split_first() else {
            return Ok(());
        };
        if spool.is_being_filled() {
            return Ok(());
        }
        Command::new("/proc/self/exe")
            .arg0(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not of the group that PostgreSQL signals: it ends when it sees that it is not needed any more.
            .process_group(0)
            .spawn()
            .map(|_| ())
    }

    /// What the process in the background does: fetches the segments that follow, until nobody wants them. There is nobody
    /// to report to: PostgreSQL's next call meets the same failure, and reports it.
    pub fn fetch_ahead(&self) {
        let spool = Spool::new(&self.spool_dir, &self.remote, &self.server, self.cluster());
        match spool.prepare() {
            Ok(()) => ahead::run(self, &spool),
            Err(error) => log::debug!("not fetching ahead: {error}"),
        }
    }

    /// A name beside `WAL_DEST` that PostgreSQL takes no notice of.
    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.wal_dest.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        self.wal_dest.with_file_name(name)
    }

    /// Says what went wrong and decides the exit code.
    fn report(&self, failure: &Failure, console: &mut Console<'_>) -> i32 {
        match failure {
            Failure::Remote { stderr, .. } | Failure::NotFound { stderr, .. } => {
                console.stderr(format_args!("{stderr}"));
            }
            _ => {}
        }
        console.error(failure);
        let mut code = match failure {
            Failure::NotFound { code, .. } | Failure::Remote { code, .. } => *code,
            _ => FAILURE,
        };
        if !failure.is_definite() {
            code = self.not_ending(code, console);
        }
        if self.sleep > 0 {
            console.stdout(format!("Sleeping for {} seconds.\n", self.sleep).as_bytes());
            std::thread::sleep(Duration::from_secs(self.sleep));
        }
        code
    }

    /// The exit code for a failure that leaves open whether the file exists.
    fn not_ending(&self, code: i32, console: &mut Console<'_>) -> i32 {
        match self.recovery() {
            Recovery::Ending => {
                console.error(
                    "It is not known whether this file exists. PostgreSQL is stopped, because otherwise it would end \
                     its recovery here; remove the cause and start it again",
                );
                code.max(STOP_RECOVERY)
            }
            // A greater one would stop the standby, which can as well ask again.
            Recovery::Standby if code > MISSING_AT_MOST => FAILURE,
            _ => code,
        }
    }

    fn run_test(&self, console: &mut Console<'_>) -> i32 {
        let words = [
            "get-wal".to_owned(),
            "--test".to_owned(),
            word(&self.server),
            "dummy_wal_name".to_owned(),
        ];
        let config = self
            .remote
            .config
            .as_ref()
            .map(|config| format!("--config {config}"));
        match Remote::test(&mut self.remote.barman_test(config, &words)) {
            Ok((text, code)) => {
                console.stdout(&text);
                code
            }
            Err(error) => {
                console.error(format_args!("Error executing ssh: {error}"));
                FAILURE
            }
        }
    }
}

/// Creates an empty file that did not exist, following no symbolic link.
fn create_new(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let create = || {
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map(|_| ())
    };
    match create() {
        // Left by a process that died and had our pid.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        other => other,
    }
}

/// Moves a file to `target`, through `temporary` beside it when it is on another file system.
fn move_file(source: &Path, temporary: &Path, target: &Path) -> std::io::Result<()> {
    if fs::rename(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, temporary)?;
    fs::rename(temporary, target)?;
    fs::remove_file(source)
}

#[cfg(test)]
mod tests;
