//! Tests of `barman-wal-restore` against a program in the place of ssh.
#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::archive::sandbox::{Sandbox, segment};
use crate::codec::wal::compress_file;
use crate::codec::{Compression, Level};

const NAME: &str = "000000010000000000000001";
const NEXT: &str = "000000010000000000000002";

/// A Barman host: files are served from `served/`, listings are what is there.
const HOST: &str = r#"
case "$*" in *--series*) [ -e ROOT/series ] || exit 2; cat ROOT/series; exec >&-; cat > ROOT/rest; exit 0;; esac
echo "$@" >> ROOT/calls
for word do last=$word; done
name=$(echo "$last" | tr -d "'")
case "$*" in
*--partial*) [ -e "ROOT/served/$name" ] || name=$name.partial;;
esac
if [ -e "ROOT/served/$name" ]; then cat "ROOT/served/$name"; exit 0; fi
echo "ERROR: WAL file '$name' not found in server 'main'" >&2
exit 1
"#;

fn program(sandbox: &Sandbox, script: &str) -> WalRestore {
    let script = script.replace("ROOT", &sandbox.root.display().to_string());
    let ssh = sandbox.script("ssh", &script);
    fs::create_dir_all(sandbox.root.join("served")).unwrap();
    fs::create_dir_all(sandbox.root.join("pg/pg_wal")).unwrap();
    WalRestore {
        remote: Remote {
            ssh,
            host: "backup".to_owned(),
            user: "barman".to_owned(),
            port: None,
            config: None,
        },
        server: "main".to_owned(),
        wal_name: NAME.to_owned(),
        wal_dest: sandbox.root.join("pg/pg_wal/RECOVERYXLOG"),
        sleep: 0,
        parallel: 0,
        retry: 1,
        persist: 0,
        private_directory: sandbox.root.join("private"),
        background: Vec::new(),
        spool_dir: sandbox.root.join("spool"),
        partial: false,
        transfer: Transfer::Plain,
        test: false,
        data_directory: sandbox.root.join("pg"),
    }
}

fn run(program: &WalRestore) -> (i32, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = program.run(&mut Console {
        out: &mut out,
        err: &mut err,
    });
    (code, String::from_utf8(err).unwrap())
}

fn calls(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.root.join("calls")).map_or(0, |text| text.lines().count())
}

#[test]
fn plain_and_compressed_files_arrive_plain() {
    let sandbox = Sandbox::new();
    let program = program(&sandbox, HOST);
    let content = segment(NAME, 1);
    sandbox.write(&format!("served/{NAME}"), &content);
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(fs::read(&program.wal_dest).unwrap(), content);
    let source = sandbox.write("source", &content);
    compress_file(
        &source,
        &sandbox.root.join("served").join(NAME),
        Compression::Xz,
        Level::Low,
    )
    .unwrap();
    fs::remove_file(&program.wal_dest).unwrap();
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(fs::read(&program.wal_dest).unwrap(), content);
}

#[test]
fn nothing_is_left_of_a_file_that_did_not_arrive_whole() {
    let sandbox = Sandbox::new();
    let program = program(&sandbox, HOST);
    let (code, err) = run(&program);
    assert_eq!(code, 1, "not found");
    assert!(
        err.contains("not found in server") && err.contains("Remote 'barman get-wal'"),
        "{err}"
    );
    sandbox.write(&format!("served/{NAME}"), &segment(NAME, 1)[..70_000]);
    assert_eq!(run(&program).0, 2, "truncated");
    sandbox.write(&format!("served/{NAME}"), &segment(NEXT, 1));
    assert_eq!(run(&program).0, 2, "another segment");
    sandbox.write(&format!("served/{NAME}"), &segment(NAME, 1));
    sandbox.write("pg/global/pg_control", &7u64.to_le_bytes());
    assert_eq!(run(&program).0, 2, "another cluster");
    assert_eq!(sandbox.list("pg/pg_wal"), [""; 0]);
}

