//! The lines of the recovery configuration, and the files that are written.
#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

fn lines(version: u32, standby: bool, wal: WalSource, targets: Targets) -> Vec<String> {
    Recovery {
        version,
        targets: &targets,
        standby,
        wal,
    }
    .lines()
}

fn staged() -> WalSource {
    WalSource::Staged {
        directory: PathBuf::from("/d/barman_wal"),
    }
}

#[test]
fn lines_as_barman_writes_them() {
    let targets = Targets {
        target: Some(Target::Time(
            calendar::parse("2026-11-21 01:53:05-02:00").unwrap(),
        )),
        timeline: Some(TargetTimeline::Latest),
        exclusive: true,
        action: Some(TargetAction::Pause),
    };
    assert_eq!(
        lines(150_018, false, staged(), targets.clone()),
        [
            "restore_command = 'cp /d/barman_wal/%f %p'",
            "recovery_end_command = 'rm -fr /d/barman_wal'",
            "recovery_target_time = '2026-11-21 01:53:05-02:00'",
            "recovery_target_inclusive = 'False'",
            "recovery_target_timeline = latest",
            "recovery_target_action = 'pause'",
        ]
    );
    assert_eq!(
        lines(90_300, true, WalSource::InPlace, targets),
        [
            "recovery_target_time = '2026-11-21 01:53:05-02:00'",
            "recovery_target_inclusive = 'False'",
            "recovery_target_timeline = latest",
            "pause_at_recovery_target = 'on'",
            "standby_mode = 'on'",
        ]
    );
    let name = Targets {
        target: Some(Target::Name("m'1".to_owned())),
        timeline: Some(TargetTimeline::Current),
        exclusive: true,
        ..Targets::default()
    };
    assert_eq!(
        lines(110_005, false, WalSource::InPlace, name),
        ["recovery_target_name = 'm''1'"]
    );
}

#[test]
fn commands_that_fetch_wal() {
    let none = Targets::default();
    assert_eq!(
        lines(
            150_018,
            false,
            WalSource::Custom("cp 'a b'/%f %p".to_owned()),
            none.clone()
        ),
        ["restore_command = 'cp ''a b''/%f %p'"]
    );
    let get_wal = WalSource::GetWal {
        server: "main".to_owned(),
        user: "postgres".to_owned(),
        partial: true,
    };
    assert_eq!(
        lines(150_018, false, get_wal, none.clone()),
        [
            "# The 'barman get-wal' command must run as 'postgres' user",
            "restore_command = 'barman get-wal -P main %f > %p'"
        ]
    );
    let mut fetch = WalSource::WalRestore {
        server: "main".to_owned(),
        user: "postgres".to_owned(),
        host: "localhost".to_owned(),
        port: None,
        jobs: 3,
        partial: true,
    };
    assert_eq!(
        lines(150_018, false, fetch.clone(), none.clone())[1],
        "restore_command = 'barman-wal-restore -P -U postgres localhost main %f %p -p 3'"
    );
    if let WalSource::WalRestore {
        port, jobs, partial, ..
    } = &mut fetch
    {
        (*port, *jobs, *partial) = (Some("77".to_owned()), 1, false);
    }
    assert_eq!(
        lines(150_018, true, fetch, none)[1],
        "restore_command = 'barman-wal-restore -U postgres --port 77 localhost main %f %p'"
    );
}

#[test]
fn a_directory_with_blanks_survives_the_shell_and_postgresql() {
    let wal = WalSource::Staged {
        directory: PathBuf::from("/d d/it's 100%"),
    };
    assert_eq!(
        lines(150_018, false, wal, Targets::default())[..1],
        [r"restore_command = 'cp ''/d d/it''\''''s 100%%''/%f %p'"]
    );
}

/// A directory that is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, files: &[(&str, &str)]) -> Scratch {
        let path = std::env::temp_dir().join(format!("barkeep-configuration-{name}-{}", std::process::id()));
        for (name, content) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn written<'a>(edits: &'a Edits, name: &str) -> &'a str {
    let file = edits
        .files
        .iter()
        .find(|file| file.path == Path::new(name))
        .unwrap();
    std::str::from_utf8(&file.content).unwrap()
}

