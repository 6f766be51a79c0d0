//! Synthetic catalogs: servers with backups and WAL files as Barman writes them, without a PostgreSQL behind them.
//!
//! Ids and times lie in the past and never change, so two runs differ in nothing but clocks and pids.

use std::fmt::Write as _;
use std::fs::FileTimes;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::process::Account;
use super::tool::cache;

/// The system identifier of all synthetic backups.
pub const SYSTEM_ID: &str = "7310359345646599264";

/// One backup of a synthetic catalog.
#[derive(Debug, Clone)]
pub struct Backup {
    pub id: &'static str,
    pub name: Option<&'static str>,
    pub status: &'static str,
    pub mode: &'static str,
    pub error: Option<&'static str>,
    pub parent: Option<&'static str>,
    pub children: Option<&'static str>,
    pub timeline: u32,
    /// Numbers of the first and the last segment in log file 0.
    pub segments: (u32, u32),
    pub keep: Option<&'static str>,
    pub compression: Option<&'static str>,
    pub tablespaces: bool,
    pub version: u32,
    /// Line overrides: (key, value); a value of `None` removes the line.
    pub overrides: Vec<(&'static str, Option<&'static str>)>,
}

impl Backup {
    /// A finished rsync backup whose WAL is the given segments of timeline 1.
    pub fn done(id: &'static str, first: u32, last: u32) -> Backup {
        Backup {
            id,
            name: None,
            status: "DONE",
            mode: "rsync-concurrent",
            error: None,
            parent: None,
            children: None,
            timeline: 1,
            segments: (first, last),
            keep: None,
            compression: None,
            tablespaces: false,
            version: 150_018,
            overrides: Vec::new(),
        }
    }

    /// `2024-01-02 03:04:05` out of the id, `minutes` later.
    fn moment(&self, minutes: u32) -> String {
        let id = self.id;
        let minute: u32 = id[11..13].parse::<u32>().unwrap() + minutes;
        format!(
            "{}-{}-{} {}:{minute:02}:{}",
            &id[..4],
            &id[4..6],
            &id[6..8],
            &id[9..11],
            &id[13..15]
        )
    }

    fn label(&self, server: &str) -> String {
        let (lsn, wal) = (
            format!("0/{:X}000028", self.segments.0),
            self.wal(self.segments.0),
        );
        format!(
            "START WAL LOCATION: {lsn} (file {wal})\nCHECKPOINT LOCATION: 0/{:X}000060\nBACKUP METHOD: streamed\n\
             BACKUP FROM: primary\nSTART TIME: {} UTC\nLABEL: Barman backup {server} {}\nSTART TIMELINE: {}\n",
            self.segments.0,
            self.moment(0),
            self.id,
            self.timeline
        )
    }

    fn wal(&self, segment: u32) -> String {
        format!("{:08X}00000000{segment:08X}", self.timeline)
    }

