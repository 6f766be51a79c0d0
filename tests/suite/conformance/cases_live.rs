//! Commands on a running PostgreSQL and over a working ssh, on a catalog that real Barman has made.
//!
//! The cluster goes on between the runs of the two tools, so LSNs, segment names, ids and sizes differ and are
//! replaced by words ([`volatile`]); everything else must be equal.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};

use super::fixture::Fixtures;
use super::normalise;
use super::outcome::{Comparison, Outcome, command_of};
use super::volatile::volatile;
use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Shipping};
use crate::support::process::{Account, Finished};
use crate::support::scratch::{make_directory, write_file};
use crate::support::tool::Tool;
use crate::support::{diff, tree};

/// A lab with a full and a linked backup by real Barman. One case at a time uses it.
#[derive(Debug)]
pub struct Live {
    lab: Lab,
    pristine: PathBuf,
}

impl Live {
    pub fn start(barman: &Tool) -> Mutex<Live> {
        let options = LabOptions::new(Version::V15)
            .in_memory()
            .shipping(Shipping::Rsync)
            .tablespace()
            .server("compression = gzip\nretention_policy = REDUNDANCY 5");
        let mut lab = Lab::start("live", barman, &options);
        lab.sshd.keep_connection(&Account::barman(), "postgres");
        lab.sshd.keep_connection(&Account::postgres(), "barman");
        let hook = lab.manager.directory.join("hook");
        let script = format!(
            "#!/bin/sh\n{{ echo \"---\"; env | grep '^BARMAN_' | LC_ALL=C sort; }} >>{}\n",
            lab.manager.directory.join("hooks.log").display()
        );
        write_file(&hook, script, 0o755, &lab.manager.account);
        lab.prepare(barman);
        lab.backup(barman, &["--name", "weekly"]);
        lab.backup(barman, &[]);
        lab.archive_everything(barman);
        let pristine = lab.scratch.join("pristine");
        tree::copy(&lab.manager.home(), &pristine);
        Mutex::new(Live { lab, pristine })
    }

    /// The catalog as Barman left it at the start; PostgreSQL has nothing to ship, and one record to switch for.
    fn restore_catalog(&self) {
        let segment = self.lab.cluster.switch_wal();
        self.lab.cluster.wait_archived(&segment);
        std::fs::remove_dir_all(self.lab.manager.home()).unwrap();
        tree::copy(&self.pristine, &self.lab.manager.home());
        for file in ["hooks.log", "barman.log"] {
            let _ = std::fs::remove_file(self.lab.manager.directory.join(file));
        }
        self.lab
            .cluster
            .sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
        self.lab
            .cluster
            .sql("SELECT pg_logical_emit_message(false, 'test', 'something to switch for')");
    }

    /// Leaves nothing but WAL.
    fn forget_backups(&self) {
        for part in ["base", "meta"] {
            let directory = self.lab.manager.server("main").join(part);
            std::fs::remove_dir_all(&directory).unwrap();
            make_directory(&directory, &self.lab.manager.account);
        }
    }

    /// What the hooks were told. Whether the history file of a backup is in incoming when the command looks is
    /// PostgreSQL's affair: it ships that file after the last segment.
    fn hooks(&self) -> String {
        let log = std::fs::read_to_string(self.lab.manager.directory.join("hooks.log")).unwrap_or_default();
        let of_history_file = |call: &&str| {
            call.lines()
                .any(|line| line.starts_with("BARMAN_SEGMENT=") && line.ends_with(".backup"))
        };
        log.split("---\n")
            .filter(|call| !of_history_file(call))
            .collect::<Vec<_>>()
            .join("---\n")
    }
}

/// One command line.
pub struct LiveCase {
    name: String,
    arguments: Vec<String>,
    /// Lines added to the section of `main`.
    server: String,
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
        }
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

