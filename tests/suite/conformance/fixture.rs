//! The catalogs that the cases run on.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::live::Live;
use super::tarballs::Tarballs;
use crate::support::catalog::{Backup, ServerCatalog, give_to};
use crate::support::process::Account;
use crate::support::scratch::Scratch;
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

/// What all cases share; built when the first case needs it.
#[derive(Debug)]
pub struct Fixtures {
    pub scratch: Scratch,
    pub barman: Tool,
    pub barkeep: Tool,
    synthetic: OnceLock<PathBuf>,
    sshd: OnceLock<Sshd>,
    live: OnceLock<Mutex<Live>>,
    pub tarballs: Tarballs,
}

impl Fixtures {
    pub fn new(barkeep: Tool) -> Fixtures {
        Fixtures {
            scratch: Scratch::in_memory("conf"),
            barman: Tool::barman(),
            barkeep,
            synthetic: OnceLock::new(),
            sshd: OnceLock::new(),
            live: OnceLock::new(),
            tarballs: Tarballs::default(),
        }
    }

    /// A pristine barman home with the synthetic servers.
    pub fn synthetic(&self) -> &Path {
        self.synthetic.get_or_init(|| {
            let home = self.scratch.join("synthetic/home");
            std::fs::create_dir_all(&home).unwrap();
            build_synthetic(&home);
            give_to(&home, &Account::barman());
            home
        })
    }

    /// A running server with a catalog by real Barman.
    pub fn live(&self) -> &Mutex<Live> {
        self.live.get_or_init(|| Live::start(&self.barman))
    }

    /// An sshd for remote restores.
    pub fn sshd(&self) -> &Sshd {
        self.sshd.get_or_init(|| {
            let mut sshd = Sshd::start(&self.scratch, &[], Path::new("/nonexistent"));
            sshd.keep_connection(&Account::barman(), "postgres");
            sshd
        })
    }
}

/// The servers of the synthetic catalog and their configuration; `HOME` and `SSH` are filled in per site.
pub fn servers() -> Vec<(&'static str, String)> {
    // Nothing listens on port 1: PostgreSQL and ssh are down for all of these servers.
    let down = "conninfo = host=127.0.0.1 port=1 user=postgres dbname=postgres\n\
                ssh_command = ssh -o ConnectTimeout=5 -p 1 postgres@127.0.0.1\n\
                archiver = on\nbackup_options = concurrent_backup\n";
    let with = |more: &str| format!("{down}{more}");
    vec![
        (
            "main",
            with(
                "description = \"The main server\"\nreuse_backup = link\nretention_policy = REDUNDANCY 2\n\
                 minimum_redundancy = 1\ncompression = gzip",
            ),
        ),
        ("window", with("description = Kept for a while\nretention_policy = RECOVERY WINDOW OF 4 WEEKS\nminimum_redundancy = 3")),
        (
            "tree",
            "conninfo = host=127.0.0.1 port=1 user=postgres dbname=postgres\nbackup_method = postgres\narchiver = on\n\
             description = Incrementals\nretention_policy = REDUNDANCY 1"
                .to_owned(),
        ),
        (
            "chain",
            with("description = Incrementals of a copy over ssh\nreuse_backup = link\nretention_policy = REDUNDANCY 1"),
        ),
        (
            "tars",
            "conninfo = host=127.0.0.1 port=1 user=postgres dbname=postgres\nbackup_method = postgres\narchiver = on\n\
             description = Base backups in tar files\nretention_policy = REDUNDANCY 2"
                .to_owned(),
        ),
        ("wait", with("description = Waiting for WALs")),
        ("nowal", with("description = No WAL yet\nlast_backup_maximum_age = 3 DAYS\nlast_wal_maximum_age = 1 HOUR\nlast_backup_minimum_size = 1Gi")),
        ("mixed", with("description = Every compression")),
        ("tables", with("description = Tablespaces and timelines")),
        ("empty", with("description = Never backed up")),
        ("pas", "description = passive\nprimary_ssh_command = ssh -o ConnectTimeout=5 -p 1 barman@127.0.0.1\nbackup_options = concurrent_backup".to_owned()),
        ("off", with("description = Inactive one\nactive = false")),
        ("dis", "ssh_command = ssh nowhere\narchiver = on\nbackup_options = concurrent_backup".to_owned()),
        (
            "odd one",
            with("description = \"Größe „1“ – naïve 日本\"\nretention_policy = REDUNDANCY 1"),
        ),
        ("recent", with("description = Backups of the last year")),
        (
            "warn",
            "description = Warnings\nconninfo = host=127.0.0.1 port=1 user=postgres dbname=postgres password=sesame\n\
             ssh_command = ssh -p 1 postgres@127.0.0.1\nno_such_option = 1\nreuse_backup = maybe\nparallel_jobs = many"
                .to_owned(),
        ),
    ]
}

