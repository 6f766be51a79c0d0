//! `config-update`, killed at every step that changes the disk: every file is the old or the new one, and both tools go on.

use std::collections::BTreeMap;

use crate::support::killing::{Killing, SERVER};
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

/// Into two files: that of the section, and one that is not there yet.
const UPDATE: [&str; 2] = [
    "config-update",
    r#"[{"scope": "server", "server_name": "main", "ssh_command": "ssh elsewhere", "description": "new"}]"#,
];
const CALLS: &str = "openat,write,rename,renameat,renameat2,unlink,unlinkat,fsync,fchmod,flock";
const FILES: [&str; 2] = ["barman.conf", "home/.barman.auto.conf"];

pub fn at_every_step(barkeep: &Tool) {
    let scratch = Scratch::new("config-killed");
    let pristine = scratch.join("home");
    std::fs::create_dir_all(pristine.join(SERVER)).unwrap();
    let lab = Killing::new(&scratch, &pristine, "finished");
    let before = texts(&lab);
    lab.command(barkeep, &UPDATE).status().unwrap();
    let after = texts(&lab);
    assert!(
        after["barman.conf"].contains("ssh elsewhere") && after["home/.barman.auto.conf"].contains("= new")
    );
    let barman = Tool::barman();
    let mut queued = 0;
    let kills = Killing::at_every_step(&scratch, &pristine, barkeep, CALLS, &UPDATE, |lab, step| {
        for (name, text) in texts(lab) {
            assert!(
                text == before[&name] || text == after[&name],
                "step {step}: {name}\n{text}"
            );
        }
        let waiting = is_waiting(lab);
        queued += u32::from(waiting);
        // Barman's turn now and then: it takes a third of a second.
        let tool = if step.number % 12 == 0 { &barman } else { barkeep };
        let output = lab.command(tool, &["config-update", "[]"]).output().unwrap();
        assert!(output.status.success(), "step {step}, {}: {output:?}", tool.name);
        let now = texts(lab);
        assert!(
            now == after || !waiting && now == before,
            "step {step}, {}: {now:?}",
            tool.name
        );
    });
    assert!(
        kills > 20 && queued > 10,
        "{kills} steps, {queued} of them with changes that wait"
    );
}

/// The files of the configuration, which differ from lab to lab in its path.
fn texts(lab: &Killing) -> BTreeMap<String, String> {
    let read = |name: &str| std::fs::read_to_string(lab.directory.join(name)).unwrap_or_default();
    let directory = lab.directory.display().to_string();
    let entry = |name: &str| (name.to_owned(), read(name).replace(&directory, "DIR"));
    FILES.into_iter().map(entry).collect()
}

/// Whether the changes have been accepted: they are made then, sooner or later.
fn is_waiting(lab: &Killing) -> bool {
    let queue = lab.directory.join("home/cfg_changes.queue");
    let Ok(text) = std::fs::read_to_string(queue) else {
        return false;
    };
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    !list.is_empty()
}
