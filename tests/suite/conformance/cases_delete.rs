//! Commands that remove: delete, retention by cron, locks, and the hooks around them.

use super::runner::{Case, Site, case};

pub fn cases() -> Vec<Case> {
    let hooks = "pre_delete_script = {site}/hook\npost_delete_script = {site}/hook\n\
                 pre_delete_retry_script = {site}/hook\npost_delete_retry_script = {site}/hook\n\
                 pre_wal_delete_script = {site}/hook\npost_wal_delete_script = {site}/hook\n\
                 pre_wal_delete_retry_script = {site}/hook\npost_wal_delete_retry_script = {site}/hook";
    let mut cases = vec![
        case("delete::oldest", "delete main 20240110T100000"),
        case("delete::by_name", "delete main first"),
        case("delete::shortcut_oldest", "delete main oldest"),
        case("delete::middle", "delete main 20240112T100000"),
        case("delete::latest", "delete main latest"),
        case("delete::failed", "delete main 20240111T120000"),
        case("delete::last_failed", "delete main last-failed"),
        case("delete::started", "delete main 20240112T120000"),
        case("delete::empty_backup", "delete main 20240114T100000"),
        case("delete::unknown_backup", "delete main 20990101T000000"),
        case("delete::unknown_server", "delete nosuch latest"),
        case("delete::all_refused", "delete all latest"),
        case("delete::two_of_a_name", "delete main twin"),
        case("delete::kept", "delete main 20240111T100000").differs("delete refusal", short_refusal),
        case("delete::minimum_redundancy", "delete main oldest")
            .server("main", "minimum_redundancy = 4")
            .differs("delete refusal", short_refusal),
        case("delete::window_oldest", "delete window oldest"),
        case("delete::window_oldest_no_minimum", "delete window oldest")
            .server("window", "minimum_redundancy = 0"),
        case("delete::root_with_children", "delete tree 20240402T100000"),
        case("delete::incremental_with_child", "delete tree 20240403T100000"),
        case("delete::incremental_leaf", "delete tree 20240404T100000"),
        case("delete::compressed_full", "delete tree 20240401T100000"),
        case("delete::timelines_oldest", "delete tables 20240701T100000"),
        case("delete::timelines_newest", "delete tables 20240703T100000"),
        case(
            "delete::timelines_kept_standalone",
            "delete tables 20240702T100000",
        )
        .differs("delete refusal", short_refusal),
        case("delete::only_backup", "delete mixed latest"),
        case("delete::only_backup_no_wal", "delete nowal latest"),
        case("delete::waiting", "delete wait latest"),
        case("delete::inactive", "delete off oldest"),
        case("delete::disabled", "delete dis latest"),
        case("delete::passive", "delete pas latest"),
        case("delete::hooks", "delete main oldest").server("main", hooks),
        case("delete::hooks_tree", "delete tree 20240403T100000").server("tree", hooks),
        case("delete::hook_fails", "delete main oldest").server("main", "pre_delete_script = {site}/hook 7"),
        case("delete::retry_continue", "delete main oldest")
            .server("main", "pre_delete_retry_script = {site}/hook 62"),
        case("delete::retry_stop", "delete main oldest")
            .server("main", "pre_delete_retry_script = {site}/hook 63")
            .differs("aborted delete", |outcome| {
                outcome.catalog = without_line(&outcome.catalog, "20240110T100000-delete_this");
            }),
        case("delete::no_xlogdb", "delete main oldest").prepare(|site| {
            std::fs::remove_file(site.manager.server("main").join("wals/main-xlog.db")).unwrap();
        }),
        case("delete::no_data", "delete main oldest").prepare(|site| {
            std::fs::remove_dir_all(site.manager.server("main").join("base/20240110T100000")).unwrap();
        }),
        case("delete::legacy_place", "delete main oldest").prepare(legacy_place),
        case("list_backups::legacy_place", "list-backups main").prepare(legacy_place),
        case("keep::legacy_annotation", "keep --status main 20240112T100000")
            .prepare(|site| {
                let annotations = site
                    .manager
                    .server("main")
                    .join("base/20240112T100000/annotations");
                std::fs::create_dir(&annotations).unwrap();
                std::fs::write(annotations.join("keep"), "standalone").unwrap();
                crate::support::catalog::give_to(&annotations, &site.manager.account);
            })
            .differs("annotations in their old place", not_moved),
        case("lock_directory_cleanup", "lock-directory-cleanup"),
        case("terminate_process::none", "terminate-process main backup"),
        case("terminate_process::unknown_task", "terminate-process main nosuch").usage(),
        case("terminate_process::inactive", "terminate-process off backup"),
    ];
    for (name, server, policy) in [
        ("redundancy_1", "main", "retention_policy = REDUNDANCY 1"),
        ("redundancy_2", "main", "retention_policy = REDUNDANCY 2"),
        ("redundancy_0", "main", "retention_policy = REDUNDANCY 0"),
        (
            "redundancy_raised",
            "main",
            "retention_policy = REDUNDANCY 1\nminimum_redundancy = 3",
        ),
        (
            "window",
            "window",
            "retention_policy = RECOVERY WINDOW OF 4 WEEKS\nminimum_redundancy = 0",
        ),
        (
            "window_minimum",
            "window",
            "retention_policy = RECOVERY WINDOW OF 10 DAYS\nminimum_redundancy = 3",
        ),
        (
            "window_zero",
            "window",
            "retention_policy = RECOVERY WINDOW OF 0 DAYS\nminimum_redundancy = 0",
        ),
        (
            "window_months",
            "main",
            "retention_policy = recovery window of 2 months",
        ),
        ("tree", "tree", "retention_policy = REDUNDANCY 1"),
        (
            "tree_window",
            "tree",
            "retention_policy = RECOVERY WINDOW OF 1 DAY",
        ),
        ("timelines", "tables", "retention_policy = REDUNDANCY 1"),
        ("invalid", "main", "retention_policy = KEEP EVERYTHING"),
        ("manual", "main", "retention_policy_mode = manual"),
        ("wal_policy", "main", "wal_retention_policy = simple-wal 2"),
    ] {
        cases.push(
            case(
                &format!("retention::list::{name}"),
                &format!("list-backups {server}"),
            )
            .server(server, policy),
        );
        cases.push(
            case(&format!("retention::status::{name}"), &format!("status {server}")).server(server, policy),
        );
        cases.push(
            case(
                &format!("retention::show::{name}"),
                &format!("show-backup {server} oldest"),
            )
            .server(server, policy),
        );
    }
    cases
}

