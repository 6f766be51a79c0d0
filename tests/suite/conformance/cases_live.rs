//! Commands on a running PostgreSQL and over a working ssh, on a catalog that real Barman has made.
//!
//! The cluster goes on between the runs of the two tools, so LSNs, segment names, ids and sizes differ and are
//! replaced by words ([`volatile`]); everything else must be equal.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use libtest_mimic::{Failed, Trial};

use super::fixture::Fixtures;
use super::live::Live;
use super::normalise;
use super::outcome::{Comparison, Outcome, command_of};
use super::volatile::volatile;
use crate::support::process::Finished;
use crate::support::scratch::make_directory;
use crate::support::tool::Tool;
use crate::support::{diff, tree};

/// One command line.
pub struct LiveCase {
    name: String,
    arguments: Vec<String>,
    /// Lines added to the section of `main`.
    server: String,
    /// Whether WAL is being received.
    receiving: bool,
}

impl LiveCase {
    pub fn new(name: &str, arguments: &str, server: &str) -> LiveCase {
        LiveCase {
            name: name.to_owned(),
            arguments: arguments
                .split_whitespace()
                .map(|word| word.replace('~', " "))
                .collect(),
            server: server.to_owned(),
            receiving: false,
        }
    }

    /// A WAL receiver runs: Barman's for the console, barkeep's for JSON.
    pub fn receiving(mut self, receiving: bool) -> LiveCase {
        self.receiving = receiving;
        self
    }

    /// Whether the catalog has WAL only.
    fn is_first(&self) -> bool {
        self.name.starts_with("live::first_")
    }

    /// What rules know it by.
    fn label(&self) -> String {
        let state = self
            .name
            .strip_prefix("table::")
            .and_then(|rest| rest.split("::").next());
        format!("{}: {}", state.unwrap_or("live"), self.arguments.join(" "))
    }
}

