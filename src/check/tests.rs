//! The checks on a server without PostgreSQL: order, what blocks a backup, the time limit, the queues.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use super::*;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog};
use crate::config::Config;
use crate::postgres::facts::ArchiverStatistics;
use crate::postgres::lsn::Lsn;
use crate::postgres::version::PgVersion;
use crate::postgres::wal_header::sample_header;
use crate::postgres::wal_name::SegmentName;

/// A home directory with a server `m`, removed at the end.
struct Sandbox {
    directory: PathBuf,
}

impl Sandbox {
    fn new() -> Sandbox {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let directory = std::env::temp_dir().join(format!("barkeep-check-{}-{number}", std::process::id()));
        for name in ["base", "errors", "incoming", "meta", "streaming", "wals"] {
            fs::create_dir_all(directory.join("m").join(name)).unwrap();
        }
        fs::write(
            directory.join("m/wals/m-xlog.db"),
            "000000010000000000000001\t16777216\t1.0\tNone\tNone\n",
        )
        .unwrap();
        Sandbox { directory }
    }

    fn server(&self, options: &str) -> ServerConfig {
        let text = format!(
            "[barman]\nbarman_home = {}\n[m]\nconninfo = host=/nonexistent\nssh_command = sh -c : host\narchiver = on\n\
             backup_options = concurrent_backup\n{options}\n",
            self.directory.display()
        );
        Config::parse(&text).unwrap().servers.remove("m").unwrap()
    }

    fn touch(&self, file: &str) {
        fs::write(self.directory.join("m").join(file), "").unwrap();
    }

    /// A program that does what `script` says, whatever its arguments.
    fn program(&self, name: &str, script: &str) -> String {
        let path = self.directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn report(server: &ServerConfig, intrusion: Intrusion) -> CheckReport {
    let options = CheckOptions::new(server, None, intrusion, PathBuf::new());
    check(server, &options, &Unheard).unwrap()
}

fn names(report: &CheckReport) -> Vec<&'static str> {
    report.results.iter().map(|result| result.name).collect()
}

fn found<'a>(report: &'a CheckReport, name: &str) -> Option<&'a CheckResult> {
    report.results.iter().find(|result| result.name == name)
}

#[test]
fn the_order_is_barmans() {
    let sandbox = Sandbox::new();
    let report = report(&sandbox.server(""), Intrusion::Operator);
    assert_eq!(
        names(&report),
        [
            "PostgreSQL",
            "directories",
            "retention policy settings",
            "backup maximum age",
            "backup minimum size",
            "wal maximum age",
            "wal size",
            "compression settings",
            "failed backups",
            "minimum redundancy requirements",
            "ssh",
            "systemid coherence",
            "archiver errors",
        ]
    );
    assert_eq!(report.obstacle().unwrap().name, "PostgreSQL");
}

#[test]
fn an_inactive_server_is_looked_at_from_here_only() {
    let sandbox = Sandbox::new();
    let report = report(&sandbox.server("active = false"), Intrusion::Operator);
    assert!(!report.active);
    assert!(found(&report, "PostgreSQL").is_none() && found(&report, "ssh").is_none());
    assert!(!report.has_issues(), "{report:?}");
}

#[test]
fn what_says_nothing_about_the_next_backup_does_not_block_it() {
    let sandbox = Sandbox::new();
    sandbox.touch("errors/000000010000000000000001.20260101T000000Z.duplicate");
    sandbox.touch("incoming/000000010000000000000002");
    sandbox.touch("incoming/.hidden");
    let options = "active = false\nminimum_redundancy = 2\nlast_backup_maximum_age = 1 day\n\
                   last_backup_minimum_size = 1Mi\nlast_wal_maximum_age = 1 hour\nmax_incoming_wals_queue = 0";
    let report = report(&sandbox.server(options), Intrusion::Operator);
    let failed: Vec<(&str, &str)> = report
        .results
        .iter()
        .filter(|result| !result.ok)
        .map(|result| (result.name, result.hint.split(", '").next().unwrap()))
        .collect();
    assert_eq!(
        failed,
        [
            (
                "incoming WALs directory",
                "there are too many WALs in queue: 1, max 0"
            ),
            (
                "backup maximum age",
                "interval provided: 1 day, latest backup age: No available backups"
            ),
            ("backup minimum size", "last backup size 0 B < 1.0 MiB minimum"),
            ("wal maximum age", "No WAL files archived for last backup"),
            (
                "minimum redundancy requirements",
                "have 0 non-incremental backups, expected at least 2"
            ),
            ("archiver errors", "duplicates: 1"),
        ]
    );
    assert_eq!(report.obstacle(), None);
}

