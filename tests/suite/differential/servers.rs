//! Random servers: their policies, their WAL, and their backups, of all states and times.

use std::path::Path;

use chrono::{DateTime, Duration, FixedOffset, Local, NaiveDateTime};

use super::random::Server;
use crate::support::catalog::{Backup, ServerCatalog, archive_path};
use crate::support::random::Random;

const POLICIES: [Option<&str>; 14] = [
    Some("REDUNDANCY 0"),
    Some("REDUNDANCY 1"),
    Some("REDUNDANCY 2"),
    Some("redundancy  3"),
    Some("RECOVERY WINDOW OF 0 DAYS"),
    Some("RECOVERY WINDOW OF 3 DAYS"),
    Some("RECOVERY WINDOW OF 10 days"),
    Some("recovery window of 1 WEEK"),
    Some("RECOVERY WINDOW OF 3 WEEKS"),
    Some("RECOVERY WINDOW OF 1 MONTH"),
    Some("RECOVERY WINDOW OF 2 MONTHS"),
    Some("RECOVERY WINDOW OF 100000 DAYS"),
    None,
    None,
];

/// Days ago at which windows begin.
const WINDOWS: [i64; 6] = [3, 7, 10, 21, 31, 62];

pub fn server(random: &mut Random, home: &Path, number: u32) -> Server {
    let name = format!("s{number:03}");
    let mut catalog = ServerCatalog::create(home, &name);
    let mut archive = Archive::new(&mut catalog, random);
    let mut backups: Vec<Backup> = Vec::new();
    let count = random.below(9);
    let mut days = i64::from(count * 5 + random.below(10));
    for _ in 0..count {
        days -= i64::from(random.below(6));
        archive.advance(random);
        let taken = Moment::ago(random, days).after_all(&backups);
        let backup = backup(random, &mut archive, &backups, &taken);
        days -= 1;
        backups.push(backup);
    }
    archive.advance(random);
    archive.advance(random);
    link(&mut backups);
    for backup in &backups {
        catalog.backup(backup);
    }
    catalog.finish();
    Server {
        name,
        policy: random.pick(&POLICIES),
        minimum_redundancy: random.pick(&[0, 0, 1, 2, 3]),
        options: random
            .pick(&[
                "",
                "",
                "",
                "wal_retention_policy = main\n",
                "worm_mode = on\n",
                "active = false\n",
                "primary_ssh_command = true elsewhere\n",
                "backup_method = postgres\nslot_name = x\nstreaming_archiver = on\n",
                "last_backup_maximum_age = 3 days\nlast_backup_minimum_size = 1Ki\nlast_wal_maximum_age = 2 hours\n",
                "description = Größe\ncluster = other\n",
            ])
            .to_owned(),
        backups,
    }
}

/// Fills in the children of each backup.
fn link(backups: &mut [Backup]) {
    for index in 0..backups.len() {
        let children: Vec<&str> = backups
            .iter()
            .filter(|other| other.parent == Some(backups[index].id))
            .map(|other| other.id)
            .collect();
        if !children.is_empty() {
            backups[index].children = Some(children.join(",").leak());
        }
    }
}

/// When a backup was taken.
struct Moment {
    id: &'static str,
    time: DateTime<Local>,
}

impl Moment {
    /// So many days ago: half a day away from every boundary of a window, or a quarter of an hour, at any second.
    fn ago(random: &mut Random, days: i64) -> Moment {
        let mut ago = Duration::days(days) + Duration::hours(12);
        if random.one_in(3) {
            let near = random.pick(&[15, -15, 45, -45, 75, -75]);
            // Boundaries are those of the end of the backup, five minutes later.
            ago = Duration::days(days) + Duration::minutes(near + 5);
        } else if random.one_in(3) {
            let day = WINDOWS.iter().min_by_key(|day| (*day - days).abs()).unwrap();
            if (day - days).abs() < 2 {
                ago = Duration::days(*day) + Duration::minutes(random.pick(&[10, -10, 65, -55]) + 5);
            }
        }
        Moment::at(Local::now() - ago - Duration::seconds(i64::from(random.below(60))))
    }

