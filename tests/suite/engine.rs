//! The copy engine by itself: against a real cluster under load, a real sshd, and trees made to be difficult.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use barkeep::agent::executable;
use barkeep::base::report::{Progress, Quiet, Reporter, Total};
use barkeep::copy::records::{FileRecord, RecordsError, read};
use barkeep::copy::{
    Checksum, CopyItem, CopyPlan, CopyReport, Filter, Incremental, ItemContent, Method, Pace, PageChecks,
    PushItem, PushPlan, Records, Retries, Reuse, prepare_push, pull,
};
use barkeep::postgres::client::Session;
use barkeep::transport::{Remote, SshOptions};
use libtest_mimic::Trial;

use crate::support::cluster::{Cluster, ClusterOptions, Version};
use crate::support::process::{Account, eventually, run};
use crate::support::scratch::Scratch;
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

/// A test with the programs under test.
type Check = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Check); 12] = [
        ("full_and_linked_copies_of_a_live_cluster_start", live_cluster),
        ("corrupt_pages_are_reported", corrupt_pages),
        ("every_rule_of_comparison_holds", comparison),
        ("difficult_files_arrive", difficult_files),
        ("a_cut_connection_is_made_again", cut_connection),
        ("nothing_is_left_behind", nothing_left),
        ("a_host_that_cannot_run_the_agent_gets_rsync", rsync_fallback),
        ("workers_start_in_batches", workers_in_batches),
        ("memory_is_bounded", memory),
        ("a_restore_is_exact", restore),
        (
            "a_restore_where_the_agent_cannot_run_uses_rsync",
            restore_by_rsync,
        ),
        ("a_delta_restore_touches_what_differs", delta_restore),
    ];
    tests
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("engine::{name}"), move || {
                executable::choose(tool.program("barkeep"));
                test(&tool);
                Ok(())
            })
        })
        .into()
}

fn sshd(scratch: &Scratch) -> (Sshd, Remote) {
    let sshd = Sshd::start(scratch, &[], Path::new("/nonexistent"));
    let remote = Remote::ssh(&sshd.command_for("postgres"), SshOptions::SERVER).unwrap();
    (sshd, remote)
}

fn plan(
    source: &Path,
    destination: &Path,
    reference: Option<&Path>,
    horizon: Option<SystemTime>,
) -> CopyPlan {
    CopyPlan {
        items: vec![CopyItem {
            label: "pgdata".to_owned(),
            content: ItemContent::Pgdata,
            source: source.to_path_buf(),
            destination: destination.to_path_buf(),
            reference: reference.map(Path::to_path_buf),
            filter: Filter::default(),
            bandwidth_kib: None,
        }],
        reuse: if reference.is_some() {
            Reuse::Link
        } else {
            Reuse::Off
        },
        safe_horizon: horizon,
        jobs: 2,
        pace: Pace::default(),
        bandwidth_kib: None,
        compress: false,
        page_checks: None,
        manifest: Some(Checksum::Sha256),
        previous_manifest: None,
        resume: None,
        records: Some(Records {
            path: records(destination),
            directory: destination.parent().unwrap().to_path_buf(),
            previous: reference.map(records),
            page_hashes: None,
            older_page_hashes: Vec::new(),
        }),
        since: None,
        incremental: None,
        retries: Retries::default(),
    }
}

/// Where the records of a copy go.
fn records(destination: &Path) -> PathBuf {
    destination.parent().unwrap().join("records")
}

/// The records of a copy, by path.
fn recorded(destination: &Path) -> BTreeMap<String, FileRecord> {
    let mut files = BTreeMap::new();
    read::<RecordsError>(&records(destination), &mut |record| {
        let path = String::from_utf8_lossy(&record.path).into_owned();
        assert!(files.insert(path, record).is_none(), "recorded twice");
        Ok(())
    })
    .unwrap();
    files
}

/// A plan as `backup` makes it for a cluster.
fn cluster_plan(
    cluster: &Cluster,
    destination: &Path,
    reference: Option<&Path>,
    horizon: Option<SystemTime>,
) -> CopyPlan {
    let mut plan = plan(&cluster.data, destination, reference, horizon);
    plan.items[0].filter = Filter::default()
        .exclude([
            "/pg_log/*",
            "/log/*",
            "/pg_xlog/*",
            "/pg_wal/*",
            "/global/pg_control",
        ])
        .exclude([
            "pgsql_tmp*",
            "pg_internal.init",
            "postmaster.pid",
            "postmaster.opts",
            "**/[0-9]*/t[0-9]*_[0-9]*",
        ])
        .exclude([
            "pg_dynshmem/*",
            "pg_notify/*",
            "pg_replslot/*",
            "pg_stat_tmp/*",
            "pg_snapshots/*",
            "pg_subtrans/*",
        ]);
    plan.items.push(CopyItem {
        label: "pg_control".to_owned(),
        content: ItemContent::Control,
        source: cluster.data.join("global/pg_control"),
        destination: destination.join("global/pg_control"),
        reference: reference.map(|root| root.join("global/pg_control")),
        filter: Filter::default(),
        bandwidth_kib: None,
    });
    plan
}