#[test]
fn a_catalog_that_cannot_be_read_is_not_a_healthy_one() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.directory.join("m/meta/20260101T000000-backup.info"),
        "nonsense",
    )
    .unwrap();
    let report = report(&sandbox.server("active = false"), Intrusion::Operator);
    let failed = found(&report, "failed backups").unwrap();
    assert!(
        !failed.ok && failed.hint.starts_with("cannot read the catalog: "),
        "{failed:?}"
    );
}

#[test]
fn a_server_without_wal_says_so_and_monitoring_changes_nothing() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.directory.join("m/wals/m-xlog.db")).unwrap();
    let segment = sandbox.directory.join("m/incoming/000000010000000000000001");
    let mut content = sample_header("000000010000000000000001", 1 << 20, 7);
    content.resize(1 << 20, 0);
    fs::write(&segment, content).unwrap();
    let server = sandbox.server("active = false");
    let report_of_monitoring = report(&server, Intrusion::Monitoring);
    assert!(!found(&report_of_monitoring, "WAL archive").unwrap().ok);
    assert!(segment.exists());
    // An operator's check archives what has arrived, and then WAL is there.
    let report_of_operator = report(&server, Intrusion::Operator);
    assert_eq!(found(&report_of_operator, "WAL archive"), None);
    assert!(!segment.exists());
}

#[test]
fn what_disables_a_server_is_told_below_its_check() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.server("active = false");
    server.disable("no good".to_owned());
    struct Heard(Mutex<Vec<String>>);
    impl Listener for Heard {
        fn result(&self, result: &CheckResult) {
            self.0.lock().unwrap().push(result.name.to_owned());
        }
        fn message(&self, message: &str) {
            self.0.lock().unwrap().push(format!("> {message}"));
        }
    }
    let heard = Heard(Mutex::default());
    let options = CheckOptions::new(&server, None, Intrusion::Operator, PathBuf::new());
    let report = check(&server, &options, &heard).unwrap();
    assert_eq!(report.messages, ["no good"]);
    assert!(found(&report, "directories").is_none());
    let heard = heard.0.into_inner().unwrap();
    let position = heard.iter().position(|line| line == "configuration").unwrap();
    assert_eq!(heard.get(position + 1).unwrap(), "> no good");
}

#[test]
fn ssh_is_tried_and_must_be_quiet() {
    let sandbox = Sandbox::new();
    let noisy = sandbox.program("noisy", "echo welcome");
    let passive = format!("primary_ssh_command = {noisy} host");
    let noisy_report = report(&sandbox.server(&passive), Intrusion::Operator);
    assert_eq!(found(&noisy_report, "ssh").unwrap().hint, "Barman primary node");
    assert!(!found(&noisy_report, "ssh output clean").unwrap().ok);

    let failing = sandbox.program("failing", "exit 3");
    let passive = format!("primary_ssh_command = {failing} host");
    let failed = report(&sandbox.server(&passive), Intrusion::Operator);
    assert_eq!(
        found(&failed, "ssh").unwrap().hint,
        format!(
            "Connection failed using '{failing} host -o BatchMode=yes -o StrictHostKeyChecking=no' return code 3"
        )
    );
}

#[test]
fn the_time_limit_ends_the_check_and_its_ssh_process() {
    let sandbox = Sandbox::new();
    let pid_file = sandbox.directory.join("pid");
    let script = format!(
        "echo $$ > {}.new; mv {0}.new {0}; exec sleep 600",
        pid_file.display()
    );
    let slow = sandbox.program("slow", &script);
    let server = sandbox.server(&format!("primary_ssh_command = {slow} host"));
    let options = CheckOptions {
        timeout: Some(Duration::from_millis(1500)),
        intrusion: Intrusion::Operator,
        configuration: PathBuf::new(),
        known: Known::default(),
        before_backup: false,
        begun: None,
    };
    let report = check(&server, &options, &Unheard).unwrap();
    let last = report.results.last().unwrap();
    assert_eq!((last.name, last.ok), ("check timeout", false));
    assert!(last.blocks_backup);
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(ended(pid), "the ssh process {pid} still runs");
}

