//! Changes that wait: for a file that could not be written, for another process.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Stdio;

use super::Host;
use crate::support::diff;
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

const DESCRIBE: &str = r#"[{"scope": "server", "server_name": "one", "description": "later"}]"#;

/// What one tool could not change stays in the queue, until cron of the other one can.
pub fn of_the_other_tool(barkeep: &Tool) {
    let scratch = Scratch::new("queue");
    let barman = Tool::barman();
    let mut files = Vec::new();
    for (number, (first, second)) in [(&barman, barkeep), (barkeep, &barman)].into_iter().enumerate() {
        let host = Host::new(&scratch, &number.to_string());
        let included = host.manager.directory.join("conf.d");
        let file = included.join("b.conf");
        for path in [&included, &file] {
            chown(path, Some(0), Some(0)).unwrap();
        }
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let before = std::fs::read_to_string(&file).unwrap();
        let stuck = host.manager.run(first, &["config-update", DESCRIBE]).exits(1);
        assert!(
            stuck
                .stderr
                .contains("ERROR: Unable to process a set of changes. Exiting.\n"),
            "{}: {}",
            first.name,
            stuck.stderr
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
        let queue = host.manager.home().join("cfg_changes.queue");
        assert!(std::fs::read_to_string(&queue).unwrap().contains("\"later\""));
        for path in [&included, &file] {
            host.manager.account.own(path);
        }
        host.manager.run(second, &["cron"]).success();
        assert_eq!(std::fs::read_to_string(&queue).unwrap(), "[]");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            before.replace("description = One", "description = later")
        );
        files.push(
            host.files()
                .replace(&host.manager.directory.display().to_string(), "DIR"),
        );
    }
    assert_eq!(diff::lines(&files[0], &files[1]), None);
}

/// A file of ours in a directory that is not: it is written in place, as Barman does.
pub fn a_file_that_is_not_ours(barkeep: &Tool) {
    let scratch = Scratch::new("place");
    let tools = [&Tool::barman(), barkeep];
    let [theirs, ours] = ["barman", "barkeep"].map(|name| {
        let host = Host::new(&scratch, name);
        chown(host.manager.directory.join("conf.d"), Some(0), Some(0)).unwrap();
        let tool = tools.iter().find(|tool| tool.name == name).unwrap();
        host.outcome(tool, &["config-update", DESCRIBE])
    });
    assert!(
        ours.starts_with("exit code 0\n") && ours.contains("description = later"),
        "{ours}"
    );
    assert_eq!(diff::lines(&theirs, &ours), None);
}

/// Whoever holds the lock is alone, whichever tool that is; and of many at once those that say so have made their change.
pub fn at_once(barkeep: &Tool) {
    let scratch = Scratch::new("once");
    let host = Host::new(&scratch, "host");
    let barman = Tool::barman();
    let before = host.files();
    let path = host.manager.home().join(".config-update.lock");
    let lock = barkeep::base::lock::LockFile::try_acquire(&path).unwrap();
    host.manager.account.own(&path);
    for tool in [barkeep, &barman] {
        host.manager.run(tool, &["config-update", DESCRIBE]).exits(1);
        assert_eq!(host.files(), before, "{}", tool.name);
        let cron = host.manager.run(tool, &["cron"]);
        assert!(
            cron.stderr
                .contains("another process is updating barman configuration files"),
            "{}: {}{}",
            tool.name,
            cron.stdout,
            cron.stderr
        );
    }
    drop(lock);
    let running: Vec<_> = (0..12)
        .map(|number| {
            let change = format!(r#"[{{"scope": "model", "model_name": "m{number}", "cluster": "main", "bandwidth_limit": "{number}"}}]"#);
            let tool = if number % 6 == 5 { &barman } else { barkeep };
            let mut command = host.manager.command(tool, &["config-update", &change]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            (number, command.spawn().unwrap())
        })
        .collect();
    let mut made = 0;
    let codes: Vec<_> = running
        .into_iter()
        .map(|(number, mut child)| (number, child.wait().unwrap().success()))
        .collect();
    let text = host.files();
    for (number, success) in codes {
        let there = text.contains(&format!(
            "[m{number}]\ncluster = main\nbandwidth_limit = {number}\nmodel = on\n"
        ));
        assert_eq!(there, success, "m{number}\n{text}");
        made += u32::from(success);
    }
    assert!(made > 0 && text.contains("cfg_changes.queue\n[]\n"), "{text}");
}
