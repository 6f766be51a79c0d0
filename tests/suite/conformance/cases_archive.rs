//! WAL into the archive and out of it.

use std::path::PathBuf;

use super::outcome::Outcome;
use super::runner::{Case, Site, case};
use crate::support::catalog::{archive_path, compressed, delivered_content, set_time, wal_content};

/// Puts a file into a directory of a server, owned by the manager's account.
fn put(site: &Site, path: PathBuf, content: &[u8]) {
    std::fs::write(&path, content).unwrap();
    set_time(&path, 1_704_990_000);
    site.manager.account.own(&path);
    let _ = site;
}

/// Puts a WAL file into `incoming`.
fn incoming(site: &Site, server: &str, name: &str, content: &[u8]) {
    put(
        site,
        site.manager.server(server).join("incoming").join(name),
        content,
    );
}

const NEXT: &str = "00000001000000000000000F";

pub fn cases() -> Vec<Case> {
    let hooks = "pre_archive_script = {site}/hook\npost_archive_script = {site}/hook\n\
                 pre_archive_retry_script = {site}/hook\npost_archive_retry_script = {site}/hook";
    let one = |site: &Site| incoming(site, "main", NEXT, &delivered_content(NEXT));
    let mut cases = vec![
        case("archive_wal::nothing", "archive-wal main"),
        case("archive_wal::one", "archive-wal main").prepare(one),
        case("archive_wal::quiet", "-q archive-wal main").prepare(one),
        case("archive_wal::several", "archive-wal main").prepare(|site| {
            for name in ["00000002.history", "000000020000000000000010", "000000010000000000000010.partial",
                "00000001000000000000000F.00000028.backup", NEXT] {
                incoming(site, "main", name, &delivered_content(name));
            }
        }),
        case("archive_wal::batch", "archive-wal main").server("main", "archiver_batch_size = 2").prepare(|site| {
            for name in [NEXT, "000000010000000000000010", "000000010000000000000011"] {
                incoming(site, "main", name, &delivered_content(name));
            }
        }),
        case("archive_wal::junk", "archive-wal main").prepare(|site| {
            incoming(site, "main", "junk", b"junk");
            incoming(site, "main", ".hidden", b"junk");
            incoming(site, "main", "half.tmp", b"junk");
            incoming(site, "main", NEXT, &delivered_content(NEXT));
        }),
        case("archive_wal::same_again", "archive-wal main").prepare(|site| {
            let name = "00000001000000000000000A";
            incoming(site, "main", name, &wal_content(name));
        }),
        case("archive_wal::same_compressed", "archive-wal main").prepare(|site| {
            let name = "00000001000000000000000A";
            incoming(site, "main", name, &compressed(&wal_content(name), Some("zstd")));
        }),
        case("archive_wal::duplicate", "archive-wal main").prepare(|site| {
            incoming(site, "main", "00000001000000000000000A", b"something else");
            incoming(site, "main", NEXT, &delivered_content(NEXT));
        }),
        case("archive_wal::streaming_leaves_the_newest", "archive-wal main")
            .server("main", "streaming_archiver = on\nslot_name = barman")
            .prepare(|site| {
                for name in [NEXT, "000000010000000000000010"] {
                    put(site, site.manager.server("main").join("streaming").join(name), &delivered_content(name));
                }
            }),
        case("archive_wal::streaming_partial", "archive-wal main")
            .server("main", "streaming_archiver = on\nslot_name = barman")
            .prepare(|site| {
                for name in [NEXT, "000000010000000000000010.partial", "000000010000000000000011.partial", "00000002.history"] {
                    put(site, site.manager.server("main").join("streaming").join(name), &delivered_content(name));
                }
            }),
        // A server without compression: two compressors make files of different sizes.
        case("archive_wal::hooks", "archive-wal mixed")
            .server("mixed", hooks)
            .prepare(|site| incoming(site, "mixed", NEXT, &delivered_content(NEXT))),
        case("archive_wal::retry_stop", "archive-wal main")
            .server("main", "pre_archive_retry_script = {site}/hook 63")
            .prepare(one),
        case("archive_wal::retry_continue", "archive-wal main")
            .server("main", "pre_archive_retry_script = {site}/hook 62")
            .prepare(one),
        case("archive_wal::unknown_server", "archive-wal nosuch"),
        case("archive_wal::inactive", "archive-wal off"),
        case("archive_wal::disabled", "archive-wal dis"),
        case("archive_wal::passive", "archive-wal pas"),
        case("archive_wal::no_xlogdb", "archive-wal main").prepare(one).prepare(|site| {
            std::fs::remove_file(site.manager.server("main").join("wals/main-xlog.db")).unwrap();
        }),
        case("archive_wal::custom_filter", "archive-wal main")
            .server("main", "compression = custom\ncustom_compression_filter = bzip2 -c\ncustom_decompression_filter = bzip2 -dc\ncustom_compression_magic = 0x425a68")
            .prepare(one),
        case("check_wal_archive::timeline", "check-wal-archive --timeline 2 main"),
        case("check_wal_archive::timeline_1", "check-wal-archive --timeline 1 main"),
        case("check_wal_archive::timeline_4", "check-wal-archive --timeline 4 tables"),
        case("check_wal_archive::bad_timeline", "check-wal-archive --timeline 0 main").usage(),
        case("rebuild_xlogdb::main", "rebuild-xlogdb main"),
        case("rebuild_xlogdb::all", "rebuild-xlogdb all").differs("the WAL database", with_partial),
        case("rebuild_xlogdb::mixed", "rebuild-xlogdb mixed").differs("the WAL database", with_partial),
        case("rebuild_xlogdb::tables", "rebuild-xlogdb tables"),
        case("rebuild_xlogdb::inactive", "rebuild-xlogdb off"),
        case("rebuild_xlogdb::disabled", "rebuild-xlogdb dis"),
        case("rebuild_xlogdb::passive", "rebuild-xlogdb pas"),
        case("rebuild_xlogdb::unknown", "rebuild-xlogdb nosuch"),
        case("rebuild_xlogdb::lost", "rebuild-xlogdb main").prepare(|site| {
            std::fs::remove_file(site.manager.server("main").join("wals/main-xlog.db")).unwrap();
        }),
        case("rebuild_xlogdb::legacy_name", "list-backups main").prepare(|site| {
            let wals = site.manager.server("main").join("wals");
            std::fs::rename(wals.join("main-xlog.db"), wals.join("xlog.db")).unwrap();
        }),
        case("xlogdb::three_columns", "list-backups main").prepare(|site| {
            let path = site.manager.server("main").join("wals/main-xlog.db");
            let text = std::fs::read_to_string(&path).unwrap();
            let short: Vec<String> =
                text.lines().map(|l| l.split('\t').take(3).collect::<Vec<_>>().join(" ")).collect();
            std::fs::write(&path, short.join("\n") + "\n").unwrap();
        }),
        case("switch_wal::postgres_down", "switch-wal main"),
        case("switch_wal::force_down", "switch-wal --force main"),
        case("switch_wal::inactive", "switch-wal off"),
        case("switch_wal::disabled", "switch-wal dis"),
        case("switch_wal::unknown", "switch-wal nosuch"),
        case("get_wal::test", "get-wal --test main anything").console(),
        case("get_wal::unknown_server", "get-wal nosuch 00000001000000000000000A"),
        case("get_wal::missing", "get-wal main 0000000100000000000000FF"),
        case("get_wal::missing_with_ssh", "get-wal main 0000000100000000000000FF")
            .environment("SSH_CONNECTION", "10.1.2.3 4 10.1.2.4 22"),
        case("get_wal::invalid_name", "get-wal main nonsense"),
        case("get_wal::peek", "get-wal --peek 4 main 000000010000000000000009"),
        case("get_wal::peek_beyond", "get-wal -p 40 main 00000001000000000000000C"),
        case("get_wal::peek_missing", "get-wal -p 3 main 0000000100000000000000FF"),
        case("get_wal::peek_bad", "get-wal -p 0 main 00000001000000000000000C").usage(),
        case("get_wal::keep_and_gzip", "get-wal -z --keep-compression main 00000001000000000000000A"),
        case("get_wal::to_directory", "get-wal -o {dest} main 00000001000000000000000A"),
        case("get_wal::to_missing_directory", "get-wal -o {dest}/none main 00000001000000000000000A"),
        case("get_wal::missing_to_directory", "get-wal -o {dest} main 0000000100000000000000FF")
            .differs("output file", |outcome| outcome.destination.clear()),
        case("get_wal::history", "get-wal tables 00000002.history").console(),
        case("get_wal::label", "get-wal mixed 000000010000000000000001.00000028.backup").console(),
        case("get_wal::partial", "get-wal -P mixed 000000010000000000000009").console(),
        case("get_wal::partial_not_asked", "get-wal mixed 000000010000000000000009").console(),
        case("get_wal::from_incoming", "get-wal main 00000001000000000000000F").console().prepare(one),
        case("get_wal::inactive", "get-wal off 00000001000000000000000A").console(),
        case("get_wal::disabled", "get-wal dis 00000001000000000000000A").console(),
        case("get_wal::lower_case", "get-wal main 00000001000000000000000a").console(),
        case("put_wal::test", "put-wal --test main"),
        case("put_wal::test_inactive", "put-wal --test off"),
        case("put_wal::test_disabled", "put-wal --test dis"),
        case("put_wal::unknown_server", "put-wal nosuch"),
        case("put_wal::nothing", "put-wal main"),
        case("put_wal::good", "put-wal main").input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::Sha256)),
        case("put_wal::good_md5", "put-wal main").input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::Md5)),
        case("put_wal::two", "put-wal main").input(&tar(
            &[(NEXT, &wal_content(NEXT)), ("000000010000000000000010", b"other")],
            Sums::Sha256,
        )),
        case("put_wal::dot_slash", "put-wal main")
            .input(&tar(&[("./00000001000000000000000F", &wal_content(NEXT))], Sums::Sha256)),
        case("put_wal::bad_checksum", "put-wal main").input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::Wrong)),
        case("put_wal::no_checksum", "put-wal main").input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::None)),
        case("put_wal::checksum_only", "put-wal main").input(&tar(&[], Sums::Stray)),
        case("put_wal::sub_directory", "put-wal main").input(&tar(&[("a/b", b"x")], Sums::Sha256)),
        case("put_wal::same_again", "put-wal main")
            .input(&tar(&[(NEXT, &delivered_content(NEXT))], Sums::Sha256))
            .prepare(one),
        case("put_wal::other_content", "put-wal main")
            .input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::Sha256))
            .prepare(|site| incoming(site, "main", NEXT, b"something else"))
            .differs("mismatching duplicate", |outcome| {
                let ours = format!(".unknown-{}.duplicate", &sha256(&wal_content(NEXT))[..32]);
                outcome.catalog = outcome.catalog.replace(".STAMP.duplicate", &ours);
            }),
        case("put_wal::passive", "put-wal pas").input(&tar(&[(NEXT, &wal_content(NEXT))], Sums::Sha256)),
        case("wal_archive::version", "--version").program("barman-wal-archive"),
        case("wal_archive::no_arguments", "").program("barman-wal-archive").usage(),
        case("wal_archive::directory", "localhost main {site}").program("barman-wal-archive"),
        // Not here: a WAL file sent to an ssh that is down. Barman answers 2 or 3, as the broken pipe or the exit wins.
        case("wal_archive::test_ssh_down", "--test --port 1 127.0.0.1 main x").program("barman-wal-archive"),
        case("wal_archive::missing_file", "--port 1 127.0.0.1 main /nonexistent/nosuch")
            .program("barman-wal-archive")
            .usage()
            // Barman starts ssh first: when that ends before the file is looked for, it complains of the pipe instead.
            .differs("missing file", |outcome| {
                let ours = "cannot open \"/nonexistent/nosuch\": No such file or directory";
                for theirs in ["[Errno 2] No such file or directory: '/nonexistent/nosuch'", "[Errno 32] Broken pipe"] {
                    outcome.stderr = outcome.stderr.replace(&format!("Error executing ssh: {theirs}"), ours);
                }
            }),
        case("wal_restore::version", "--version").program("barman-wal-restore"),
        case("wal_restore::no_arguments", "").program("barman-wal-restore").usage(),
        case("wal_restore::directory", "127.0.0.1 main 00000001000000000000000A {dest}").program("barman-wal-restore"),
        case("wal_restore::ssh_down", "--port 1 127.0.0.1 main 00000001000000000000000A {dest}/x")
            .program("barman-wal-restore")
            .differs("WAL_DEST", |outcome| outcome.destination.clear()),
        case("wal_restore::test_ssh_down", "--test --port 1 127.0.0.1 main 00000001000000000000000A {dest}/x")
            .program("barman-wal-restore"),
        case("wal_restore::gzip_and_bzip2", "-z -j 127.0.0.1 main 00000001000000000000000A {dest}/x")
            .program("barman-wal-restore")
            .usage(),
    ];
    for compression in [
        "gzip", "pigz", "pygzip", "bzip2", "pybzip2", "xz", "zstd", "lz4", "snappy",
    ] {
        cases.push(
            case(&format!("archive_wal::with_{compression}"), "archive-wal main")
                .server("main", &format!("compression = {compression}"))
                .prepare(one),
        );
        if !matches!(compression, "pygzip" | "pybzip2" | "pigz") {
            cases.push(
                case(
                    &format!("archive_wal::compressed_before_{compression}"),
                    "archive-wal main",
                )
                .prepare(move |site| {
                    incoming(
                        site,
                        "main",
                        NEXT,
                        &compressed(&delivered_content(NEXT), Some(compression)),
                    )
                }),
            );
        }
    }
    for level in ["low", "high", "3", "99", "fast"] {
        cases.push(
            case(&format!("archive_wal::level_{level}"), "archive-wal main")
                .server("main", &format!("compression_level = {level}"))
                .prepare(one),
        );
    }
    for segment in 1..=8 {
        let name = format!("00000001000000000000000{segment}");
        cases.push(
            case(
                &format!("get_wal::plain_{segment}"),
                &format!("get-wal mixed {name}"),
            )
            .console(),
        );
        cases.push(
            case(
                &format!("get_wal::kept_{segment}"),
                &format!("get-wal --keep-compression mixed {name}"),
            )
            .console(),
        );
    }
    for id in [
        "20240501T100000",
        "20240502T100000",
        "20240503T100000",
        "20240504T100000",
        "nosuch",
    ] {
        cases.push(case(
            &format!("check_backup::wait::{id}"),
            &format!("check-backup wait {id}"),
        ));
    }
    for (server, id) in [
        ("main", "20240111T120000"),
        ("main", "latest"),
        ("nowal", "latest"),
        ("off", "latest"),
        ("dis", "latest"),
    ] {
        cases.push(case(
            &format!("check_backup::{server}::{id}"),
            &format!("check-backup {server} {id}"),
        ));
    }
    cases.push(
        case("check_backup::lost_segment", "check-backup main 20240113T100000").prepare(|site| {
            std::fs::remove_file(archive_path(
                &site.manager.server("main"),
                "00000001000000000000000B",
            ))
            .unwrap();
        }),
    );
    cases
}