fn build_synthetic(home: &Path) {
    build_main(home, "main");
    build_main(home, "off");
    build_window(home);
    build_tree(home);
    build_chain(home);
    build_tars(home);
    build_wait(home);
    build_mixed(home);
    build_tables(home);
    let nowal = ServerCatalog::create(home, "nowal");
    nowal.backup(&Backup::done("20240301T100000", 2, 2));
    nowal.finish();
    build_odd(home);
    build_recent(home);
    let pas = ServerCatalog::create(home, "pas");
    pas.backup(&Backup {
        mode: "passive",
        ..Backup::done("20240301T100000", 2, 2)
    });
    pas.finish();
}

/// Full, linked, named, kept, failed and crashed backups; gzip WALs.
fn build_main(home: &Path, name: &str) {
    let mut server = ServerCatalog::create(home, name);
    server.backup(&Backup {
        name: Some("first"),
        ..Backup::done("20240110T100000", 3, 3)
    });
    server.backup(&Backup {
        keep: Some("full"),
        ..Backup::done("20240111T100000", 5, 6)
    });
    server.backup(&Backup {
        status: "FAILED",
        error: Some("failure copying files (rsync error: code 23)"),
        ..Backup::done("20240111T120000", 7, 7)
    });
    server.backup(&Backup {
        name: Some("twin"),
        ..Backup::done("20240112T100000", 8, 8)
    });
    server.backup(&Backup {
        status: "STARTED",
        ..Backup::done("20240112T120000", 9, 9)
    });
    server.backup(&Backup {
        name: Some("twin"),
        ..Backup::done("20240113T100000", 10, 12)
    });
    server.backup(&Backup {
        status: "EMPTY",
        ..Backup::done("20240114T100000", 13, 13)
    });
    server.segments(1, 1, 4, Some("gzip"));
    server.archived("000000010000000000000003.00000028.backup", Some("gzip"));
    server.segments(1, 5, 14, Some("gzip"));
    server.finish();
}

/// All backups are older than the window.
fn build_window(home: &Path) {
    let mut server = ServerCatalog::create(home, "window");
    for (id, segment) in [
        ("20240201T100000", 2),
        ("20240208T100000", 4),
        ("20240215T100000", 6),
        ("20240222T100000", 8),
    ] {
        server.backup(&Backup::done(id, segment, segment));
    }
    server.segments(1, 1, 9, None);
    server.finish();
}