    fn at(time: DateTime<Local>) -> Moment {
        let start: NaiveDateTime = time.naive_local();
        Moment {
            id: start.format("%Y%m%dT%H%M%S").to_string().leak(),
            time,
        }
    }

    /// The same, or as long after as it takes: the ids of backups tell their order.
    fn after_all(self, older: &[Backup]) -> Moment {
        let mut moment = self;
        while older.iter().any(|other| other.id >= moment.id) {
            moment = Moment::at(moment.time + Duration::minutes(20));
        }
        moment
    }

    /// Minutes later, as Barman writes it: in whatever zone the server was then.
    fn after(&self, random: &mut Random, minutes: i64) -> &'static str {
        let offset = random.pick(&[0, 0, 0, 2 * 3600, -(3 * 3600 + 1800), 5 * 3600 + 2700]);
        let time =
            (self.time + Duration::minutes(minutes)).with_timezone(&FixedOffset::east_opt(offset).unwrap());
        let format = random.pick(&["%Y-%m-%d %H:%M:%S%:z", "%Y-%m-%d %H:%M:%S.123456%:z"]);
        time.format(format).to_string().leak()
    }
}

/// The WAL so far.
struct Archive<'a> {
    catalog: &'a mut ServerCatalog,
    timeline: u32,
    next: u32,
}

impl Archive<'_> {
    fn new<'a>(catalog: &'a mut ServerCatalog, random: &mut Random) -> Archive<'a> {
        Archive {
            catalog,
            timeline: random.pick(&[1, 1, 1, 2, 15]),
            // Some soon come to the end of a log file.
            next: random.pick(&[1, 1, 1, 0xF4]),
        }
    }

    /// Some WAL, perhaps a promotion.
    fn advance(&mut self, random: &mut Random) {
        for _ in 0..random.below(4) {
            self.segment(random);
        }
        if random.one_in(6) {
            if random.one_in(2) {
                self.catalog
                    .archived(&format!("{}.partial", self.name(self.next)), None);
            }
            // The old timeline may live on for a while.
            if random.one_in(2) {
                self.catalog.archived(&self.name(self.next), None);
            }
            self.timeline += 1;
            self.catalog
                .archived(&format!("{:08X}.history", self.timeline), None);
        }
    }

    fn segment(&mut self, random: &mut Random) {
        let name = self.name(self.next);
        // Now and then a segment is missing, or its file is.
        if !random.one_in(12) {
            self.catalog.archived(&name, None);
            if random.one_in(40) {
                std::fs::remove_file(archive_path(&self.catalog.directory, &name)).unwrap();
            }
        }
        self.next += 1;
    }

    fn name(&self, segment: u32) -> String {
        format!("{:08X}{:08X}{:08X}", self.timeline, segment / 256, segment % 256)
    }
}

fn backup(random: &mut Random, archive: &mut Archive<'_>, older: &[Backup], taken: &Moment) -> Backup {
    let first = archive.next;
    archive.segment(random);
    if random.one_in(3) {
        archive.segment(random);
    }
    let last = archive.next - 1;
    let mut backup = Backup::done(taken.id, first, last);
    if random.one_in(2) {
        archive
            .catalog
            .archived(&format!("{}.00000028.backup", archive.name(first)), None);
    }
    backup.timeline = archive.timeline;
    backup.status = random.pick(&[
        "DONE",
        "DONE",
        "DONE",
        "DONE",
        "DONE",
        "DONE",
        "WAITING_FOR_WALS",
        "FAILED",
        "EMPTY",
        "STARTED",
        "SYNCING",
    ]);
    let copied = matches!(backup.status, "DONE" | "WAITING_FOR_WALS");
    if copied {
        backup
            .overrides
            .push(("begin_time", Some(taken.after(random, 0))));
        backup.overrides.push(("end_time", Some(taken.after(random, 5))));
    }
    if first / 256 > 0 || last / 256 > 0 {
        wal_of(&mut backup, archive, first, last, copied);
    }
    if backup.status == "FAILED" {
        backup.error = random.pick(&[
            None,
            Some("failure copying files (CTRL-C)"),
            Some("größe: \"x\" = 'y'"),
        ]);
    }
    parent(random, &mut backup, older);
    if backup.parent.is_none() && backup.status == "DONE" && random.one_in(4) {
        backup.keep = Some(random.pick(&["full", "standalone"]));
    }
    details(random, &mut backup, copied);
    backup
}