/// Barman prints the whole object; barkeep prints the name of what it refused to delete.
pub fn short_refusal(outcome: &mut super::outcome::Outcome) {
    let start = "Cannot delete backup (";
    let pattern = regex::Regex::new(r"\d{8}T\d{6}").unwrap();
    let of_key = regex::Regex::new(r"'backup_id': '(\d{8}T\d{6})'").unwrap();
    for (text, end) in [
        (&mut outcome.stdout, ")\""),
        (&mut outcome.stderr, ")\n"),
        (&mut outcome.log, "\n"),
    ] {
        let Some(at) = text.find(start) else { continue };
        let object = text[at + start.len()..].to_owned();
        let Some((server, _)) = object.split_once(" LocalBackupInfo(") else {
            continue;
        };
        let key = of_key.captures(&object).map(|found| found[1].to_owned());
        let id = key.unwrap_or_else(|| pattern.find(&object).unwrap().as_str().to_owned());
        let tail = match (object.find(end), end) {
            // In the log the object is the rest of the line.
            (Some(end), "\n") => format!("){}", &object[end..]),
            (None, _) => ")".to_owned(),
            (Some(end), _) => object[end..].to_owned(),
        };
        *text = format!("{}{start}{server} {id}{tail}", &text[..at]);
    }
}

fn without_line(text: &str, part: &str) -> String {
    text.lines()
        .filter(|line| !line.contains(part))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Moves one backup's information file to where Barman 2 kept it.
fn legacy_place(site: &Site) {
    let server = site.manager.server("main");
    std::fs::rename(
        server.join("meta/20240110T100000-backup.info"),
        server.join("base/20240110T100000/backup.info"),
    )
    .unwrap();
}

/// The annotation of `keep::legacy_annotation` where it was.
fn not_moved(outcome: &mut super::outcome::Outcome) {
    let name = "main/meta/20240112T100000-keep";
    let Some(moved) = outcome
        .catalog
        .lines()
        .find(|line| line.contains(name))
        .map(str::to_owned)
    else {
        return;
    };
    let old = moved.replace(name, "main/base/20240112T100000/annotations/keep");
    let directory = "d 0755 main/base/20240112T100000/annotations\n";
    outcome.catalog = outcome
        .catalog
        .replace(&format!("{moved}\n"), "")
        .replace(directory, &format!("{directory}{old}\n"));
}
