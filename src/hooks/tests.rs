//! Hooks are run for real: small shell scripts that record what they were given.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("barkeep-hooks-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn quick() -> Pace {
    Pace {
        pause: Duration::ZERO,
        failures: 6,
        long_pause: Duration::ZERO,
    }
}

fn runner(scripts: &[(&str, &str)]) -> HookRunner {
    HookRunner::new(
        "main",
        Path::new("/etc/barman.conf"),
        None,
        scripts.iter().copied(),
    )
    .with_pace(quick())
}

fn backup() -> HookSubject {
    HookSubject::Backup(BackupVariables {
        backup_dir: "/b/main/base/20260101T000000".into(),
        backup_info_path: "/b/main/meta/20260101T000000-backup.info".into(),
        backup_id: "20260101T000000".to_owned(),
        previous_id: Some("20251231T000000".to_owned()),
        next_id: None,
        status: "EMPTY".to_owned(),
    })
}

#[test]
fn environment_is_barmans() {
    let scratch = Scratch::new("environment");
    let script = format!("env | grep ^BARMAN_ | sort > {}/env", scratch.0.display());
    let hooks = runner(&[("pre_backup_script", &script)]);
    hooks.before(HookEvent::Backup, &backup()).unwrap();
    assert_eq!(
        scratch.read("env"),
        "BARMAN_BACKUP_DIR=/b/main/base/20260101T000000\n\
         BARMAN_BACKUP_ID=20260101T000000\n\
         BARMAN_BACKUP_INFO_PATH=/b/main/meta/20260101T000000-backup.info\n\
         BARMAN_CONFIGURATION=/etc/barman.conf\n\
         BARMAN_ERROR=\n\
         BARMAN_HOOK=backup_script\n\
         BARMAN_NEXT_ID=\n\
         BARMAN_PHASE=pre\n\
         BARMAN_PREVIOUS_ID=20251231T000000\n\
         BARMAN_RETRY=0\n\
         BARMAN_SERVER=main\n\
         BARMAN_STATUS=EMPTY\n\
         BARMAN_VERSION=3.19.1\n"
    );
}

#[test]
fn order_and_error_of_the_post_phase() {
    let scratch = Scratch::new("order");
    let say = |word: &str| {
        format!(
            "echo {word} $BARMAN_HOOK $BARMAN_ERROR >> {}/order",
            scratch.0.display()
        )
    };
    let (retry, standard) = (say("retry"), say("standard"));
    let hooks = runner(&[
        ("post_archive_script", &standard),
        ("post_archive_retry_script", &retry),
    ]);
    hooks.after(
        HookEvent::Archive,
        &HookSubject::Wal(WalVariables::default()),
        Some("disk full"),
    );
    assert_eq!(
        scratch.read("order"),
        "retry archive_retry_script disk full\nstandard archive_script disk full\n"
    );
}

#[test]
fn retry_script_runs_until_it_succeeds() {
    let scratch = Scratch::new("retry");
    let script = format!(
        "echo x >> {0}/runs; test $(wc -l < {0}/runs) -ge 9",
        scratch.0.display()
    );
    let hooks = runner(&[("pre_backup_retry_script", &script)]);
    hooks.before(HookEvent::Backup, &backup()).unwrap();
    assert_eq!(scratch.read("runs").lines().count(), 9);
}

#[test]
fn exit_codes_62_and_63() {
    let go_on = runner(&[
        ("pre_backup_retry_script", "exit 62"),
        ("pre_backup_script", "exit 63"),
    ]);
    go_on.before(HookEvent::Backup, &backup()).unwrap();
    let stop = runner(&[("pre_backup_retry_script", "exit 63")]);
    assert_eq!(
        stop.before(HookEvent::Backup, &backup()).unwrap_err().to_string(),
        "Abort 'pre_backup_retry_script' retry hook script (exit 63, exit code: 63)"
    );
    let too_late = runner(&[("post_backup_retry_script", "exit 63")]);
    too_late.after(HookEvent::Backup, &backup(), None);
}
