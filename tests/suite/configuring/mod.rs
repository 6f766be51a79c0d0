//! `config-update`, `config-switch`, models and the queue of changes, beside real Barman: the same words, the same files, and
//! a queue that either tool goes on with.

mod killed;
mod queued;
mod story;

use std::path::Path;

use libtest_mimic::Trial;

use crate::support::manager::Manager;
use crate::support::scratch::{Scratch, make_directory, write_file};
use crate::support::tool::Tool;
use crate::support::tree::files_with_text;

/// The tests of this module.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Tool)| {
        let tool = barkeep.clone();
        Trial::test(format!("configuring::{name}"), move || {
            test(&tool);
            Ok(())
        })
    };
    vec![
        trial("story", story::as_barman_does),
        trial("what_barman_corrupts", story::what_barman_corrupts),
        trial("queue", queued::of_the_other_tool),
        trial("a_file_that_is_not_ours", queued::a_file_that_is_not_ours),
        trial("at_once", queued::at_once),
        trial("killed", killed::at_every_step),
    ]
}

/// A server that nothing is started for.
const INACTIVE: &str = "archiver = on\nbackup_options = concurrent_backup\nssh_command = ssh nowhere\nconninfo = host=/nonexistent\nactive = false";

/// A backup host whose configuration is in several files, with a blank line after each section: there Barman adds one option,
/// and glues the second one to it.
struct Host {
    manager: Manager,
}

impl Host {
    fn new(scratch: &Scratch, name: &str) -> Host {
        let manager = Manager::new(&scratch.join(name));
        let included = manager.directory.join("conf.d");
        make_directory(&included, &manager.account);
        let sections = [
            (
                "main",
                format!("description = Main\nparallel_jobs = 8\n{INACTIVE}"),
            ),
            (
                "small",
                "model = on\ncluster = main\nparallel_jobs = 1\n; slower\nnetwork_compression = true"
                    .to_owned(),
            ),
            ("foreign", "model = on\ncluster = elsewhere".to_owned()),
        ];
        let global = format!(
            "compression = gzip\nparallel_jobs = 4\nconfiguration_files_directory = {}",
            included.display()
        );
        manager.configure(&global, &sections);
        let text =
            format!("# ours\n[one]\ndescription = One\n{INACTIVE}\n\n# the other\n[two]\n{INACTIVE}\n\n");
        write_file(&included.join("b.conf"), text, 0o640, &manager.account);
        Host { manager }
    }

    /// What the command printed, its exit code, and every file of the configuration afterwards.
    fn outcome(&self, tool: &Tool, words: &[&str]) -> String {
        let finished = self.manager.run(tool, words);
        let text = format!(
            "exit code {}\n{}{}=== files\n{}",
            finished.code,
            finished.stdout,
            finished.stderr,
            self.files()
        );
        let directory = self.manager.directory.display().to_string();
        crate::conformance::normalise::text(&text.replace(&directory, "DIR"))
    }

    /// The files by name, without the blank lines.
    fn files(&self) -> String {
        let mut text = String::new();
        for (name, content) in files_with_text(&self.manager.directory, is_configuration) {
            if is_configuration(Path::new(&name)) {
                text.push_str(&format!("--- {name}\n"));
                let lines = content.lines().filter(|line| !line.is_empty());
                lines.for_each(|line| text.push_str(&format!("{line}\n")));
            }
        }
        text
    }
}

fn is_configuration(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".conf") || name.ends_with(".queue") || name == ".active-model.auto"
}
