//! Tests of `barman-wal-archive`.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::archive::put_wal::put_wal;
use crate::archive::sandbox::{Sandbox, segment};
use crate::archive::sums::Sums;
use crate::codec::WalCodec;

const NAME: &str = "000000010000000000000001";

fn program(sandbox: &Sandbox, script: &str) -> WalArchive {
    WalArchive {
        remote: Remote {
            ssh: sandbox.script("ssh", script),
            host: "backup".to_owned(),
            user: "barman".to_owned(),
            port: Some("2222".to_owned()),
            config: Some("/etc/b.conf".to_owned()),
        },
        server: "main".to_owned(),
        wal_path: sandbox.write(&format!("pg_wal/{NAME}"), &segment(NAME, 1)),
        test: false,
        md5: false,
        compression: None,
        level: Level::Low,
        persist: 0,
        look_ahead: 0,
        private_directory: sandbox.root.join("private"),
        temporary_directory: sandbox.root.clone(),
        background: Vec::new(),
    }
}

fn run(program: &WalArchive) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = program.run(&mut Console {
        out: &mut out,
        err: &mut err,
    });
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

/// Gives a stream that was sent to `put-wal`, and says what it held.
fn delivered(sandbox: &Sandbox, stream: &str) -> Vec<String> {
    let stream = File::open(sandbox.root.join(stream)).unwrap();
    let delivered = put_wal(&sandbox.places(), &WalCodec::default(), Sums::Sha256, stream).unwrap();
    delivered.received.into_iter().map(|file| file.name).collect()
}

/// How often the other side was called by [`COUNTING`].
fn calls(sandbox: &Sandbox) -> usize {
    let marks = fs::read_to_string(sandbox.root.join("calls")).unwrap_or_default();
    marks.lines().count()
}

/// An ssh that keeps what it is sent, one file for each call.
const COUNTING: &str = "cd \"$(dirname \"$0\")\"; echo \"$@\" >> calls; cat > stream-$(wc -l < calls)";

/// Segments that wait; the call is for the first of them.
fn backlog(sandbox: &Sandbox, script: &str, count: u32) -> (WalArchive, Vec<PathBuf>) {
    let paths: Vec<PathBuf> = (1..=count)
        .map(|number| {
            let name = format!("0000000100000000{number:08X}");
            sandbox.write(&format!("pg_wal/archive_status/{name}.ready"), b"");
            sandbox.write(&format!("pg_wal/{name}"), &segment(&name, number))
        })
        .collect();
    let mut program = program(sandbox, script);
    program.look_ahead = 31;
    (program, paths)
}

fn run_for(program: &WalArchive, path: &Path) -> (i32, String, String) {
    run(&WalArchive {
        wal_path: path.to_path_buf(),
        ..program.clone()
    })
}

#[test]
fn segments_that_wait_travel_ahead_and_are_not_sent_again() {
    for compression in [None, Some(Compression::Zstd)] {
        let sandbox = Sandbox::new();
        let (mut program, paths) = backlog(&sandbox, COUNTING, 5);
        program.compression = compression;
        program.look_ahead = 3;
        let quiet = (0, String::new(), String::new());
        for path in &paths[..4] {
            assert_eq!(run_for(&program, path), quiet);
            assert_eq!(calls(&sandbox), 1);
        }
        assert_eq!(delivered(&sandbox, "stream-1").len(), 4);
        // Behind the bound: it is sent by itself, as nothing follows it.
        assert_eq!(run_for(&program, &paths[4]), quiet);
        assert_eq!(calls(&sandbox), 2);
        assert_eq!(delivered(&sandbox, "stream-2").len(), 1);
        // PostgreSQL crashed before it took notice, and asks again.
        assert_eq!(run_for(&program, &paths[1]), quiet);
        assert_eq!(calls(&sandbox), 2);
        // It has been recycled and written again.
        fs::write(&paths[2], segment("000000010000000000000063", 9)).unwrap();
        assert_eq!(run_for(&program, &paths[2]), quiet);
        assert_eq!(calls(&sandbox), 3);
        // Another server of the same host knows nothing.
        program.server = "other".to_owned();
        assert_eq!(run_for(&program, &paths[1]), quiet);
        assert_eq!(calls(&sandbox), 4);
    }
}

