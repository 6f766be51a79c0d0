//! Segments that were fetched ahead.
//!
//! One directory per Barman host, user, port and server, so that two clusters of this machine never get each other's
//! WAL. The default place is below `/var/tmp`, where everybody may write: a directory is only used when nobody but its
//! owner, we, can put something into it. A segment appears under its name only when it is complete.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::remote::Remote;

/// Files older than this are leftovers of a recovery that is over.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The directory of the segments fetched ahead from one server.
#[derive(Debug, Clone)]
pub struct Spool {
    top: PathBuf,
    directory: PathBuf,
}

impl Spool {
    /// The spool below `top` for `server` on `remote`. Nothing is created yet.
    #[must_use]
    pub fn new(top: &Path, remote: &Remote, server: &str) -> Spool {
        let key = format!(
            "{}\0{}\0{}\0{}\0{server}",
            remote.user,
            remote.host,
            remote.port.as_deref().unwrap_or_default(),
            remote.config.as_deref().unwrap_or_default()
        );
        let readable = |text: &str| -> String {
            text.chars()
                .map(|character| {
                    if character.is_ascii_alphanumeric() || "-_".contains(character) {
                        character
                    } else {
                        '_'
                    }
                })
                .take(60)
                .collect()
        };
        let name = format!(
            "{}.{}.{:016x}",
            readable(&remote.host),
            readable(server),
            xxh3_64(key.as_bytes())
        );
        Spool {
            top: top.to_path_buf(),
            directory: top.join(name),
        }
    }

    /// Creates the directories that are missing and makes sure that nobody else can write into them.
    ///
    /// # Errors
    /// They cannot be created or are not safe.
    pub fn prepare(&self) -> io::Result<()> {
        create(&self.top)?;
        create(&self.directory)?;
        self.check()?;
        self.remove_stale();
        Ok(())
    }

    /// Whether the spool exists and is safe.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.check().is_ok()
    }

    /// Where the segment `name` is when it has been fetched.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where the segment `name` is written while it is being fetched.
    #[must_use]
    pub fn temporary(&self, name: &str) -> PathBuf {
        self.directory.join(format!(".{name}.{}.tmp", std::process::id()))
    }

    fn check(&self) -> io::Result<()> {
        let us = nix::unistd::geteuid().as_raw();
        let top = fs::symlink_metadata(&self.top)?;
        let others_may_write = top.mode() & 0o022 != 0;
        let sticky = top.mode() & 0o1000 != 0;
        if !top.is_dir() || (top.uid() != us && top.uid() != 0) || (others_may_write && !sticky) {
            return Err(unsafe_directory(&self.top));
        }
        let own = fs::symlink_metadata(&self.directory)?;
        if !own.is_dir() || own.uid() != us || own.mode() & 0o022 != 0 {
            return Err(unsafe_directory(&self.directory));
        }
        Ok(())
    }

    fn remove_stale(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let old = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| {
                    SystemTime::now()
                        .duration_since(time)
                        .is_ok_and(|age| age > STALE)
                });
            if old && let Err(error) = fs::remove_file(entry.path()) {
                log::debug!("cannot remove \"{}\": {error}", entry.path().display());
            }
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn unsafe_directory(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "\"{}\" is not a directory that only this user can write to",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::Sandbox;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn remote(host: &str) -> Remote {
        Remote {
            ssh: "ssh".into(),
            host: host.to_owned(),
            user: "barman".to_owned(),
            port: None,
            config: None,
        }
    }

    #[test]
    fn every_server_has_its_own_directory() {
        let top = Path::new("/x");
        let one = Spool::new(top, &remote("a"), "main");
        assert_eq!(one.path("f"), Spool::new(top, &remote("a"), "main").path("f"));
        assert_ne!(one.path("f"), Spool::new(top, &remote("b"), "main").path("f"));
        assert_ne!(one.path("f"), Spool::new(top, &remote("a"), "other").path("f"));
        assert_ne!(
            Spool::new(top, &remote("a/b"), "x").path("f"),
            Spool::new(top, &remote("a_b"), "x").path("f")
        );
    }

    #[test]
    fn a_directory_that_others_control_is_not_used() {
        let sandbox = Sandbox::new();
        let spool = Spool::new(&sandbox.root.join("spool"), &remote("a"), "main");
        assert!(!spool.usable());
        spool.prepare().unwrap();
        assert!(spool.usable());
        fs::set_permissions(&spool.directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(spool.prepare().is_err());
        fs::remove_dir(&spool.directory).unwrap();
        symlink(sandbox.root.join("incoming"), &spool.directory).unwrap();
        assert!(spool.prepare().is_err());
    }
}
