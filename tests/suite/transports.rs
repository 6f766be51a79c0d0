//! The main job over other ways than the agent by OpenSSH: rsync where the agent cannot run, and an `ssh_command` that is
//! a script.

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, mark};
use crate::support::proof::prove;
use crate::support::tool::Tool;

/// A test with the programs under test.
type Check = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Check); 3] = [
        ("a_host_that_greets", greeting),
        ("rsync_where_the_agent_cannot_run", rsync),
        ("an_ssh_command_that_is_a_script", script),
    ];
    tests
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("transports::{name}"), move || {
                test(&tool);
                Ok(())
            })
        })
        .into()
}

const TARGET: [&str; 4] = ["--target-name", "here", "--target-action", "promote"];

/// The first backup is taken by the agent, which then can no longer run: a linked backup and restores go by rsync.
fn rsync(tool: &Tool) {
    let lab = Lab::start("rsync", tool, &LabOptions::new(Version::V15).tablespace());
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(1, 50);
    let by_agent = lab.backup(tool, &[]);
    lab.sshd.block_agent();
    let by_rsync = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "here");
    load.stop();
    lab.archive_everything(tool);
    let log = std::fs::read_to_string(lab.manager.directory.join("barman.log")).unwrap();
    assert_eq!(log.matches("copying with rsync").count(), 1, "{log}");
    for (name, backup) in [("agent", &by_agent), ("rsync", &by_rsync)] {
        let mut restored = lab.restore_remote(tool, name, backup, &TARGET);
        prove(&mut restored, &moment);
    }
}

/// The connection that a backup begins is its check of ssh, too: it must see what the check sees.
fn greeting(tool: &Tool) {
    let mut lab = Lab::start("greeting", tool, &LabOptions::new(Version::V15));
    lab.prepare(tool);
    lab.backup(tool, &[]);
    lab.sshd.greet();
    for tool in [tool, &Tool::barman()] {
        let refused = lab.manager.run(tool, &["backup", "main"]).exits(1).stderr;
        assert!(refused.contains("Impossible to start the backup"), "{refused}");
    }
    let log = std::fs::read_to_string(lab.manager.directory.join("barman.log")).unwrap();
    let refusals = log
        .matches("Check 'ssh output clean' failed for server 'main'")
        .count();
    assert_eq!(refusals, 2, "{log}");
}

/// Nothing of OpenSSH is known then: no master, no options, one process per connection.
fn script(tool: &Tool) {
    let mut lab = Lab::start("script", tool, &LabOptions::new(Version::V15).tablespace());
    lab.ssh_command = lab.sshd.wrapper_for("postgres").display().to_string();
    lab.configure("");
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(1, 50);
    lab.backup(tool, &[]);
    let linked = lab.backup(tool, &["--jobs", "2"]);
    let moment = mark(&lab.cluster, "here");
    load.stop();
    lab.archive_everything(tool);
    let mut restored = lab.restore_remote(tool, "restored", &linked, &TARGET);
    prove(&mut restored, &moment);
    assert!(lab.sshd.session_processes().is_empty());
}
