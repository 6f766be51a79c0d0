//! Conversions as a whole. The files that come out are read by real Barman, too, in `tests/configuration/`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{BackupMethod, Config, ReuseBackup, ServerConfig, WalCompression};

fn converted(tool: Tool, text: &str) -> (Config, Conversion) {
    let conversion = convert(tool, text, Path::new("/etc/f.conf")).unwrap();
    let config = Config::parse(&conversion.text).unwrap_or_else(|e| panic!("{e}\n{}", conversion.text));
    assert!(
        config.warnings.is_empty(),
        "{:?}\n{}",
        config.warnings,
        conversion.text
    );
    for server in config.servers.values() {
        assert!(
            server.warnings.is_empty() && server.msg_list.is_empty(),
            "{server:?}"
        );
    }
    (config, conversion)
}

fn server(tool: Tool, text: &str) -> ServerConfig {
    let (mut config, _) = converted(tool, text);
    config.servers.pop_first().unwrap().1
}

fn refusal(tool: Tool, text: &str) -> String {
    convert(tool, text, Path::new("f.conf")).unwrap_err().to_string()
}

const BART: &str = "[BART]\nbart_host = bu@10.0.0.1\nbackup_path = /opt/backup\npg_basebackup_path = /usr/edb/as13/bin/pg_basebackup\n";
const HR: &str = "[HR]\nhost = 10.0.0.2\nport = 5433\nuser = rep\ncluster_owner = postgres\n";

#[test]
fn bart_with_one_thread_is_pg_basebackup() {
    let (config, conversion) = converted(
        Tool::Bart,
        &format!("{BART}{HR}description = \"Human Resources\"\n"),
    );
    assert_eq!(config.main.barman_user, "bu");
    let server = &config.servers["HR"];
    assert_eq!(
        server.conninfo.as_deref(),
        Some("host=10.0.0.2 port=5433 user=rep dbname=postgres")
    );
    assert_eq!(
        server.streaming_conninfo.as_deref(),
        Some("host=10.0.0.2 port=5433 user=rep")
    );
    assert_eq!(server.backup_method, BackupMethod::Postgres);
    assert_eq!(server.description.as_deref(), Some("Human Resources"));
    assert_eq!(server.path_prefix.as_deref(), Some("/usr/edb/as13/bin"));
    assert!(server.archiver && server.ssh_command.is_none());
    assert!(
        conversion.text.contains("'barman-wal-archive 10.0.0.1 HR %p'"),
        "{}",
        conversion.text
    );
    assert_eq!(conversion.unconverted, []);
}

#[test]
fn bart_with_incrementals_or_threads_is_rsync() {
    let server_of = |global: &str, own: &str| server(Tool::Bart, &format!("{BART}{global}{HR}{own}"));
    for (global, own, jobs) in [
        ("thread_count = 4\n", "", 4),
        ("", "thread_count = 3\n", 3),
        ("thread_count=2\n", "thread_count=5", 5),
    ] {
        let server = server_of(global, own);
        assert_eq!(
            (server.backup_method, server.parallel_jobs),
            (BackupMethod::Rsync, jobs)
        );
        assert_eq!(server.ssh_command.as_deref(), Some("ssh postgres@10.0.0.2"));
        assert_eq!(server.reuse_backup, None);
    }
    for option in ["allow_incremental_backups", "allow_incremental_backup"] {
        let server = server_of("", &format!("{option} = enabled\n"));
        assert_eq!(
            (server.backup_method, server.reuse_backup),
            (BackupMethod::Rsync, Some(ReuseBackup::Link))
        );
    }
    assert_eq!(
        server_of("thread_count = 4\n", "thread_count = 1\n").backup_method,
        BackupMethod::Postgres
    );
}

