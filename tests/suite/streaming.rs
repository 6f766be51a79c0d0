//! WAL by streaming replication: the receiver and both tools, both archivers at once, and the proof that with synchronous
//! replication no acknowledged commit is lost.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::conformance::normalise;
use crate::support::cluster::{Cluster, Version};
use crate::support::diff;
use crate::support::lab::{Lab, LabOptions, Shipping, digest};
use crate::support::process::{Background, Finished, eventually};
use crate::support::tool::Tool;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let (one, other, third) = (tool.clone(), tool.clone(), tool.clone());
    vec![
        Trial::test("streaming::receiver", move || {
            receiver(&one);
            Ok(())
        }),
        Trial::test("streaming::like_barman", move || {
            like_barman(&other);
            Ok(())
        }),
        Trial::test("streaming::no_acknowledged_commit_is_lost", move || {
            no_acknowledged_commit_is_lost(&third);
            Ok(())
        }),
    ]
}

fn streaming_lab(label: &str, tool: &Tool, server: &str) -> Lab {
    let options =
        LabOptions::new(Version::V15).server(&format!("streaming_archiver = on\nslot_name = keep\n{server}"));
    Lab::start(label, tool, &options)
}

/// The process that receives WAL, as the tool lists it.
fn receiver_pid(lab: &Lab, tool: &Tool) -> Option<i32> {
    let listed = lab
        .manager
        .run(tool, &["list-processes", "main"])
        .success()
        .stdout;
    let line = listed.lines().find(|line| line.ends_with(" receive-wal"))?;
    line.split(' ').next()?.parse().ok()
}

/// Waits until the server streams to somebody who uses the slot.
fn wait_streaming(lab: &Lab) {
    eventually(PATIENCE, "the slot to be in use", || {
        lab.cluster
            .sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'keep' AND active")
            == "1"
    });
}

/// Waits until nobody uses the slot.
fn wait_idle(lab: &Lab) {
    eventually(PATIENCE, "the slot to be free", || {
        lab.cluster
            .sql("SELECT count(*) FROM pg_replication_slots WHERE active")
            == "0"
    });
}

/// cron keeps one receiver running, whichever tool's cron, and both tools stop it; both archivers agree.
fn receiver(tool: &Tool) {
    let barman = Tool::barman();
    let lab = streaming_lab("receiver", tool, "create_slot = auto\ncompression = gzip");
    // Makes the directories.
    lab.manager.run(tool, &["check", "--nagios", "main"]);
    lab.manager.run(tool, &["cron"]).success();
    wait_streaming(&lab);
    let pid = receiver_pid(&lab, tool).unwrap();
    assert_eq!(receiver_pid(&lab, &barman), Some(pid));
    // Neither cron starts a second one.
    for tool in [tool, &barman] {
        let said = lab.manager.run(tool, &["cron"]).success().stdout;
        assert!(!said.contains("streaming archiver"), "{said}");
    }
    let refused = lab.manager.run(tool, &["receive-wal", "main"]).exits(1);
    assert!(
        refused
            .stderr
            .contains("Another receive-wal process is already running"),
        "{refused:?}"
    );

    both_archivers_agree(&lab, tool);
    let checked = lab.manager.run(&barman, &["check", "main"]).stdout;
    for line in ["replication slot: OK", "receive-wal running: OK"] {
        assert!(checked.contains(line), "{checked}");
    }

    // A receiver that is killed takes pg_receivewal with it, and the next cron starts another.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_idle(&lab);
    assert_eq!(receiver_pid(&lab, tool), None);
    lab.manager.run(tool, &["cron"]).success();
    wait_streaming(&lab);
    // Each tool stops the other's.
    let said = lab
        .manager
        .run(&barman, &["receive-wal", "--stop", "main"])
        .success()
        .stdout;
    assert!(said.starts_with("Stopped process receive-wal("), "{said}");
    wait_idle(&lab);
    lab.manager.run(&barman, &["cron"]).success();
    wait_streaming(&lab);
    let mut stop = lab.manager.command(tool, &["receive-wal", "--stop", "main"]);
    stop.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stop = Background::start(stop, Signal::SIGINT);
    // pg_receivewal may overlook the one signal that Barman's receiver sends it, until the server speaks to it.
    eventually(PATIENCE, "the receiver to end", || {
        lab.cluster.switch_wal();
        receiver_pid(&lab, tool).is_none()
    });
    let stopped = stop.finish(PATIENCE).success().stdout;
    assert!(stopped.starts_with("Stopped process receive-wal("), "{stopped}");
    wait_idle(&lab);
    // With streaming off, cron stops a receiver that still runs.
    lab.manager.run(tool, &["cron"]).success();
    wait_streaming(&lab);
    lab.configure("streaming_archiver = off");
    let said = lab.manager.run(tool, &["cron"]).success().stdout;
    assert!(said.contains("Stopped process receive-wal("), "{said}");
    wait_idle(&lab);
}

