//! Commands that only read the catalog: lists, details, files.

use super::outcome::Outcome;
use super::runner::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("list_servers", "list-servers"),
        case("list_servers_minimal", "list-servers --minimal"),
        case("list_server_alias", "list-server"),
        case("list_backups::all", "list-backups all"),
        case("list_backups::alias", "list-backup main"),
        case("list_backups::two_servers", "list-backups window main"),
        case("list_backups::all_with_another", "list-backups all main"),
        case("list_backups::unknown_server", "list-backups nosuch"),
        case("list_backups::unknown_and_known", "list-backups nosuch main"),
        case("list_backups::minimal", "list-backups --minimal main window"),
        case("list_backups::quiet", "-q list-backups main"),
        case("show_backup::unknown_server", "show-backup nosuch latest"),
        case("show_backup::unknown_backup", "show-backup main nosuch"),
        case("show_backup::all_refused", "show-backup all latest"),
        case("show_backup::two_of_a_name", "show-backup main twin"),
        case("show_backup::by_name", "show-backup main first"),
        case("show_backup::alias", "show-backups main first"),
        case("list_files::unknown_backup", "list-files main nosuch"),
        case(
            "list_files::unknown_target",
            "list-files --target nosuch main latest",
        )
        .usage(),
        // Not here: list-files of a FAILED backup. Barman lists WAL names for ever, because there is no end.
        case("keep::status_all", "keep --status all latest"),
        case("keep::no_action", "keep main latest"),
        case("keep::bad_target", "keep --target both main latest").usage(),
    ];
    for server in [
        "main", "window", "tree", "chain", "wait", "nowal", "mixed", "tables", "empty", "pas", "off", "dis",
        "warn",
    ] {
        cases.push(case(
            &format!("list_backups::{server}"),
            &format!("list-backups {server}"),
        ));
        let status = case(&format!("status::{server}"), &format!("status {server}"));
        cases.push(if server == "dis" {
            status
                .console()
                .differs("status without a connection string", status_goes_on)
        } else {
            status
        });
        cases.push(case(&format!("check::{server}"), &format!("check {server}")));
        cases.push(case(
            &format!("check_wal_archive::{server}"),
            &format!("check-wal-archive {server}"),
        ));
        cases.push(case(
            &format!("list_processes::{server}"),
            &format!("list-processes {server}"),
        ));
        cases.push(
            case(
                &format!("show_servers::{server}"),
                &format!("show-servers {server}"),
            )
            .differs("passwords", without_passwords),
        );
    }
    for id in [
        "20240110T100000",
        "20240111T100000",
        "20240111T120000",
        "20240112T100000",
        "20240112T120000",
        "20240113T100000",
        "20240114T100000",
        "latest",
        "last",
        "oldest",
        "first",
        "last-failed",
        "latest-full",
        "last-full",
        "auto",
        "20240199T999999",
    ] {
        cases.push(case(
            &format!("show_backup::main::{id}"),
            &format!("show-backup main {id}"),
        ));
    }
    for (server, id) in [
        ("window", "latest"),
        ("window", "oldest"),
        ("tree", "20240401T100000"),
        ("tree", "20240402T100000"),
        ("tree", "20240403T100000"),
        ("tree", "20240404T100000"),
        ("tree", "20240405T100000"),
        ("wait", "latest"),
        ("wait", "oldest"),
        ("nowal", "latest"),
        ("mixed", "latest"),
        ("tables", "20240701T100000"),
        ("tables", "20240702T100000"),
        ("tables", "20240703T100000"),
        ("empty", "latest"),
        ("pas", "latest"),
        ("off", "latest"),
        ("dis", "latest"),
    ] {
        cases.push(case(
            &format!("show_backup::{server}::{id}"),
            &format!("show-backup {server} {id}"),
        ));
    }
    for target in ["data", "full", "wal", "standalone"] {
        for (server, id) in [
            ("main", "20240111T100000"),
            ("tables", "20240701T100000"),
            ("main", "latest"),
        ] {
            let name = format!("list_files::{server}::{id}::{target}");
            cases.push(case(
                &name,
                &format!("list-files --target {target} {server} {id}"),
            ));
        }
    }
    for (server, id) in [
        ("main", "latest"),
        ("main", "20240111T100000"),
        ("tables", "20240702T100000"),
        ("off", "latest"),
    ] {
        cases.push(case(
            &format!("keep::status::{server}::{id}"),
            &format!("keep --status {server} {id}"),
        ));
        cases.push(case(
            &format!("keep::release::{server}::{id}"),
            &format!("keep --release {server} {id}"),
        ));
        cases.push(case(
            &format!("keep::full::{server}::{id}"),
            &format!("keep --target full {server} {id}"),
        ));
        cases.push(case(
            &format!("keep::standalone::{server}::{id}"),
            &format!("keep --target standalone {server} {id}"),
        ));
    }
    cases.push(case("keep::failed", "keep --target full main 20240111T120000"));
    cases.push(case(
        "keep::incremental",
        "keep --target full tree 20240403T100000",
    ));
    cases
}

/// Barman ends with an exception where it looks for the version of a PostgreSQL that it cannot ask.
fn status_goes_on(outcome: &mut super::outcome::Outcome) {
    outcome.code = 0;
    outcome.stdout.push_str(
        "\tPostgreSQL version: FAILED trying to get PostgreSQL version\n\tPassive node: False\n\
         \tRetention policies: not enforced\n\tNo. of available backups: 0\n\tFirst available backup: None\n\
         \tLast available backup: None\n\tMinimum redundancy requirements: satisfied (0/0)\n",
    );
    let kept = |line: &&str| !line.starts_with("EXCEPTION") && !line.starts_with("See log file");
    outcome.stderr = outcome.stderr.split_inclusive('\n').filter(kept).collect();
}

/// Barman shows passwords in JSON, and on the console joins the line of a hidden one with the next.
pub fn without_passwords(outcome: &mut Outcome) {
    let shown = outcome.stdout.replace("*REDACTED*\t", "*REDACTED*\n\t");
    let password = regex::Regex::new(r#"password=[^*\s"]+"#).unwrap();
    outcome.stdout = password.replace_all(&shown, "password=*REDACTED*").into_owned();
}