/// Copies a cluster between start and stop of a backup, and puts the label in.
fn backup(cluster: &Cluster, remote: &Remote, plan: &mut CopyPlan) -> CopyReport {
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    let start = session
        .value("SELECT pg_backup_start('engine', true)", &[])
        .unwrap()
        .unwrap();
    plan.page_checks = Some(PageChecks {
        start: start.parse().unwrap(),
    });
    let report = pull(plan, remote, &Quiet).unwrap();
    let label = session
        .value("SELECT labelfile FROM pg_backup_stop(false)", &[])
        .unwrap()
        .unwrap();
    fs::write(plan.items[0].destination.join("backup_label"), label).unwrap();
    report
}

/// Starts a copy with the WAL of the original, and checks it with PostgreSQL's own tools.
fn prove(cluster: &Cluster, copy: &Path, scratch: &Scratch, name: &str) -> String {
    let data = scratch.join(name).join("data");
    scratch.directory(name, &Account::postgres());
    run(shell(&format!("cp -a {} {}", copy.display(), data.display()))).success();
    run(shell(&format!(
        "cp -a {}/. {}/",
        cluster.data.join("pg_wal").display(),
        data.join("pg_wal").display()
    )))
    .success();
    run(shell(&format!("chown -R postgres: {}", data.display()))).success();
    let mut started = Cluster::adopt(data, Version::V15, Account::postgres());
    started.launch();
    started.amcheck();
    let sums = started
        .sql("SELECT sum(abalance), count(*), (SELECT count(*) FROM pgbench_history) FROM pgbench_accounts");
    started.verify_checksums();
    sums
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

fn live_cluster(tool: &Tool) {
    let _ = tool;
    let scratch = Scratch::new("engine-live");
    let (_sshd, remote) = sshd(&scratch);
    let options = ClusterOptions::new(Version::V15).setting("wal_keep_size = '2GB'");
    let cluster = Cluster::start(&scratch, "pg", &options);
    cluster.pgbench_init(5);
    let load = cluster.pgbench_load(2, 200);
    let first = scratch.join("first/data");
    let before_first = SystemTime::now();
    let mut full = cluster_plan(&cluster, &first, None, None);
    let report = backup(&cluster, &remote, &mut full);
    assert_eq!(report.method, Method::Agent);
    assert_eq!(report.corrupt, []);
    assert!(
        report.files > 900 && report.stored_bytes == report.total_bytes,
        "{report:?}"
    );
    let second = scratch.join("second/data");
    let mut linked = cluster_plan(&cluster, &second, Some(&first), Some(before_first));
    linked.compress = true;
    let report = backup(&cluster, &remote, &mut linked);
    assert!(
        report.reused_files > 800,
        "{} of {}",
        report.reused_files,
        report.files
    );
    assert!(report.stored_bytes < report.total_bytes);
    let third = scratch.join("third/data");
    // The agent as a thread, as for local-rsync.
    let mut local = cluster_plan(&cluster, &third, Some(&second), Some(SystemTime::now()));
    local.reuse = Reuse::Copy;
    backup(&cluster, &Remote::local(), &mut local);
    drop(load);
    cluster.sql("CHECKPOINT");
    cluster.sql("SELECT pg_switch_wal()");
    let expected = cluster
        .sql("SELECT sum(abalance), count(*), (SELECT count(*) FROM pgbench_history) FROM pgbench_accounts");
    for (copy, name) in [(&first, "one"), (&second, "two"), (&third, "three")] {
        assert_eq!(prove(&cluster, copy, &scratch, name), expected, "{name}");
    }
    assert_unlinked_where_different(&first, &second);
    // Checksums of the manifest are those of the files.
    let files = recorded(&second);
    for (path, record) in files.iter().filter(|(path, _)| path.ends_with("PG_VERSION")) {
        let sum = run(shell(&format!(
            "sha256sum {}",
            second.parent().unwrap().join(path).display()
        )))
        .success()
        .stdout;
        let checksum = &record.checksum.as_ref().unwrap().value;
        let hex: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(sum.starts_with(&hex));
    }
    assert!(files.contains_key("data/global/pg_control"));
    assert_eq!(files.len() as u64, report.files);
    assert!(files.values().all(|record| record.sum.is_some()));
}

/// Files of the same inode are the same; the older one's content never changed through the younger.
fn assert_unlinked_where_different(one: &Path, other: &Path) {
    let listing = run(shell(&format!(
        "cd {} && find . -type f -links 1 | sort",
        other.display()
    )))
    .success()
    .stdout;
    assert!(listing.contains("base/"), "some files were rewritten");
    let control = fs::metadata(one.join("global/pg_control")).unwrap();
    assert_eq!(control.nlink(), 1, "the control file is never shared");
}

fn corrupt_pages(_: &Tool) {
    let scratch = Scratch::new("engine-corrupt");
    let cluster = Cluster::start(&scratch, "pg", &ClusterOptions::new(Version::V15));
    cluster.sql("CREATE TABLE victim AS SELECT generate_series(1, 10000) AS n; CHECKPOINT");
    let file = cluster.sql("SELECT pg_relation_filepath('victim')");
    let path = cluster.data.join(&file);
    let mut content = fs::read(&path).unwrap();
    content[5 * 8192 + 100] ^= 0xFF;
    fs::write(&path, content).unwrap();
    let mut plan = cluster_plan(&cluster, &scratch.join("copy/data"), None, None);
    let report = backup(&cluster, &Remote::local(), &mut plan);
    let found: Vec<_> = report
        .corrupt
        .iter()
        .map(|block| (block.path.clone(), block.block))
        .collect();
    assert_eq!(
        found,
        [(path, 5)],
        "exactly the damaged block, so every other checksum was right"
    );
}

fn write(path: &Path, content: &[u8], age: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    touch(path, SystemTime::now() - Duration::from_secs(age));
}

fn touch(path: &Path, time: SystemTime) {
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn same_inode(one: &Path, other: &Path) -> bool {
    fs::metadata(one).unwrap().ino() == fs::metadata(other).unwrap().ino()
}

fn comparison(_: &Tool) {
    let scratch = Scratch::new("engine-compare");
    let (_sshd, remote) = sshd(&scratch);
    for (name, remote) in [("ssh", &remote), ("local", &Remote::local())] {
        let source = scratch.join(format!("{name}-source"));
        let first = scratch.join(format!("{name}-1/data"));
        let pages: Vec<u8> = (0..200 * 8192_u32).map(|n| (n / 8192) as u8).collect();
        let log: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| format!("line {n}\n").into_bytes())
            .collect();
        write(&source.join("base/1/old"), b"unchanged", 1000);
        write(&source.join("base/1/young"), b"equal after the horizon", 0);
        write(&source.join("base/1/sly"), b"content A", 0);
        write(&source.join("base/1/16384"), &pages, 500);
        write(&source.join("base/1/16385"), &pages, 500);
        write(&source.join("base/1/16386"), &pages, 500);
        write(&source.join("server.log"), &log, 500);
        let mut blank = pages.clone();
        blank.extend(vec![0; 300 * 8192]);
        write(&source.join("base/1/16387"), &blank, 500);
        write(&source.join("mode"), b"mode", 1000);
        write(&source.join("empty"), b"", 1000);
        pull(&plan(&source, &first, None, None), remote, &Quiet).unwrap();
        let horizon = SystemTime::now() - Duration::from_secs(300);
        let before: Vec<u8> = fs::read(first.join("base/1/16384")).unwrap();

        // Same size and time, other content, younger than the horizon: only the content tells.
        let time = fs::metadata(source.join("base/1/sly"))
            .unwrap()
            .modified()
            .unwrap();
        fs::write(source.join("base/1/sly"), b"content B").unwrap();
        touch(&source.join("base/1/sly"), time);
        let mut changed = pages.clone();
        changed[50 * 8192 + 1] = 99;
        changed[60 * 8192..62 * 8192].fill(0);
        changed.extend([7; 8192]);
        write(&source.join("base/1/16384"), &changed, 10);
        write(&source.join("base/1/16385"), &pages[..100 * 8192], 10);
        blank[7] ^= 1;
        write(&source.join("base/1/16387"), &blank, 10);
        // Touched and not changed: same content under another time.
        touch(&source.join("base/1/16386"), SystemTime::now());
        let mut grown = log.clone();
        grown.splice(5..5, *b"inserted ");
        grown.extend(b"appended\n");
        write(&source.join("server.log"), &grown, 10);
        fs::set_permissions(source.join("mode"), PermissionsExt::from_mode(0o640)).unwrap();

        let second = scratch.join(format!("{name}-2/data"));
        let report = pull(
            &plan(&source, &second, Some(&first), Some(horizon)),
            remote,
            &Quiet,
        )
        .unwrap();
        run(shell(&format!(
            "diff -r {} {}",
            source.display(),
            second.display()
        )))
        .success();
        let listing = "find . -printf '%P %y %m %T@ %s\\n' | sort | grep -v ' d '";
        let of = |root: &Path| {
            run(shell(&format!("cd {} && {listing}", root.display())))
                .success()
                .stdout
        };
        assert_eq!(of(&source), of(&second), "permissions, times and sizes");
        for shared in ["base/1/old", "base/1/young", "empty"] {
            assert!(same_inode(&first.join(shared), &second.join(shared)), "{shared}");
        }
        for own in [
            "base/1/sly",
            "base/1/16384",
            "base/1/16385",
            "base/1/16386",
            "server.log",
            "mode",
        ] {
            assert!(!same_inode(&first.join(own), &second.join(own)), "{own}");
        }
        assert_eq!(
            fs::read(first.join("base/1/16384")).unwrap(),
            before,
            "the older backup is untouched"
        );
        assert_eq!(fs::read(first.join("base/1/sly")).unwrap(), b"content A");
        assert!(
            report.wire_bytes < 200_000,
            "{} bytes for a few pages and lines",
            report.wire_bytes
        );
        // Reuse by copy: nothing is shared.
        let third = scratch.join(format!("{name}-3/data"));
        let mut copying = plan(&source, &third, Some(&second), Some(SystemTime::now()));
        copying.reuse = Reuse::Copy;
        let report = pull(&copying, remote, &Quiet).unwrap();
        run(shell(&format!(
            "diff -r {} {}",
            source.display(),
            third.display()
        )))
        .success();
        assert_eq!(report.stored_bytes, report.total_bytes);
        assert!(!same_inode(&second.join("base/1/old"), &third.join("base/1/old")));
    }
}

fn difficult_files(_: &Tool) {
    let scratch = Scratch::new("engine-difficult");
    let (_sshd, remote) = sshd(&scratch);
    let source = scratch.join("source");
    write(&source.join("base/1/sparse"), b"", 10);
    fs::File::options()
        .write(true)
        .open(source.join("base/1/sparse"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    write(&source.join("many/0"), b"0", 10);
    for n in 1..3000 {
        fs::write(source.join(format!("many/{n}")), n.to_string()).unwrap();
    }
    write(&source.join("bytes/\u{1F600} ' \" \n \\"), b"odd name", 10);
    fs::create_dir_all(source.join("empty dir/below")).unwrap();
    fs::set_permissions(source.join("empty dir"), PermissionsExt::from_mode(0o705)).unwrap();
    write(&scratch.join("outside/linked"), b"behind a link", 10);
    symlink(scratch.join("outside"), source.join("link")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    nix::unistd::mkfifo(&source.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let copy = scratch.join("copy/data");
    let report = pull(&plan(&source, &copy, None, None), &remote, &Quiet).unwrap();
    assert!(
        report.wire_bytes < 2 << 20,
        "a hole crosses the wire as a number: {}",
        report.wire_bytes
    );
    let sparse = fs::metadata(copy.join("base/1/sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks()), (1 << 30, 0));
    assert_eq!(fs::read(copy.join("link/linked")).unwrap(), b"behind a link");
    assert!(!fs::symlink_metadata(copy.join("link")).unwrap().is_symlink());
    assert_eq!(fs::read(copy.join("many/2999")).unwrap(), b"2999");
    assert_eq!(
        fs::read(copy.join("bytes/\u{1F600} ' \" \n \\")).unwrap(),
        b"odd name"
    );
    assert_eq!(
        fs::metadata(copy.join("empty dir")).unwrap().mode() & 0o777,
        0o705
    );
    let mut skipped = report.skipped.clone();
    skipped.sort();
    assert_eq!(skipped, [source.join("dangling"), source.join("fifo")]);

    // Files that vanish, shrink and grow while the copy runs: a reporter that interferes plays the live server.
    let vanishing = scratch.join("vanishing");
    for n in 0..400 {
        write(&vanishing.join(format!("base/1/{n}")), &[n as u8; 100_000], 10);
    }
    let meddler = Meddler {
        root: vanishing.clone(),
        seen: AtomicU64::new(0),
    };
    let report = pull(
        &plan(&vanishing, &scratch.join("copy2/data"), None, None),
        &remote,
        &meddler,
    )
    .unwrap();
    assert_eq!(report.vanished.len() as u64 + report.files, 400);
    assert!(!report.vanished.is_empty(), "some were removed in time");
    for path in &report.vanished {
        let name = path.strip_prefix(&vanishing).unwrap();
        assert!(!scratch.join("copy2/data").join(name).exists());
    }
    // A source that is not there is an error that names it.
    let error = pull(
        &plan(&scratch.join("nothing"), &scratch.join("copy3/data"), None, None),
        &remote,
        &Quiet,
    )
    .unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}

/// Removes and truncates files that have been listed, as soon as the copy begins.
struct Meddler {
    root: PathBuf,
    seen: AtomicU64,
}

impl Reporter for Meddler {
    fn info(&self, _: &str) {}
    fn warning(&self, _: &str) {}
    fn error(&self, _: &str) {}
    fn debug(&self, _: &str) {}
    fn progress(&self, _: &str, total: Total) -> Box<dyn Progress> {
        self.seen.store(total.files, Ordering::SeqCst);
        for n in 300..330 {
            fs::remove_file(self.root.join(format!("base/1/{n}"))).unwrap();
        }
        for n in 330..360 {
            fs::File::options()
                .write(true)
                .open(self.root.join(format!("base/1/{n}")))
                .unwrap()
                .set_len(10)
                .unwrap();
        }
        for n in 360..400 {
            let file = fs::File::options()
                .write(true)
                .open(self.root.join(format!("base/1/{n}")))
                .unwrap();
            file.set_len(200_000).unwrap();
        }
        Box::new(barkeep::base::report::NoProgress)
    }
}

/// Cuts the connection when some files have arrived.
struct Saboteur<'a> {
    sshd: &'a Sshd,
}

struct Countdown {
    left: AtomicU64,
    sessions: Vec<u32>,
}

impl Reporter for Saboteur<'_> {
    fn info(&self, _: &str) {}
    fn warning(&self, _: &str) {}
    fn error(&self, _: &str) {}
    fn debug(&self, _: &str) {}
    fn progress(&self, _: &str, _: Total) -> Box<dyn Progress> {
        Box::new(Countdown {
            left: AtomicU64::new(30),
            sessions: self.sshd.session_processes(),
        })
    }
}

impl Progress for Countdown {
    fn advance(&self, _: u64, files: u64) {
        if self.left.fetch_sub(files, Ordering::SeqCst) == 1 {
            for pid in &self.sessions {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(*pid as i32),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

fn cut_connection(_: &Tool) {
    let scratch = Scratch::new("engine-cut");
    let (sshd, remote) = sshd(&scratch);
    let source = scratch.join("source");
    for n in 0..200 {
        write(&source.join(format!("base/1/{n}")), &vec![n as u8; 1 << 20], 10);
    }
    let saboteur = Saboteur { sshd: &sshd };
    let copy = scratch.join("copy/data");
    let error = pull(&plan(&source, &copy, None, None), &remote, &saboteur).unwrap_err();
    assert!(error.to_string().contains("lost"), "{error}");
    let mut patient = plan(&source, &scratch.join("copy2/data"), None, None);
    patient.retries = Retries {
        times: 2,
        sleep: Duration::from_millis(10),
    };
    let report = pull(&patient, &remote, &saboteur).unwrap();
    assert_eq!(report.files, 200);
    run(shell(&format!(
        "diff -r {} {}",
        source.display(),
        scratch.join("copy2/data").display()
    )))
    .success();
}

fn masters() -> Vec<String> {
    let prefix = format!(".barkeep-{}-", std::process::id());
    let mut found: Vec<String> = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    found.sort();
    found
}

fn nothing_left(_: &Tool) {
    let scratch = Scratch::new("engine-left");
    let (sshd, remote) = sshd(&scratch);
    let source = scratch.join("source");
    write(&source.join("file"), b"content", 10);
    pull(
        &plan(&source, &scratch.join("copy/data"), None, None),
        &remote,
        &Quiet,
    )
    .unwrap();
    let output = remote.run("echo out; echo err >&2; exit 3").unwrap();
    assert_eq!(
        (output.stdout, output.stderr, output.code),
        (b"out\n".to_vec(), b"err\n".to_vec(), 3)
    );
    assert_eq!(remote.run_with_input("cat", b"fed").unwrap().stdout, b"fed");
    assert_eq!(remote.run("nonexistent-command-xyz").unwrap().code, 127);
    drop(remote);
    eventually(Duration::from_secs(10), "the end of all sessions", || {
        sshd.session_processes().is_empty()
    });
    // Other tests of this process have masters of their own; those of this one end at once.
    let left: Vec<String> = masters()
        .into_iter()
        .filter(|name| socket_of(name, sshd.port))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    // Nobody listens: code 255 and ssh's words, and Barman's sentence from a copy.
    let nobody = "ssh -p 1 -o UserKnownHostsFile=/dev/null postgres@127.0.0.1";
    let remote = Remote::ssh(nobody, SshOptions::SERVER).unwrap();
    let output = remote.run("true").unwrap();
    assert_eq!(output.code, 255);
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"));
    let error = pull(
        &plan(&source, &scratch.join("copy4/data"), None, None),
        &remote,
        &Quiet,
    )
    .unwrap_err();
    let sentence = format!(
        "Connection failed using '{nobody} -o BatchMode=yes -o StrictHostKeyChecking=no' return code 255"
    );
    assert!(error.to_string().starts_with(&sentence), "{error}");
}

fn socket_of(directory: &str, port: u16) -> bool {
    let path = std::env::temp_dir().join(directory).join("s");
    let ours = run(shell(&format!(
        "ps -ef | grep -F {} | grep -v grep",
        path.display()
    )))
    .stdout;
    ours.contains(&port.to_string())
}

fn rsync_fallback(_: &Tool) {
    let scratch = Scratch::new("engine-rsync");
    let sshd = Sshd::start(&scratch, &[], Path::new("/nonexistent"));
    let source = scratch.join("source");
    write(&source.join("base/1/16384"), &[3; 20_000], 100);
    write(&source.join("pg_wal/x"), b"left out", 100);
    write(&source.join("file with 'quote'"), b"content", 100);
    let remote = blocked(&sshd);
    let filter = Filter::default().exclude(["/pg_wal/*"]);
    let mut full = plan(&source, &scratch.join("copy/data"), None, None);
    full.items[0].filter = filter.clone();
    let report = pull(&full, &remote, &Quiet).unwrap();
    assert!(
        matches!(report.method, Method::Rsync { .. }),
        "{:?}",
        report.method
    );
    assert_eq!(
        fs::read(scratch.join("copy/data/base/1/16384")).unwrap(),
        [3; 20_000]
    );
    assert!(!scratch.join("copy/data/pg_wal/x").exists() && scratch.join("copy/data/pg_wal").exists());
    assert_eq!(report.files, 2);
    assert_eq!(recorded(&scratch.join("copy/data")).len(), 2);
    let mut linked = plan(
        &source,
        &scratch.join("copy2/data"),
        Some(&scratch.join("copy/data")),
        Some(SystemTime::now()),
    );
    linked.items[0].filter = filter;
    let report = pull(&linked, &remote, &Quiet).unwrap();
    assert_eq!((report.reused_files, report.stored_bytes), (2, 0));
    assert!(same_inode(
        &scratch.join("copy/data/base/1/16384"),
        &scratch.join("copy2/data/base/1/16384")
    ));
}

/// A login whose home and cache cannot hold an executable.
fn blocked(sshd: &Sshd) -> Remote {
    sshd.block_agent();
    Remote::ssh(&sshd.command_for("postgres"), SshOptions::SERVER).unwrap()
}

/// A restore to a host that cannot run the agent: whole, and as a delta.
fn restore_by_rsync(_: &Tool) {
    let scratch = Scratch::new("engine-push-rsync");
    let sshd = Sshd::start(&scratch, &[], Path::new("/nonexistent"));
    let remote = blocked(&sshd);
    let source = scratch.join("backup/data");
    backup_tree(&source);
    scratch.directory("there", &Account::postgres());
    let destination = scratch.join("there/data");
    let restore = |delta| {
        prepare_push(&push_plan(&source, &destination, delta), &remote, &Quiet)
            .unwrap()
            .apply(&Quiet)
            .unwrap()
    };
    let report = restore(false);
    assert!(
        matches!(report.method, Method::Rsync { .. }),
        "{:?}",
        report.method
    );
    same_trees(&source, &destination);
    assert!(!destination.join("pg_wal/old").exists());

    // Damage that keeps size and time, a file that is gone, one that does not belong, and what a delta spares.
    let damaged = destination.join("base/1/16390");
    let time = fs::metadata(&damaged).unwrap().modified().unwrap();
    let mut content = fs::read(&damaged).unwrap();
    content[8192 * 7 + 3] ^= 1;
    fs::write(&damaged, content).unwrap();
    touch(&damaged, time);
    fs::remove_file(destination.join("base/1/16391")).unwrap();
    write(&destination.join("base/1/99999"), b"foreign", 1);
    write(&destination.join("pg_tblspc/16400"), b"protected", 1);
    restore(true);
    same_trees(&source, &destination);
    assert!(!destination.join("base/1/99999").exists() && destination.join("pg_tblspc/16400").exists());
}

/// Workers that may not start yet keep nobody waiting.
fn workers_in_batches(_: &Tool) {
    let scratch = Scratch::new("engine-pace");
    let source = scratch.join("source");
    backup_tree(&source);
    let pace = Pace {
        batch: 1,
        period: Duration::from_secs(3600),
    };
    let copy = scratch.join("copy/data");
    let mut backup = plan(&source, &copy, None, None);
    (backup.jobs, backup.pace) = (4, pace);
    pull(&backup, &Remote::local(), &Quiet).unwrap();
    let restored = scratch.join("restored/data");
    let mut restore = push_plan(&copy, &restored, false);
    (restore.jobs, restore.pace) = (4, pace);
    let local = Remote::local();
    prepare_push(&restore, &local, &Quiet)
        .unwrap()
        .apply(&Quiet)
        .unwrap();
    same_trees(&source, &restored);
}

/// The highest resident size of an agent below the sshd, in KiB, watched while `work` runs.
fn agent_peak(sshd: &Sshd, work: impl FnOnce() + Send) -> u64 {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            work();
            done.store(true, Ordering::SeqCst);
        });
        let mut peak = 0;
        while !done.load(Ordering::SeqCst) && !worker.is_finished() {
            for pid in sshd.session_processes() {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if !command.windows(5).any(|word| word == b"agent") || command.starts_with(b"sh\0") {
                    continue;
                }
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("VmHWM:"))
                    .unwrap_or("0");
                peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        worker.join().unwrap();
        peak
    })
}

fn memory(_: &Tool) {
    let scratch = Scratch::new("engine-memory");
    let (sshd, remote) = sshd(&scratch);
    let source = scratch.join("source");
    write(&source.join("many/x"), b"x", 10);
    for n in 0..50_000 {
        fs::write(source.join(format!("many/{n}")), "x").unwrap();
    }
    let mut big = vec![0_u8; 64 << 20];
    for (n, byte) in big.iter_mut().enumerate() {
        *byte = (n / 7) as u8;
    }
    write(&source.join("base/1/16384"), &big, 1000);
    write(&source.join("big.log"), &big, 1000);
    let first = scratch.join("first/data");
    let full = agent_peak(&sshd, || {
        pull(&plan(&source, &first, None, None), &remote, &Quiet).unwrap();
    });
    big[1000] = 1;
    write(&source.join("base/1/16384"), &big, 10);
    write(&source.join("big.log"), &big, 10);
    let second = agent_peak(&sshd, || {
        let mut linked = plan(&source, &scratch.join("second/data"), Some(&first), None);
        linked.compress = true;
        pull(&linked, &remote, &Quiet).unwrap();
    });
    run(shell(&format!(
        "cmp {} {}",
        source.join("big.log").display(),
        scratch.join("second/data/big.log").display()
    )))
    .success();
    // More changed pages than the agent keeps between its two passes.
    for page in big.chunks_mut(2 * 8192) {
        page[100] ^= 1;
    }
    write(&source.join("base/1/16384"), &big, 5);
    let third = agent_peak(&sshd, || {
        let mut blocks = plan(&source, &scratch.join("third/data"), Some(&first), None);
        blocks.incremental = Some(Incremental {
            members: vec![scratch.join("first")],
            since: None,
        });
        let found = pull(&blocks, &remote, &Quiet).unwrap().blocks;
        assert_eq!((found.by_hash, found.blocks_by_hash), (1, 4096));
    });
    eprintln!("agent peak: full {full} KiB, linked {second} KiB, blocks {third} KiB");
    assert!(third > 0 && third < 32 << 10, "{third} KiB");
    assert!(full > 0 && full < 32 << 10, "{full} KiB");
    assert!(second > 0 && second < 32 << 10, "{second} KiB");
}

fn push_plan(source: &Path, destination: &Path, delta: bool) -> PushPlan {
    PushPlan {
        items: vec![PushItem {
            label: "pgdata".to_owned(),
            source: source.to_path_buf(),
            older: Vec::new(),
            prefix: "data/".to_owned(),
            destination: destination.to_path_buf(),
            filter: Filter::default()
                .exclude(["/pg_wal/*"])
                .protect(["/pg_tblspc/16400"]),
            bandwidth_kib: None,
            owned: Vec::new(),
        }],
        delta,
        jobs: 2,
        pace: Pace::default(),
        bandwidth_kib: None,
        compress: true,
        retries: Retries::default(),
        sums: None,
    }
}

fn backup_tree(root: &Path) {
    let pages: Vec<u8> = (0..300 * 8192_u32).map(|n| (n / 8192 + 1) as u8).collect();
    for n in 0..20 {
        write(&root.join(format!("base/1/{}", 16384 + n)), &pages, 500);
    }
    let mut holes = pages.clone();
    holes[8192 * 10..8192 * 100].fill(0);
    write(&root.join("base/1/20000"), &holes, 500);
    write(&root.join("PG_VERSION"), b"15\n", 500);
    write(&root.join("empty"), b"", 500);
    write(&root.join("pg_wal/old"), b"not restored", 500);
    fs::create_dir_all(root.join("pg_tblspc")).unwrap();
    fs::set_permissions(root.join("base"), PermissionsExt::from_mode(0o700)).unwrap();
}

fn same_trees(one: &Path, other: &Path) {
    let listing = "find . -path './pg_wal/*' -prune -o -path './pg_tblspc/*' -prune -o -type f -printf '%P %m %T@ %s\\n' | sort";
    let of = |root: &Path| {
        run(shell(&format!("cd {} && {listing}", root.display())))
            .success()
            .stdout
    };
    assert_eq!(of(one), of(other));
    run(shell(&format!(
        "diff -r -x pg_wal -x pg_tblspc {} {}",
        one.display(),
        other.display()
    )))
    .success();
}

fn restore(_: &Tool) {
    let scratch = Scratch::new("engine-restore");
    let (sshd, remote) = sshd(&scratch);
    let source = scratch.join("backup/data");
    backup_tree(&source);
    scratch.directory("there", &Account::postgres());
    for (name, remote) in [("there/ssh", &remote), ("local", &Remote::local())] {
        let destination = scratch.join(name).join("deep/data");
        let plan = push_plan(&source, &destination, false);
        let prepared = prepare_push(&plan, remote, &Quiet).unwrap();
        assert!(!destination.exists(), "preparing changes nothing");
        assert_eq!((prepared.deletions.len(), prepared.files), (0, 23));
        let report = prepared.apply(&Quiet).unwrap();
        assert_eq!(report.method, Method::Agent);
        same_trees(&source, &destination);
        assert!(!destination.join("pg_wal/old").exists() && destination.join("pg_wal").is_dir());
        assert_eq!(
            fs::metadata(&destination).unwrap().mode() & 0o777,
            fs::metadata(&source).unwrap().mode() & 0o777
        );
        let holes = fs::metadata(destination.join("base/1/20000")).unwrap();
        assert!(holes.blocks() * 512 >= holes.len(), "room is reserved for zeros");
    }
    drop(sshd);
}

fn delta_restore(_: &Tool) {
    let scratch = Scratch::new("engine-delta");
    let (_sshd, remote) = sshd(&scratch);
    let source = scratch.join("backup/data");
    backup_tree(&source);
    scratch.directory("there", &Account::postgres());
    let destination = scratch.join("there/data");
    prepare_push(&push_plan(&source, &destination, false), &remote, &Quiet)
        .unwrap()
        .apply(&Quiet)
        .unwrap();
    // Damage, and things that do not belong.
    let damaged = destination.join("base/1/16390");
    let mut content = fs::read(&damaged).unwrap();
    content[8192 * 7 + 3] ^= 1;
    content.extend([1; 8192]);
    let time = fs::metadata(&damaged).unwrap().modified().unwrap();
    fs::write(&damaged, content).unwrap();
    touch(&damaged, time);
    fs::remove_file(destination.join("base/1/16391")).unwrap();
    fs::remove_file(destination.join("PG_VERSION")).unwrap();
    fs::create_dir(destination.join("PG_VERSION")).unwrap();
    write(
        &destination.join("pg_wal/000000010000000000000001"),
        b"foreign",
        1,
    );
    write(&destination.join("foreign/deep/file"), b"foreign", 1);
    write(&destination.join("pg_tblspc/16400/kept"), b"kept", 1);
    // A file that somebody linked elsewhere must not change there.
    let elsewhere = scratch.join("there/elsewhere");
    fs::hard_link(destination.join("base/1/16392"), &elsewhere).unwrap();
    let mut linked = fs::read(&elsewhere).unwrap();
    linked[5] ^= 1;
    fs::write(&elsewhere, &linked).unwrap();
    run(shell(&format!(
        "chown -R postgres: {}",
        scratch.join("there").display()
    )))
    .success();

    let plan = push_plan(&source, &destination, true);
    let prepared = prepare_push(&plan, &remote, &Quiet).unwrap();
    let expected =
        ["PG_VERSION", "foreign", "pg_wal/000000010000000000000001"].map(|path| destination.join(path));
    assert_eq!(prepared.deletions, expected);
    let report = prepared.apply(&Quiet).unwrap();
    same_trees(&source, &destination);
    assert_eq!(
        fs::read(destination.join("pg_tblspc/16400/kept")).unwrap(),
        b"kept"
    );
    assert!(!destination.join("foreign").exists());
    assert_eq!(fs::read(&elsewhere).unwrap(), linked);
    assert_eq!(report.reused_files, 19, "files that were right");
    // One whole file is new; of the damaged ones a page each.
    assert!(report.wire_bytes < 100_000, "{}", report.wire_bytes);
}