pub fn trials(fixtures: &Arc<Fixtures>, of_table: Vec<LiveCase>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let own = CASES
        .iter()
        .map(|(name, arguments, server)| LiveCase::new(&format!("live::{name}"), arguments, server));
    for case in own.chain(of_table) {
        let case = Arc::new(case);
        // differences.md: "nagios and json".
        let once = case.arguments.iter().any(|word| word == "--nagios");
        let kinds: &[&str] = if once || case.is_first() {
            &["console"]
        } else {
            &["console", "json"]
        };
        for kind in kinds {
            let (fixtures, case) = (Arc::clone(fixtures), Arc::clone(&case));
            let label = if *kind == "json" { " (json)" } else { "" };
            let name = format!("{}{label}", case.name);
            trials.push(Trial::test(format!("conformance::{name}"), move || {
                compare(&fixtures, &case, kind, name.clone())
            }));
        }
    }
    let fixtures_of_diagnose = Arc::clone(fixtures);
    trials.push(Trial::test("conformance::live::diagnose", move || {
        diagnose(&fixtures_of_diagnose)
    }));
    trials
}

fn compare(fixtures: &Fixtures, case: &LiveCase, format: &str, name: String) -> Result<(), Failed> {
    let live = fixtures.live().lock().unwrap_or_else(PoisonError::into_inner);
    let directory = &live.lab.manager.directory;
    let destination = directory.join("restored");
    let fill = |text: &str| {
        text.replace("{dest}", &destination.display().to_string())
            .replace("{ssh}", &live.lab.ssh_command)
            .replace("HOOK", &directory.join("hook").display().to_string())
            .replace("CONNINFO", &live.lab.cluster.conninfo())
            .replace("PORT", &live.lab.cluster.port.to_string())
    };
    let [expected, actual] = [&fixtures.barman, &fixtures.barkeep].map(|tool| {
        live.restore_catalog();
        if case.is_first() {
            live.forget_backups();
        }
        let _ = std::fs::remove_dir_all(&destination);
        make_directory(&destination, &live.lab.manager.account);
        open_to_all(&destination);
        // 'hook 63' is a hook with a word after it: the script takes its exit code from there.
        live.lab
            .configure(&fill(&case.server).replace("hook 63", "hook; exit 63"));
        let filled: Vec<String> = case.arguments.iter().map(|word| fill(word)).collect();
        let mut words = vec!["-f", format];
        words.extend(filled.iter().map(String::as_str));
        let finished = live.lab.manager.run(tool, &words);
        let mut outcome = outcome(&live, &finished, tool);
        if !case.name.starts_with("table::") {
            outcome.log.clear();
        }
        outcome
    });
    live.lab.configure("");
    Comparison {
        name,
        label: case.label(),
        command: command_of(&case.arguments, "barman"),
        line: format!("barman {}", case.arguments.join(" ")),
    }
    .settle(expected, actual, Vec::new())
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
    let lines: Vec<String> = tree::describe(root)
        .lines()
        .filter(|line| {
            let changing = ["/data/", "/wals/", "/incoming/", "/pg_wal/", "/barman_wal/"];
            line.contains(".tar")
                || !changing.iter().any(|part| line.contains(part)) && !line.starts_with("  | 0")
        })
        // differences.md: "sidecar", "queued changes of the configuration".
        .filter(|line| !line.contains("-barkeep") && !line.contains("cfg_changes.queue"))
        .filter(|line| !line.contains("copy_stats") && !line.contains("/163") && !line.contains("PG_15_"))
        .map(|line| {
            if line.starts_with("f ") {
                line.split(' ').take(3).collect::<Vec<_>>().join(" ")
            } else {
                line.to_owned()
            }
        })
        .collect();
    lines.join("\n")
}

/// The document of `diagnose`: the configuration and the backups are equal, the other parts have the same keys.
fn diagnose(fixtures: &Fixtures) -> Result<(), Failed> {
    let live = fixtures.live().lock().unwrap_or_else(PoisonError::into_inner);
    live.restore_catalog();
    live.lab.configure("");
    let [expected, actual] = [&fixtures.barman, &fixtures.barkeep].map(|tool| {
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
