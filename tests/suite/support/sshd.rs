//! A real sshd on loopback: it plays the PostgreSQL host for the manager and the backup host for PostgreSQL.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{Account, Background, eventually, run};
use super::scratch::{Scratch, free_port, write_file};

/// The accounts that may log in, in both directions, without a password.
const ACCOUNTS: [&str; 3] = ["root", "postgres", "barman"];

/// The default, made for the age of quantum computers, takes a tenth of a second of each handshake, and there are
/// thousands.
const KEY_EXCHANGE: &str = "curve25519-sha256";

/// A running sshd with its own host key, configuration and keys.
#[derive(Debug)]
pub struct Sshd {
    pub port: u16,
    /// Holds the wrapper `ssh`, for programs that call plain `ssh` (`barman-wal-archive`, `rsync`).
    pub bin: PathBuf,
    directory: PathBuf,
    masters: Vec<Background>,
    server: Option<Background>,
}

impl Sshd {
    /// Starts a server below `scratch`. A login as `barman` finds programs in `barman_path` and this configuration.
    pub fn start(scratch: &Scratch, barman_path: &[&Path], barman_config: &Path) -> Sshd {
        let root = Account::named("root");
        let directory = scratch.directory("ssh", &root);
        let bin = scratch.directory("ssh/bin", &root);
        std::fs::create_dir_all("/run/sshd").unwrap();
        let sshd = Sshd {
            port: free_port(),
            bin,
            directory,
            masters: Vec::new(),
            server: None,
        };
        sshd.write_keys();
        sshd.write_server_config(barman_path, barman_config);
        sshd.write_client_config("");
        let mut sshd = sshd;
        sshd.launch();
        sshd
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write_keys(&self) {
        for key in ["host_key", "user_key"] {
            let mut keygen = Command::new("/usr/bin/ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(self.file(key));
            run(keygen).success();
        }
        let public = std::fs::read(self.file("user_key.pub")).unwrap();
        write_file(
            &self.file("authorized_keys"),
            public,
            0o644,
            &Account::named("root"),
        );
        let private = std::fs::read(self.file("user_key")).unwrap();
        for account in ACCOUNTS {
            // ssh wants a private key that belongs to the caller and that nobody else can read.
            write_file(
                &self.file(&format!("key-{account}")),
                &private,
                0o600,
                &Account::named(account),
            );
        }
    }

    fn write_server_config(&self, barman_path: &[&Path], barman_config: &Path) {
        let path: Vec<String> = barman_path.iter().map(|p| p.display().to_string()).collect();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host_key\nPidFile none\n\
             AuthorizedKeysFile {dir}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nAllowUsers {accounts}\nMaxStartups 200\n\
             MaxSessions 100\nPrintMotd no\nLogLevel INFO\nKexAlgorithms {KEY_EXCHANGE}\n\
             Match User postgres\nSetEnv XDG_CACHE_HOME={dir}/cache-postgres\n\
             Match User barman\nSetEnv XDG_CACHE_HOME={dir}/cache-barman PATH={path}:/usr/bin:/bin \
             BARMAN_CONFIG_FILE={config} LC_ALL=C.UTF-8 TZ=UTC\n",
            port = self.port,
            dir = self.directory.display(),
            accounts = ACCOUNTS.join(" "),
            path = path.join(":"),
            config = barman_config.display(),
        );
        std::fs::write(self.file("sshd_config"), text).unwrap();
        for account in ["postgres", "barman"] {
            super::scratch::make_directory(&self.file(&format!("cache-{account}")), &Account::named(account));
        }
    }

    fn write_client_config(&self, more: &str) {
        let text = format!(
            "Host *\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {dir}/key-%u\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n{more}",
            port = self.port,
            dir = self.directory.display(),
        );
        std::fs::write(self.file("ssh_config"), text).unwrap();
        let wrapper = self.bin.join("ssh");
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
            self.file("ssh_config").display()
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Starts the listener (again).
    pub fn launch(&mut self) {
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .arg("-D")
            .arg("-f")
            .arg(self.file("sshd_config"))
            .arg("-E")
            .arg(self.file("sshd.log"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(Background::start(command, Signal::SIGTERM));
        let probe = self.command_for("root");
        eventually(Duration::from_secs(20), "sshd to answer", || {
            let mut ssh = Command::new("sh");
            ssh.arg("-c").arg(format!("{probe} true"));
            run(ssh).code == 0
        });
    }

    /// Keeps a connection open on which whatever `from` runs as `to` travels, for trials in which Barman makes dozens.
    pub fn keep_connection(&mut self, from: &Account, to: &str) {
        let masters = self.file("masters");
        std::fs::create_dir_all(&masters).unwrap();
        std::fs::set_permissions(&masters, PermissionsExt::from_mode(0o1777)).unwrap();
        self.write_client_config(&format!("  ControlPath {}/%u\n", masters.display()));
        let mut master = from.applied_to(Command::new("/usr/bin/ssh"));
        master
            .arg("-F")
            .arg(self.file("ssh_config"))
            .args(["-M", "-N", "-n"])
            .arg(format!("{to}@127.0.0.1"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.masters.push(Background::start(master, Signal::SIGTERM));
        let socket = masters.join(&from.name);
        eventually(Duration::from_secs(20), "the connection", || socket.exists());
    }

    /// The listening process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Background::pid)
    }

    /// `ssh_command` for a login as `account`.
    pub fn command_for(&self, account: &str) -> String {
        format!("ssh -F {} {account}@127.0.0.1", self.file("ssh_config").display())
    }

    /// From now on a login as `postgres` cannot run the agent: its cache directory is a file, so nothing can be uploaded.
    pub fn block_agent(&self) {
        let cache = self.file("cache-postgres");
        std::fs::remove_dir_all(&cache).unwrap();
        std::fs::write(&cache, "").unwrap();
    }

    /// From now on every command of a login as `postgres` begins with a greeting.
    pub fn greet(&mut self) {
        let config = self.file("sshd_config");
        let mut text = std::fs::read_to_string(&config).unwrap();
        text.push_str(
            "Match User postgres\nForceCommand echo welcome; exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
        );
        std::fs::write(&config, text).unwrap();
        self.stop_listening();
        self.launch();
    }

    /// A script that runs ssh as `account`: an `ssh_command` of which nobody can tell that OpenSSH is behind it.
    pub fn wrapper_for(&self, account: &str) -> PathBuf {
        let script = self.file(&format!("as-{account}"));
        let text = format!("#!/bin/sh\nexec {} \"$@\"\n", self.command_for(account));
        write_file(&script, text, 0o755, &Account::named("root"));
        script
    }

    /// Stops the listener: new connections are refused, running ones live on.
    pub fn stop_listening(&mut self) {
        self.server = None;
    }

    /// Cuts every running connection, as a broken network would.
    pub fn cut_connections(&self) {
        let Some(listener) = self.server.as_ref().map(Background::pid) else {
            return;
        };
        for session in descendants(listener) {
            let _ = kill(Pid::from_raw(session as i32), Signal::SIGKILL);
        }
    }

    /// Processes that run on behalf of a login at this moment.
    pub fn session_processes(&self) -> Vec<u32> {
        self.server
            .as_ref()
            .map_or_else(Vec::new, |server| descendants(server.pid()))
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("sshd.log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    /// Connections that clients keep end with the server.
    fn drop(&mut self) {
        self.cut_connections();
    }
}

/// All processes below `pid`, children before grandchildren.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut queue = vec![pid];
    while let Some(parent) = queue.pop() {
        for child in children(parent) {
            found.push(child);
            queue.push(child);
        }
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(candidate) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name in parentheses may hold blanks: count from its end. Field 4 is the parent.
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        if parent.and_then(|p| p.parse::<u32>().ok()) == Some(pid) {
            found.push(candidate);
        }
    }
    found
}