#[test]
fn options_of_bart_hold_for_all_servers_or_for_one() {
    let text = format!(
        "{BART}retention_policy = 6 BACKUPS\nwal_compression = enabled\ncopy_wals_during_restore = disabled\n\
         logfile = /var/log/bart/bart.log\n{HR}[x]\nhost=h\nuser=u\ncluster_owner=enterprisedb\nretention_policy = 2 weeks\n\
         wal_compression = disabled\ncopy_wals_during_restore = enabled\n"
    );
    let (config, _) = converted(Tool::Bart, &text);
    let (hr, x) = (&config.servers["HR"], &config.servers["x"]);
    assert_eq!(hr.retention_policy.as_deref(), Some("REDUNDANCY 6"));
    assert_eq!(x.retention_policy.as_deref(), Some("RECOVERY WINDOW OF 2 WEEKS"));
    assert_eq!(
        (hr.compression, x.compression),
        (Some(WalCompression::Gzip), None)
    );
    assert!(hr.recovery_options.get_wal && !x.recovery_options.get_wal);
    assert_eq!(
        x.conninfo.as_deref(),
        Some("host=h port=5444 user=u dbname=postgres")
    );
    assert_eq!(
        config.main.log_file.as_deref(),
        Some(Path::new("/var/log/bart/barman.log"))
    );
    let (config, _) = converted(
        Tool::Bart,
        &format!("{BART}logfile = /tmp/bart.log\n{HR}retention_policy=3"),
    );
    assert_eq!(
        config.main.log_file.as_deref(),
        Some(Path::new("/var/log/barman/barman.log"))
    );
    assert_eq!(
        config.servers["HR"].retention_policy.as_deref(),
        Some("REDUNDANCY 3")
    );
}

#[test]
fn what_bart_has_alone_is_named_and_secrets_are_not() {
    let text = format!(
        "{BART}workers = 2\nscan_interval = 5\n{HR}remote_host = a@b\ntablespace_path = 16384=/geheim\n\
         archive_command = 'cp %p geheim'\nbackup_name = geheim_%year\npassword = geheim\nfancy = geheim\n"
    );
    let (_, conversion) = converted(Tool::Bart, &text);
    let named: Vec<_> = conversion
        .unconverted
        .iter()
        .map(|o| (o.option.as_str(), o.section.as_str(), o.line))
        .collect();
    assert_eq!(
        named,
        [
            ("workers", "BART", 5),
            ("remote_host", "HR", 12),
            ("tablespace_path", "HR", 13),
            ("archive_command", "HR", 14),
            ("backup_name", "HR", 15),
            ("password", "HR", 16),
            ("fancy", "HR", 17)
        ]
    );
    assert!(!format!("{conversion:?}").contains("geheim"));
    assert!(
        conversion
            .text
            .contains("; f.conf:6: scan_interval: there is no WAL scanner"),
        "{}",
        conversion.text
    );
    for option in &conversion.unconverted {
        assert!(
            conversion
                .text
                .contains(&format!("; f.conf:{}: {}: ", option.line, option.option))
        );
    }
}

#[test]
fn a_percent_sign_is_left_to_the_operator() {
    let (config, conversion) = converted(Tool::Bart, &format!("{BART}{HR}description = 100% %(x)s\n"));
    assert_eq!(config.servers["HR"].description, None);
    assert!(conversion.text.contains("description = 100% %(x)s"));
}