/// PostgreSQL takes notice that these are archived.
fn take_notice(paths: &[PathBuf]) {
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let status = path.with_file_name("archive_status");
        let ready = status.join(format!("{name}.ready"));
        fs::rename(ready, status.join(format!("{name}.done"))).unwrap();
    }
}

#[test]
fn what_waits_behind_a_delivery_is_sent_in_the_background() {
    let sandbox = Sandbox::new();
    let (mut program, paths) = backlog(&sandbox, COUNTING, 14);
    program.look_ahead = 3;
    let quiet = (0, String::new(), String::new());
    assert_eq!(run_for(&program, &paths[0]), quiet);
    take_notice(&paths[..4]);
    // PostgreSQL has asked for all of the first delivery, and then for nothing.
    program.send_behind("000000010000000000000004");
    assert_eq!(calls(&sandbox), 3);
    assert_eq!(delivered(&sandbox, "stream-2").len(), 3);
    assert_eq!(delivered(&sandbox, "stream-3").len(), 3);
    for path in &paths[4..10] {
        assert_eq!(run_for(&program, path), quiet);
    }
    assert_eq!(calls(&sandbox), 3);
    // The lead has been given back.
    assert_eq!(run_for(&program, &paths[10]), quiet);
    assert_eq!(delivered(&sandbox, "stream-4").len(), 4);
    // Not behind what is no segment, and not without an end of what waits.
    program.send_behind("00000002.history");
    program.send_behind("00000001000000000000000E");
    assert_eq!(calls(&sandbox), 4);
}

#[test]
fn a_call_does_not_send_what_is_being_sent() {
    let sandbox = Sandbox::new();
    let (program, paths) = backlog(&sandbox, COUNTING, 3);
    let directory = PrivateDirectory::prepare(&program.private_directory).unwrap();
    let acknowledged = program.acknowledged(&directory).unwrap();
    let (size, hash) = hashes::fingerprint(&paths[1]).unwrap();
    let name = "000000010000000000000002".to_owned();
    let mut lead = acknowledged.lead().unwrap().unwrap();
    let both = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            both.wait();
            lead.record(&[Sent { name, size, hash }], false).unwrap();
            drop(lead);
        });
        both.wait();
        assert_eq!(run_for(&program, &paths[1]), (0, String::new(), String::new()));
    });
    assert_eq!(calls(&sandbox), 0);
}

#[test]
fn what_fails_in_the_background_is_sent_file_by_file() {
    let sandbox = Sandbox::new();
    // With the quicker checksums and without them.
    let script = format!("{COUNTING}; case $(wc -l < calls) in 2 | 3) exit 7;; esac");
    let (mut program, paths) = backlog(&sandbox, &script, 9);
    program.look_ahead = 3;
    assert_eq!(run_for(&program, &paths[0]).0, 0);
    take_notice(&paths[..4]);
    program.send_behind("000000010000000000000004");
    assert_eq!(calls(&sandbox), 3);
    for (path, calls_by_then) in paths[4..8].iter().zip(4..) {
        assert_eq!(run_for(&program, path), (0, String::new(), String::new()));
        assert_eq!(calls(&sandbox), calls_by_then);
    }
}

/// Which calls of [`COUNTING`] announced the quicker checksums.
fn announced(sandbox: &Sandbox) -> Vec<bool> {
    let calls = fs::read_to_string(sandbox.root.join("calls")).unwrap();
    calls.lines().map(|line| line.ends_with(" --xxh128")).collect()
}