    /// The text of `backup.info`, keys sorted as Barman sorts them.
    pub fn info(&self, server: &str) -> String {
        let or_none = |value: Option<&str>| value.unwrap_or("None").to_owned();
        let started = self.status != "EMPTY";
        let copied = matches!(self.status, "DONE" | "WAITING_FOR_WALS");
        let only = |condition: bool, value: String| if condition { value } else { "None".to_owned() };
        let tablespaces = "[('space one', 16387, '/srv/one'), ('two', 16388, '/srv/two')]";
        let copy_stats = "{'total_time': 14.796692, 'number_of_workers': 2, 'analysis_time_per_item': {'pgdata': \
                          0.613607}, 'copy_time_per_item': {'pgdata': 13.880306, 'pg_control': 0.269558}, \
                          'serialized_copy_time_per_item': {'pgdata': 24.484106, 'pg_control': 0.269558}, \
                          'analysis_time': 1.613607, 'copy_time': 14.154031, 'serialized_copy_time': 24.753664}";
        let mut lines: Vec<(&str, String)> = vec![
            ("backup_label", only(copied, python_repr(&self.label(server)))),
            ("begin_offset", only(started, "40".into())),
            (
                "begin_time",
                only(started, format!("{}.123456+00:00", self.moment(0))),
            ),
            ("begin_wal", only(started, self.wal(self.segments.0))),
            (
                "begin_xlog",
                only(started, format!("0/{:X}000028", self.segments.0)),
            ),
            ("children_backup_ids", or_none(self.children)),
            ("cluster_size", only(started, "41943040".into())),
            ("compression", or_none(self.compression)),
            (
                "config_file",
                only(started, "/var/lib/postgresql/15/main/postgresql.conf".into()),
            ),
            ("copy_stats", only(copied, copy_stats.into())),
            ("data_checksums", only(started, "on".into())),
            ("deduplicated_size", only(copied, "31457280".into())),
            ("encryption", "None".into()),
            ("end_offset", only(copied, "312".into())),
            ("end_time", only(copied, format!("{}+00:00", self.moment(7)))),
            ("end_wal", only(copied, self.wal(self.segments.1))),
            ("end_xlog", only(copied, format!("0/{:X}000138", self.segments.1))),
            ("error", or_none(self.error)),
            (
                "hba_file",
                only(started, "/var/lib/postgresql/15/main/pg_hba.conf".into()),
            ),
            (
                "ident_file",
                only(started, "/var/lib/postgresql/15/main/pg_ident.conf".into()),
            ),
            (
                "included_files",
                only(
                    started,
                    "['/var/lib/postgresql/15/main/postgresql.auto.conf']".into(),
                ),
            ),
            ("mode", self.mode.into()),
            ("parent_backup_id", or_none(self.parent)),
            ("pgdata", only(started, "/var/lib/postgresql/15/main".into())),
            ("server_name", server.into()),
            ("size", only(copied, "41943040".into())),
            ("status", self.status.into()),
            ("summarize_wal", only(self.version >= 170_000, "on".into())),
            ("systemid", SYSTEM_ID.into()),
            (
                "tablespaces",
                only(self.tablespaces && started, tablespaces.into()),
            ),
            ("timeline", only(started, self.timeline.to_string())),
            ("version", only(started, self.version.to_string())),
            ("xlog_segment_size", "16777216".into()),
        ];
        if let Some(name) = self.name {
            lines.push(("backup_name", name.into()));
        }
        for (key, value) in &self.overrides {
            lines.retain(|(present, _)| present != key);
            if let Some(value) = value {
                lines.push((key, (*value).to_owned()));
            }
        }
        lines.sort();
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }
}

