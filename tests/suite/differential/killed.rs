//! `delete`, killed at every step that changes the disk: nothing good may look damaged, nothing damaged good, and a
//! repeated delete, by either tool, must finish the work.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::catalog::{BackupStatus, Catalog, Layout};
use barkeep::codec::Detector;

use super::deletion::{copy_of, files};
use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

const SERVER: &str = "main";
/// A full backup with an incremental one on it: the oldest of the catalog, so WAL goes with it.
const ROOT: &str = "20240101T000000";
/// The system calls that change a disk.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,ftruncate,fsync,fdatasync";

pub fn every_step_of_delete(barkeep: &Tool) {
    let scratch = Scratch::new("killed");
    let pristine = scratch.join("home");
    build(&pristine);
    let before = files(&pristine.join(SERVER));
    let finished = Lab::new(&scratch, &pristine, "finished");
    assert!(finished.delete(barkeep).status().unwrap().success());
    let after = finished.files();

    let mut kills = 0;
    for step in 1.. {
        let lab = Lab::new(&scratch, &pristine, &format!("step{step}"));
        if !lab.delete_killed_at(barkeep, step) {
            break;
        }
        kills += 1;
        lab.check_what_is_good(&before, step);
        // Barman's turn now and then: it takes a third of a second.
        let tool = if step % 5 == 0 {
            Tool::barman()
        } else {
            barkeep.clone()
        };
        lab.finish(&tool, step);
        assert_eq!(
            lab.files(),
            after,
            "after a kill at step {step}, finished by {}",
            tool.name
        );
        std::fs::remove_dir_all(&lab.directory).unwrap();
    }
    assert!(kills > 30, "only {kills} steps were found: is strace at work?");
}

fn build(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    let mut root = Backup::done(ROOT, 2, 3);
    let mut child = Backup::done("20240102T000000", 4, 4);
    (root.mode, child.mode) = ("postgres", "postgres");
    (root.children, child.parent) = (Some("20240102T000000"), Some(ROOT));
    for backup in [
        root,
        child,
        Backup::done("20240103T000000", 6, 7),
        Backup::done("20240104T000000", 9, 9),
    ] {
        catalog.backup(&backup);
    }
    catalog.segments(1, 1, 10, None);
    catalog.finish();
}

struct Lab {
    directory: PathBuf,
}

impl Lab {
    fn new(scratch: &Scratch, pristine: &Path, name: &str) -> Lab {
        let directory = scratch.join(name);
        std::fs::create_dir(&directory).unwrap();
        copy_of(pristine, &directory.join("home"));
        let config = format!(
            "[barman]\nbarman_home = {0}/home\nbarman_user = root\nlog_file = {0}/barman.log\n\n[{SERVER}]\narchiver = on\n\
             backup_options = concurrent_backup\nssh_command = ssh nowhere\nconninfo = host=/nonexistent\n",
            directory.display()
        );
        std::fs::write(directory.join("barman.conf"), config).unwrap();
        Lab { directory }
    }

    fn catalog(&self) -> Catalog {
        Catalog::at(
            Layout::under(&self.directory.join("home"), SERVER),
            Detector::default(),
        )
    }

    fn files(&self) -> std::collections::BTreeMap<String, String> {
        let mut files = files(&self.directory.join("home").join(SERVER));
        // What a kill leaves of a file half written; the next writer takes the name again.
        files.retain(|name, _| !name.ends_with(".tmp"));
        files
    }

    fn delete(&self, tool: &Tool) -> Command {
        self.command(Command::new(tool.program("barman")))
    }

    fn command(&self, mut command: Command) -> Command {
        command
            .arg("-q")
            .arg("-c")
            .arg(self.directory.join("barman.conf"))
            .args(["delete", SERVER, ROOT]);
        command
    }

    /// Says whether the command got as far as that step.
    fn delete_killed_at(&self, tool: &Tool, step: u32) -> bool {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={CALLS}"))
            .arg("-e")
            .arg(format!("inject={CALLS}:signal=KILL:when={step}"))
            .arg(tool.program("barman"));
        let status = self.command(strace).status().unwrap();
        assert!(
            status.success() || status.signal() == Some(9) || status.code() == Some(137),
            "{status:?}"
        );
        !status.success()
    }

    /// Whatever is called good is whole: data, and the WAL it needs, on disk and in the database.
    fn check_what_is_good(&self, before: &std::collections::BTreeMap<String, String>, step: u32) {
        let catalog = self.catalog();
        let now = self.files();
        let recorded: Vec<String> = catalog
            .xlogdb()
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().name)
            .collect();
        let backups = catalog.backups().unwrap();
        for info in backups.values().filter(|info| info.status == BackupStatus::Done) {
            let data = format!("base/{}/", info.id);
            for name in before.keys().filter(|name| name.starts_with(&data)) {
                assert!(
                    now.contains_key(name),
                    "step {step}: {} is DONE but {name} is gone",
                    info.id
                );
            }
            for segment in info.required_segments().map(|segment| segment.to_string()) {
                assert!(
                    recorded.contains(&segment),
                    "step {step}: {} lacks {segment} in xlog.db",
                    info.id
                );
                assert!(
                    catalog.layout().wal_path(&segment).unwrap().is_file(),
                    "step {step}: {segment} is gone"
                );
            }
        }
        for id in ["20240103T000000", "20240104T000000"] {
            assert!(
                backups
                    .values()
                    .any(|info| info.id.as_str() == id && info.status == BackupStatus::Done)
            );
        }
    }

    fn finish(&self, tool: &Tool, step: u32) {
        let there = |catalog: &Catalog| catalog.backups().unwrap().keys().any(|id| id.as_str() == ROOT);
        if there(&self.catalog()) {
            let output = self.delete(tool).output().unwrap();
            assert!(output.status.success(), "step {step}, {}: {output:?}", tool.name);
        }
        assert!(!there(&self.catalog()), "step {step}, {}", tool.name);
        // What cron does.
        self.catalog().remove_leftovers().unwrap();
    }
}
