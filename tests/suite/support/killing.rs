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

    /// Runs a command that is killed when it has made one of these system calls so many times. Says whether it got as far
    /// as that.
    pub fn killed_at(&self, tool: &Tool, calls: &str, step: u32, words: &[&str]) -> bool {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-e")
            .arg(format!("inject={calls}:signal=KILL:when={step}"))
            .arg(tool.program("barman"));
        let status = self.completed(strace, words).status().unwrap();
        assert!(
            status.success() || status.signal() == Some(9) || status.code() == Some(137),
            "{status:?}"
        );
        !status.success()
    }
}
