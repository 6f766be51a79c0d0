//! `archive-wal` on what goes wrong between the incoming directory and the archive: power, space, content; and encryption,
//! which both tools must read.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::catalog::{archive_path, delivered_content};
use crate::support::cleanup;
use crate::support::keys::{Keys, PASSPHRASE_COMMAND, RECIPIENT};
use crate::support::manager::Manager;
use crate::support::mount::unmount;
use crate::support::process::run;
use crate::support::scratch::{Scratch, make_directory, write_file};
use crate::support::system_calls::SystemCalls;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool)| {
        let tool = tool.clone();
        Trial::test(format!("archiving::{name}"), move || {
            // Barman, as the tool under test, does it in another way.
            if std::env::var_os("BARKEEP_TEST_TOOL").is_none() {
                test(&tool);
            }
            Ok(())
        })
    };
    vec![
        with("nothing_goes_before_it_is_on_disk", order_of_syncs),
        with("stops_before_the_disk_is_full", full_disk),
        with("encrypted_for_both_tools", encrypted),
        with("gaps_are_seen_and_closed", gaps),
        with("permissions_are_one_error", permissions),
    ]
}

/// A backup host without PostgreSQL.
fn host(scratch: &Scratch, more: &str) -> Manager {
    let manager = Manager::new(&scratch.join("manager"));
    let body = format!(
        "conninfo = host=127.0.0.1 port=1 user=postgres\nssh_command = ssh -p 1 nobody@127.0.0.1\narchiver = on\n\
         backup_options = concurrent_backup\n{more}"
    );
    manager.configure("", &[("main", body)]);
    manager
}

fn name(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn deliver(manager: &Manager, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let name = name(number);
        let path = manager.server("main").join("incoming").join(&name);
        write_file(&path, delivered_content(&name), 0o600, &manager.account);
    }
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = directory.read_dir().unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// After a power cut, whatever was renamed, recorded and removed must find on the disk what it stands for: content, then
/// name, then record, then the end of the source.
fn order_of_syncs(tool: &Tool) {
    let scratch = Scratch::new("order");
    let manager = host(&scratch, "compression = gzip");
    manager.run(tool, &["check", "main"]);
    deliver(&manager, 1..=40);
    let record = scratch.join("calls");
    write_file(&record, "", 0o666, &manager.account);
    let calls = SystemCalls::of(
        manager.account.applied_to(Command::new("strace")),
        &manager.command(tool, &["archive-wal", "main"]),
        "fsync,rename,write,unlink",
        &record,
    );
    for number in 1..=40 {
        let name = name(number);
        let content = calls.first(&["fsync(", &format!("{name}.compressed.tmp>")]);
        let renamed = calls.first(&["rename(", &format!("/{name}\")")]);
        let named = calls.after(renamed, &["fsync(", "wals/0000000100000000>"]);
        let recorded = calls.after(named, &["write(", "wals/main-xlog.db>"]);
        let durable = calls.after(recorded, &["fsync(", "wals/main-xlog.db>"]);
        let removed = calls.first(&["unlink(", &format!("incoming/{name}\"")]);
        assert!(
            content.is_before(renamed) && durable.is_before(removed),
            "{name}:\n{calls}"
        );
    }
    // Forty files share two rounds.
    let rounds = calls.count(&["fsync(", "main-xlog.db>"]);
    assert_eq!(rounds, 2, "{calls}");
}

/// A small file system, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path, manager: &Manager, size: &str) -> SmallDisk {
        make_directory(path, &manager.account);
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path);
        run(mount).success();
        cleanup::watch_mount(path);
        manager.account.own(path);
        SmallDisk(path.to_path_buf())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0);
        cleanup::forget_mount(&self.0);
    }
}