/// Whether a process has ended, or does so within seconds.
fn ended(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = PathBuf::from(format!("/proc/{pid}/stat"));
    loop {
        match fs::read_to_string(&status) {
            Ok(text) if !text.contains(") Z ") && Instant::now() < deadline => std::thread::yield_now(),
            Ok(text) => return text.contains(") Z "),
            Err(_) => return true,
        }
    }
}

#[test]
fn a_limit_of_zero_is_none() {
    let sandbox = Sandbox::new();
    let server = sandbox.server("check_timeout = 7");
    let limit =
        |seconds| CheckOptions::new(&server, seconds, Intrusion::Operator, Path::new("x").into()).timeout;
    assert_eq!(limit(None), Some(Duration::from_secs(7)));
    assert_eq!(limit(Some(0)), None);
    assert_eq!(limit(Some(3)), Some(Duration::from_secs(3)));
}

#[test]
fn missing_wal_and_refused_segments_are_named() {
    let sandbox = Sandbox::new();
    let server = sandbox.server("active = false");
    let quiet = report(&server, Intrusion::Monitoring);
    assert_eq!(found(&quiet, "wal gaps"), None);
    let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
    info.begin_wal = SegmentName::parse("000000010000000000000001");
    info.end_wal = info.begin_wal;
    info.begin_xlog = Some(Lsn(0x0100_0028));
    info.end_xlog = Some(Lsn(0x0100_0138));
    info.status = BackupStatus::Done;
    Catalog::of(&server).unwrap().save(&info).unwrap();
    fs::create_dir(sandbox.directory.join("m/wals/0000000100000000")).unwrap();
    for number in [1, 2, 4] {
        sandbox.touch(&format!("wals/0000000100000000/00000001000000000000000{number}"));
    }
    let aside = "errors/000000010000000000000003.20260101T000000Z.damaged";
    sandbox.touch(aside);
    fs::write(
        sandbox.directory.join(format!("m/{aside}.reason")),
        "it is broken\n",
    )
    .unwrap();
    let report = report(&server, Intrusion::Monitoring);
    let gaps = found(&report, "wal gaps").unwrap();
    assert!(!gaps.ok && !gaps.blocks_backup);
    assert!(
        gaps.hint
            .starts_with("timeline 1: 000000010000000000000003 is missing: put aside as")
            && gaps.hint.contains("it is broken")
            && gaps.hint.contains("barman recovery-windows m"),
        "{}",
        gaps.hint
    );
    let errors = found(&report, "archiver errors").unwrap();
    assert!(
        errors.hint.starts_with("damaged: 1, '")
            && errors
                .hint
                .contains(": it is broken; copy 000000010000000000000003 from"),
        "{}",
        errors.hint
    );
}

#[test]
fn what_was_put_aside_is_named_with_its_remedy() {
    use crate::postgres::wal_header::sample_header;
    let sandbox = Sandbox::new();
    let server = sandbox.server("active = false");
    let catalog = Catalog::of(&server).unwrap();
    catalog
        .save_identity(&crate::catalog::Identity {
            systemid: Some("42".to_owned()),
            version: Some("15".to_owned()),
        })
        .unwrap();
    let hint = || {
        found(&report(&server, Intrusion::Monitoring), "archiver errors")
            .unwrap()
            .hint
            .clone()
    };
    let write = |path: &str, cluster| {
        let path = sandbox.directory.join("m").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, sample_header("000000010000000000000002", 1 << 20, cluster)).unwrap();
    };
    write("wals/0000000100000000/000000010000000000000002", 42);
    let duplicate = "errors/000000010000000000000002.42-0123.duplicate";
    write(duplicate, 42);
    sandbox.touch("errors/junk.20260101T000000Z.unknown");
    let said = hint();
    for part in [
        "duplicates: 1, unknown: 1, '",
        "/m/errors/000000010000000000000002.42-0123.duplicate': another content than '",
        "/m/wals/0000000100000000/000000010000000000000002'; find out which",
        "'barman get-wal m 000000010000000000000002' sends), and remove the other",
        "/m/errors/junk.20260101T000000Z.unknown': no WAL file; find out who puts it into '",
    ] {
        assert!(said.contains(part), "no \"{part}\" in {said}");
    }
    write(duplicate, 7);
    assert!(hint().contains("of the cluster 7, not of this one, 42; find out which server"));
    write("errors/000000010000000000000005.20260101T000000Z.foreign", 7);
    assert!(
        hint().contains("if this server was upgraded or made anew, remove '")
            && hint().contains("/m/identity.json' and take a backup"),
        "{}",
        hint()
    );
    write("errors/000000010000000000000005.20260101T000000Z.foreign", 42);
    assert!(!hint().contains("identity.json"), "{}", hint());
}

