//! Commands that are killed at each step: a catalog of its own for every kill, and no server behind it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::catalog::{Catalog, Layout};
use barkeep::codec::Detector;

use super::scratch::Scratch;
use super::tool::Tool;
use super::tree::{copy_of, files};

/// The server of the catalog.
pub const SERVER: &str = "main";

/// The steps at which a command is killed: each of these system calls, each time that it is made.
///
/// strace counts every call of a set by itself (and in every thread by itself), so it must be given one at a time.
pub struct Steps {
    calls: std::vec::IntoIter<String>,
    call: Option<String>,
    time: u32,
    number: u32,
    stride: u32,
}

/// A call, and which time it is made.
pub struct Step {
    call: String,
    time: u32,
    /// Of all steps, from 1.
    pub number: u32,
}

impl Steps {
    /// Steps at these calls, which are separated by commas.
    pub fn of(calls: &str) -> Steps {
        let calls: Vec<String> = calls.split(',').map(|call| call.trim().to_owned()).collect();
        let mut calls = calls.into_iter();
        Steps {
            call: calls.next(),
            calls,
            time: 0,
            number: 0,
            stride: 1,
        }
    }

    /// The first time of each call, and then only every so many.
    pub fn every(mut self, stride: u32) -> Steps {
        self.stride = stride;
        self
    }

    /// The command got through: it does not make this call so often.
    pub fn got_through(&mut self) {
        self.call = self.calls.next();
        self.time = 0;
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.time += if self.time == 0 { 1 } else { self.stride };
        self.number += 1;
        Some(Step {
            call: self.call.clone()?,
            time: self.time,
            number: self.number,
        })
    }
}

impl Step {
    /// The arguments of strace that kill the command that follows here.
    pub fn arguments(&self) -> [String; 8] {
        let Step { call, time, .. } = self;
        let inject = format!("inject={call}:signal=KILL:when={time}");
        let trace = format!("trace={call}");
        ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} ({} number {})", self.number, self.call, self.time)
    }
}

/// A catalog and its configuration.
pub struct Killing {
    pub directory: PathBuf,
}

impl Killing {
    /// A copy of a catalog.
    pub fn new(scratch: &Scratch, pristine: &Path, name: &str) -> Killing {
        let directory = scratch.join(name);
        std::fs::create_dir(&directory).unwrap();
        copy_of(pristine, &directory.join("home"));
        let config = format!(
            "[barman]\nbarman_home = {0}/home\nbarman_user = root\nlog_file = {0}/barman.log\n\n[{SERVER}]\narchiver = on\n\
             backup_options = concurrent_backup\nssh_command = ssh nowhere\nconninfo = host=/nonexistent\n",
            directory.display()
        );
        std::fs::write(directory.join("barman.conf"), config).unwrap();
        Killing { directory }
    }

    /// Runs a command on copies of a catalog, each killed at another step, and hands each copy to `examine`. Gives how many
    /// were killed.
    pub fn at_every_step(
        scratch: &Scratch,
        pristine: &Path,
        tool: &Tool,
        calls: &str,
        words: &[&str],
        mut examine: impl FnMut(&Killing, &Step),
    ) -> u32 {
        let mut kills = 0;
        let mut steps = Steps::of(calls);
        while let Some(step) = steps.next() {
            let lab = Killing::new(scratch, pristine, &format!("step{}", step.number));
            if lab.killed_at(tool, &step, words) {
                kills += 1;
                examine(&lab, &step);
            } else {
                steps.got_through();
            }
            std::fs::remove_dir_all(&lab.directory).unwrap();
        }
        kills
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::at(
            Layout::under(&self.directory.join("home"), SERVER),
            Detector::default(),
        )
    }

    /// Everything of the server, without what a kill leaves of a file half written: the next writer takes its name again.
    pub fn files(&self) -> BTreeMap<String, String> {
        let mut files = files(&self.directory.join("home").join(SERVER));
        files.retain(|name, _| !name.ends_with(".tmp"));
        files
    }

    /// A command of the tool, quiet.
    pub fn command(&self, tool: &Tool, words: &[&str]) -> Command {
        self.completed(Command::new(tool.program("barman")), words)
    }

    fn completed(&self, mut command: Command, words: &[&str]) -> Command {
        command
            .arg("-q")
            .arg("-c")
            .arg(self.directory.join("barman.conf"))
            .args(words);
        command
    }

    /// Runs a command that is killed at a step. Says whether it got as far as that.
    fn killed_at(&self, tool: &Tool, step: &Step, words: &[&str]) -> bool {
        let mut strace = Command::new("strace");
        strace.args(step.arguments()).arg(tool.program("barman"));
        let status = self.completed(strace, words).status().unwrap();
        assert!(
            status.success() || status.signal() == Some(9) || status.code() == Some(137),
            "{status:?}"
        );
        !status.success()
    }
}