#[test]
fn recovery_lines_follow_the_harmless_settings() {
    let backup = Scratch::new(
        "modern",
        &[
            (
                "postgresql.conf",
                "archive_command = 'a'\ninclude_dir 'conf.d'\ninclude '/etc/x'\nrestore_command = 'r'\n",
            ),
            (
                "postgresql.auto.conf",
                "archive_command = 'b'\nrecovery_target_time = 'old'",
            ),
            ("conf.d/b.conf", "ARCHIVE_COMMAND = 'c'\n"),
            ("conf.d/a.conf", "port = 1\n"),
            ("conf.d/c.txt", "archive_command = 'not read'\n"),
            ("pg_hba.conf", ""),
        ],
    );
    let lines = [
        "restore_command = 'cp'".to_owned(),
        "recovery_target_time = 'new'".to_owned(),
    ];
    let edits = edit(&backup.0, 150_018, "postgresql.auto.conf", Some(&lines), false).unwrap();
    assert_eq!(edits.missing, ["pg_ident.conf"]);
    assert_eq!(
        written(&edits, "postgresql.auto.conf"),
        "#BARMAN#archive_command = 'b'\narchive_command = false\n#BARMAN#recovery_target_time = 'old'\n\
         restore_command = 'cp'\nrecovery_target_time = 'new'\n"
    );
    assert_eq!(
        written(&edits, "postgresql.auto.conf.origin"),
        "archive_command = 'b'\nrecovery_target_time = 'old'"
    );
    assert_eq!(
        written(&edits, "conf.d/b.conf"),
        "#BARMAN#ARCHIVE_COMMAND = 'c'\narchive_command = false\n"
    );
    assert_eq!(written(&edits, "recovery.signal"), "");
    assert!(
        !edits
            .files
            .iter()
            .any(|file| file.path == Path::new("conf.d/a.conf"))
    );
    let changed: Vec<_> = edits
        .changes
        .iter()
        .map(|change| format!("{}:{}", change.file, change.line))
        .collect();
    assert_eq!(
        changed,
        [
            "postgresql.conf:0",
            "conf.d/b.conf:0",
            "postgresql.auto.conf:0",
            "postgresql.auto.conf:1"
        ]
    );
    // The restore_command of old is overruled and not worth a warning; the includes are.
    let reported: Vec<_> = edits
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    assert_eq!(reported, ["include_dir", "include"]);
}

#[test]
fn another_file_is_created_and_an_old_server_gets_recovery_conf() {
    let backup = Scratch::new(
        "old",
        &[("postgresql.conf", "port = 1\n"), ("postgresql.auto.conf", "")],
    );
    let lines = ["a = 'b'".to_owned()];
    let edits = edit(&backup.0, 120_000, "foo.conf", Some(&lines), true).unwrap();
    assert_eq!(written(&edits, "foo.conf"), "a = 'b'\n");
    assert_eq!(written(&edits, "foo.conf.origin"), "");
    assert_eq!(written(&edits, "standby.signal"), "");
    for lines in [None, Some([].as_slice())] {
        let edits = edit(&backup.0, 120_000, "foo.conf", lines, true).unwrap();
        assert_eq!(written(&edits, "foo.conf"), "");
    }
    let edits = edit(&backup.0, 110_000, "foo.conf", Some(&lines), true).unwrap();
    assert_eq!(written(&edits, "recovery.conf"), "a = 'b'\n");
    assert_eq!(edits.recovery_file, "recovery.conf");
    assert!(!edits.files.iter().any(|file| file.path == Path::new("foo.conf")));
    let edits = edit(&backup.0, 90_300, "foo.conf", None, false).unwrap();
    let names: Vec<_> = edits
        .files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect();
    assert_eq!(names, ["postgresql.conf.origin", "postgresql.conf"]);
}

#[test]
fn includes_in_a_circle_end() {
    let backup = Scratch::new(
        "circle",
        &[
            ("postgresql.conf", "include 'a.conf'\n"),
            ("a.conf", "include 'postgresql.conf'\ninclude '../x'\n"),
        ],
    );
    assert!(edit(&backup.0, 150_018, "postgresql.auto.conf", None, false).is_ok());
}