#[test]
fn mistakes_in_bart_cfg_name_their_line() {
    for (text, expected) in [
        (
            "[x]\nhost = h\n".to_owned(),
            "f.conf:1: there is no section [BART]",
        ),
        (
            "[BART]\nbackup_path = /x\n".to_owned(),
            "f.conf:1: bart_host is missing",
        ),
        (
            "[BART]\nbart_host = h\n".to_owned(),
            "f.conf:2: bart_host is not USER@HOST",
        ),
        (format!("{BART}[x]\nhost = h\n"), "f.conf:5: user is missing"),
        (
            format!("{BART}{HR}port = many\n"),
            "f.conf:10: the value of port is not a number",
        ),
        (
            format!("{BART}{HR}retention_policy = 3 YEARS\n"),
            "f.conf:10: retention_policy is not",
        ),
        (
            format!("{BART}{HR}wal_compression = maybe\n"),
            "f.conf:10: the value of wal_compression is neither",
        ),
        (
            format!("{BART}[all]\nhost = h\n"),
            "f.conf:5: Barman cannot have a server of this name",
        ),
        (
            format!("{BART}[x]\nhost = h -o x\nuser=u\n"),
            "f.conf:6: the value of host cannot be",
        ),
    ] {
        let error = refusal(Tool::Bart, &text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

const STANZA: &str = "[main]\npg1-host = pg\npg1-path = /var/lib/postgresql/15/main\n";

#[test]
fn a_stanza_is_a_server() {
    let text = "[global]\nrepo1-path = /backup\nrepo1-retention-full = 2\nprocess-max = 4\nstart-fast = y\n\
        log-level-file = detail\n[global:archive-push]\ncompress-level = 3\ncompress-type=zst\n\
        [main]\npg1-host = pg\npg1-host-user = pgo\npg1-host-port = 2222\npg1-port = 5433\npg1-user = b\npg1-database = d\n\
        pg1-path = /x\n[main:backup]\nprocess-max = 2\n";
    let (config, conversion) = converted(Tool::PgBackRest, text);
    let server = &config.servers["main"];
    assert_eq!(
        server.conninfo.as_deref(),
        Some("host=pg port=5433 user=b dbname=d")
    );
    assert_eq!(server.ssh_command.as_deref(), Some("ssh -p 2222 pgo@pg"));
    assert_eq!(
        (server.backup_method, server.parallel_jobs),
        (BackupMethod::Rsync, 2)
    );
    assert_eq!(server.retention_policy.as_deref(), Some("REDUNDANCY 2"));
    assert_eq!(server.compression, Some(WalCompression::Zstd));
    assert_eq!(server.reuse_backup, Some(ReuseBackup::Link));
    assert!(server.archiver && server.immediate_checkpoint);
    assert_eq!(
        (config.main.barman_user.as_str(), config.main.log_level.as_str()),
        ("barman", "INFO")
    );
    assert_eq!(conversion.unconverted, []);
}

#[test]
fn a_stanza_on_this_host_is_copied_locally() {
    let (config, _) = converted(
        Tool::PgBackRest,
        "[global]\ncompress=n\n[a]\npg1-path=/x\npg1-socket-path=/run/pg\n[b]\ndb-path=/y\n",
    );
    let (a, b) = (&config.servers["a"], &config.servers["b"]);
    assert_eq!(
        a.conninfo.as_deref(),
        Some("host=/run/pg user=postgres dbname=postgres")
    );
    assert_eq!(b.conninfo.as_deref(), Some("user=postgres dbname=postgres"));
    assert_eq!(
        (a.backup_method, a.ssh_command.as_deref(), a.compression),
        (BackupMethod::LocalRsync, None, None)
    );
    assert_eq!(config.main.barman_user, "postgres");
}

#[test]
fn retention_of_pgbackrest() {
    for (lines, policy) in [
        ("", None),
        (
            "repo1-retention-full=30\nrepo1-retention-full-type=time\n",
            Some("RECOVERY WINDOW OF 30 DAYS"),
        ),
        ("retention-full=3\n", Some("REDUNDANCY 3")),
        ("repo1-retention-full=9999999\n", None),
        ("repo1-retention-full=3\nexpire-auto=n\n", None),
        ("[global:expire]\nrepo1-retention-full=5\n", Some("REDUNDANCY 5")),
        ("[global:backup]\nrepo1-retention-full=5\n", Some("REDUNDANCY 5")),
    ] {
        let server = server(Tool::PgBackRest, &format!("[global]\n{lines}{STANZA}"));
        assert_eq!(server.retention_policy.as_deref(), policy, "{lines}");
    }
    // A stanza may say a part of it.
    let global = "[global]\nrepo1-retention-full=30\nrepo1-retention-full-type=time\n";
    for (line, policy) in [
        ("repo1-retention-full=2\n", Some("RECOVERY WINDOW OF 2 DAYS")),
        ("repo1-retention-full-type=count\n", Some("REDUNDANCY 30")),
        ("expire-auto=n\n", None),
    ] {
        let server = server(Tool::PgBackRest, &format!("{global}{STANZA}{line}"));
        assert_eq!(server.retention_policy.as_deref(), policy, "{line}");
    }
}

#[test]
fn other_hosts_are_models_and_a_standby_is_backed_up() {
    let more = "pg2-host = sb\npg2-path = /y\npg2-port = 5440\n";
    let (config, _) = converted(Tool::PgBackRest, &format!("{STANZA}{more}"));
    let model = &config.models["main-pg2"];
    assert_eq!(model.cluster, "main");
    assert_eq!(
        model.overrides["conninfo"],
        "host=sb port=5440 user=postgres dbname=postgres"
    );
    assert_eq!(model.overrides["ssh_command"], "ssh postgres@sb");
    let (config, conversion) = converted(
        Tool::PgBackRest,
        &format!("[global]\nbackup-standby=prefer\n{STANZA}{more}"),
    );
    let server = &config.servers["main"];
    assert_eq!(
        server.conninfo.as_deref(),
        Some("host=sb port=5440 user=postgres dbname=postgres")
    );
    assert_eq!(
        server.primary_conninfo.as_deref(),
        Some("host=pg user=postgres dbname=postgres")
    );
    assert_eq!(server.ssh_command.as_deref(), Some("ssh postgres@sb"));
    assert!(config.models.is_empty() && conversion.unconverted.is_empty());
}

#[test]
fn what_pgbackrest_has_alone_is_named_and_secrets_are_not() {
    let text = format!(
        "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=geheim\nrepo1-s3-key=geheim\nrepo1-s3-key-secret=geheim\n\
         repo1-type=s3\nrepo2-path=/geheim\narchive-async=y\nspool-path=/geheim\nnovelty=geheim\nrepo1-bundle=y\n\
         [global:restore]\nprocess-max=8\ndelta=y\ntablespace-map=ts=/geheim\ntablespace-map=t2=/geheim\n{STANZA}"
    );
    let (config, conversion) = converted(Tool::PgBackRest, &text);
    let lines: Vec<_> = conversion.unconverted.iter().map(|option| option.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 16]);
    assert!(!format!("{conversion:?}").contains("geheim"));
    assert!(config.servers["main"].recovery_options.delta_restore);
}

#[test]
fn mistakes_in_pgbackrest_conf_name_their_line() {
    for (text, expected) in [
        (
            "[global]\nrepo1-path=/x\n".to_owned(),
            "f.conf:1: there is no stanza",
        ),
        (
            "[global]\nrepo1-host=b\n[main]\npg1-path=/x\n".to_owned(),
            "f.conf:2: this is the file of a PostgreSQL host",
        ),
        (
            "[main]\nrepo1-path=/x\n".to_owned(),
            "f.conf:1: this stanza has no pg1-path",
        ),
        (
            format!("{STANZA}process-max=x\n"),
            "f.conf:4: the value of process-max is not a number",
        ),
        (
            format!("{STANZA}pg1-port=x\n"),
            "f.conf:4: the value of pg1-port is not a number",
        ),
        (
            format!("{STANZA}job-retry-interval=1y\n"),
            "f.conf:4: the value of job-retry-interval is not",
        ),
        (
            format!("{STANZA}compress-type=rar\n"),
            "f.conf:4: this is not a compression",
        ),
        (
            format!("{STANZA}pg1-host-user=a b\n"),
            "f.conf:4: the value of pg1-host-user cannot",
        ),
        (
            "[a/b]\npg1-path=/x\n".to_owned(),
            "f.conf:1: Barman cannot have a server",
        ),
    ] {
        let error = refusal(Tool::PgBackRest, &text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_converted_or_refused(lines in proptest::collection::vec(any_line(), 0..20)) {
        for tool in [Tool::Bart, Tool::PgBackRest] {
            for start in ["", BART, STANZA] {
                let text = format!("{start}{}", lines.join("\n"));
                if let Ok(conversion) = convert(tool, &text, Path::new("f.conf")) {
                    prop_assert!(Config::parse(&conversion.text).is_ok(), "{text}\n{}", conversion.text);
                }
            }
        }
    }
}

/// A line of such a file, or of nothing.
fn any_line() -> impl Strategy<Value = String> {
    let options = "host|port|user|description|retention_policy|thread_count|pg1-host|pg2-host|repo2-path|process-max|logfile";
    prop_oneof![
        1 => any::<String>(),
        2 => "\\[[a-z%\\]:. ]{0,6}\\]",
        6 => (options, "[ -~\u{80}-\u{2fff}]{0,12}").prop_map(|(option, value)| format!("{option} = {value}")),
        2 => options.prop_map(|option| format!("{option} = 7")),
    ]
}