/// A `backup_manifest` over the files of a backup that PostgreSQL lists.
fn manifest_of(base: &Path) -> String {
    let mut files = Vec::new();
    for entry in WalkDir::new(base).sort_by_file_name() {
        let entry = entry.unwrap();
        let inside = entry.path().strip_prefix(base).unwrap().to_string_lossy();
        let path = match inside.strip_prefix("data/") {
            Some(path) => path.to_owned(),
            None => format!("pg_tblspc/{inside}"),
        };
        if entry.file_type().is_file() {
            let content = std::fs::read(entry.path()).unwrap();
            files.push(format!(
                "{{ \"Path\": \"{path}\", \"Size\": {}, \"Last-Modified\": \"2023-11-14 22:13:20 GMT\", \
                 \"Checksum-Algorithm\": \"SHA256\", \"Checksum\": \"{}\" }}",
                content.len(),
                hexadecimal(&Sha256::digest(content))
            ));
        }
    }
    let text = format!(
        "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{}\n],\n\"WAL-Ranges\": [\n\
         {{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000138\" }}\n],\n",
        files.join(",\n")
    );
    let sum = hexadecimal(&Sha256::digest(&text));
    format!("{text}\"Manifest-Checksum\": \"{sum}\"}}\n")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A string as Python's `repr` writes it; good for text without single quotes.
fn python_repr(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\n', "\\n"))
}

/// How a WAL file is stored.
pub type Compression = Option<&'static str>;

/// Builds the catalog of one server.
#[derive(Debug)]
pub struct ServerCatalog {
    pub name: String,
    pub directory: PathBuf,
    xlogdb: String,
    /// The clock of the WAL files: one minute per file.
    time: u64,
}

impl ServerCatalog {
    /// Creates the directories of a server below the barman home.
    pub fn create(home: &Path, name: &str) -> ServerCatalog {
        let directory = home.join(name);
        for part in ["base", "wals", "incoming", "streaming", "errors", "meta"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        let identity = format!("{{\n    \"systemid\": \"{SYSTEM_ID}\",\n    \"version\": \"15\"\n}}");
        std::fs::write(directory.join("identity.json"), identity).unwrap();
        ServerCatalog {
            name: name.to_owned(),
            directory,
            xlogdb: String::new(),
            time: 1_704_880_000,
        }
    }

    /// Adds a backup: its information file, its annotation, and for copied ones a small data directory.
    pub fn backup(&self, backup: &Backup) {
        let meta = self.directory.join("meta");
        std::fs::write(
            meta.join(format!("{}-backup.info", backup.id)),
            backup.info(&self.name),
        )
        .unwrap();
        if let Some(keep) = backup.keep {
            std::fs::write(meta.join(format!("{}-keep", backup.id)), keep).unwrap();
        }
        let base = self.directory.join("base").join(backup.id);
        let data = base.join("data");
        std::fs::create_dir_all(&data).unwrap();
        if matches!(backup.status, "DONE" | "WAITING_FOR_WALS") {
            write_data_directory(&data, &backup.label(&self.name), backup.version);
        }
        if backup.tablespaces {
            for oid in ["16387", "16388"] {
                let inside = base.join(oid).join("PG_15_202209061/5");
                std::fs::create_dir_all(&inside).unwrap();
                std::fs::write(inside.join("20000"), vec![7; 8192]).unwrap();
            }
        }
    }

    /// Puts a backup's files into tar files, as pg_basebackup does, with a manifest beside them.
    pub fn pack(&self, id: &str, compression: &str) {
        let base = self.directory.join("base").join(id);
        let data = base.join("data");
        let manifest = manifest_of(&base);
        let packed = base.join("packed");
        std::fs::create_dir(&packed).unwrap();
        let mut oids = Vec::new();
        for entry in std::fs::read_dir(&base).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.bytes().all(|byte| byte.is_ascii_digit()) {
                oids.push(name);
            }
        }
        for directory in oids.iter().map(String::as_str).chain(["data"]) {
            let (suffix, program) = match compression {
                "gzip" => (".gz", Some("gzip")),
                "lz4" => (".lz4", Some("lz4")),
                "zstd" => (".zst", Some("zstd")),
                _ => ("", None),
            };
            let name = if directory == "data" { "base" } else { directory };
            let target = packed.join(format!("{name}.tar{suffix}"));
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(base.join(directory)).arg("-cf");
            tar.arg(target)
                .args(["--owner=postgres", "--group=postgres", "--sort=name"]);
            tar.args(program.map(|program| format!("--use-compress-program={program}")));
            assert!(tar.arg(".").status().unwrap().success());
        }
        for oid in oids {
            std::fs::remove_dir_all(base.join(&oid)).unwrap();
            std::fs::create_dir(base.join(&oid)).unwrap();
        }
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(packed, &data).unwrap();
        std::fs::write(data.join("backup_manifest"), manifest).unwrap();
    }

    /// Adds one archived file of any kind with its line in xlog.db.
    pub fn archived(&mut self, name: &str, compression: Compression) {
        let content = wal_content(name);
        let stored = compressed(&content, compression);
        let path = archive_path(&self.directory, name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &stored).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        self.time += 60;
        set_time(&path, self.time);
        let compression = compression.unwrap_or("None");
        let _ = writeln!(
            self.xlogdb,
            "{name}\t{}\t{}.5\t{compression}\tNone",
            stored.len(),
            self.time
        );
    }

    /// Adds the segments `first..=last` of log file 0.
    pub fn segments(&mut self, timeline: u32, first: u32, last: u32, compression: Compression) {
        for segment in first..=last {
            self.archived(&format!("{timeline:08X}00000000{segment:08X}"), compression);
        }
    }

    /// Writes xlog.db.
    pub fn finish(&self) {
        let path = self.directory.join("wals").join(format!("{}-xlog.db", self.name));
        std::fs::write(path, &self.xlogdb).unwrap();
    }
}

/// Where an archived file lives.
pub fn archive_path(server: &Path, name: &str) -> PathBuf {
    let wals = server.join("wals");
    if name.ends_with(".history") {
        wals.join(name)
    } else {
        wals.join(&name[..16]).join(name)
    }
}

/// 64 KiB that differ between files and compress a little.
pub fn wal_content(name: &str) -> Vec<u8> {
    if name.ends_with(".history") {
        return b"1\t0/5000000\tno recovery target specified\n".to_vec();
    }
    name.bytes()
        .cycle()
        .take(65_536)
        .enumerate()
        .map(|(i, b)| b ^ (i / 256) as u8)
        .collect()
}

/// What is delivered under a name of the WAL: for a segment 1 MiB that begins as one of PostgreSQL 15 does, or else what
/// [`wal_content`] has.
pub fn delivered_content(name: &str) -> Vec<u8> {
    const SIZE: u32 = 1 << 20;
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).unwrap();
    if name.len() != 24 {
        return wal_content(name);
    }
    let start = (part(8..16) << 32) + part(16..24) * u64::from(SIZE);
    let mut content = Vec::new();
    content.extend(0xD110_u16.to_le_bytes());
    content.extend(2_u16.to_le_bytes());
    content.extend(1_u32.to_le_bytes());
    content.extend(start.to_le_bytes());
    content.extend([0; 8]);
    content.extend(SYSTEM_ID.parse::<u64>().unwrap().to_le_bytes());
    content.extend(SIZE.to_le_bytes());
    content.extend(8192_u32.to_le_bytes());
    content.extend(wal_content(name).repeat(16));
    content.truncate(SIZE as usize);
    content
}