/// Every segment comes twice, and is archived once.
fn both_archivers_agree(lab: &Lab, tool: &Tool) {
    let server = lab.manager.server("main");
    let mut last = String::new();
    for _ in 0..3 {
        last = lab.cluster.switch_wal();
    }
    lab.cluster.wait_archived(&last);
    let beyond = lab.cluster.switch_wal();
    let streamed = server.join("streaming").join(&last);
    let partial = server.join("streaming").join(format!("{beyond}.partial"));
    let archived = || server.join("wals").join(&last[..16]).join(&last).exists();
    eventually(PATIENCE, "the segment to be streamed", || {
        archived()
            || streamed.exists() && (partial.exists() || server.join("streaming").join(&beyond).exists())
    });
    // Several runs: cron's own may be at work, and a run leaves the newest streamed segment.
    eventually(PATIENCE, "the segment to be archived from both", || {
        lab.manager.run(tool, &["archive-wal", "main"]).success();
        archived() && !streamed.exists() && !server.join("incoming").join(&last).exists()
    });
    assert_eq!(std::fs::read_dir(server.join("errors")).unwrap().count(), 0);
    let database = std::fs::read_to_string(server.join("wals/xlog.db"))
        .unwrap_or_else(|_| std::fs::read_to_string(server.join("wals/main-xlog.db")).unwrap());
    let names: Vec<&str> = database
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len(), "{database}");
    assert!(distinct.contains(last.as_str()), "{database}");
}

/// Segments come and are archived. The newest one stays for `pg_receivewal` until the next begins.
fn archive_streamed(lab: &Lab, tool: &Tool) {
    let segment = lab.cluster.switch_wal();
    let archived = lab
        .manager
        .server("main")
        .join("wals")
        .join(&segment[..16])
        .join(&segment);
    eventually(PATIENCE, "the segment to be archived", || {
        lab.cluster.switch_wal();
        lab.manager.run(tool, &["archive-wal", "main"]).success();
        archived.exists()
    });
}

/// What a command says, without what changes from run to run.
fn said(finished: &Finished) -> String {
    let text = format!(
        "exit code {}\n{}\n---\n{}",
        finished.code, finished.stdout, finished.stderr
    );
    let text = normalise::text(&text);
    regex::Regex::new(r"[0-9A-F]+/[0-9A-F]+")
        .unwrap()
        .replace_all(&text, "LSN")
        .into_owned()
}

/// Both tools say the same, in the same state.
#[track_caller]
fn alike(lab: &Lab, tool: &Tool, arguments: &[&str]) {
    for format in ["console", "json"] {
        let words: Vec<&str> = ["-f", format]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let barman = said(&lab.manager.run(&Tool::barman(), &words));
        let barkeep = said(&lab.manager.run(tool, &words));
        if let Some(text) = diff::lines(&barman, &barkeep) {
            panic!("{words:?}\n{text}");
        }
    }
}

fn like_barman(tool: &Tool) {
    let lab = streaming_lab("streamalike", tool, "");
    // Makes the directories.
    lab.manager.run(tool, &["check", "--nagios", "main"]);
    alike(&lab, tool, &["receive-wal", "main"]);
    alike(&lab, tool, &["receive-wal", "--reset", "main"]);
    alike(&lab, tool, &["receive-wal", "--stop", "main"]);
    alike(&lab, tool, &["receive-wal", "--drop-slot", "main"]);
    alike(&lab, tool, &["replication-status", "main"]);
    alike(&lab, tool, &["replication-status", "--minimal", "main"]);
    let barman = Tool::barman();
    let created: Vec<String> = [&barman, tool]
        .map(|tool| {
            let created = said(&lab.manager.run(tool, &["receive-wal", "--create-slot", "main"]));
            let dropped = said(&lab.manager.run(tool, &["receive-wal", "--drop-slot", "main"]));
            format!("{created}\n{dropped}")
        })
        .into();
    assert_eq!(created[0], created[1]);
    lab.manager
        .run(tool, &["receive-wal", "--create-slot", "main"])
        .success();
    alike(&lab, tool, &["receive-wal", "--create-slot", "main"]);
    alike(
        &lab,
        tool,
        &["receive-wal", "--create-slot", "--if-not-exists", "main"],
    );
    let receiver = start_receiver(&lab, tool);
    wait_streaming(&lab);
    for target in ["all", "hot-standby", "wal-streamer"] {
        alike(&lab, tool, &["replication-status", "--target", target, "main"]);
    }
    alike(&lab, tool, &["replication-status", "--minimal", "main"]);
    alike(
        &lab,
        tool,
        &["replication-status", "--source", "wal-host", "main"],
    );
    alike(&lab, tool, &["receive-wal", "main"]);
    alike(&lab, tool, &["receive-wal", "--reset", "main"]);
    alike(&lab, tool, &["receive-wal", "--drop-slot", "main"]);
    // What Barman prints while it receives, until it is stopped.
    receiver.signal(Signal::SIGINT);
    assert_eq!(
        said(&receiver.finish(PATIENCE)),
        "exit code 0\nStarting receive-wal for server main\n\
         main: pg_receivewal: starting log streaming at LSN (timeline 1)\n\
         SIGINT received. Terminate gracefully.\n\n---\n"
    );
}

