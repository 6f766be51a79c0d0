//! Incremental backups below a copy over ssh, which real Barman never takes: both tools must read, keep and delete them
//! alike. The incrementals have the mode `postgres`, by which Barman knows an incremental.

use super::cases_delete::short_refusal;
use super::runner::{Case, case};

/// Every backup of the server `chain`.
const BACKUPS: [&str; 8] = [
    "20240501T100000",
    "20240502T100000",
    "20240503T100000",
    "20240504T100000",
    "20240504T120000",
    "20240505T100000",
    "20240506T100000",
    "20240507T100000",
];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("chain::list_by_name", "show-backup chain monday"),
        case("chain::latest", "show-backup chain latest"),
        case("chain::latest_full", "show-backup chain latest-full"),
        case("chain::last_failed", "show-backup chain last-failed"),
        case("chain::minimal", "list-backups --minimal chain"),
        case(
            "chain::check_backup_waiting",
            "check-backup chain 20240507T100000",
        ),
        case(
            "chain::check_backup_arrived",
            "check-backup chain 20240507T100000",
        )
        .server("chain", "archiver = on")
        .prepare(|site| {
            let info = site
                .manager
                .server("chain")
                .join("meta/20240507T100000-backup.info");
            let text = std::fs::read_to_string(&info).unwrap();
            let text = text.replace("00000000000000000D", "00000000000000000C");
            std::fs::write(&info, text).unwrap();
        }),
        case("chain::check_backup_done", "check-backup chain 20240503T100000"),
        case("chain::minimum_counts_full_ones", "check chain").server("chain", "minimum_redundancy = 4"),
        case("chain::minimum_status", "status chain").server("chain", "minimum_redundancy = 4"),
        case("chain::delete::minimum_full", "delete chain 20240502T100000")
            .server("chain", "minimum_redundancy = 3")
            .differs("delete refusal", short_refusal),
        case(
            "chain::delete::minimum_incremental",
            "delete chain 20240504T100000",
        )
        .server("chain", "minimum_redundancy = 3")
        .differs("delete refusal", short_refusal),
        case(
            "chain::delete::minimum_incremental_allowed",
            "delete chain 20240504T100000",
        )
        .server("chain", "minimum_redundancy = 2"),
        case("chain::delete::kept_root", "delete chain 20240502T100000")
            .prepare(|site| keep(site, "20240502T100000", "full"))
            .differs("delete refusal", short_refusal),
        case(
            "chain::delete::child_of_kept_root",
            "delete chain 20240503T100000",
        )
        .prepare(|site| keep(site, "20240502T100000", "full")),
        case("chain::keep::on_root", "keep --target full chain 20240502T100000"),
        case(
            "chain::keep::standalone_on_root",
            "keep --target standalone chain 20240502T100000",
        ),
        case(
            "chain::keep::on_incremental",
            "keep --target full chain 20240503T100000",
        ),
        case(
            "chain::keep::status_of_incremental",
            "keep --status chain 20240503T100000",
        ),
        case(
            "chain::keep::release_of_incremental",
            "keep --release chain 20240503T100000",
        ),
        case("chain::child_that_never_was::list", "list-backups chain").prepare(name_a_child),
        case(
            "chain::child_that_never_was::show",
            "show-backup chain 20240504T100000",
        )
        .prepare(name_a_child),
        case(
            "chain::keep::status_of_native_incremental",
            "keep --status tree 20240403T100000",
        ),
        case(
            "chain::keep::release_of_native_incremental",
            "keep --release tree 20240403T100000",
        ),
    ];
    for id in BACKUPS {
        cases.push(case(
            &format!("chain::show::{id}"),
            &format!("show-backup chain {id}"),
        ));
        cases.push(case(
            &format!("chain::delete::{id}"),
            &format!("delete chain {id}"),
        ));
        for target in ["data", "full", "wal", "standalone"] {
            if id == "20240504T120000" {
                // Barman lists WAL names for ever, because there is no end.
                continue;
            }
            cases.push(case(
                &format!("chain::list_files::{id}::{target}"),
                &format!("list-files --target {target} chain {id}"),
            ));
        }
    }
    cases.extend(retention());
    cases
}

/// The chain follows its root.
fn retention() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, policy) in [
        ("redundancy_1", "retention_policy = REDUNDANCY 1"),
        ("redundancy_2", "retention_policy = REDUNDANCY 2"),
        ("redundancy_0", "retention_policy = REDUNDANCY 0"),
        (
            "raised",
            "retention_policy = REDUNDANCY 1\nminimum_redundancy = 2",
        ),
        ("window", "retention_policy = RECOVERY WINDOW OF 1 DAY"),
        (
            "window_minimum",
            "retention_policy = RECOVERY WINDOW OF 1 DAY\nminimum_redundancy = 2",
        ),
    ] {
        for kept in ["none", "full", "standalone"] {
            if kept == "standalone" && name.starts_with("window") {
                // Differs on purpose: "incrementals of a standalone backup".
                continue;
            }
            let prepared = |words: &str, what: &str| {
                let name = format!("chain::retention::{what}::{name}::{kept}");
                let kept = kept.to_owned();
                case(&name, words).server("chain", policy).prepare(move |site| {
                    if kept != "none" {
                        keep(site, "20240502T100000", &kept);
                    }
                })
            };
            cases.push(prepared("list-backups chain", "list"));
            cases.push(prepared("status chain", "status"));
            cases.push(prepared("show-backup chain 20240504T100000", "show"));
        }
    }
    cases
}

fn keep(site: &super::runner::Site, id: &str, target: &str) {
    let path = site.manager.server("chain").join(format!("meta/{id}-keep"));
    std::fs::write(&path, target).unwrap();
    crate::support::catalog::give_to(&path, &site.manager.account);
}

/// What a crash leaves that came between the entry in the parent and the entry of the child.
fn name_a_child(site: &super::runner::Site) {
    let info = site
        .manager
        .server("chain")
        .join("meta/20240504T100000-backup.info");
    let text = std::fs::read_to_string(&info).unwrap();
    let named = text.replace(
        "children_backup_ids=20240504T120000",
        "children_backup_ids=20240504T120000,20240504T130000",
    );
    assert_ne!(named, text);
    std::fs::write(&info, named).unwrap();
}
