//! The sample hook scripts, installed as their headers say.

use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions};
use crate::support::process::{Account, Finished, run};
use crate::support::scratch::write_file;
use crate::support::tool::Tool;

type Test = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Test); 3] = [
        ("verify_backup", verify_backup),
        ("restore_drill", restore_drill),
        ("notify", notify),
    ];
    tests
        .into_iter()
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("sample_hooks::{name}"), move || {
                test(&tool);
                Ok(())
            })
        })
        .collect()
}

fn lab(label: &str, tool: &Tool) -> Lab {
    let options = LabOptions::new(Version::V15).tablespace();
    let lab = Lab::start(label, tool, &options);
    lab.prepare(tool);
    lab
}

/// The script, copied to where every account can read it.
fn installed(lab: &Lab, name: &str) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hooks").join(name);
    let place = lab.scratch.join(name);
    let text = std::fs::read_to_string(source).unwrap();
    write_file(&place, text, 0o755, &Account::barman());
    place
}

fn verify_backup(tool: &Tool) {
    let lab = lab("verify", tool);
    let script = installed(&lab, "verify-backup");
    let program = tool.program("barman");
    lab.configure(&format!(
        "autogenerate_manifest = true\n\
         pre_recovery_script = true\n\
         post_backup_script = BARMAN_COMMAND={} VERIFY_NOTIFY='echo DAMAGED >&2' {}\n",
        program.display(),
        script.display()
    ));
    lab.manager.run(tool, &["backup", "--wait", "main"]).success();
    assert!(
        !lab.manager.log().contains("verify-backup:"),
        "{}",
        lab.manager.log()
    );

    // The same script for a backup that has been damaged since.
    let id = newest(&lab);
    let victim = lab.base(&id).join("data/PG_VERSION");
    std::fs::write(victim, "16\n").unwrap();
    let by_hand = |status: &str| {
        let mut command = lab.manager.bare_command(tool, "barman");
        command = {
            let mut script_command = std::process::Command::new(&script);
            script_command
                .env_clear()
                .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            lab.manager.account.applied_to(script_command)
        };
        command
            .env("BARMAN_COMMAND", &program)
            .env("BARMAN_CONFIGURATION", lab.manager.config_file())
            .env("BARMAN_SERVER", "main")
            .env("BARMAN_BACKUP_ID", &id)
            .env("BARMAN_BACKUP_DIR", lab.base(&id))
            .env("BARMAN_STATUS", status);
        run(command)
    };
    let damaged = by_hand("DONE").exits(1);
    assert!(damaged.stderr.contains("PG_VERSION"), "{}", damaged.stderr);
    by_hand("FAILED").success();
    std::fs::remove_file(lab.base(&id).join("data/backup_manifest")).unwrap();
    by_hand("DONE").exits(2);
}

fn restore_drill(tool: &Tool) {
    let lab = lab("drill", tool);
    lab.manager.run(tool, &["backup", "--wait", "main"]).success();
    lab.cluster.sql("INSERT INTO marks VALUES ('after the backup')");
    lab.archive_everything(tool);

    let count = "SELECT count(*) FROM marks";
    let passed = drill(&lab, tool, &["-q", count, "-e", "1", "main"]).success();
    assert!(
        passed.stdout.contains("pg_amcheck is content"),
        "{}",
        passed.stdout
    );
    assert!(
        passed.stdout.contains("all page checksums are right"),
        "{}",
        passed.stdout
    );
    let at_the_end_of_the_backup = drill(&lab, tool, &["-i", "-q", count, "-e", "0", "main"]);
    at_the_end_of_the_backup.success();
    drill(&lab, tool, &["-q", count, "-e", "7", "main"]).exits(5);
    drill(&lab, tool, &["-q", "SELECT nonsense", "main"]).exits(5);
    drill(&lab, tool, &["main", "20000101T000000"]).exits(1);
    drill(&lab, tool, &[]).exits(2);

    // A page that rots in the backup is found: by the restore, and where it knows no sums, in the restored cluster.
    let id = newest(&lab);
    let file = lab.cluster.sql("SELECT pg_relation_filepath('pgbench_accounts')");
    let victim = lab.base(&id).join("data").join(file);
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&victim, bytes).unwrap();
    let damaged = drill(&lab, tool, &["main"]).exits(1);
    assert!(
        damaged.stderr.contains("the backup is damaged"),
        "{}",
        damaged.stderr
    );
    let records = lab
        .manager
        .server("main")
        .join(format!("meta/{id}-barkeep-files.zst"));
    std::fs::remove_file(records).unwrap();
    drill(&lab, tool, &["main"]).exits(4);

    let left: Vec<_> = lab
        .manager
        .directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("restore-drill.")),
        "{left:?}"
    );
}

/// Runs the drill as root, as from root's crontab; PostgreSQL then runs as `postgres`.
fn drill(lab: &Lab, tool: &Tool, arguments: &[&str]) -> Finished {
    let mut command = std::process::Command::new(installed(lab, "restore-drill"));
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("BARMAN_COMMAND", tool.program("barman"))
        .arg("-c")
        .arg(lab.manager.config_file())
        .arg("-d")
        .arg(lab.scratch.path())
        .args(["-t", "60"])
        .args(arguments);
    run(command)
}

fn notify(tool: &Tool) {
    let lab = lab("notify", tool);
    let script = installed(&lab, "notify");
    let mailbox = lab.manager.directory.join("mailbox");
    let sendmail = lab.scratch.join("sendmail");
    let fake = format!("#!/bin/sh\ncat >> {}\n", mailbox.display());
    write_file(&sendmail, fake, 0o755, &Account::barman());
    lab.configure(&format!(
        "pre_backup_retry_script = exit 63\n\
         post_backup_script = MAILTO=dba@example.com SENDMAIL={} {}\n\
         post_archive_script = MAILTO=dba@example.com SENDMAIL={} {}\n",
        sendmail.display(),
        script.display(),
        sendmail.display(),
        script.display()
    ));
    lab.manager.run(tool, &["backup", "main"]).exits(1);
    lab.archive_everything(tool);
    let mail = std::fs::read_to_string(mailbox).unwrap();
    // One mail: about the backup that failed, not about WAL that was archived.
    assert_eq!(mail.matches("\nSubject: ").count(), 1, "{mail}");
    assert!(
        mail.starts_with(&format!(
            "To: dba@example.com\nSubject: barman: main: post-backup {}: FAILED\n",
            newest(&lab)
        )),
        "{mail}"
    );
    assert!(mail.contains("Abort 'pre_backup_retry_script'"), "{mail}");
}

fn newest(lab: &Lab) -> String {
    let bases = lab.manager.server("main").join("meta").read_dir().unwrap();
    let mut ids: Vec<String> = bases
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(name.strip_suffix("-backup.info")?.to_owned())
        })
        .collect();
    ids.sort();
    ids.pop().unwrap()
}