/// The advice about a check, in short: how bad, the cause, and the first action.
fn advice_of(report: &CheckReport, name: &str) -> (Standing, String, String) {
    let advice = found(report, name).unwrap().advice.clone().expect(name);
    let action = advice.steps.first().map(|step| step.action.clone());
    (advice.standing, advice.cause, action.unwrap_or_default())
}

#[test]
fn failures_come_with_their_cause_and_the_order_of_repairs() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.directory.join("m/wals/m-xlog.db"), "").unwrap();
    let refused = sandbox.program(
        "refused",
        "echo 'postgres@db: Permission denied (publickey).' >&2; exit 255",
    );
    let options = format!("ssh_command = {refused} -p 2222 postgres@db\nminimum_redundancy = 1\n");
    let text = sandbox.server(&options);
    let report = report(&text, Intrusion::Monitoring);
    assert!(
        report
            .results
            .iter()
            .all(|result| result.ok == result.advice.is_none()),
        "{report:?}"
    );

    let (standing, cause, _) = advice_of(&report, "PostgreSQL");
    assert_eq!(standing, Standing::Broken);
    assert!(
        cause.starts_with("there is no socket of PostgreSQL here"),
        "{cause}"
    );
    // It is listed before, and repaired after.
    assert_eq!(
        advice_of(&report, "WAL archive").0,
        Standing::Follows("PostgreSQL")
    );
    let (standing, _, command) = advice_of(&report, "minimum redundancy requirements");
    assert_eq!(
        (standing, command.as_str()),
        (Standing::Follows("PostgreSQL"), "barman backup m")
    );
    let ssh = found(&report, "ssh").unwrap().advice.clone().unwrap();
    assert!(ssh.cause.contains("accepts no key of this user"), "{ssh:?}");
    assert!(
        ssh.steps
            .iter()
            .any(|step| step.action == "ssh-copy-id -p 2222 postgres@db"),
        "{ssh:?}"
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_no_fault_of_the_hosts() {
    let sandbox = Sandbox::new();
    let server = sandbox.server("conninfo = gibberish\nssh_command = 'unclosed\n");
    let broken = report(&server, Intrusion::Monitoring);
    let (standing, cause, _) = advice_of(&broken, "PostgreSQL");
    assert_eq!(standing, Standing::Follows("configuration"), "{cause}");
    let (_, cause, _) = advice_of(&broken, "ssh");
    assert!(
        cause.starts_with("ssh_command cannot be read: no closing quotation"),
        "{cause}"
    );

    let server = sandbox.server("backup_method = local-rsync\n");
    let (_, _, action) = advice_of(&report(&server, Intrusion::Monitoring), "configuration");
    assert_eq!(action, "no ssh_command, or backup_method = rsync");
}

#[test]
fn what_has_not_happened_yet_is_not_broken() {
    let sandbox = Sandbox::new();
    let server = sandbox.server("minimum_redundancy = 1\nlast_backup_maximum_age = 1 DAYS");
    let mut options = CheckOptions::new(&server, None, Intrusion::Examination, PathBuf::new());
    fs::write(sandbox.directory.join("m/wals/m-xlog.db"), "").unwrap();
    options.known.facts = Some(Ok(new_server()));
    let fresh = check(&server, &options, &Unheard).unwrap();
    let (standing, _, command) = advice_of(&fresh, "WAL archive");
    assert_eq!(
        (standing, command.as_str()),
        (Standing::NotYet, "barman switch-wal --force --archive m")
    );
    // WAL comes first, then the backup.
    let (standing, cause, _) = advice_of(&fresh, "minimum redundancy requirements");
    assert_eq!(
        (standing, cause.as_str()),
        (Standing::Follows("WAL archive"), "no backup has been taken yet")
    );
    fs::write(
        sandbox.directory.join("m/wals/m-xlog.db"),
        "000000010000000000000001\t16777216\t1.0\tNone\tNone\n",
    )
    .unwrap();
    let archiving = check(&server, &options, &Unheard).unwrap();
    for name in ["minimum redundancy requirements", "backup maximum age"] {
        assert_eq!(
            advice_of(&archiving, name),
            (
                Standing::NotYet,
                "no backup has been taken yet".to_owned(),
                "barman backup m".to_owned()
            )
        );
    }
}

#[test]
fn wal_that_goes_elsewhere_is_broken() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.directory.join("m/wals/m-xlog.db"), "").unwrap();
    let server = sandbox.server("");
    let mut options = CheckOptions::new(&server, None, Intrusion::Examination, PathBuf::new());
    let mut facts = new_server();
    facts.archiver = Some(ArchiverStatistics {
        archived_count: Some(7),
        failed_count: Some(0),
        is_archiving: Some(true),
        last_archived_wal: Some("000000010000000000000007".to_owned()),
        ..ArchiverStatistics::default()
    });
    options.known.facts = Some(Ok(facts.clone()));
    let (standing, cause, _) = advice_of(&check(&server, &options, &Unheard).unwrap(), "WAL archive");
    assert_eq!(standing, Standing::Broken);
    assert!(cause.starts_with("PostgreSQL has archived 7 segments"), "{cause}");

    // It came here, and nobody has archived it so far.
    sandbox.touch("incoming/000000010000000000000007");
    let (standing, _, command) = advice_of(&check(&server, &options, &Unheard).unwrap(), "WAL archive");
    assert_eq!(
        (standing, command.as_str()),
        (Standing::NotYet, "barman archive-wal m")
    );
    fs::remove_file(sandbox.directory.join("m/incoming/000000010000000000000007")).unwrap();

    // A role without privileges, on a version whose functions have other names.
    facts.has_backup_privileges = false;
    facts.has_monitoring_privileges = false;
    facts.user = Some("Barman".to_owned());
    facts.forbidden_functions = vec!["pg_backup_start(text,bool)"];
    options.known.facts = Some(Ok(facts));
    let report = check(&server, &options, &Unheard).unwrap();
    let advice = found(&report, "no access to backup functions")
        .unwrap()
        .advice
        .clone()
        .unwrap();
    let statements: Vec<&str> = advice.steps.iter().map(|step| step.action.as_str()).collect();
    assert_eq!(
        statements,
        [
            "GRANT pg_monitor TO \"Barman\";",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text,bool) TO \"Barman\";"
        ]
    );
}

/// A server that archives and has had nothing to archive.
fn new_server() -> Facts {
    let mut facts = Facts::default();
    facts.version = PgVersion(150_000);
    facts.version_supported = true;
    facts.has_backup_privileges = true;
    facts.has_monitoring_privileges = true;
    facts.archive_mode = Some("on".to_owned());
    facts.archive_command = Some("barman-wal-archive here m %p".to_owned());
    facts.archiver = Some(ArchiverStatistics {
        archived_count: Some(0),
        failed_count: Some(0),
        is_archiving: Some(true),
        ..ArchiverStatistics::default()
    });
    facts
}

#[test]
fn an_examination_creates_nothing() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.directory.join("m/errors")).unwrap();
    let report = report(&sandbox.server(""), Intrusion::Examination);
    let (standing, _, command) = advice_of(&report, "directories");
    assert_eq!(
        (standing, command.as_str()),
        (Standing::NotYet, "barman doctor --fix m")
    );
    assert!(!sandbox.directory.join("m/errors").exists());
}