/// Archiving stops while there is room for the catalog, keeps what is archived, and goes on when there is room again.
fn full_disk(tool: &Tool) {
    let scratch = Scratch::new("fullwals");
    let manager = host(&scratch, "");
    make_directory(&manager.server("main"), &manager.account);
    let wals = manager.server("main").join("wals");
    let _disk = SmallDisk::at(&wals, &manager, "12m");
    manager.run(tool, &["check", "main"]);
    let hog = wals.join("hog");
    write_file(&hog, vec![7; 4 << 20], 0o600, &manager.account);
    deliver(&manager, 1..=10);
    let stopped = manager.run(tool, &["archive-wal", "main"]).exits(1);
    assert!(
        stopped
            .stderr
            .contains("stops until there is room, and goes on by itself"),
        "{}",
        stopped.stderr
    );
    let archived = names(&wals.join("0000000100000000"));
    let waiting = names(&manager.server("main").join("incoming"));
    assert!(archived.len() >= 5, "{archived:?}");
    let expected: Vec<String> = (1..=10).map(name).collect();
    assert_eq!(
        [archived.clone(), waiting].concat(),
        expected,
        "in order, and each once"
    );
    for name in &archived {
        let path = archive_path(&manager.server("main"), name);
        assert_eq!(std::fs::read(path).unwrap(), delivered_content(name));
    }
    let checked = manager.run(tool, &["check", "main"]);
    assert!(
        checked.stdout.contains("WAL archive space: FAILED") && checked.stdout.contains("archiving stops"),
        "{}",
        checked.stdout
    );
    std::fs::remove_file(hog).unwrap();
    manager.run(tool, &["archive-wal", "main"]).success();
    assert_eq!(names(&wals.join("0000000100000000")), expected);
    let database = std::fs::read_to_string(wals.join("main-xlog.db")).unwrap();
    let recorded: Vec<&str> = database
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(recorded, expected);
}

