//! The command line itself: versions, usage errors, configuration errors, commands of a later version.

use super::cases_catalog::without_passwords;
use super::outcome::Outcome;
use super::runner::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("command_line::unknown_command", "nosuch").usage(),
        case("command_line::unknown_option", "list-servers --nosuch").usage(),
        case("command_line::global_option_after_command", "list-backups -f json main").usage(),
        case("command_line::bad_format", "-f xml list-servers").usage(),
        case("command_line::bad_color", "--color sometimes list-servers").usage(),
        case("command_line::option_prefix", "list-backups --min main"),
        case("command_line::equals", "list-files --target=data main latest"),
        case("command_line::color_always", "--color always list-backups nosuch"),
        case("command_line::colour", "--colour always check window").console(),
        case("command_line::quiet_error", "-q list-backups nosuch"),
        // Not "all": Barman breaks off at the server without conninfo.
        case("command_line::several_servers_status", "status window main off pas empty"),
        case("command_line::all_servers_check", "check all"),
        case("command_line::check_nagios", "check --nagios main").console(),
        case("command_line::check_nagios_all", "check --nagios all").console(),
        case("command_line::check_nagios_unknown", "check --nagios nosuch").console(),
        case("command_line::check_nagios_inactive", "check --nagios off").console(),
        case("command_line::all_show_servers", "show-servers all").differs("passwords", without_passwords),
        case("command_line::cron_unknown_option", "cron --nosuch").usage(),
        case("config::no_home", "list-servers")
            .differs("errors before the JSON", |outcome| {
                let line = "ERROR: Parameter \"barman_home\" is required in [barman] section.\n";
                if !outcome.stderr.starts_with(line) {
                    outcome.stderr.insert_str(0, line);
                }
            })
            .prepare(|site| {
            let log = site.manager.directory.join("barman.log");
            let text = format!("[barman]\nbarman_user = barman\nlog_file = {}\n", log.display());
            std::fs::write(site.manager.config_file(), text).unwrap();
        }),
        case("config::missing_file", "list-servers").console().prepare(|site| {
            std::fs::remove_file(site.manager.config_file()).unwrap();
        }),
        case("config::server_named_all", "list-servers")
            .console()
            .differs("the log", |outcome| {
                let kept = |line: &&str| !line.contains("CRITICAL: the reserved word");
                outcome.log = outcome.log.split_inclusive('\n').filter(kept).collect();
            })
            .prepare(|site| {
            append(site, "[all]\ndescription = no\n");
        }),
        case("config::conflicting_paths", "list-servers").server("main", "backup_directory = {site}/home/window"),
        case("config::conflict_within", "check main")
            .server("main", "incoming_wals_directory = {site}/home/main/wals"),
        case("config::directory", "list-servers").global("configuration_files_directory = {site}/conf.d").prepare(
            |site| {
                let directory = site.manager.directory.join("conf.d");
                std::fs::create_dir(&directory).unwrap();
                std::fs::write(directory.join("b.conf"), "[extra]\ndescription = from a file\narchiver = on\nbackup_options = concurrent_backup\n[main]\ndescription = changed\n").unwrap();
                std::fs::write(directory.join("a.txt"), "[ignored]\ndescription = x\n").unwrap();
            },
        ),
        case("config::directory_with_barman", "list-servers")
            .console()
            .global("configuration_files_directory = {site}/conf.d")
            .prepare(|site| {
                let directory = site.manager.directory.join("conf.d");
                std::fs::create_dir(&directory).unwrap();
                std::fs::write(directory.join("b.conf"), "[barman]\nlog_level = DEBUG\n").unwrap();
            }),
        case("config::auto_file", "show-servers main").prepare(|site| {
            std::fs::write(site.manager.home().join(".barman.auto.conf"), "[main]\ndescription = automatic\n").unwrap();
        }),
        case("config::inherited", "show-servers window")
            .global("compression = zstd\nparallel_jobs = 3\nbandwidth_limit = 77\nminimum_redundancy = 9"),
        case("config::blocked_inheritance", "show-servers main").global("compression = zstd").server("main", "compression ="),
        case("config::quotes", "list-servers").server("main", "description = 'single # not a comment'"),
        case("config::model", "list-servers").prepare(|site| {
            append(site, "[m1]\nmodel = true\ncluster = main\ncompression = lz4\n");
        }),
        case("config::many_values", "show-servers main").server(
            "main",
            "reuse_backup = copy\nparallel_jobs = 4\nbandwidth_limit = 1000\nlast_backup_maximum_age = 2 WEEKS\n\
             last_wal_maximum_age = 3 hours\nlast_backup_minimum_size = 10Mi\nrecovery_options = get-wal\n\
             network_compression = true\nbasebackup_retry_times = 3\nbackup_options = concurrent_backup\n\
             compression_level = high\ncheck_timeout = 5\nmax_incoming_wals_queue = 7\ntablespace_bandwidth_limit = a:1 b:2",
        ),
        case("config::wrong_values", "show-servers main").server(
            "main",
            "reuse_backup = perhaps\nparallel_jobs = x\nlast_backup_maximum_age = 1day\nlast_backup_minimum_size = 10K\n\
             recovery_options = get-everything\nnetwork_compression = perhaps\nslot_name = a-b\nbackup_method = tape",
        ),
        case("config::postgres_with_reuse", "check tree").server("tree", "reuse_backup = link"),
        case("config::local_rsync_with_ssh", "check main").server("main", "backup_method = local-rsync"),
        case("config::exclusive", "check main").server("main", "backup_options = exclusive_backup"),
        case("config::both_options", "check main").server("main", "backup_options = exclusive_backup, concurrent_backup"),
    ];
    for command in [
        "backup",
        "delete main",
        "restore main latest",
        "list-backups",
        "check",
        "keep main",
        "get-wal main",
        "put-wal",
        "archive-wal",
        "switch-wal",
        "show-backup main",
        "list-files main",
        "status",
        "verify-backup main",
        "generate-manifest main",
        "terminate-process main",
        "rebuild-xlogdb",
        "check-backup main",
    ] {
        let name = format!("command_line::missing::{}", command.split(' ').next().unwrap());
        cases.push(case(&name, command).usage());
    }
    for server in ["main", "off", "dis", "pas", "nosuch", "all"] {
        let row = case(&format!("backup::{server}"), &format!("backup {server}"));
        cases.push(if server == "all" {
            row.differs("order of skipped servers", skipped_in_order)
        } else {
            row
        });
    }
    for (name, arguments) in [
        ("reserved_name", "--name latest"),
        ("id_as_name", "--name 20240101T000000"),
        ("empty_name", "--name="),
        ("negative_retry", "--retry-times -1"),
        ("zero_jobs", "--jobs 0"),
        ("bad_reuse", "--reuse-backup=maybe"),
        ("bad_bwlimit", "--bwlimit x"),
    ] {
        cases.push(case(&format!("backup::{name}"), &format!("backup {arguments} main")).usage());
    }
    for server in ["main", "off", "dis", "pas", "nosuch"] {
        cases.push(case(
            &format!("verify_backup::{server}"),
            &format!("verify-backup {server} latest"),
        ));
        cases.push(case(
            &format!("generate_manifest::{server}"),
            &format!("generate-manifest {server} latest"),
        ));
    }
    cases.push(case(
        "generate_manifest::unknown_backup",
        "generate-manifest main nosuch",
    ));
    cases.push(
        case("generate_manifest::exists", "generate-manifest main latest").prepare(|site| {
            let path = site
                .manager
                .server("main")
                .join("base/20240113T100000/data/backup_manifest");
            std::fs::write(path, "already").unwrap();
        }),
    );
    cases
}

fn append(site: &super::runner::Site, text: &str) {
    let mut config = std::fs::read_to_string(site.manager.config_file()).unwrap();
    config.push('\n');
    config.push_str(text);
    std::fs::write(site.manager.config_file(), config).unwrap();
}

/// The two servers that are skipped, in alphabetical order.
fn skipped_in_order(outcome: &mut Outcome) {
    let (off, pas) = ("Skipping inactive server 'off'", "Skipping passive server 'pas'");
    for between in ["\n", "\", \""] {
        outcome.stdout = outcome
            .stdout
            .replace(&format!("{pas}{between}{off}"), &format!("{off}{between}{pas}"));
    }
}
