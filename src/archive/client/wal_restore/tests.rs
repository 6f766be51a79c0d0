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
echo "$@" >> ROOT/calls
for word do last=$word; done
name=$(echo "$last" | tr -d "'")
case "$*" in
*--peek*) cd ROOT/served && ls | sed -n "/$name/,\$p"; exit 0;;
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
    assert_eq!(attempts.lines().count(), 5);
    let broken = program(&sandbox, "echo 'EXCEPTION: no space' >&2; exit 1");
    assert_eq!(run(&broken).0, 255, "a Barman host in trouble is no missing file");
    let damaged = program(&sandbox, HOST);
    sandbox.write(&format!("served/{NAME}"), &segment(NAME, 1)[..70_000]);
    assert_eq!(run(&damaged).0, 255, "neither is a damaged file");
    let silent = program(&sandbox, "exit 1");
    assert_eq!(run(&silent).0, 1, "Barman's word for missing");
}

#[test]
fn files_are_fetched_ahead_and_checked_when_they_are_used() {
    let sandbox = Sandbox::new();
    let mut program = program(&sandbox, HOST);
    program.parallel = 3;
    let third = "000000010000000000000003";
    for name in [NAME, NEXT, third] {
        sandbox.write(&format!("served/{name}"), &segment(name, 1));
    }
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(calls(&sandbox), 4, "one listing, three files");
    program.wal_name = NEXT.to_owned();
    assert_eq!(run(&program), (0, String::new()));
    assert_eq!(calls(&sandbox), 4, "from the spool");
    assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(NEXT, 1));
    // Somebody shortens the one that is left.
    let spool = Spool::new(&program.spool_dir, &program.remote, &program.server);
    fs::write(spool.path(third), &segment(third, 1)[..9000]).unwrap();
    program.wal_name = third.to_owned();
    let (code, err) = run(&program);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("not used"), "{err}");
    assert_eq!(fs::read(&program.wal_dest).unwrap(), segment(third, 1));
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
fn a_destination_that_cannot_be_written_is_reported_at_once() {
    let sandbox = Sandbox::new();
    let mut program = program(&sandbox, HOST);
    program.wal_dest = sandbox.root.clone();
    assert_eq!(run(&program).0, 3);
    program.wal_dest = sandbox.root.join("nowhere/file");
    assert_eq!(run(&program).0, 3);
    assert_eq!(calls(&sandbox), 0);
}
