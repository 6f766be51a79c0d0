//! `barman-wal-restore`: a `restore_command` that fetches one WAL file with `barman get-wal` (command reference §8).
//!
//! `WAL_DEST` is complete or absent: what arrives is written beside it, checked, and renamed. With `--parallel` the
//! segments that follow are fetched ahead into a [`Spool`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Console;
use super::fetch::{Failure, Fetch, Transfer};
use super::recovering;
use super::remote::{Remote, word};
use super::spool::Spool;

/// The exit code of ssh failures and of files that `--parallel` finds missing.
const FAILURE: i32 = 2;
/// The exit code for a `WAL_DEST` that cannot be written.
const BAD_DESTINATION: i32 = 3;
/// The exit code that stops PostgreSQL instead of ending its recovery: see [`recovering`].
const STOP_RECOVERY: i32 = 255;
/// How often a fetch is tried again before a recovery is stopped.
const RETRIES: u32 = 4;
/// The pause before the first of them; each one doubles it.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });

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
    /// How many files to fetch at once, the wanted one included; 0 means just that one.
    pub parallel: u32,
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
            return BAD_DESTINATION;
        }
        let temporary = self.temporary();
        if let Err(error) = create_new(&temporary) {
            console.error(format_args!(
                "Cannot open '{}' (WAL_DEST) for writing: {error}",
                self.wal_dest.display()
            ));
            return BAD_DESTINATION;
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

    /// Fetches the file, ahead of it those that follow, and puts it in place.
    fn restore(&self, temporary: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
        let spool = Spool::new(&self.spool_dir, &self.remote, &self.server);
        if self.take_from(&spool, console) {
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            let result = if self.parallel > 0 {
                self.fetch_with_followers(&spool, temporary, console)
            } else {
                self.fetch(self.partial).to_file(&self.wal_name, temporary)
            };
            match result {
                Ok(()) => return self.put_in_place(temporary),
                Err(failure) if failure.is_definite() || attempt >= RETRIES || !self.must_not_end() => {
                    return Err(failure);
                }
                Err(failure) => {
                    console.warning(format_args!("{failure}; trying again"));
                    std::thread::sleep(PAUSE * (1 << attempt));
                    attempt += 1;
                }
            }
        }
    }

    fn must_not_end(&self) -> bool {
        recovering::ends_when_missing(&self.data_directory)
    }

    fn fetch(&self, partial: bool) -> Fetch<'_> {
        Fetch {
            remote: &self.remote,
            server: &self.server,
            transfer: self.transfer,
            partial,
            cluster: recovering::system_identifier(&self.data_directory),
        }
    }

    /// Delivers the file if it was fetched ahead. One that does not stand the check is thrown away.
    fn take_from(&self, spool: &Spool, console: &mut Console<'_>) -> bool {
        if !spool.usable() {
            return false;
        }
        let spooled = spool.path(&self.wal_name);
        if !spooled.is_file() {
            return false;
        }
        let cluster = recovering::system_identifier(&self.data_directory);
        let moved = recovering::check_segment(&spooled, &self.wal_name, cluster).and_then(|()| {
            move_file(&spooled, &self.temporary(), &self.wal_dest).map_err(|error| error.to_string())
        });
        match moved {
            Ok(()) => true,
            Err(reason) => {
                console.warning(format_args!("the file fetched ahead is not used: {reason}"));
                if let Err(error) = fs::remove_file(&spooled) {
                    log::debug!("cannot remove \"{}\": {error}", spooled.display());
                }
                false
            }
        }
    }

    /// Asks which files follow, and fetches them at the same time as the wanted one. What goes wrong with those ahead
    /// is no failure: they are asked for again when PostgreSQL wants them.
    fn fetch_with_followers(
        &self,
        spool: &Spool,
        temporary: &Path,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        if let Err(error) = spool.prepare() {
            console.warning(format_args!("not fetching ahead: {error}"));
            return self.fetch(self.partial).to_file(&self.wal_name, temporary);
        }
        let names = self.fetch(false).peek(&self.wal_name, self.parallel)?;
        if names.first() != Some(&self.wal_name) {
            if self.partial {
                // The listing does not know of incomplete segments.
                return self.fetch(true).to_file(&self.wal_name, temporary);
            }
            return Err(Failure::NotAvailable(self.wal_name.clone()));
        }
        let ahead: Vec<&String> = names
            .iter()
            .skip(1)
            .take(self.parallel.saturating_sub(1) as usize)
            .filter(|name| !spool.path(name).exists())
            .collect();
        std::thread::scope(|scope| {
            let workers: Vec<_> = ahead
                .into_iter()
                .map(|name| scope.spawn(move || self.fetch_ahead(spool, name)))
                .collect();
            let wanted = self.fetch(self.partial).to_file(&self.wal_name, temporary);
            for worker in workers {
                match worker.join() {
                    Ok(Err(failure)) => log::debug!("not fetched ahead: {failure}"),
                    Ok(Ok(())) => {}
                    Err(_) => log::debug!("a worker that fetches ahead has died"),
                }
            }
            wanted
        })
    }

    fn fetch_ahead(&self, spool: &Spool, name: &str) -> Result<(), Failure> {
        let temporary = spool.temporary(name);
        let fetched = create_new(&temporary)
            .map_err(|error| Failure::local(&temporary, &error))
            .and_then(|()| self.fetch(false).to_file(name, &temporary))
            .and_then(|()| {
                fs::rename(&temporary, spool.path(name)).map_err(|error| Failure::local(&temporary, &error))
            });
        if fetched.is_err()
            && let Err(error) = fs::remove_file(&temporary)
        {
            log::debug!("cannot remove \"{}\": {error}", temporary.display());
        }
        fetched
    }

    fn put_in_place(&self, temporary: &Path) -> Result<(), Failure> {
        fs::rename(temporary, &self.wal_dest).map_err(|error| Failure::local(&self.wal_dest, &error))
    }

    /// A name beside `WAL_DEST` that PostgreSQL takes no notice of.
    fn temporary(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
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
        if !failure.is_definite() && self.must_not_end() {
            console.error(
                "It is not known whether this file exists. PostgreSQL is stopped, because otherwise it would end its \
                 recovery here; remove the cause and start it again",
            );
            code = code.max(STOP_RECOVERY);
        }
        if self.sleep > 0 {
            console.stdout(format!("Sleeping for {} seconds.\n", self.sleep).as_bytes());
            std::thread::sleep(Duration::from_secs(self.sleep));
        }
        code
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
        match Remote::test(&mut self.remote.barman(config, &words)) {
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
