//! The files of a host, whichever it is: at hand, through the agent, or through shell commands where it cannot run.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::connection::{ConnectError, Connection};
use super::message::{EntryKind, Failure, Request, Response, bytes_of};
use super::refusal::Refusal;
use super::{commands, simple};
use crate::transport::patience::Stop;
use crate::transport::{Remote, TransportError};

/// The longest file that is read as a whole.
const READ_LIMIT: u64 = 64 << 20;
/// The longest content that is written as a whole: it travels in one frame.
const WRITE_LIMIT: usize = 1 << 20;

/// Something could not be done to a host's files.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The host could not be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host refused.
    #[error("cannot {action} \"{}\" on {host}: {reason}", path.display())]
    Refused {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Where.
        host: String,
        /// Why not, in the operating system's words.
        reason: String,
        /// The error number, when known.
        errno: Option<i32>,
    },
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Absent,
    /// A regular file of this many bytes.
    File(u64),
    /// A directory without any entry, hidden ones included.
    EmptyDirectory,
    /// A directory with entries.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something else.
    Other,
}

/// A host whose files are looked at and written to.
pub struct Host<'a> {
    remote: &'a Remote,
    way: Mutex<Option<Way>>,
}

/// How the host is reached.
enum Way {
    AtHand,
    Agent(Box<Connection>),
    Commands,
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Host")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl<'a> Host<'a> {
    /// The host behind `remote`. For this host nothing is started; for another one the agent, on first use.
    #[must_use]
    pub fn new(remote: &'a Remote) -> Host<'a> {
        Host {
            remote,
            way: Mutex::new(None),
        }
    }

    /// What is at `path` (a symbolic link is not followed).
    ///
    /// # Errors
    /// The host cannot be reached, or refuses to look.
    pub fn look(&self, path: &Path) -> Result<PathKind, HostError> {
        const ACTION: &str = "look at";
        let Response::Look(found) = self.call(ACTION, path, Request::Look { path: bytes_of(path) })? else {
            return Err(self.nonsense(ACTION, path));
        };
        Ok(match found.map(|entry| (entry.kind, entry.size)) {
            None => PathKind::Absent,
            Some((EntryKind::File, size)) => PathKind::File(size),
            Some((EntryKind::Symlink, _)) => PathKind::Symlink,
            Some((EntryKind::Other, _)) => PathKind::Other,
            Some((EntryKind::Directory, _)) if self.names(path, Some(1))?.is_empty() => {
                PathKind::EmptyDirectory
            }
            Some((EntryKind::Directory, _)) => PathKind::Directory,
        })
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, path: &Path) -> Result<Vec<PathBuf>, HostError> {
        self.names(path, None)
    }

    /// The content of a small file (at most 64 MiB), or `None` when there is none.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, HostError> {
        const GONE: i32 = nix::errno::Errno::ENOENT as i32;
        let result = self.through("read", path, |way| match way {
            Way::AtHand => simple::read_small(path, READ_LIMIT)
                .map_err(Failure::from)
                .map_err(Refusal::Failed),
            Way::Agent(connection) => Ok(connection.read_small(path, READ_LIMIT)?),
            Way::Commands => commands::read(self.remote, path),
        });
        match result {
            Ok(content) => Ok(Some(content)),
            Err(HostError::Refused {
                errno: Some(GONE), ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file of at most 1 MiB, atomically and durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), HostError> {
        const ACTION: &str = "write";
        if content.len() > WRITE_LIMIT {
            return Err(self.refused(
                ACTION,
                path,
                "it is too long to be written as a whole".to_owned(),
                None,
            ));
        }
        let request = Request::Write {
            path: bytes_of(path),
            mode,
        };
        let response = self.through(ACTION, path, |way| match way {
            Way::AtHand => at_hand(request, content),
            Way::Agent(connection) => {
                connection.ask(&request)?;
                connection.data(content)?;
                Ok(connection.answer()?)
            }
            Way::Commands => commands::answer(self.remote, &request, content),
        })?;
        if matches!(response, Response::Done) {
            Ok(())
        } else {
            Err(self.nonsense(ACTION, path))
        }
    }

    /// Creates a directory and its missing parents with `mode`, durably. One that exists is fine and left as it is.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create_dir_all(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        self.do_it(
            "create directory",
            path,
            Request::MakeDirectory {
                path: bytes_of(path),
                mode,
                parents: true,
            },
        )
    }

    /// Proves that files can be created in a directory, by creating and removing one.
    ///
    /// # Errors
    /// They cannot.
    pub fn check_writable(&self, directory: &Path) -> Result<(), HostError> {
        let probe = directory.join(".barman_write_check");
        self.write(&probe, b"", 0o600)?;
        self.remove(&probe)
    }

    /// Creates a symbolic link, replacing one that is there already.
    ///
    /// # Errors
    /// It cannot be created, or something that is not a link is in its place.
    pub fn symlink(&self, target: &Path, link: &Path) -> Result<(), HostError> {
        self.do_it(
            "create link",
            link,
            Request::Symlink {
                target: bytes_of(target),
                path: bytes_of(link),
            },
        )
    }

    /// Removes a file, link or directory with everything in it. Nothing there is fine.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.do_it(
            "remove",
            path,
            Request::Remove {
                path: bytes_of(path),
                recursive: true,
            },
        )
    }

    /// Renames a file or directory, durably.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        self.do_it(
            "rename",
            from,
            Request::Rename {
                from: bytes_of(from),
                to: bytes_of(to),
            },
        )
    }

    /// Free bytes for unprivileged users on the file system of `path` (or of its nearest existing parent).
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn free_bytes(&self, path: &Path) -> Result<u64, HostError> {
        const ACTION: &str = "look at the file system of";
        match self.call(ACTION, path, Request::FreeBytes { path: bytes_of(path) })? {
            Response::Free(bytes) => Ok(bytes),
            _ => Err(self.nonsense(ACTION, path)),
        }
    }

    fn names(&self, path: &Path, most: Option<u32>) -> Result<Vec<PathBuf>, HostError> {
        const ACTION: &str = "list";
        match self.call(
            ACTION,
            path,
            Request::Names {
                path: bytes_of(path),
                most,
            },
        )? {
            Response::Names(names) => Ok(names
                .into_iter()
                .map(|name| PathBuf::from(OsString::from_vec(name)))
                .collect()),
            _ => Err(self.nonsense(ACTION, path)),
        }
    }

    fn do_it(&self, action: &'static str, path: &Path, request: Request) -> Result<(), HostError> {
        match self.call(action, path, request)? {
            Response::Done => Ok(()),
            _ => Err(self.nonsense(action, path)),
        }
    }

    fn call(&self, action: &'static str, path: &Path, request: Request) -> Result<Response, HostError> {
        self.through(action, path, |way| match way {
            Way::AtHand => at_hand(request, &[]),
            Way::Agent(connection) => Ok(connection.call(&request)?),
            Way::Commands => commands::answer(self.remote, &request, &[]),
        })
    }

    fn through<T>(
        &self,
        action: &'static str,
        path: &Path,
        verb: impl FnOnce(&mut Way) -> Result<T, Refusal>,
    ) -> Result<T, HostError> {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match way.as_mut() {
            Some(opened) => opened,
            None => way.insert(self.open(action, path)?),
        };
        match verb(opened) {
            Ok(value) => Ok(value),
            Err(Refusal::Failed(failure)) => Err(self.refused(action, path, failure.reason, failure.errno)),
            Err(Refusal::Transport(error)) => {
                // A broken conversation is opened anew by the next verb.
                *way = None;
                Err(error.into())
            }
        }
    }

    fn open(&self, action: &'static str, path: &Path) -> Result<Way, HostError> {
        if self.remote.is_local() {
            return Ok(Way::AtHand);
        }
        match Connection::open(self.remote, false, &Stop::default()) {
            Ok(connection) => Ok(Way::Agent(Box::new(connection))),
            Err(ConnectError::CannotRun { reason, .. }) => {
                log::info!(
                    "the agent cannot run on {} ({reason}): using shell commands",
                    self.remote.describe()
                );
                Ok(Way::Commands)
            }
            Err(ConnectError::Transport(error)) => Err(error.into()),
            Err(ConnectError::Path(error)) => Err(self.refused(action, path, error.to_string(), None)),
        }
    }

    fn refused(&self, action: &'static str, path: &Path, reason: String, errno: Option<i32>) -> HostError {
        HostError::Refused {
            action,
            path: path.to_path_buf(),
            host: self.remote.describe(),
            reason,
            errno,
        }
    }

    fn nonsense(&self, action: &'static str, path: &Path) -> HostError {
        self.refused(action, path, "unexpected answer".to_owned(), None)
    }
}