#[test]
fn a_barkeep_gets_quicker_checksums_once_it_is_known() {
    let sandbox = Sandbox::new();
    let (mut program, paths) = backlog(&sandbox, COUNTING, 14);
    program.look_ahead = 3;
    assert_eq!(run_for(&program, &paths[0]).0, 0);
    take_notice(&paths[..4]);
    program.send_behind("000000010000000000000004");
    assert_eq!(delivered(&sandbox, "stream-2").len(), 3);
    // Now it is known to a call that PostgreSQL waits for; a file that goes alone is sent as ever.
    assert_eq!(run_for(&program, &paths[10]).0, 0);
    assert_eq!(delivered(&sandbox, "stream-4").len(), 4);
    fs::remove_file(
        sandbox
            .root
            .join("pg_wal/archive_status/00000001000000000000000E.ready"),
    )
    .unwrap();
    fs::write(&paths[13], segment("00000001000000000000000E", 77)).unwrap();
    assert_eq!(run_for(&program, &paths[13]).0, 0);
    assert_eq!(announced(&sandbox), [false, true, true, true, false]);
}

#[test]
fn a_barman_is_asked_once() {
    let sandbox = Sandbox::new();
    // It refuses what it does not know before it reads anything.
    let script = COUNTING.replace("cat >", "case \"$*\" in *--xxh128) exit 2;; esac; cat >");
    let (mut program, paths) = backlog(&sandbox, &script, 14);
    program.look_ahead = 3;
    assert_eq!(run_for(&program, &paths[0]).0, 0);
    take_notice(&paths[..4]);
    program.send_behind("000000010000000000000004");
    assert_eq!(delivered(&sandbox, "stream-3").len(), 3);
    for path in &paths[4..10] {
        assert_eq!(run_for(&program, path), (0, String::new(), String::new()));
    }
    assert_eq!(run_for(&program, &paths[10]).0, 0);
    assert_eq!(announced(&sandbox), [false, true, false, false, false]);
}

#[test]
fn nothing_is_noted_that_was_not_acknowledged() {
    let sandbox = Sandbox::new();
    // What is refused is refused for all of it; one file is accepted.
    let script = format!("{COUNTING}; [ $(stat -c %s stream-$(wc -l < calls)) -lt 2000000 ] || exit 1");
    let (program, paths) = backlog(&sandbox, &script, 4);
    let (code, _, err) = run_for(&program, &paths[0]);
    assert_eq!(code, 0);
    assert!(
        err.contains("could not send 4 WAL files at once: exit code 1"),
        "{err}"
    );
    assert_eq!(delivered(&sandbox, "stream-2"), [NAME]);
    // The next calls do not try the same again.
    for (path, calls_by_then) in paths.iter().skip(1).zip(3..) {
        assert_eq!(run_for(&program, path), (0, String::new(), String::new()));
        assert_eq!(calls(&sandbox), calls_by_then);
    }
}

#[test]
fn a_refused_file_stays_refused_whatever_follows() {
    let sandbox = Sandbox::new();
    let (program, paths) = backlog(&sandbox, &format!("{COUNTING}; exit 7"), 3);
    for path in &paths {
        assert_eq!(run_for(&program, path).0, 7);
    }
    // The first with the others and alone, the others alone.
    assert_eq!(calls(&sandbox), 4);
    // A host that does not answer is not asked again and again within one call.
    let sandbox = Sandbox::new();
    let (program, paths) = backlog(&sandbox, &format!("{COUNTING}; exit 255"), 3);
    assert_eq!(run_for(&program, &paths[0]).0, 3);
    assert_eq!(calls(&sandbox), 1);
}

#[test]
fn a_place_that_others_control_is_not_used() {
    let sandbox = Sandbox::new();
    let (program, paths) = backlog(&sandbox, COUNTING, 3);
    fs::create_dir(&program.private_directory).unwrap();
    fs::set_permissions(&program.private_directory, fs::Permissions::from_mode(0o777)).unwrap();
    for (path, calls_by_then) in paths.iter().zip(1..) {
        let (code, _, err) = run_for(&program, path);
        assert_eq!((code, calls(&sandbox)), (0, calls_by_then));
        assert!(err.contains("cannot be used"), "{err}");
    }
}

