//! `receive-wal` and `replication-status` where there is no server to ask, and what `archive-wal`, `check` and `restore` make of
//! streamed files. With a server: `tests/suite/streaming.rs`.

use super::runner::{Case, Site, case};
use crate::support::catalog::delivered_content;
use crate::support::scratch::write_file;

const STREAMING: &str = "streaming_archiver = on\nslot_name = barman";

/// The segments after the newest in the archive of `main`.
const NEXT: [&str; 3] = [
    "00000001000000000000000F",
    "000000010000000000000010",
    "000000010000000000000011",
];

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("archive_wal::streaming_batch", "archive-wal main")
            .server("main", &format!("{STREAMING}\nstreaming_archiver_batch_size = 3"))
            .prepare(|site| {
                stream(site, NEXT[0]);
                stream(site, NEXT[1]);
                stream(site, &format!("{}.partial", NEXT[2]));
            }),
        case("archive_wal::streaming_junk", "archive-wal main")
            .server("main", STREAMING)
            .prepare(|site| {
                stream(site, NEXT[0]);
                stream(site, "junk");
                stream(site, &format!("{}.partial", NEXT[1]));
            }),
        case("archive_wal::both_archivers", "archive-wal main")
            .server("main", STREAMING)
            .prepare(|site| {
                for name in [NEXT[0], NEXT[1]] {
                    stream(site, name);
                    let path = site.manager.server("main").join("incoming").join(name);
                    write_file(&path, delivered_content(name), 0o600, &site.manager.account);
                }
                stream(site, &format!("{}.partial", NEXT[2]));
            }),
        case("check::streaming_queue", "check main")
            .server("main", &format!("{STREAMING}\nmax_incoming_wals_queue = 1"))
            .prepare(|site| {
                for name in NEXT {
                    stream(site, name);
                }
            }),
        case("check::streaming_off_with_files", "check main").prepare(|site| {
            for name in NEXT {
                stream(site, name);
            }
        }),
    ];
    for (word, option) in [
        ("start", ""),
        ("stop", "--stop "),
        ("reset", "--reset "),
        ("create_slot", "--create-slot "),
        ("drop_slot", "--drop-slot "),
    ] {
        let named = |state: &str, server: &str| {
            let arguments = format!("receive-wal {option}{server}");
            case(&format!("receive_wal::{word}::{state}"), &arguments)
        };
        cases.push(named("down", "main").server("main", STREAMING));
        cases.push(named("streaming_off", "main").console());
        cases.push(named("inactive", "off").console());
        cases.push(named("passive", "pas").console());
    }
    cases.push(case("receive_wal::disabled", "receive-wal dis"));
    cases.push(case(
        "receive_wal::stop_and_reset",
        "receive-wal --stop --reset main",
    ));
    cases.push(
        case("receive_wal::no_slot_name", "receive-wal --create-slot main")
            .server("main", "streaming_archiver = on"),
    );
    cases.push(
        case("receive_wal::wal_host", "receive-wal main").server(
            "main",
            &format!("{STREAMING}\nwal_conninfo = host=127.0.0.1 port=1 user=x dbname=y\nwal_streaming_conninfo = host=127.0.0.1 port=1 user=z"),
        ),
    );
    for server in ["main", "off", "pas", "dis"] {
        cases.push(case(
            &format!("replication_status::{server}"),
            &format!("replication-status {server}"),
        ));
    }
    cases.push(case(
        "replication_status::several",
        "replication-status --minimal main nosuch wait",
    ));
    cases
}

fn stream(site: &Site, name: &str) {
    let path = site.manager.server("main").join("streaming").join(name);
    write_file(&path, delivered_content(name), 0o600, &site.manager.account);
}
