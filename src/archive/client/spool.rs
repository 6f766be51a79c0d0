//! Segments that were fetched ahead.
//!
//! One directory per Barman host, user, port, server and cluster, so that two clusters of this machine never get each
//! other's WAL. The default place is below `/var/tmp`, where everybody may write: a directory is only used when nobody but
//! its owner, we, can read it or put something into it. A segment appears under its name only when it is complete. It is
//! not synced, so the directory is also one of this start of the machine: what a power cut may have damaged is never
//! looked at again.
//!
//! One process at a time fills the directory; it holds the lock. The calls of `restore_command` take segments out and
//! note which one PostgreSQL got last.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

use super::private_directory::{check_own, create, refused};
use super::remote::Remote;
use crate::base::lock::LockFile;
use crate::postgres::wal_header::valid_segment_size;
use crate::postgres::wal_name::{SegmentName, WalKind};

/// Files older than this are leftovers of a recovery that is over.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The directory of the segments fetched ahead from one server.
#[derive(Debug, Clone)]
pub struct Spool {
    top: PathBuf,
    /// How the names of the directories of this server begin.
    family: String,
    directory: PathBuf,
}

impl Spool {
    /// The spool below `top` for `server` on `remote`, with the WAL of `cluster`. Nothing is created yet.
    #[must_use]
    pub fn new(top: &Path, remote: &Remote, server: &str, cluster: Option<u64>) -> Spool {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let key = format!(
            "{}\0{}\0{}\0{}\0{server}\0{cluster:?}\0{boot}",
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
        let family = format!("{}.{}.", readable(&remote.host), readable(server));
        Spool {
            top: top.to_path_buf(),
            directory: top.join(format!("{family}{:016x}", xxh3_64(key.as_bytes()))),
            family,
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
        self.directory.join(format!(".{name}.part"))
    }

    /// The lock of the process that fetches.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.directory.join(".lock")
    }

    /// Whether a process is filling the spool.
    #[must_use]
    pub fn is_being_filled(&self) -> bool {
        // One that cannot be asked for is not waited for.
        LockFile::owner(&self.lock()).is_ok_and(|owner| owner.is_some())
    }

    /// The complete segments.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentName> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| match WalKind::of(entry.file_name().to_str()?) {
                Some(WalKind::Segment(segment)) => Some(segment),
                _ => None,
            })
            .collect()
    }

    /// Removes a segment that nobody will ask for.
    pub fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            log::debug!("cannot remove \"{}\": {error}", self.path(name).display());
        }
    }

    /// Notes that PostgreSQL got the segment `name` of `size` bytes.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_delivered(&self, name: &str, size: u64) -> io::Result<()> {
        let temporary = self.directory.join(format!(".delivered.{}", std::process::id()));
        fs::write(&temporary, format!("{name} {size}"))?;
        fs::rename(temporary, self.directory.join(".delivered"))
    }

    /// The segment that PostgreSQL got last, and its size in bytes.
    #[must_use]
    pub fn delivered(&self) -> Option<(SegmentName, u64)> {
        let note = fs::read_to_string(self.directory.join(".delivered")).ok()?;
        let (name, size) = note.split_once(' ')?;
        let size = size.parse().ok().filter(|size| valid_segment_size(*size))?;
        Some((SegmentName::parse(name)?, size))
    }

    fn check(&self) -> io::Result<()> {
        let us = nix::unistd::geteuid().as_raw();
        let top = fs::symlink_metadata(&self.top)?;
        let others_may_write = top.mode() & 0o022 != 0;
        let sticky = top.mode() & 0o1000 != 0;
        if !top.is_dir() || (top.uid() != us && top.uid() != 0) || (others_may_write && !sticky) {
            return Err(refused(&self.top));
        }
        check_own(&self.directory)
    }

    /// Removes what recoveries that are over, or that a restart of the machine has cut short, have left.
    fn remove_stale(&self) {
        let Ok(entries) = fs::read_dir(&self.top) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(&self.family) && entry.path() != self.directory);
            if ours && is_stale(&entry.path()) {
                // Of another user, maybe: then it stays.
                if let Err(error) = fs::remove_dir_all(entry.path()) {
                    log::debug!("cannot remove \"{}\": {error}", entry.path().display());
                }
            }
        }
        for segment in self.segments() {
            if is_stale(&self.path(&segment.to_string())) {
                self.remove(&segment.to_string());
            }
        }
    }
}

fn is_stale(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| {
        SystemTime::now()
            .duration_since(time)
            .is_ok_and(|age| age > STALE)
    })
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
        let one = Spool::new(top, &remote("a"), "main", None);
        assert_eq!(
            one.path("f"),
            Spool::new(top, &remote("a"), "main", None).path("f")
        );
        assert_ne!(
            one.path("f"),
            Spool::new(top, &remote("b"), "main", None).path("f")
        );
        assert_ne!(
            one.path("f"),
            Spool::new(top, &remote("a"), "main", Some(7)).path("f")
        );
        assert_ne!(
            one.path("f"),
            Spool::new(top, &remote("a"), "other", None).path("f")
        );
        assert_ne!(
            Spool::new(top, &remote("a/b"), "x", None).path("f"),
            Spool::new(top, &remote("a_b"), "x", None).path("f")
        );
    }

    #[test]
    fn a_directory_that_others_control_is_not_used() {
        let sandbox = Sandbox::new();
        let spool = Spool::new(&sandbox.root.join("spool"), &remote("a"), "main", None);
        assert!(!spool.usable());
        spool.prepare().unwrap();
        assert!(spool.usable());
        for mode in [0o777, 0o750, 0o701] {
            fs::set_permissions(&spool.directory, fs::Permissions::from_mode(mode)).unwrap();
            assert!(spool.prepare().is_err(), "{mode:o}");
        }
        fs::remove_dir(&spool.directory).unwrap();
        symlink(sandbox.root.join("incoming"), &spool.directory).unwrap();
        assert!(spool.prepare().is_err());
    }
}