/// Which checksum list goes into a put-wal stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    Sha256,
    Md5,
    Wrong,
    None,
    Stray,
}

/// The stream that barman-wal-archive sends.
pub fn tar(files: &[(&str, &[u8])], sums: Sums) -> Vec<u8> {
    use md5::Md5;
    use sha2::{Digest, Sha256};
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_704_990_000);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    };
    let mut list = String::new();
    for (name, content) in files {
        append(name, content);
        let plain = name.trim_start_matches("./");
        let sum = match sums {
            Sums::Md5 => hex(&Md5::digest(content)),
            Sums::Wrong => "0".repeat(64),
            _ => hex(&Sha256::digest(content)),
        };
        list.push_str(&format!("{sum} *{plain}\n"));
    }
    if sums == Sums::Stray {
        list.push_str(&format!("{} *{NEXT}\n", "0".repeat(64)));
    }
    match sums {
        Sums::None => {}
        Sums::Md5 => append("MD5SUMS", list.as_bytes()),
        _ => append("SHA256SUMS", list.as_bytes()),
    }
    archive.into_inner().unwrap()
}

fn sha256(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Adds the entry of the partial segment that Barman's rebuild forgets.
fn with_partial(outcome: &mut Outcome) {
    let last = "000000010000000000000008 size-of-file 1704880480.5 gzip None\n";
    let partial = "  | 000000010000000000000009.partial size-of-file 1704880600.5 None None\n";
    outcome.catalog = outcome.catalog.replace(last, &format!("{last}{partial}"));
}