fn start_receiver(lab: &Lab, tool: &Tool) -> Background {
    let mut command = lab.manager.command(tool, &["receive-wal", "main"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Background::start(command, Signal::SIGINT)
}

/// The primary is killed under load. What it acknowledged is in the cluster that is restored from the backup host alone.
fn no_acknowledged_commit_is_lost(tool: &Tool) {
    let options = LabOptions::new(Version::V15)
        .shipping(Shipping::Copy)
        .setting("archive_mode = off")
        .server("archiver = off\nstreaming_archiver = on\nslot_name = keep\ncreate_slot = auto");
    let mut lab = Lab::start("rpo", tool, &options);
    lab.cluster
        .sql("CREATE TABLE acknowledged (id bigint PRIMARY KEY)");
    let receiver = start_receiver(&lab, tool);
    wait_streaming(&lab);
    // The receiver notices that commits wait for it from now on: else none of those below would be acknowledged.
    lab.cluster
        .sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (barman_receive_wal)'");
    lab.cluster.sql("SELECT pg_reload_conf()");
    eventually(PATIENCE, "what is written to be flushed at once", || {
        lab.cluster.sql(
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= pg_current_wal_lsn()",
        ) == "1"
    });
    archive_streamed(&lab, tool);
    let backup = lab.backup(tool, &[]);
    let clients: Vec<Client> = (0..4).map(|number| Client::start(&lab, number)).collect();
    let acknowledged = || clients.iter().map(Client::count).sum::<usize>();
    eventually(PATIENCE, "commits", || acknowledged() > 400);
    lab.cluster.switch_wal();
    let before = acknowledged();
    // These are in a segment that is not complete.
    eventually(PATIENCE, "commits after a switch", || {
        acknowledged() > before + 400
    });
    kill_everything(&lab.cluster);
    let numbers: Vec<u64> = clients.into_iter().flat_map(Client::finish).collect();
    lab.cluster.crash();
    std::fs::remove_dir_all(&lab.cluster.data).unwrap();
    let ended = receiver.finish(PATIENCE);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("ArchiverFailure:pg_receivewal terminated"),
        "{ended:?}"
    );

    let missing = |options: &[&str], name: &str| {
        let mut restored = lab.restore(tool, name, &backup, options);
        // Nobody is there any more for commits to wait for.
        restored.launch_with(&["synchronous_standby_names="]);
        let there: BTreeSet<u64> = restored
            .sql("SELECT id FROM acknowledged")
            .lines()
            .map(|line| line.parse().unwrap())
            .collect();
        let missing = numbers.iter().filter(|number| !there.contains(number)).count();
        if missing == 0 {
            digest(&restored);
            restored.amcheck();
        }
        missing
    };
    assert_eq!(
        missing(&["--no-get-wal", "--partial-wal"], "whole"),
        0,
        "of {}",
        numbers.len()
    );
    assert!(
        missing(&["--no-get-wal"], "without") > 0,
        "the incomplete segment held nothing"
    );
}

/// A client that inserts numbers, one in each transaction, and notes which were acknowledged.
struct Client {
    psql: Background,
    noted: PathBuf,
}

impl Client {
    fn start(lab: &Lab, number: u64) -> Client {
        let script = lab.cluster.socket.join(format!("client-{number}.sql"));
        let noted = lab.cluster.socket.join(format!("client-{number}.out"));
        let mut file = std::fs::File::create(&script).unwrap();
        for id in number * 1_000_000..number * 1_000_000 + 50_000 {
            writeln!(file, "INSERT INTO acknowledged VALUES ({id});\n\\echo {id}").unwrap();
        }
        let mut psql = lab.cluster.client("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"])
            .arg(&script);
        psql.stdin(Stdio::null())
            .stdout(std::fs::File::create(&noted).unwrap())
            .stderr(Stdio::null());
        Client {
            psql: Background::start(psql, Signal::SIGKILL),
            noted,
        }
    }

    fn count(&self) -> usize {
        std::fs::read(&self.noted)
            .unwrap()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }

    /// Waits until the client has noticed that the server is gone. Returns what was acknowledged.
    fn finish(self) -> Vec<u64> {
        let finished = self.psql.finish(PATIENCE);
        assert_ne!(finished.code, 0, "the server survived");
        let noted = std::fs::read_to_string(&self.noted).unwrap();
        noted.lines().map(|line| line.parse().unwrap()).collect()
    }
}

/// SIGKILL for the postmaster and everything it has started, postmaster first.
fn kill_everything(cluster: &Cluster) {
    let postmaster = cluster.pid();
    let children = children_of(postmaster);
    assert!(children.len() > 5, "{children:?}");
    for pid in std::iter::once(postmaster).chain(children) {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            after_name.split_whitespace().nth(1) == Some(parent.to_string().as_str())
        })
        .collect()
}