/// What stands before the script of an ssh that says it is OpenSSH.
const OPENSSH: &str = "case \" $* \" in *\" -V \"*) echo OpenSSH_9.2p1 >&2; exit;; *\" -G \"*) exit;; esac";

#[test]
fn a_kept_connection_that_fails_is_done_without() {
    let sandbox = Sandbox::new();
    let mut program = program(
        &sandbox,
        &format!("{OPENSSH}\n{COUNTING}; echo heard >&2\ncase \"$*\" in *ControlMaster*) exit 255;; esac"),
    );
    program.persist = 60;
    let (code, _, err) = run(&program);
    assert_eq!((code, calls(&sandbox)), (0, 2));
    assert_eq!(err, "heard\n");
    let lines = fs::read_to_string(sandbox.root.join("calls")).unwrap();
    let (first, second) = lines.split_once('\n').unwrap();
    assert!(first.contains("ControlPersist=60"), "{first}");
    assert_eq!(
        second,
        "-p 2222 -q -T barman@backup barman --config='/etc/b.conf' put-wal main\n"
    );
    assert_eq!(delivered(&sandbox, "stream-2"), [NAME]);
    // It is not tried with every call.
    assert_eq!((run(&program).0, calls(&sandbox)), (0, 3));
    fs::remove_dir_all(&program.private_directory).unwrap();
    // Refusals of the other side are not the connection's fault.
    program.remote.ssh = sandbox.script("ssh", &format!("{OPENSSH}\n{COUNTING}; exit 1"));
    assert_eq!((run(&program).0, calls(&sandbox)), (1, 4));
    // Another program knows nothing of such options.
    program.remote.ssh = sandbox.script("ssh", COUNTING);
    assert_eq!(run(&program).0, 0);
    assert!(
        !fs::read_to_string(sandbox.root.join("calls"))
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .contains("Control")
    );
}

#[test]
fn what_is_sent_is_what_put_wal_accepts() {
    let sandbox = Sandbox::new();
    let root = sandbox.root.display().to_string();
    for (md5, compression) in [(false, None), (true, None), (false, Some(Compression::Lz4))] {
        let mut program = program(
            &sandbox,
            &format!("echo \"$@\" > {root}/args; cat > {root}/stream"),
        );
        program.md5 = md5;
        program.compression = compression;
        assert_eq!(run(&program), (0, String::new(), String::new()));
        assert_eq!(delivered(&sandbox, "stream"), [NAME]);
        let there = fs::metadata(sandbox.root.join("incoming").join(NAME)).unwrap();
        let here = fs::metadata(&program.wal_path).unwrap();
        let gap = there.modified().unwrap().duration_since(here.modified().unwrap());
        assert!(gap.unwrap_or_else(|early| early.duration()).as_micros() < 2);
        fs::remove_file(sandbox.root.join("incoming").join(NAME)).unwrap();
    }
    assert_eq!(
        fs::read_to_string(sandbox.root.join("args")).unwrap(),
        "-p 2222 -q -T barman@backup barman --config='/etc/b.conf' put-wal main\n"
    );
}

#[test]
fn exit_codes_are_barmans() {
    let sandbox = Sandbox::new();
    let code = |script: &str| run(&program(&sandbox, script)).0;
    assert_eq!(code("cat >/dev/null; exit 255"), 3);
    assert_eq!(code("exit 1"), 1);
    assert_eq!(code("cat >/dev/null; exit 7"), 7);
    // Success without having read anything is no success.
    assert_eq!(code("exec <&-; exit 0"), 2);
    let mut absent = program(&sandbox, "cat >/dev/null");
    absent.wal_path = sandbox.root.join("nothing");
    assert_eq!(run(&absent).0, 2);
    absent.wal_path = sandbox.root.clone();
    assert_eq!(run(&absent).0, 2);
    let mut test = program(
        &sandbox,
        "echo ready; echo \"$@\" | grep -q 'put-wal main --test' || exit 9; exit 255",
    );
    test.test = true;
    assert_eq!(run(&test), (255, "ready\n\n".to_owned(), String::new()));
}