#[test]
fn a_broken_connection_does_not_end_a_recovery() {
    let sandbox = Sandbox::new();
    let lost = program(&sandbox, "exit 255");
    assert_eq!(run(&lost).0, 2, "as Barman, when PostgreSQL is no concern");
    sandbox.write("pg/standby.signal", b"");
    assert_eq!(run(&lost).0, 2, "a standby keeps asking");
    fs::remove_file(sandbox.root.join("pg/standby.signal")).unwrap();
    sandbox.write("pg/recovery.signal", b"");
    let missing = program(&sandbox, HOST);
    assert_eq!(run(&missing).0, 1, "known to be missing: the recovery may end");
    let lost = program(&sandbox, "echo >> ROOT/attempts; exit 255");
    assert_eq!(run(&lost).0, 255, "not known: PostgreSQL must stop");
    let attempts = fs::read_to_string(sandbox.root.join("attempts")).unwrap();
    assert!(attempts.lines().count() > 5, "tried for a second: {attempts}");
    let lost = WalRestore {
        retry: 0,
        ..program(&sandbox, "echo >> ROOT/attempts; exit 255")
    };
    fs::remove_file(sandbox.root.join("attempts")).unwrap();
    assert_eq!(run(&lost).0, 255);
    assert_eq!(fs::read_to_string(sandbox.root.join("attempts")).unwrap(), "\n");
    let broken = program(&sandbox, "echo 'EXCEPTION: no space' >&2; exit 1");
    assert_eq!(run(&broken).0, 255, "a Barman host in trouble is no missing file");
    let damaged = program(&sandbox, HOST);
    sandbox.write(&format!("served/{NAME}"), &segment(NAME, 1)[..70_000]);
    assert_eq!(run(&damaged).0, 255, "neither is a damaged file");
    let silent = program(&sandbox, "exit 1");
    assert_eq!(run(&silent).0, 1, "Barman's word for missing");
}

#[test]
fn a_standby_is_never_stopped() {
    let sandbox = Sandbox::new();
    // No barman on the other side: PostgreSQL would take this code for a reason to stop.
    let broken = program(&sandbox, "exit 127");
    assert_eq!(run(&broken).0, 127);
    sandbox.write("pg/standby.signal", b"");
    assert_eq!(run(&broken).0, 2);
}

const THIRD: &str = "000000010000000000000003";

/// A recovery under way, with `segments` on the Barman host.
fn recovering(sandbox: &Sandbox, segments: &[&str]) -> WalRestore {
    let mut program = program(sandbox, HOST);
    program.parallel = 2;
    for name in ["pg/PG_VERSION", "pg/recovery.signal", "pg/postmaster.pid"] {
        sandbox.write(name, b"");
    }
    for name in segments {
        sandbox.write(&format!("served/{name}"), &segment(name, 1));
    }
    program
}

fn spool(program: &WalRestore) -> Spool {
    Spool::new(&program.spool_dir, &program.remote, &program.server, None)
}

#[test]
fn what_was_fetched_ahead_is_handed_out_after_a_check() {
    let sandbox = Sandbox::new();
    let mut program = recovering(&sandbox, &[NAME, NEXT, THIRD]);
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(calls(&sandbox), 1);
    std::thread::scope(|scope| {
        let background = scope.spawn(|| program.fetch_ahead());
        // It fetches until the archive has no more, and stays until PostgreSQL has taken everything.
        for name in [NEXT, THIRD] {
            while !spool(&program).path(name).exists() {
                assert!(!background.is_finished());
                std::thread::yield_now();
            }
            let asking = WalRestore {
                wal_name: name.to_owned(),
                ..program.clone()
            };
            let before = calls(&sandbox);
            assert_eq!(run(&asking), (0, String::new()));
            assert!(
                !fs::read_to_string(sandbox.root.join("calls"))
                    .unwrap()
                    .lines()
                    .skip(before)
                    .any(|call| call.contains(name)),
                "from the spool"
            );
            assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(name, 1));
        }
    });
    assert_eq!(spool(&program).segments(), []);
    // Somebody shortens one that waits.
    fs::write(spool(&program).path(THIRD), &segment(THIRD, 1)[..9000]).unwrap();
    program.wal_name = THIRD.to_owned();
    let (code, err) = run(&program);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("not used"), "{err}");
    assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(THIRD, 1));
}

/// What a host sends of the files in `incoming`.
fn series_of(sandbox: &Sandbox, names: &[&str]) -> Vec<u8> {
    use crate::archive::{get_wal::Form, series};
    let mut stream = Vec::new();
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    let codec = crate::codec::WalCodec::default();
    series::serve(
        &sandbox.places(),
        &codec,
        Form::Portable,
        lines.as_bytes(),
        &mut stream,
    )
    .unwrap();
    stream
}

#[test]
fn segments_arrive_in_series_from_a_host_that_sends_them() {
    let sandbox = Sandbox::new();
    let mut program = recovering(&sandbox, &[NAME]);
    program.parallel = 1;
    for name in [NEXT, THIRD] {
        sandbox.write(&format!("incoming/{name}"), &segment(name, 1));
    }
    sandbox.write(
        "series",
        &series_of(&sandbox, &[NEXT, THIRD, "000000010000000000000004"]),
    );
    assert_eq!(run(&program), (0, String::new()));
    std::thread::scope(|scope| {
        let background = scope.spawn(|| program.fetch_ahead());
        for name in [NEXT, THIRD] {
            while !spool(&program).path(name).exists() {
                assert!(!background.is_finished());
                std::thread::yield_now();
            }
            let asking = WalRestore {
                wal_name: name.to_owned(),
                ..program.clone()
            };
            assert_eq!(run(&asking), (0, String::new()));
            assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(name, 1));
        }
    });
    assert_eq!(calls(&sandbox), 1, "the first segment, and no other by itself");
}

