//! The running server that all cases of `cases_live` share, one at a time, and how each of them finds it the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use walkdir::WalkDir;

use crate::support::cleanup;
use crate::support::cluster::{Cluster, Version};
use crate::support::lab::{Lab, LabOptions, Session, Shipping};
use crate::support::process::{Account, Background, eventually, run};
use crate::support::scratch::{make_directory, write_file};
use crate::support::tool::Tool;

/// The slot of the cases with a WAL receiver; `states.txt` names it, too.
const SLOT: &str = "conformance";

const PATIENCE: Duration = Duration::from_secs(30);

/// The files of a catalog with their sizes and times.
type Files = BTreeMap<PathBuf, (std::time::SystemTime, u64)>;

/// A lab with a full and a linked backup by real Barman. One case at a time uses it.
///
/// The fields are dropped in this order: what is connected to the cluster first.
#[derive(Debug)]
pub struct Live {
    receiver: Option<Receiver>,
    session: Session,
    impatience: Background,
    pub lab: Lab,
    /// The catalog as Barman left it at the start: data directories of backups, and everything else.
    backups: PathBuf,
    rest: PathBuf,
    /// Position, slots and catalog after the last preparation; `None` when a receiver went on changing them.
    prepared: Option<(String, Files)>,
}

/// A running `receive-wal`. It ends with PostgreSQL.
#[derive(Debug)]
struct Receiver {
    /// The name of the tool.
    tool: &'static str,
    /// Waits for its end: who looks whether it has been terminated must not find a zombie.
    reaper: JoinHandle<()>,
}

impl Receiver {
    fn start(tool: &Tool, mut command: Command) -> Receiver {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        cleanup::watch_process(child.id());
        let reaper = std::thread::spawn(move || {
            child.wait().unwrap();
            cleanup::forget_process(child.id());
        });
        Receiver {
            tool: tool.name,
            reaper,
        }
    }

    fn is_running(&self) -> bool {
        !self.reaper.is_finished()
    }
}

impl Live {
    pub fn start(barman: &Tool) -> Mutex<Live> {
        let options = LabOptions::new(Version::V15)
            .in_memory()
            .shipping(Shipping::LocalRsync)
            .tablespace()
            .scale(0)
            .setting("checkpoint_timeout = 1h")
            .setting("autovacuum = off")
            .server("compression = gzip\nretention_policy = REDUNDANCY 5");
        let mut lab = Lab::start("live", barman, &options);
        lab.sshd.keep_connection(&Account::barman(), "postgres");
        let hook = lab.manager.directory.join("hook");
        let script = format!(
            "#!/bin/sh\n{{ echo \"---\"; env | grep '^BARMAN_' | LC_ALL=C sort; }} >>{}\n",
            lab.manager.directory.join("hooks.log").display()
        );
        write_file(&hook, script, 0o755, &lab.manager.account);
        let impatience = without_pauses(&lab.cluster);
        lab.prepare(barman);
        lab.backup(barman, &["--name", "weekly"]);
        lab.backup(barman, &[]);
        lab.archive_everything(barman);
        let (backups, rest) = (lab.scratch.join("backups"), lab.scratch.join("rest"));
        let home = lab.manager.home();
        std::fs::rename(&home, &rest).unwrap();
        std::fs::rename(rest.join("main/base"), &backups).unwrap();
        remove_matching(&rest, |name| name.ends_with(".lock"));
        make_directory(&home, &lab.manager.account);
        let live = Live {
            receiver: None,
            session: Session::open(&lab.cluster),
            impatience,
            lab,
            backups,
            rest,
            prepared: None,
        };
        live.lay_out();
        Mutex::new(live)
    }

    /// The catalog as Barman left it at the start; PostgreSQL has nothing to ship, and one record to switch for. With
    /// `receiver`, that tool's `receive-wal` receives WAL.
    pub fn prepare(&mut self, receiver: Option<&Tool>) {
        for file in ["hooks.log", "barman.log"] {
            let _ = std::fs::remove_file(self.lab.manager.directory.join(file));
        }
        if !self.is_received_by(receiver) {
            self.end_receiver();
        }
        let left = self.prepared.take();
        if left.is_some() && left == Some(self.found()) {
            self.prepared = left;
            return;
        }
        let segment = self.session.answer(
            "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(false, 'test', 'switch');",
        );
        self.session
            .answer("SELECT pg_logical_emit_message(true, 'test', 'something to switch for');");
        self.lab.cluster.wait_archived(&segment);
        if self.receiver.is_some() {
            self.wait_received(&segment);
        }
        self.lay_out();
        if self.receiver.is_none() {
            self.session.answer(
                "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE NOT active;",
            );
            if let Some(tool) = receiver {
                self.start_receiver(tool);
            }
        }
        self.prepared = receiver.is_none().then(|| self.found());
    }

