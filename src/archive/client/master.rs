//! An ssh connection that outlives the call that made it, for the calls that follow.
//!
//! A call of `archive_command` spends most of its time on the handshake of ssh. So the first call leaves its connection
//! behind, as OpenSSH's own `ControlMaster` and `ControlPersist` do, and the next ones open a session on it. OpenSSH
//! does the work: a socket that nobody listens to any more is replaced, and a session that the other side refuses
//! becomes a connection of its own. What is decided here:
//!
//! * Which calls may share a connection: those of one user of this host that would run the same `ssh` with the same
//!   words and the same configuration files. Whoever edits `~/.ssh/config` gets a new connection with the next call.
//! * For how long: the name of the socket says when the connection was made, and after [`LIFETIME`] another is made. One that
//!   is always in use would otherwise live for ever, and with it a name that has since been given another address, or a
//!   key that has since been revoked. The old one ends by itself when it has been idle.
//! * Whether it is tried: where a connection cannot be kept although one can be made (a policy that forbids the socket), that
//!   is remembered for as long as a connection would be used, so that not every call makes two connections.
//! * Whose child it becomes: nobody waits for the master, so the first process of the system inherits it. In a container
//!   that is often PostgreSQL itself, which takes the end of a process that it does not know, with ssh's exit code 255, for
//!   the crash of a backend and ends every session. There no connection is kept.
//! * When it is given up: the master asks the other side for a sign of life every [`ALIVE_INTERVAL`] seconds, because a
//!   connection that a firewall has forgotten would hold up the archiving until TCP gives up after a quarter of an hour.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use super::private_directory::PrivateDirectory;
use super::remote::Remote;
use crate::base::{durable, host, process};
use crate::transport;

/// After this time no call uses the connection any more.
const LIFETIME: Duration = Duration::from_secs(120);
/// Seconds between two questions whether the other side is there, and how many may stay without an answer.
const ALIVE_INTERVAL: u32 = 10;
const ALIVE_COUNT: u32 = 3;
/// The longest path of a control socket: OpenSSH first binds a name that is 17 bytes longer, and the kernel's limit is
/// 107.
const LONGEST_PATH: usize = 90;

/// The ending of the file that says that no connection can be kept.
const RENOUNCED: &str = ".not";

/// A connection that is kept, or will be.
#[derive(Debug, Clone)]
pub(super) struct Master {
    socket: PathBuf,
    persist: u32,
}

impl Master {
    /// The connection for `remote`, kept for `persist` seconds after its last use; `None` when none is wanted, when it was
    /// found that none can be kept, or when the path of its socket would be too long.
    pub(super) fn of(directory: &PrivateDirectory, remote: &Remote, persist: u32) -> Option<Master> {
        if persist == 0 || !host::has_init() {
            return None;
        }
        let identity = format!("{:016x}-", identity(remote));
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let mut newest = None;
        for name in directory.names() {
            let Some(rest) = name.strip_prefix(&identity) else {
                continue;
            };
            let made = u64::from_str_radix(rest.trim_end_matches(RENOUNCED), 16).unwrap_or_default();
            if now.checked_sub(made).is_some_and(|age| age < LIFETIME.as_secs()) {
                if rest.ends_with(RENOUNCED) {
                    return None;
                }
                newest = newest.max(Some(made));
            }
        }
        let socket = directory.join(&format!("{identity}{:x}", newest.unwrap_or(now)));
        if socket.as_os_str().len() > LONGEST_PATH {
            log::debug!("\"{}\" is too long for a control socket", socket.display());
            return None;
        }
        Some(Master { socket, persist })
    }

    /// Remembers that no connection can be kept.
    pub(super) fn renounce(&self) {
        let path = durable::sibling(&self.socket, RENOUNCED);
        if let Err(error) = fs::write(&path, b"") {
            log::debug!("cannot write \"{}\": {error}", path.display());
        }
    }

    /// Whether an earlier call seems to have left a connection.
    pub(super) fn is_warm(&self) -> bool {
        self.socket.exists()
    }