/// The names of WAL beyond log file 0.
fn wal_of(backup: &mut Backup, archive: &Archive<'_>, first: u32, last: u32, copied: bool) {
    let location = |segment: u32, offset: u32| -> &'static str {
        format!("{:X}/{:X}", segment / 256, (segment % 256) * (1 << 24) + offset).leak()
    };
    if backup.status != "EMPTY" {
        backup
            .overrides
            .push(("begin_wal", Some(archive.name(first).leak())));
        backup.overrides.push(("begin_xlog", Some(location(first, 0x28))));
    }
    if copied {
        backup
            .overrides
            .push(("end_wal", Some(archive.name(last).leak())));
        backup.overrides.push(("end_xlog", Some(location(last, 0x138))));
    }
}

/// Perhaps makes a backup an incremental one.
fn parent(random: &mut Random, backup: &mut Backup, older: &[Backup]) {
    if !random.one_in(2) {
        return;
    }
    backup.mode = "postgres";
    let parents: Vec<&Backup> = older
        .iter()
        .filter(|other| ["postgres", "rsync-concurrent"].contains(&other.mode) && other.status == "DONE")
        .collect();
    if !parents.is_empty() && random.one_in(2) {
        // Long chains as well as branches.
        backup.parent = Some(if random.one_in(2) {
            parents[parents.len() - 1].id
        } else {
            random.pick(&parents).id
        });
    }
}

/// What else differs between backups: names, sizes, versions, and what Barman wrote in former times.
fn details(random: &mut Random, backup: &mut Backup, copied: bool) {
    if random.one_in(5) {
        backup.name = Some(random.pick(&["monthly", "größe", "a b", "latest-one", "20240101"]));
    }
    backup.tablespaces = random.one_in(8);
    backup.version = random.pick(&[150_018, 150_018, 90_603, 170_002, 180_000]);
    if random.one_in(8) {
        backup.compression = Some(random.pick(&["gzip", "zstd", "none"]));
    }
    if !copied {
        return;
    }
    if random.one_in(4) {
        let sizes = random.pick(&[
            "0",
            "1",
            "1023",
            "1048576",
            "41943040",
            "1099511627776",
            "123456789012345",
        ]);
        backup.overrides.push(("size", Some(sizes)));
        let shared = random.pick(&[Some("0"), Some("512"), Some("None"), None, Some(sizes)]);
        backup.overrides.push(("deduplicated_size", shared));
    }
    for (key, values) in [
        (
            "copy_stats",
            &[None, Some("None"), Some("{'copy_time': 1.5}")][..],
        ),
        (
            "cluster_size",
            &[None, Some("None"), Some("0"), Some("99999999999")],
        ),
        ("systemid", &[None, Some("None")]),
        ("encryption", &[None, Some("gpg")]),
        ("data_checksums", &[None, Some("off")]),
        ("summarize_wal", &[None, Some("None"), Some("off")]),
        ("hba_file", &[None, Some("None"), Some("/etc/größe.conf")]),
        (
            "included_files",
            &[None, Some("None"), Some("[]"), Some("['/a', '/b c']")],
        ),
        ("xlog_segment_size", &[Some("16777216")]),
    ] {
        if random.one_in(10) {
            backup.overrides.push((key, random.pick(values)));
        }
    }
}
