//! `barman-wal-archive` with everything that makes it fast: the connection that is kept, the segments sent ahead.
//!
//! Whatever a client or a server was killed in the middle of: what PostgreSQL was told is archived is on the backup host,
//! and nothing is there in part.

mod order;

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::support::catalog::delivered_content;
use crate::support::manager::Manager;
use crate::support::mount::unmount;
use crate::support::process::{Account, Background, Finished, eventually, run};
use crate::support::scratch::{Scratch, write_file};
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool)| {
        let tool = tool.clone();
        Trial::test(format!("sending::{name}"), move || {
            // Barman, as the tool under test, has none of this.
            if std::env::var_os("BARKEEP_TEST_TOOL").is_none() {
                test(&tool);
            }
            Ok(())
        })
    };
    vec![
        with("to_barkeep_over_a_kept_connection", |tool| {
            kept_connection(tool, tool)
        }),
        with("to_barman_over_a_kept_connection", |tool| {
            kept_connection(tool, &Tool::barman())
        }),
        with("either_side_killed_again_and_again", killed),
        with("on_full_disks", full_disks),
        with(
            "nothing_is_acknowledged_before_it_is_on_disk",
            order::of_the_server,
        ),
        with("nothing_is_noted_before_it_is_acknowledged", order::of_the_client),
    ]
}

/// Two hosts without PostgreSQL: a directory of segments that wait, and a manager.
pub struct Hosts {
    pub scratch: Scratch,
    pub manager: Manager,
    pub wal: PathBuf,
}

impl Hosts {
    pub fn new(label: &str, server: &Tool) -> Hosts {
        let scratch = Scratch::new(label);
        let manager = Manager::new(&scratch.join("manager"));
        let body = "conninfo = host=127.0.0.1 port=1 user=postgres\nssh_command = ssh -p 1 nobody@127.0.0.1\n\
                    archiver = on\nbackup_options = concurrent_backup\n";
        manager.configure("", &[("main", body.to_owned())]);
        manager.run(server, &["check", "main"]);
        let postgres = Account::postgres();
        let wal = scratch.directory("data/pg_wal", &postgres);
        scratch.directory("data/pg_wal/archive_status", &postgres);
        scratch.directory("tmp", &postgres);
        Hosts {
            scratch,
            manager,
            wal,
        }
    }

    /// Segment files that are ready to be archived.
    fn ready(&self, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            let name = name(number);
            write_file(
                &self.wal.join(&name),
                content(number),
                0o600,
                &Account::postgres(),
            );
            let status = self.wal.join(format!("archive_status/{name}.ready"));
            write_file(&status, "", 0o600, &Account::postgres());
        }
    }

    /// The call that PostgreSQL makes for a segment, with `ssh` from the directory `bin`.
    fn call(&self, tool: &Tool, bin: &Path, number: u32) -> Command {
        let program = Command::new(tool.program("barman-wal-archive"));
        let mut command = Account::postgres().applied_to(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.scratch.join("tmp"))
            .env("TMPDIR", self.scratch.join("tmp"))
            .current_dir(self.scratch.join("data"))
            .args(["--persist", "30", "--look-ahead", "4", "-c"])
            .arg(self.manager.config_file())
            .args(["backup-host", "main"])
            .arg(format!("pg_wal/{}", name(number)));
        command
    }

    pub fn incoming(&self) -> PathBuf {
        self.manager.server("main").join("incoming")
    }

    /// The numbers of the segments that the backup host has; each is whole.
    fn arrived(&self) -> BTreeSet<u32> {
        (1..=100)
            .filter(
                |number| match std::fs::read(self.incoming().join(name(*number))) {
                    Ok(found) => {
                        assert!(found == content(*number), "{number} is whole");
                        true
                    }
                    Err(_) => false,
                },
            )
            .collect()
    }

    /// PostgreSQL notes that a segment is archived.
    fn take_notice(&self, number: u32) {
        let status = |state: &str| self.wal.join(format!("archive_status/{}.{state}", name(number)));
        std::fs::rename(status("ready"), status("done")).unwrap();
    }

    /// What the client has noted of what was acknowledged.
    fn notes(&self) -> String {
        let entries = std::fs::read_dir(self.private()).into_iter().flatten().flatten();
        let notes = entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "sent"));
        notes
            .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
            .collect()
    }

    /// The client's private directory.
    fn private(&self) -> PathBuf {
        self.scratch
            .join(format!("tmp/.barkeep.{}", Account::postgres().uid))
    }

    /// The sockets of the connections that are kept.
    fn sockets(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.private()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
            .map(|entry| entry.path())
            .collect()
    }
}