/// Backups by pg_basebackup: a compressed one and a chain of incrementals.
fn build_tree(home: &Path) {
    let mut server = ServerCatalog::create(home, "tree");
    let postgres = |id, segment| Backup {
        mode: "postgres",
        version: 170_004,
        ..Backup::done(id, segment, segment)
    };
    server.backup(&Backup {
        compression: Some("gzip"),
        ..postgres("20240401T100000", 2)
    });
    server.backup(&Backup {
        children: Some("20240403T100000,20240405T100000"),
        ..postgres("20240402T100000", 4)
    });
    server.backup(&Backup {
        parent: Some("20240402T100000"),
        children: Some("20240404T100000"),
        ..postgres("20240403T100000", 6)
    });
    server.backup(&Backup {
        parent: Some("20240403T100000"),
        ..postgres("20240404T100000", 8)
    });
    server.backup(&Backup {
        parent: Some("20240402T100000"),
        ..postgres("20240405T100000", 10)
    });
    server.segments(1, 2, 11, None);
    server.finish();
}

/// Incrementals below copies over ssh, of a PostgreSQL that has no incrementals of its own: a linked full backup, one
/// with a chain of three (the last waits for its WAL) and a failed attempt beside it, and one with a branch.
fn build_chain(home: &Path) {
    let mut server = ServerCatalog::create(home, "chain");
    let incremental = |id, parent, segment| Backup {
        mode: "postgres",
        parent: Some(parent),
        overrides: vec![("deduplicated_size", Some("1048576"))],
        ..Backup::done(id, segment, segment)
    };
    server.backup(&Backup::done("20240501T100000", 2, 2));
    server.backup(&Backup {
        name: Some("sunday"),
        children: Some("20240503T100000"),
        ..Backup::done("20240502T100000", 4, 4)
    });
    server.backup(&Backup {
        name: Some("monday"),
        children: Some("20240504T100000"),
        ..incremental("20240503T100000", "20240502T100000", 6)
    });
    server.backup(&Backup {
        children: Some("20240504T120000"),
        ..incremental("20240504T100000", "20240503T100000", 8)
    });
    server.backup(&Backup {
        status: "FAILED",
        error: Some("failure copying files (the connection was lost)"),
        ..incremental("20240504T120000", "20240504T100000", 9)
    });
    server.backup(&Backup {
        children: Some("20240506T100000,20240507T100000"),
        tablespaces: true,
        ..Backup::done("20240505T100000", 10, 10)
    });
    server.backup(&Backup {
        tablespaces: true,
        ..incremental("20240506T100000", "20240505T100000", 11)
    });
    server.backup(&Backup {
        status: "WAITING_FOR_WALS",
        ..incremental("20240507T100000", "20240505T100000", 13)
    });
    server.segments(1, 2, 12, Some("gzip"));
    server.finish();
}

/// Backups by pg_basebackup in tar files: gzip, lz4, zstd with tablespaces, and uncompressed.
fn build_tars(home: &Path) {
    let mut server = ServerCatalog::create(home, "tars");
    for (id, segment, compression) in [
        ("20240901T100000", 2, "gzip"),
        ("20240902T100000", 4, "lz4"),
        ("20240903T100000", 6, "zstd"),
        ("20240904T100000", 8, "none"),
    ] {
        server.backup(&Backup {
            mode: "postgres",
            compression: Some(compression),
            tablespaces: compression == "zstd",
            ..Backup::done(id, segment, segment)
        });
        server.pack(id, compression);
    }
    server.segments(1, 1, 9, None);
    server.finish();
}

/// A backup that waits, one that has lost a segment, one whose last segment is there.
fn build_wait(home: &Path) {
    let mut server = ServerCatalog::create(home, "wait");
    let waiting = |id, first, last| Backup {
        status: "WAITING_FOR_WALS",
        ..Backup::done(id, first, last)
    };
    server.backup(&waiting("20240501T100000", 2, 3));
    server.backup(&waiting("20240502T100000", 4, 6));
    server.backup(&waiting("20240503T100000", 7, 9));
    server.backup(&waiting("20240504T100000", 12, 12));
    server.segments(1, 2, 4, None);
    server.segments(1, 6, 8, None);
    server.finish();
}