/// Compresses with the stock programs, as an independent witness of each format.
pub fn compressed(content: &[u8], compression: Compression) -> Vec<u8> {
    let python = cache().join("barman/bin/python").display().to_string();
    let command: Vec<&str> = match compression {
        None => return content.to_vec(),
        Some("gzip" | "pigz" | "pygzip") => vec!["gzip", "-nc"],
        Some("bzip2" | "pybzip2") => vec!["bzip2", "-c"],
        Some("xz") => vec!["xz", "-c"],
        Some("zstd") => vec!["zstd", "-qc"],
        Some("lz4") => vec!["lz4", "-qc"],
        Some("snappy") => vec![&python, "-m", "snappy", "-c"],
        Some(other) => panic!("no program for {other}"),
    };
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&content));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    output.stdout
}

/// Sets the modification time, half a second past the full one.
pub fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 500);
    let file = std::fs::OpenOptions::new().read(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
        .unwrap();
}

/// A few files of each kind that a data directory has.
fn write_data_directory(data: &Path, label: &str, version: u32) {
    for directory in [
        "base/5",
        "global",
        "pg_wal",
        "pg_tblspc",
        "pg_xact",
        "log",
        "pg_stat_tmp",
    ] {
        std::fs::create_dir_all(data.join(directory)).unwrap();
    }
    let files: [(&str, Vec<u8>); 10] = [
        ("PG_VERSION", format!("{}\n", version / 10_000).into_bytes()),
        ("backup_label", label.as_bytes().to_vec()),
        ("base/5/PG_VERSION", b"15\n".to_vec()),
        ("base/5/1259", vec![1; 16_384]),
        ("base/5/1259_fsm", vec![2; 8192]),
        ("global/pg_control", vec![3; 8192]),
        ("pg_xact/0000", vec![4; 8192]),
        ("pg_hba.conf", b"local all all trust\n".to_vec()),
        (
            "postgresql.conf",
            b"# settings\nport = 5432\narchive_command = 'rsync -a %p barman@host:incoming/%f'\n\
              include_if_exists = 'more.conf'\ndata_directory = '/elsewhere'\n"
                .to_vec(),
        ),
        (
            "postgresql.auto.conf",
            b"# do not edit\nrecovery_target_name = 'old'\nwork_mem = '4MB'\n".to_vec(),
        ),
    ];
    for (name, content) in files {
        std::fs::write(data.join(name), content).unwrap();
        set_time(&data.join(name), 1_700_000_000);
    }
    std::fs::set_permissions(data, PermissionsExt::from_mode(0o700)).unwrap();
}

/// Gives a whole tree to an account.
pub fn give_to(root: &Path, account: &Account) {
    for entry in WalkDir::new(root) {
        let entry = entry.unwrap();
        std::os::unix::fs::lchown(entry.path(), Some(account.uid), Some(account.gid)).unwrap();
    }
}