pub fn name(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

/// 1 MiB, the smallest segment that PostgreSQL has.
pub fn content(number: u32) -> Vec<u8> {
    delivered_content(&name(number))
}

fn connections(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey for barman").count()
}

fn kept_connection(client: &Tool, server: &Tool) {
    let hosts = Hosts::new("send", server);
    let mut sshd = Sshd::start(&hosts.scratch, &[server.path()], &hosts.manager.config_file());
    let call = |sshd: &Sshd, number: u32| -> Finished { run(hosts.call(client, &sshd.bin, number)) };
    let quiet = |finished: Finished| assert_eq!(finished.clone().success().stderr, "", "{finished:?}");
    // Segments 1 to 5 go at once. Behind them 6 to 9 go in the background; there it ends, as nobody has asked for 5 yet.
    hosts.ready(1..=12);
    quiet(call(&sshd, 1));
    assert!(hosts.arrived().is_superset(&(1..=5).collect()));
    eventually(Duration::from_secs(20), "what waits to be sent", || {
        hosts.arrived().contains(&9) && hosts.notes().contains("\nalone 0\n")
    });
    assert_eq!(hosts.arrived(), (1..=9).collect());
    assert_eq!(connections(&sshd), 1);
    // A Barman does not understand the quicker checksums.
    let understood = hosts.notes().contains("\nxxh128 yes\n");
    assert_eq!(understood, server.name == "barkeep", "{}", hosts.notes());
    for number in 2..=9 {
        quiet(call(&sshd, number));
        hosts.take_notice(number);
    }
    assert_eq!(hosts.arrived(), (1..=9).collect());
    // The connection is used again.
    quiet(call(&sshd, 10));
    assert_eq!(hosts.arrived(), (1..=12).collect());
    assert_eq!(connections(&sshd), 1);
    // It breaks: the next call makes another.
    sshd.cut_connections();
    eventually(
        Duration::from_secs(20),
        "the broken connection to be given up",
        || hosts.sockets().is_empty(),
    );
    hosts.ready(13..=13);
    quiet(call(&sshd, 13));
    assert_eq!(hosts.arrived(), (1..=13).collect());
    assert_eq!(connections(&sshd), 2);
    // The backup host takes no new connections: this one is enough for what comes, and what it has is not asked about.
    sshd.stop_listening();
    hosts.ready(14..=14);
    quiet(call(&sshd, 14));
    assert_eq!(hosts.arrived(), (1..=14).collect());
    close(&hosts, &sshd);
    for number in 11..=12 {
        quiet(call(&sshd, number));
    }
    // A segment that was written anew is no longer what was acknowledged.
    write_file(
        &hosts.wal.join(name(11)),
        content(99),
        0o600,
        &Account::postgres(),
    );
    assert_eq!(call(&sshd, 11).code, 3);
    assert_eq!(hosts.arrived(), (1..=14).collect());
}

/// Ends the kept connections, as their time would.
fn close(hosts: &Hosts, sshd: &Sshd) {
    let sockets = hosts.sockets();
    assert!(!sockets.is_empty(), "no connection was kept");
    for socket in sockets {
        let mut ssh = Command::new(sshd.bin.join("ssh"));
        ssh.arg("-S").arg(socket).args(["-O", "exit", "backup-host"]);
        run(ssh).success();
    }
    eventually(Duration::from_secs(20), "the connections to end", || {
        hosts.sockets().is_empty()
    });
}

/// Hosts that share a machine: what stands for ssh starts `put-wal` as the client's child, which sees the client's end as
/// it would see that of a connection. It leaves its process id in `data/pid`.
fn joined(label: &str, tool: &Tool) -> (Hosts, PathBuf) {
    let hosts = Hosts::new(label, tool);
    let root = Account::named("root");
    let bin = hosts.scratch.directory("bin", &root);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *put-wal*) ;; *) exit 1 ;; esac\necho $$ > pid\n\
         exec setpriv --reuid=barman --regid=barman --clear-groups {} -q -c {} put-wal main\n",
        tool.program("barman").display(),
        hosts.manager.config_file().display()
    );
    write_file(&bin.join("ssh"), script, 0o755, &root);
    root.own(&hosts.scratch.join("tmp"));
    (hosts, bin)
}

