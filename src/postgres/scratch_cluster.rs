//! A throw-away PostgreSQL for the unit tests of what talks to one: `initdb`, a private socket, gone at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server. Dropping it stops it and removes everything.
pub(crate) struct ScratchCluster {
    directory: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl ScratchCluster {
    /// A new cluster with these lines at the end of `postgresql.conf`; `None` when this machine has no PostgreSQL
    /// server programs.
    pub(crate) fn start(settings: &str) -> Option<ScratchCluster> {
        if !bin().join("initdb").exists() {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("barkeep-pg-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        let cluster = ScratchCluster { directory };
        let data = cluster.data();
        run(as_server_user("initdb")
            .args(["-k", "-N", "-A", "trust", "-U", "postgres", "-D"])
            .arg(&data));
        let conf = format!(
            "\nlisten_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\n{settings}\n",
            cluster.directory.display()
        );
        let path = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + &conf).unwrap();
        let log = cluster.directory.join("log");
        run(as_server_user("pg_ctl")
            .args(["-w", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(&log)
            .arg("start"));
        Some(cluster)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(crate) fn conninfo(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.directory.display())
    }

    pub(crate) fn stop(&self, mode: &str) {
        run(as_server_user("pg_ctl")
            .args(["-w", "-m", mode, "-D"])
            .arg(self.data())
            .arg("stop"));
    }
}

impl Drop for ScratchCluster {
    fn drop(&mut self) {
        let _ = as_server_user("pg_ctl")
            .args(["-w", "-m", "immediate", "-D"])
            .arg(self.data())
            .arg("stop")
            .output();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn bin() -> PathBuf {
    PathBuf::from("/usr/lib/postgresql/15/bin")
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &str) -> Command {
    let program = bin().join(program);
    if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn run(command: &mut Command) {
    // The server inherits its output from pg_ctl: with a pipe, waiting for the end of the output would never end.
    let status = command.stdout(std::process::Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}
