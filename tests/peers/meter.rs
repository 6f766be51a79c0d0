//! What an operation costs: time, CPU on each side, peak memory of each process, bytes over the loopback interface.
//!
//! CPU time is exact: it is read from the ended process before it is waited for, with everything it waited for itself,
//! and from the daemons on the far side, which wait for their sessions. Daemonised ssh masters become our children
//! (we are their subreaper). Peak memory is the highest `VmHWM` seen by looking often.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::support::process::Finished;
use crate::support::sshd::descendants;

/// How often processes are looked at for their peak memory.
const LOOK: Duration = Duration::from_millis(40);
/// How long sessions of the far side may take to end after the operation has.
const SETTLE: Duration = Duration::from_secs(5);

/// The cost of one operation.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    pub seconds: f64,
    /// CPU seconds of the processes started here, and of those started by sshd and PostgreSQL.
    pub near_cpu: f64,
    pub far_cpu: f64,
    /// Peak memory in bytes of the largest process of each side, ssh and sshd aside.
    pub near_peak: u64,
    pub far_peak: u64,
    /// Bytes over the loopback interface.
    pub wire: u64,
    /// Bytes that the operation stored, where that is known.
    pub stored: Option<u64>,
}

/// Measures; `daemons` are the listening processes of the far side.
#[derive(Debug, Clone)]
pub struct Meter {
    pub daemons: Vec<u32>,
}

impl Meter {
    /// Runs a command to its end and says what it cost. The disk is idle when it starts.
    pub fn run(&self, mut command: Command, what: &str) -> Result<Cost, String> {
        reap_orphans(&[], &BTreeSet::new());
        nix::unistd::sync();
        let far_before: f64 = self.daemons.iter().map(|pid| cpu_with_children(*pid)).sum();
        let there_before: BTreeSet<u32> = self.daemons.iter().flat_map(|pid| descendants(*pid)).collect();
        let wire_before = loopback_bytes();
        let output = tempfile();
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(|e| e.to_string())?)
            .stderr(output.try_clone().map_err(|e| e.to_string())?);
        let begin = Instant::now();
        #[allow(clippy::zombie_processes)] // waited for below, after a look at what it used
        let mut child = command
            .spawn()
            .map_err(|e| format!("cannot start {command:?}: {e}"))?;
        crate::support::cleanup::watch_process(child.id());
        let over = AtomicBool::new(false);
        let (seconds, peaks) = std::thread::scope(|scope| {
            let looking = scope.spawn(|| self.watch_peaks(&over, &there_before));
            let ended = waitid(
                Id::Pid(Pid::from_raw(child.id() as i32)),
                WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
            );
            let seconds = begin.elapsed().as_secs_f64();
            over.store(true, Ordering::SeqCst);
            ended
                .map_err(|e| e.to_string())
                .map(|_| (seconds, looking.join().unwrap_or_default()))
        })?;
        let main_cpu = cpu_with_children(child.id());
        let status = child.wait().map_err(|e| e.to_string())?;
        crate::support::cleanup::forget_process(child.id());
        self.settle(&there_before);
        let far_after: f64 = self.daemons.iter().map(|pid| cpu_with_children(*pid)).sum();
        let (orphans_near, orphans_far) = reap_orphans(&self.daemons, &peaks.seen_far);
        let cost = Cost {
            seconds,
            near_cpu: main_cpu + orphans_near,
            far_cpu: far_after - far_before + orphans_far,
            near_peak: peaks.near,
            far_peak: peaks.far,
            wire: loopback_bytes() - wire_before,
            stored: None,
        };
        if status.success() {
            Ok(cost)
        } else {
            Err(format!("{what} failed: {}", said(output)))
        }
    }

    /// Until every session that this operation opened has ended: only then the daemons have its CPU time.
    fn settle(&self, before: &BTreeSet<u32>) {
        let deadline = Instant::now() + SETTLE;
        let is_new = |pid: &u32| !before.contains(pid) && !is_zombie(*pid);
        while self
            .daemons
            .iter()
            .flat_map(|pid| descendants(*pid))
            .any(|pid| is_new(&pid))
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn watch_peaks(&self, over: &AtomicBool, before: &BTreeSet<u32>) -> Peaks {
        let mut peaks = Peaks::default();
        while !over.load(Ordering::SeqCst) {
            let far: BTreeSet<u32> = self.daemons.iter().flat_map(|pid| descendants(*pid)).collect();
            for pid in &far {
                if !before.contains(pid) {
                    peaks.far = peaks.far.max(peak(*pid));
                    peaks.seen_far.insert(*pid);
                }
            }
            for pid in descendants(std::process::id()) {
                if peaks.seen_far.contains(&pid) {
                    peaks.far = peaks.far.max(peak(pid));
                } else if !far.contains(&pid) && !self.daemons.contains(&pid) {
                    peaks.near = peaks.near.max(peak(pid));
                }
            }
            std::thread::sleep(LOOK);
        }
        peaks
    }
}

#[derive(Default)]
struct Peaks {
    near: u64,
    far: u64,
    /// Processes of the far side: one whose session ended before it did is handed to us.
    seen_far: BTreeSet<u32>,
}

/// `VmHWM` in bytes; 0 for ssh itself, for PostgreSQL's own processes, and for what has ended.
fn peak(pid: u32) -> u64 {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if field("Name:").is_none_or(|name| ["ssh", "sshd", "postgres", "sh"].contains(&name)) {
        return 0;
    }
    let kib = field("VmHWM:").and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// User and system time of a process and of the children that it has waited for, in seconds.
fn cpu_with_children(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    // Fields 14 to 17 of proc(5); the first here is the third.
    let ticks: u64 = (11..=14)
        .filter_map(|index| fields.get(index)?.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| rest.trim_start().starts_with('Z'))
}

/// Waits for ended processes that were handed to us, and says what CPU time they used: those of the near side, and
/// those `seen_far`.
fn reap_orphans(daemons: &[u32], seen_far: &BTreeSet<u32>) -> (f64, f64) {
    // Masters get a moment to end.
    let deadline = Instant::now() + SETTLE;
    let mut used = (0.0, 0.0);
    loop {
        let mut running = false;
        for pid in own_children() {
            if daemons.contains(&pid) {
                continue;
            }
            if is_zombie(pid) {
                if seen_far.contains(&pid) {
                    used.1 += cpu_with_children(pid);
                } else {
                    used.0 += cpu_with_children(pid);
                }
                let _ = waitpid(Pid::from_raw(pid as i32), None);
            } else if !daemons.is_empty() && is_ssh(pid) {
                running = true;
            }
        }
        if !running || Instant::now() > deadline {
            return used;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_ssh(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "ssh")
}

fn own_children() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// Bytes that went over this network namespace's loopback interface.
fn loopback_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"));
    let received = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    received.unwrap_or(0)
}

/// A file without a name, for what a program says.
fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!(".bench-output-{}", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a temporary file");
    let _ = std::fs::remove_file(path);
    file
}

/// The last lines of what a program said.
fn said(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

/// A step that is not measured.
pub fn unmeasured(finished: Finished, what: &str) -> Result<Finished, String> {
    if finished.code == 0 {
        return Ok(finished);
    }
    let all = format!("{}\n{}", finished.stdout, finished.stderr);
    let lines: Vec<&str> = all.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(format!(
        "{what} failed: {}",
        lines[lines.len().saturating_sub(3)..].join(" | ")
    ))
}

/// Bytes that a tree takes on disk; every inode counts once.
pub fn stored(root: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
        if let Ok(metadata) = entry.metadata() {
            seen.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
        }
    }
    seen.values().sum()
}