/// A call as root, who alone may become the other account.
fn call_as_root(hosts: &Hosts, tool: &Tool, bin: &Path, number: u32) -> Command {
    Account::named("root").applied_to(hosts.call(tool, bin, number))
}

/// Client and server are killed at many moments of deliveries of several files.
fn killed(tool: &Tool) {
    let (hosts, bin) = joined("killed", tool);
    let pid_file = hosts.scratch.join("data/pid");
    hosts.ready(1..=60);
    let (mut told, mut cut) = (BTreeSet::new(), 0);
    for round in 0..36_u64 {
        let next = (1..=60).find(|number| !told.contains(number)).unwrap();
        let _ = std::fs::remove_file(&pid_file);
        let mut command = call_as_root(&hosts, tool, &bin, next);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Background::start(command, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(round / 2 * 4));
        let server = round % 2 == 1 && kill_server(&pid_file);
        if round % 2 == 0 {
            running.signal(Signal::SIGKILL);
        }
        let code = running.finish(Duration::from_secs(20)).code;
        if code == 0 {
            told.insert(next);
        }
        cut += u32::from(server || code != 0);
        // Without its notes the next call sends several again, and not only one as after any failure. With them it must
        // not believe that anything arrived at a server that was killed.
        if !server {
            for entry in std::fs::read_dir(hosts.scratch.join("tmp/.barkeep.0"))
                .into_iter()
                .flatten()
                .flatten()
            {
                if entry.path().extension().is_some_and(|ending| ending == "sent") {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        let arrived = hosts.arrived();
        assert!(told.is_subset(&arrived), "{told:?} of {arrived:?}");
    }
    assert!(cut > 5, "only {cut} calls were cut in the middle");
    for number in 1..=60 {
        run(call_as_root(&hosts, tool, &bin, number)).success();
    }
    assert_eq!(hosts.arrived(), (1..=60).collect());
    let errors = hosts.manager.server("main").join("errors");
    assert_eq!(std::fs::read_dir(errors).unwrap().count(), 0);
}

/// Kills the `put-wal` that runs, if one does.
fn kill_server(pid_file: &Path) -> bool {
    let Some(pid) = std::fs::read_to_string(pid_file)
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
    else {
        return false;
    };
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("put-wal")
        && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

/// The disk of the notes is full: segments go one by one. The backup host's is: what it has no room for stays, and what it
/// has acknowledged is there.
fn full_disks(tool: &Tool) {
    let (hosts, bin) = joined("fullsend", tool);
    hosts.ready(1..=12);
    let tmp = hosts.scratch.join("tmp");
    let notes = Memory::mount(&tmp, 64 << 10, &Account::named("root"));
    std::fs::write(tmp.join("filler"), vec![0; 60 << 10]).unwrap();
    let call = |number| run(call_as_root(&hosts, tool, &bin, number));
    let finished = call(1).success();
    assert!(
        finished.stderr.contains("WAL files are sent one by one"),
        "{}",
        finished.stderr
    );
    assert_eq!(hosts.arrived(), [1].into());
    drop(notes);

    let incoming = hosts.incoming();
    let disk = Memory::mount(&incoming, 7 << 20, &hosts.manager.account);
    let mut told = BTreeSet::new();
    for number in 2..=12 {
        // The notes of a call that failed would keep the next from sending several.
        if call(number).code == 0 {
            told.insert(number);
        } else {
            std::fs::read_dir(tmp.join(".barkeep.0"))
                .unwrap()
                .flatten()
                .for_each(|entry| {
                    std::fs::remove_file(entry.path()).unwrap();
                });
        }
    }
    let arrived = hosts.arrived();
    assert!(told.len() >= 4 && told.len() <= 7, "{told:?}");
    assert!(told.is_subset(&arrived), "{told:?} of {arrived:?}");
    let left: Vec<_> = std::fs::read_dir(&incoming)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.iter().all(|name| name.len() == 24), "{left:?}");
    drop(disk);
}

/// A small file system in memory, for one test.
pub struct Memory(PathBuf);

impl Memory {
    pub fn mount(at: &Path, bytes: u32, owner: &Account) -> Memory {
        let mut mount = Command::new("mount");
        mount
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes},mode=755,uid={},gid={}", owner.uid, owner.gid),
                "none",
            ])
            .arg(at);
        run(mount).success();
        crate::support::cleanup::watch_mount(at);
        Memory(at.to_path_buf())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        unmount(&self.0);
        crate::support::cleanup::forget_mount(&self.0);
    }
}