#[test]
fn what_breaks_off_in_a_series_is_fetched_by_itself() {
    let sandbox = Sandbox::new();
    let mut program = recovering(&sandbox, &[NAME, NEXT]);
    program.parallel = 1;
    sandbox.write(&format!("incoming/{NEXT}"), &segment(NEXT, 1));
    sandbox.write("series", &series_of(&sandbox, &[NEXT])[..700_000]);
    assert_eq!(run(&program), (0, String::new()));
    std::thread::scope(|scope| {
        let background = scope.spawn(|| program.fetch_ahead());
        while !spool(&program).path(NEXT).exists() {
            assert!(!background.is_finished());
            std::thread::yield_now();
        }
        assert_eq!(fs::read(spool(&program).path(NEXT)).unwrap(), segment(NEXT, 1));
        fs::remove_file(sandbox.root.join("pg/recovery.signal")).unwrap();
    });
    assert_eq!(
        calls(&sandbox),
        3,
        "the first, the one that broke off, and the one that is not there"
    );
}

#[test]
fn a_segment_that_is_damaged_on_its_way_is_not_put_into_the_spool() {
    let sandbox = Sandbox::new();
    let program = recovering(&sandbox, &[NAME, THIRD]);
    sandbox.write(&format!("served/{NEXT}"), &segment(THIRD, 1));
    assert_eq!(run(&program).0, 0);
    std::thread::scope(|scope| {
        let background = scope.spawn(|| program.fetch_ahead());
        while calls(&sandbox) < 3 {
            assert!(!background.is_finished());
            std::thread::yield_now();
        }
        // The recovery ends: nothing is left behind.
        fs::remove_file(sandbox.root.join("pg/recovery.signal")).unwrap();
    });
    let directory = spool(&program).path("");
    let left: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(NEXT) || name.contains(THIRD))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_segment_on_its_way_is_waited_for_only_while_somebody_fetches_it() {
    let sandbox = Sandbox::new();
    let mut program = recovering(&sandbox, &[NAME, NEXT]);
    assert_eq!(run(&program).0, 0);
    let spool = spool(&program);
    program.wal_name = NEXT.to_owned();
    // Left by a process that was killed.
    fs::write(spool.temporary(NEXT), b"half").unwrap();
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(calls(&sandbox), 2);
    let lock = crate::base::lock::LockFile::try_acquire(&spool.lock()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&program));
        fs::write(spool.temporary(NEXT), segment(NEXT, 1)).unwrap();
        fs::rename(spool.temporary(NEXT), spool.path(NEXT)).unwrap();
        assert_eq!(waiting.join().unwrap(), (0, String::new()));
    });
    assert_eq!(calls(&sandbox), 2, "it was fetched once");
    drop(lock);
}

#[test]
fn parallel_finds_incomplete_segments_too() {
    let sandbox = Sandbox::new();
    let mut program = program(&sandbox, HOST);
    program.parallel = 2;
    assert_eq!(run(&program).0, 2);
    program.partial = true;
    sandbox.write(&format!("served/{NAME}.partial"), &segment(NAME, 1));
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(NAME, 1));
}

#[test]
fn a_full_disk_is_no_missing_file() {
    let sandbox = Sandbox::new();
    // It ends as some versions do when nobody reads any more: as if there were no such file.
    let script = "cat ROOT/served/000000010000000000000001 2>/dev/null; exit 1";
    let mut program = program(&sandbox, script);
    sandbox.write(&format!("served/{NAME}"), &segment(NAME, 1));
    sandbox.write("pg/recovery.signal", b"");
    program.retry = 0;
    let kept = None;
    let full = Path::new("/dev/full");
    let failure = program.fetch(false, kept).to_file(NAME, full).unwrap_err();
    assert!(
        matches!(&failure, Failure::Disk(text) if text.contains("No space left")),
        "{failure}"
    );
    assert!(!failure.is_definite());
}

#[test]
fn a_destination_that_cannot_be_written_is_reported_at_once() {
    let sandbox = Sandbox::new();
    let mut program = program(&sandbox, HOST);
    program.wal_dest = sandbox.root.clone();
    assert_eq!(run(&program).0, 3);
    program.wal_dest = sandbox.root.join("nowhere/file");
    assert_eq!(run(&program).0, 3);
    sandbox.write("pg/recovery.signal", b"");
    assert_eq!(run(&program).0, 255, "no reason to end a recovery");
    assert_eq!(calls(&sandbox), 0);
}