fn at_hand(request: Request, content: &[u8]) -> Result<Response, Refusal> {
    match simple::answer(request, content) {
        Ok(response) => Ok(response.unwrap_or(Response::Done)),
        Err(error) => Err(Refusal::Failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every way must give the same answers: at hand, by agent (here in a thread), by commands.
    fn every_verb(host: &Host, root: &Path) {
        let directory = root.join("a dir/with 'quotes'");
        assert_eq!(host.look(&directory).unwrap(), PathKind::Absent);
        host.create_dir_all(&directory, 0o700).unwrap();
        host.create_dir_all(&directory, 0o700).unwrap();
        assert_eq!(host.look(&directory).unwrap(), PathKind::EmptyDirectory);
        host.check_writable(&directory).unwrap();
        let file = directory.join("file");
        assert_eq!(host.read(&file).unwrap(), None);
        host.write(&file, b"one\0two\n", 0o640).unwrap();
        host.write(&file, b"three\0four\n", 0o640).unwrap();
        assert_eq!(host.read(&file).unwrap().unwrap(), b"three\0four\n");
        assert_eq!(host.look(&file).unwrap(), PathKind::File(11));
        assert_eq!(host.look(&directory).unwrap(), PathKind::Directory);
        let link = directory.join("link");
        host.symlink(Path::new("/nowhere"), &link).unwrap();
        host.symlink(Path::new("/elsewhere"), &link).unwrap();
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("/elsewhere"));
        assert_eq!(host.look(&link).unwrap(), PathKind::Symlink);
        assert!(host.symlink(Path::new("/nowhere"), &file).is_err());
        assert_eq!(
            host.list(&directory).unwrap(),
            [PathBuf::from("file"), PathBuf::from("link")]
        );
        let renamed = directory.join("renamed");
        host.rename(&file, &renamed).unwrap();
        assert_eq!(host.look(&file).unwrap(), PathKind::Absent);
        assert!(host.free_bytes(&root.join("not/there/yet")).unwrap() > 0);
        host.remove(&root.join("a dir")).unwrap();
        host.remove(&root.join("a dir")).unwrap();
        assert_eq!(host.look(&directory).unwrap(), PathKind::Absent);
        assert!(host.list(&directory).is_err());
        assert!(
            host.create_dir_all(Path::new("/proc/nothing/here"), 0o700)
                .is_err()
        );
    }

    #[test]
    fn all_ways_agree() {
        let root = std::env::temp_dir().join(format!(".barkeep-host-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let remote = Remote::local();
        every_verb(&Host::new(&remote), &root);
        let connection = Connection::open(&remote, false, &Stop::default()).unwrap();
        let by_agent = Host {
            remote: &remote,
            way: Mutex::new(Some(Way::Agent(Box::new(connection)))),
        };
        every_verb(&by_agent, &root);
        let by_commands = Host {
            remote: &remote,
            way: Mutex::new(Some(Way::Commands)),
        };
        every_verb(&by_commands, &root);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