    /// Where the server stands, and the files of the catalog except locks.
    fn found(&mut self) -> (String, Files) {
        let position = self
            .session
            .answer("SELECT concat(pg_current_wal_insert_lsn(), ' ', count(*)) FROM pg_replication_slots;");
        let home = self.lab.manager.home();
        let entries = WalkDir::new(&home).into_iter().map(Result::unwrap);
        let described = entries.filter(|entry| !is_lock(&entry.file_name().to_string_lossy()));
        let files = described.map(|entry| {
            let metadata = entry.metadata().unwrap();
            // A lock file that comes changes the time of its directory.
            let time = if metadata.is_dir() {
                std::time::UNIX_EPOCH
            } else {
                metadata.modified().unwrap()
            };
            (entry.into_path(), (time, metadata.len()))
        });
        (position, files.collect())
    }

    /// Makes the catalog anew. The files of backups are links: nobody writes into them. What belongs to a receiver stays.
    fn lay_out(&self) {
        let home = self.lab.manager.home();
        let receiving = self.receiver.is_some();
        remove_matching(&home, |name| !(receiving && (is_lock(name) || name == "main")));
        if receiving {
            remove_matching(&home.join("main"), |name| name != "streaming");
            remove_matching(&home.join("main/streaming"), |name| !name.ends_with(".partial"));
        }
        for (option, from, to) in [
            ("-a", self.rest.join("."), home.clone()),
            ("-al", self.backups.clone(), home.join("main/base")),
        ] {
            let mut cp = Command::new("/bin/cp");
            cp.arg(option).arg(from).arg(to);
            run(cp).success();
        }
    }

    /// Leaves nothing but WAL.
    pub fn forget_backups(&mut self) {
        for part in ["base", "meta"] {
            let directory = self.lab.manager.server("main").join(part);
            std::fs::remove_dir_all(&directory).unwrap();
            make_directory(&directory, &self.lab.manager.account);
        }
    }

    /// What the hooks were told. Whether the history file of a backup is in incoming when the command looks is
    /// PostgreSQL's affair: it ships that file after the last segment.
    pub fn hooks(&self) -> String {
        let log = std::fs::read_to_string(self.lab.manager.directory.join("hooks.log")).unwrap_or_default();
        let of_history_file = |call: &&str| {
            call.lines()
                .any(|line| line.starts_with("BARMAN_SEGMENT=") && line.ends_with(".backup"))
        };
        log.split("---\n")
            .filter(|call| !of_history_file(call))
            .collect::<Vec<_>>()
            .join("---\n")
    }

    /// Whether this tool's receiver runs, or none does when none is wanted.
    fn is_received_by(&self, tool: Option<&Tool>) -> bool {
        match (&self.receiver, tool) {
            (Some(receiver), Some(tool)) => receiver.tool == tool.name && receiver.is_running(),
            (None, None) => true,
            _ => false,
        }
    }

    /// `receive-wal` writes its log elsewhere: what it says there, and when, is no answer to a command.
    fn start_receiver(&mut self, tool: &Tool) {
        let manager = &self.lab.manager;
        make_directory(&manager.server("main").join("streaming"), &manager.account);
        let text = std::fs::read_to_string(manager.config_file()).unwrap();
        let config = manager.directory.join("receiver.conf");
        let text = text.replace("/barman.log", "/receiver.log");
        write_file(&config, text, 0o644, &manager.account);
        self.session
            .answer(&format!("SELECT pg_create_physical_replication_slot('{SLOT}');"));
        let mut command = manager.bare_command(tool, "barman");
        command.arg("-c").arg(config).args(["receive-wal", "main"]);
        self.receiver = Some(Receiver::start(tool, command));
        eventually(PATIENCE, "WAL to be received", || {
            let query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND write_lsn IS NOT NULL;";
            self.session.answer(query) == "1"
        });
    }

    /// `pg_receivewal` overlooks a signal until the server speaks to it; it ends with its connection.
    fn end_receiver(&mut self) {
        let Some(receiver) = self.receiver.take() else {
            return;
        };
        eventually(PATIENCE, "the receiver to end", || {
            let terminated = self.session.answer(
                "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active;",
            );
            terminated == "0" && !receiver.is_running()
        });
    }

    /// Waits until the receiver has this segment and has begun the next.
    fn wait_received(&self, segment: &str) {
        let streaming = self.lab.manager.server("main").join("streaming");
        eventually(PATIENCE, "the segment to be received", || {
            names_in(&streaming).any(|name| name.ends_with(".partial") && name.as_str() > segment)
        });
    }
}

/// `pg_backup_stop` looks once a second whether its WAL has been archived. This wakes it at once, for as long as it lives.
fn without_pauses(cluster: &Cluster) -> Background {
    // What wakes a backend also makes it write a page into the server's log, except with this.
    cluster.sql("ALTER ROLE postgres SET log_min_messages = fatal");
    let script = cluster.socket.join("wake.sql");
    let text = "SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity \
                WHERE wait_event = 'BackupWaitWalArchive' \\watch 0.05\n";
    write_file(&script, text, 0o644, &cluster.owner);
    let mut psql = cluster.client("psql");
    psql.args(["-X", "-q", "-d", "postgres", "-f"]).arg(script);
    psql.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Background::start(psql, Signal::SIGTERM)
}

fn is_lock(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".lock")
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
}

/// Removes the files and directories of a directory whose names match.
fn remove_matching(directory: &Path, matches: impl Fn(&str) -> bool) {
    for name in names_in(directory).filter(|name| matches(name)) {
        let path = directory.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}