    /// The options of ssh that use the connection, or make it; none where the program is not OpenSSH.
    pub(super) fn options(&self, remote: &Remote) -> Vec<String> {
        // These questions cost a start of ssh each, so only the call that connects asks them.
        let warm = self.is_warm();
        if !warm && !transport::is_openssh(&remote.ssh.to_string_lossy()).unwrap_or(false) {
            return Vec::new();
        }
        let socket = self.socket.to_string_lossy().replace('%', "%%");
        let mut options = vec!["-S".to_owned(), socket];
        let mut set = |option: String| options.extend(["-o".to_owned(), option]);
        set("ControlMaster=auto".to_owned());
        set(format!("ControlPersist={}", self.persist));
        set(format!("ServerAliveInterval={ALIVE_INTERVAL}"));
        set(format!("ServerAliveCountMax={ALIVE_COUNT}"));
        if !warm && let Some(ciphers) = transport::faster_ciphers(&remote.destination()) {
            set(ciphers.to_owned());
        }
        options
    }
}

/// What decides where a connection leads to, and how.
pub(super) fn identity(remote: &Remote) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    // Where PATH differs, another program may be meant.
    let program = process::find(&remote.ssh).unwrap_or_else(|| remote.ssh.clone());
    add(program.as_os_str().as_bytes());
    add(remote.user.as_bytes());
    add(remote.host.as_bytes());
    add(remote.port.as_deref().unwrap_or_default().as_bytes());
    let own = host::home().map(|home| home.join(".ssh/config"));
    for path in own
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new("/etc/ssh/ssh_config")])
    {
        add(path.as_os_str().as_bytes());
        if let Ok(file) = fs::metadata(path) {
            for number in [file.mtime(), file.mtime_nsec(), file.ino().cast_signed()] {
                add(&number.to_le_bytes());
            }
        }
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::Sandbox;

    fn remote(host: &str, port: Option<&str>) -> Remote {
        Remote {
            ssh: "ssh".into(),
            host: host.to_owned(),
            user: "barman".to_owned(),
            port: port.map(str::to_owned),
            config: None,
        }
    }

    #[test]
    fn only_calls_to_the_same_place_share_a_connection() {
        let sandbox = Sandbox::new();
        let directory = PrivateDirectory::prepare(&sandbox.root.join("p")).unwrap();
        let key = |remote: &Remote| identity(remote);
        assert_eq!(key(&remote("a", None)), key(&remote("a", None)));
        assert_ne!(key(&remote("a", None)), key(&remote("b", None)));
        assert_ne!(key(&remote("a", None)), key(&remote("a", Some("22"))));
        let mut other = remote("a", None);
        other.ssh = "/elsewhere/ssh".into();
        assert_ne!(key(&remote("a", None)), key(&other));
        assert!(Master::of(&directory, &remote("a", None), 0).is_none());
        let master = Master::of(&directory, &remote("a", None), 7).unwrap();
        assert!(!master.is_warm());
        let options = master.options(&remote("a", None));
        // The program cannot be asked what it is.
        assert!(
            options.is_empty() || options.contains(&"ControlPersist=7".to_owned()),
            "{options:?}"
        );
        // A connection that is there is used until it is too old.
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let name = |made: u64| directory.join(&format!("{:016x}-{made:x}", key(&remote("a", None))));
        fs::write(name(now - 130), b"").unwrap();
        fs::write(name(now + 130), b"").unwrap();
        assert!(!Master::of(&directory, &remote("a", None), 7).unwrap().is_warm());
        fs::write(name(now - 60), b"").unwrap();
        fs::write(name(now - 30), b"").unwrap();
        let used = Master::of(&directory, &remote("a", None), 7).unwrap();
        assert!(used.is_warm() && used.socket == name(now - 30));
        master.renounce();
        assert!(Master::of(&directory, &remote("a", None), 7).is_none());
        assert!(Master::of(&directory, &remote("b", None), 7).is_some());
    }
}