type Line = (&'static str, &'static str, &'static str);

/// A case of the list below: its name, its command line, lines for the section of `main`.
const fn live(name: &'static str, arguments: &'static str, server: &'static str) -> Line {
    (name, arguments, server)
}

const HOOKS: &str = "pre_backup_script = HOOK\npost_backup_script = HOOK\npre_backup_retry_script = HOOK\n\
                     post_backup_retry_script = HOOK\npre_archive_script = HOOK\npost_archive_script = HOOK\n\
                     pre_archive_retry_script = HOOK\npost_archive_retry_script = HOOK";
const NO_SSH: &str = "ssh_command = ssh -o ConnectTimeout=5 -p 1 postgres@127.0.0.1";
const NO_POSTGRESQL: &str = "conninfo = host=127.0.0.1 port=1 user=postgres dbname=postgres";

const CASES: &[Line] = &[
    live("check", "check main", ""),
    live("check_nagios", "check --nagios main", ""),
    live("check_ssh_down", "check main", NO_SSH),
    live("check_postgresql_down", "check main", NO_POSTGRESQL),
    live(
        "check_ages",
        "check main",
        "last_backup_maximum_age = 1 DAY\nlast_wal_maximum_age = 1 DAY\nlast_backup_minimum_size = 1Ti",
    ),
    live("check_minimum", "check main", "minimum_redundancy = 3"),
    live("check_slot", "check main", "slot_name = nosuch"),
    live("check_queue", "check main", "max_incoming_wals_queue = 1"),
    live(
        "check_wrong_user",
        "check main",
        "conninfo = host=127.0.0.1 port=PORT user=nobody dbname=postgres",
    ),
    live("status", "status main", ""),
    live("status_postgresql_down", "status main", NO_POSTGRESQL),
    live("list_backups", "list-backups main", ""),
    live("show_latest", "show-backup main latest", ""),
    live("show_named", "show-backup main weekly", ""),
    live("show_servers", "show-servers main", ""),
    live("show_servers_postgresql_down", "show-servers main", NO_POSTGRESQL),
    live("switch_wal", "switch-wal main", ""),
    live("switch_wal_force", "switch-wal --force main", ""),
    live("switch_wal_archive", "switch-wal --force --archive main", ""),
    live("verify_without_manifest", "verify-backup main latest", ""),
    live("generate_manifest", "generate-manifest main latest", ""),
    live("backup", "backup main", ""),
    live("backup_wait", "backup --wait main", HOOKS),
    live("backup_named", "backup --name monthly --jobs 2 main", ""),
    live("backup_copy", "backup --reuse-backup=copy main", ""),
    live("backup_no_reuse", "backup --reuse-backup=off main", ""),
    live("backup_manifest", "backup --manifest main", ""),
    live("first_backup", "backup main", ""),
    live("first_backup_worm", "backup main", "worm_mode = on"),
    live("backup_ssh_down", "backup main", NO_SSH),
    live("backup_postgresql_down", "backup main", NO_POSTGRESQL),
    live(
        "backup_hook_stops",
        "backup main",
        "pre_backup_retry_script = HOOK 63",
    ),
    live(
        "backup_hook_fails",
        "backup main",
        "pre_backup_script = exit 5\npost_backup_script = HOOK",
    ),
    live("check_backup", "check-backup main latest", ""),
    live("delete_oldest", "delete main oldest", ""),
    live("delete_latest", "delete main latest", ""),
    live("archive_wal", "archive-wal main", ""),
    live("rebuild_xlogdb", "rebuild-xlogdb main", ""),
    // The children that cron starts hold our pipes: the command ends for the test when the last of them has.
    live(
        "cron",
        "cron --keep-descriptors",
        "retention_policy = REDUNDANCY 1",
    ),
];

const STREAMING: &str = "streaming_conninfo = CONNINFO\nstreaming_archiver = on\nslot_name = conformance";

/// With a WAL receiver.
const RECEIVING: &[Line] = &[
    live("check", "check main", ""),
    live("replication_status", "replication-status main", ""),
    live("list_processes", "list-processes main", ""),
    live("cron", "cron --keep-descriptors", ""),
];

pub fn trials(fixtures: &Arc<Fixtures>, of_table: Vec<LiveCase>) -> Vec<Trial> {
    let own = CASES
        .iter()
        .map(|(name, arguments, server)| LiveCase::new(&format!("live::{name}"), arguments, server));
    let received = RECEIVING.iter().map(|(name, arguments, server)| {
        let server = format!("{STREAMING}\n{server}");
        LiveCase::new(&format!("live::receiving::{name}"), arguments, &server).receiving(true)
    });
    let cases: Vec<Arc<LiveCase>> = own.chain(received).chain(of_table).map(Arc::new).collect();
    let mut runs: Vec<(Arc<LiveCase>, &'static str)> = Vec::new();
    for case in cases {
        runs.push((Arc::clone(&case), "console"));
        // differences.md: "nagios and json".
        if !case.arguments.iter().any(|word| word == "--nagios") {
            runs.push((case, "json"));
        }
    }
    // A receiver takes a second to begin and another to end.
    runs.sort_by_key(|(case, kind)| if case.receiving { *kind } else { "" });
    let mut trials: Vec<Trial> = Vec::new();
    for (case, kind) in runs {
        let fixtures = Arc::clone(fixtures);
        let label = if kind == "json" { " (json)" } else { "" };
        let name = format!("{}{label}", case.name);
        trials.push(Trial::test(format!("conformance::{name}"), move || {
            compare(&fixtures, &case, kind, name.clone())
        }));
    }
    let fixtures_of_diagnose = Arc::clone(fixtures);
    trials.push(Trial::test("conformance::live::diagnose", move || {
        diagnose(&fixtures_of_diagnose)
    }));
    trials
}

fn compare(fixtures: &Fixtures, case: &LiveCase, format: &str, name: String) -> Result<(), Failed> {
    let mut live = fixtures.live().lock().unwrap_or_else(PoisonError::into_inner);
    let receiver = match (case.receiving, format) {
        (false, _) => None,
        (true, "console") => Some(&fixtures.barman),
        (true, _) => Some(&fixtures.barkeep),
    };
    let [expected, actual] =
        [&fixtures.barman, &fixtures.barkeep].map(|tool| outcome_of(&mut live, case, format, tool, receiver));
    Comparison {
        name,
        label: case.label(),
        command: command_of(&case.arguments, "barman"),
        line: format!("barman {}", case.arguments.join(" ")),
    }
    .settle(expected, actual, Vec::new())
}

fn outcome_of(
    live: &mut Live,
    case: &LiveCase,
    format: &str,
    tool: &Tool,
    receiver: Option<&Tool>,
) -> Outcome {
    let directory = live.lab.manager.directory.clone();
    let destination = directory.join("restored");
    let fill = |text: &str| {
        text.replace("{dest}", &destination.display().to_string())
            .replace("{ssh}", &live.lab.ssh_command)
            .replace("HOOK", &directory.join("hook").display().to_string())
            .replace("CONNINFO", &live.lab.cluster.conninfo())
            .replace("PORT", &live.lab.cluster.port.to_string())
    };
    // 'hook 63' is a hook with a word after it: the script takes its exit code from there.
    live.lab
        .configure(&fill(&case.server).replace("hook 63", "hook; exit 63"));
    let mut words = vec!["-f".to_owned(), format.to_owned()];
    words.extend(case.arguments.iter().map(|word| fill(word)));
    live.prepare(receiver);
    if case.is_first() {
        live.forget_backups();
    }
    let _ = std::fs::remove_dir_all(&destination);
    make_directory(&destination, &live.lab.manager.account);
    open_to_all(&destination);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let finished = live.lab.manager.run(tool, &words);
    outcome(live, &finished, tool)
}

/// A restore over ssh writes as another account.
fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

fn outcome(live: &Live, finished: &Finished, tool: &Tool) -> Outcome {
    let manager = &live.lab.manager;
    let comparable = |text: &str| {
        let text = text.replace(&tool.bin.display().to_string(), "TOOL");
        volatile(&normalise::text(&text))
    };
    let mut log: Vec<String> = comparable(&normalise::log(&manager.log()))
        .lines()
        .map(str::to_owned)
        .collect();
    // How many segments one run finds in incoming is PostgreSQL's affair.
    log.retain(|line| !line.contains(" INFO: \tSEGMENT"));
    log.sort_unstable();
    log.dedup();
    Outcome {
        stdout: comparable(&finished.stdout),
        stderr: comparable(&finished.stderr),
        code: finished.code,
        hooks: comparable(&live.hooks()),
        catalog: comparable(&names_and_modes(&manager.home())),
        destination: comparable(&names_and_modes(&manager.directory.join("restored"))),
        log: log.join("\n"),
    }
}

/// The names and modes of a tree, and the lines of its information files: contents of data files differ as the cluster goes on.
fn names_and_modes(root: &Path) -> String {
    let is_wanted = |name: &str| {
        let changing = [
            "/data/",
            "/wals/",
            "/incoming/",
            "/streaming/",
            "/pg_wal/",
            "/barman_wal/",
        ];
        // differences.md: "sidecar", "queued changes of the configuration".
        let own = ["-barkeep", "cfg_changes.queue"];
        let of_tablespace = ["/163", "PG_15_"];
        let skipped = changing.iter().chain(&own).chain(&of_tablespace);
        !name.ends_with(".lock")
            && (name.contains(".tar") || !skipped.into_iter().any(|part| name.contains(part)))
    };
    let mut lines = tree::outline(root, is_wanted);
    lines.retain(|line| !line.contains("copy_stats"));
    lines.join("\n")
}

/// The document of `diagnose`: the configuration and the backups are equal, the other parts have the same keys.
fn diagnose(fixtures: &Fixtures) -> Result<(), Failed> {
    let mut live = fixtures.live().lock().unwrap_or_else(PoisonError::into_inner);
    live.lab.configure("");
    let [expected, actual] = [&fixtures.barman, &fixtures.barkeep].map(|tool| {
        live.prepare(None);
        let text = live.lab.manager.run(tool, &["diagnose"]).success().stdout;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    });
    let mut problems = String::new();
    for pointer in [
        "/servers/main/config",
        "/servers/main/backups",
        "/servers/main/wals",
        "/servers/main/msg_list",
        "/models",
        "/global/config",
    ] {
        let pretty =
            |value: &serde_json::Value| serde_json::to_string_pretty(&value.pointer(pointer)).unwrap();
        if let Some(text) = diff::lines(&pretty(&expected), &pretty(&actual)) {
            problems.push_str(&format!("{pointer}\n{}\n", diff::around_changes(&text)));
        }
    }
    for pointer in [
        "/servers/main/status",
        "/servers/main",
        "/servers/main/system_info",
    ] {
        let keys = |value: &serde_json::Value| {
            let object = value
                .pointer(pointer)
                .and_then(serde_json::Value::as_object)
                .cloned()
                .unwrap_or_default();
            // differences.md: "python".
            let keys = object.keys().filter(|key| !key.starts_with("python_"));
            keys.cloned().collect::<Vec<_>>().join("\n")
        };
        if let Some(text) = diff::lines(&keys(&expected), &keys(&actual)) {
            problems.push_str(&format!("keys of {pointer}\n{}\n", diff::around_changes(&text)));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failed::from(problems))
    }
}