/// Each tool archives, compressed and encrypted; each reads what the other archived.
fn encrypted(tool: &Tool) {
    let scratch = Scratch::new("gpg");
    let mut manager = host(
        &scratch,
        &format!(
            "backup_method = postgres\nstreaming_conninfo = host=127.0.0.1 port=1 user=postgres\nslot_name = barman\n\
         backup_compression = gzip\nbackup_compression_format = tar\ncompression = zstd\nencryption = gpg\n\
         encryption_key_id = {RECIPIENT}\nencryption_passphrase_command = {PASSPHRASE_COMMAND}"
        ),
    );
    let keys = Keys::generate(&mut manager);
    let barman = Tool::barman();
    manager.run(tool, &["check", "main"]);
    let tools = [tool, &barman];
    for (archiver, number) in tools.into_iter().zip([1, 2]) {
        deliver(&manager, [number]);
        manager.run(archiver, &["archive-wal", "main"]).success();
        let stored = std::fs::read(archive_path(&manager.server("main"), &name(number))).unwrap();
        assert!(stored.len() < 1 << 20, "compressed before it is encrypted");
        let content = delivered_content(&name(number));
        let zstd = [0x28, 0xB5, 0x2F, 0xFD];
        assert!(
            !content.starts_with(&stored[..16]) && !stored.starts_with(&zstd),
            "encrypted"
        );
        for reader in tools {
            let read = manager.run(reader, &["get-wal", "main", &name(number)]).success();
            assert!(
                read.bytes == content,
                "{} reads what {} archived",
                reader.name,
                archiver.name
            );
        }
    }
    let database = std::fs::read_to_string(manager.server("main").join("wals/main-xlog.db")).unwrap();
    let kinds: Vec<String> = database
        .lines()
        .map(|line| line.split('\t').skip(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(kinds[0], kinds[1], "both record the same of it");
    assert!(kinds[0].ends_with("gpg"), "{kinds:?}");
    // The same again is recognised: it is decrypted and compared.
    deliver(&manager, [2]);
    manager.run(tool, &["archive-wal", "main"]).success();
    assert_eq!(names(&manager.server("main").join("errors")), [""; 0]);
    drop(keys);
}

/// A damaged segment leaves a gap; the check and the windows name it with its cause; a whole copy closes it.
fn gaps(tool: &Tool) {
    use crate::support::catalog::{Backup, ServerCatalog, give_to};
    let scratch = Scratch::new("gaps");
    let manager = host(&scratch, "compression = gzip");
    let mut server = ServerCatalog::create(&manager.home(), "main");
    server.backup(&Backup::done("20240101T000000", 1, 2));
    server.segments(1, 1, 4, None);
    server.finish();
    give_to(&manager.home(), &manager.account);
    let windows = |code: i32| {
        manager
            .run(tool, &["recovery-windows", "main"])
            .exits(code)
            .stdout
    };
    assert!(windows(0).contains("timeline 1: from "), "{}", windows(0));
    let incoming = manager.server("main").join("incoming");
    let mut damaged = delivered_content(&name(5));
    damaged[8..16].fill(0);
    write_file(&incoming.join(name(5)), damaged, 0o600, &manager.account);
    deliver(&manager, [6]);
    manager.run(tool, &["archive-wal", "main"]).exits(1);
    let told = windows(1);
    assert!(
        told.contains("Gap in timeline 1: 000000010000000000000005 is missing: put aside as")
            && told.contains("(0/5000000), where WAL is missing")
            && told.contains("cannot be passed from: 20240101T000000"),
        "{told}"
    );
    let document = manager
        .run(tool, &["-f", "json", "recovery-windows", "main"])
        .exits(1);
    let document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["main"]["gaps"][0]["causes"][0]["cause"], "put_aside");
    assert_eq!(
        document["main"]["backups"][0]["windows"][0]["to"]["lsn"],
        "0/5000000"
    );
    let checked = manager.run(tool, &["check", "main"]).stdout;
    for part in [
        "wal gaps: FAILED (timeline 1: 000000010000000000000005 is missing",
        "archiver errors: FAILED (damaged: 1, '",
        "copy 000000010000000000000005 from pg_wal",
    ] {
        assert!(checked.contains(part), "no \"{part}\" in:\n{checked}");
    }
    // Barman counts the segment and the note.
    let counted = manager.run(&Tool::barman(), &["check", "main"]).stdout;
    assert!(counted.contains("unknown failure: 2"), "{counted}");
    deliver(&manager, [5]);
    assert!(windows(0).contains("(0/7000000)"), "what waits is not missing");
    manager.run(tool, &["archive-wal", "main"]).success();
    assert!(windows(0).contains("(0/7000000)"), "{}", windows(0));
    assert!(!manager.run(tool, &["check", "main"]).stdout.contains("wal gaps"));
}

/// Files, and then the directory, that the manager's account may not read: one error each, and everything is archived afterwards.
fn permissions(tool: &Tool) {
    let scratch = Scratch::new("denied");
    let manager = host(&scratch, "");
    manager.run(tool, &["check", "main"]);
    deliver(&manager, 1..=6);
    let incoming = manager.server("main").join("incoming");
    let root = crate::support::process::Account::named("root");
    for number in 1..=5 {
        root.own(&incoming.join(name(number)));
    }
    let refused = |count: usize, part: &str| {
        let stderr = manager.run(tool, &["archive-wal", "main"]).exits(1).stderr;
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.contains(part) && stderr.contains("The account 'barman'"),
            "{stderr}"
        );
        assert_eq!(names(&incoming).len(), count);
    };
    refused(
        5,
        "cannot archive 5 WAL files of server 'main', the first of them '000000010000000000000001'",
    );
    for number in 1..=5 {
        manager.account.own(&incoming.join(name(number)));
    }
    root.own(&incoming);
    for mode in [0o700, 0o744, 0o755] {
        std::fs::set_permissions(&incoming, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        refused(5, "incoming\": Permission denied");
    }
    manager.account.own(&incoming);
    manager.run(tool, &["archive-wal", "main"]).success();
    assert!(names(&incoming).is_empty());
}