/// WALs of every compression, partial and label files.
fn build_mixed(home: &Path) {
    let mut server = ServerCatalog::create(home, "mixed");
    server.backup(&Backup::done("20240601T100000", 1, 1));
    let all = [
        None,
        Some("gzip"),
        Some("bzip2"),
        Some("xz"),
        Some("zstd"),
        Some("lz4"),
        Some("snappy"),
        Some("pigz"),
    ];
    for (segment, compression) in (1..).zip(all) {
        server.segments(1, segment, segment, compression);
    }
    server.archived("000000010000000000000001.00000028.backup", None);
    server.archived("000000010000000000000009.partial", None);
    server.finish();
}

/// Tablespaces, three timelines, a hole in the WAL.
fn build_tables(home: &Path) {
    let mut server = ServerCatalog::create(home, "tables");
    server.backup(&Backup {
        tablespaces: true,
        ..Backup::done("20240701T100000", 2, 3)
    });
    server.backup(&Backup {
        keep: Some("standalone"),
        ..Backup::done("20240702T100000", 4, 4)
    });
    server.segments(1, 2, 5, None);
    server.archived("00000002.history", None);
    server.segments(2, 5, 7, None);
    server.backup(&Backup {
        timeline: 2,
        ..Backup::done("20240703T100000", 6, 6)
    });
    server.archived("00000003.history", None);
    server.segments(3, 7, 8, None);
    server.finish();
}

/// A server and a backup with names that need quoting.
fn build_odd(home: &Path) {
    let mut server = ServerCatalog::create(home, "odd one");
    server.backup(&Backup {
        name: Some("Sonntag's \"große\" Sicherung"),
        ..Backup::done("20240801T100000", 2, 2)
    });
    server.backup(&Backup::done("20240802T100000", 4, 4));
    server.segments(1, 1, 5, Some("gzip"));
    server.finish();
}

/// How many days ago the backups of the server `recent` were taken; half a day is added, so that no window ends there.
const AGES: [i64; 13] = [400, 200, 100, 59, 40, 29, 20, 13, 8, 6, 4, 1, 0];

/// The ids of the backups of `recent`, oldest first.
pub fn recent_ids() -> &'static [&'static str] {
    static IDS: OnceLock<Vec<&'static str>> = OnceLock::new();
    IDS.get_or_init(|| {
        let id = |days: &i64| -> &'static str {
            let moment = recent_moment(*days);
            moment.format("%Y%m%dT%H%M%S").to_string().leak()
        };
        AGES.iter().map(id).collect()
    })
}

fn recent_moment(days: i64) -> chrono::DateTime<chrono::Utc> {
    static NOW: OnceLock<chrono::DateTime<chrono::Utc>> = OnceLock::new();
    *NOW.get_or_init(chrono::Utc::now) - chrono::Duration::days(days) - chrono::Duration::hours(12)
}

/// Full backups with a chain of incrementals at number 8 to 10, a failed one at 6, one that waits at the end.
fn build_recent(home: &Path) {
    let mut server = ServerCatalog::create(home, "recent");
    let ids = recent_ids();
    for (index, (id, days)) in ids.iter().zip(AGES).enumerate() {
        let segment = 2 * index as u32 + 2;
        let time = recent_moment(days).format("%Y-%m-%d %H:%M:%S+00:00");
        let time: &'static str = time.to_string().leak();
        let mut backup = Backup::done(id, segment, segment);
        match index {
            5 => backup.status = "FAILED",
            7 => (backup.mode, backup.children) = ("postgres", Some(ids[8])),
            8 => (backup.mode, backup.parent, backup.children) = ("postgres", Some(ids[7]), Some(ids[9])),
            9 => (backup.mode, backup.parent) = ("postgres", Some(ids[8])),
            12 => backup.status = "WAITING_FOR_WALS",
            _ => {}
        }
        if backup.status != "FAILED" {
            backup.overrides = vec![("begin_time", Some(time)), ("end_time", Some(time))];
        }
        server.backup(&backup);
    }
    server.segments(1, 1, 25, None);
    server.finish();
}
