//! Random catalogs.

use std::path::{Path, PathBuf};

use chrono::{Duration, Local, NaiveDateTime};

use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::random::Random;
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

/// A home with random servers.
pub struct Home {
    pub scratch: Scratch,
    pub servers: Vec<Server>,
}

/// One random server.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub policy: Option<&'static str>,
    pub minimum_redundancy: u32,
    pub backups: Vec<Backup>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{}, policy {:?}, minimum_redundancy {}",
            self.name, self.policy, self.minimum_redundancy
        )?;
        for backup in &self.backups {
            writeln!(
                formatter,
                "  {} {} {} parent {:?} keep {:?} timeline {} segments {:?}",
                backup.id,
                backup.status,
                backup.mode,
                backup.parent,
                backup.keep,
                backup.timeline,
                backup.segments
            )?;
        }
        Ok(())
    }
}

impl Home {
    pub fn path(&self) -> PathBuf {
        self.scratch.join("home")
    }

    pub fn config(&self) -> PathBuf {
        self.scratch.join("barman.conf")
    }

    /// Builds `count` servers.
    pub fn generate(random: &mut Random, count: u32) -> Home {
        let scratch = Scratch::in_memory("random");
        let home = scratch.join("home");
        let servers: Vec<Server> = (0..count).map(|number| server(random, &home, number)).collect();
        let mut config = format!(
            "[barman]\nbarman_home = {}\nbarman_user = root\nlog_file = {}\n",
            home.display(),
            scratch.join("barman.log").display()
        );
        for server in &servers {
            config.push_str(&format!(
                "\n[{}]\narchiver = on\nbackup_options = concurrent_backup\nssh_command = ssh nowhere\n\
                 conninfo = host=/nonexistent\nminimum_redundancy = {}\n",
                server.name, server.minimum_redundancy
            ));
            if let Some(policy) = server.policy {
                config.push_str(&format!("retention_policy = {policy}\n"));
            }
        }
        std::fs::write(scratch.join("barman.conf"), config).unwrap();
        Home { scratch, servers }
    }

    /// Runs real Barman on the home and returns what it printed, both streams together.
    pub fn barman(&self, config: &Path, arguments: &[&str]) -> String {
        let mut words = vec!["-c", config.to_str().unwrap()];
        words.extend(arguments);
        Self::output(&Tool::barman(), &words)
    }

    /// Runs a tool on the home and returns what it printed, both streams together.
    pub fn run(&self, tool: &Tool, arguments: &[&str]) -> String {
        let config = self.config().display().to_string();
        Self::output(tool, &[&["-c", config.as_str()], arguments].concat())
    }

    fn output(tool: &Tool, words: &[&str]) -> String {
        let output = std::process::Command::new(tool.program("barman"))
            .args(words)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

const POLICIES: [Option<&str>; 9] = [
    Some("REDUNDANCY 0"),
    Some("REDUNDANCY 1"),
    Some("REDUNDANCY 2"),
    Some("REDUNDANCY 3"),
    Some("RECOVERY WINDOW OF 0 DAYS"),
    Some("RECOVERY WINDOW OF 3 DAYS"),
    Some("RECOVERY WINDOW OF 1 WEEK"),
    Some("RECOVERY WINDOW OF 1 MONTH"),
    None,
];

fn server(random: &mut Random, home: &Path, number: u32) -> Server {
    let name = format!("s{number:03}");
    let mut catalog = ServerCatalog::create(home, &name);
    let mut archive = Archive::new(&mut catalog);
    let mut backups: Vec<Backup> = Vec::new();
    let count = random.below(9);
    let mut days = i64::from(count * 5 + random.below(10));
    for _ in 0..count {
        days -= i64::from(random.below(6));
        archive.advance(random);
        let backup = backup(random, &mut archive, &backups, days);
        days -= 1;
        backups.push(backup);
    }
    archive.advance(random);
    archive.advance(random);
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
    for backup in &backups {
        catalog.backup(backup);
    }
    catalog.finish();
    Server {
        name,
        policy: random.pick(&POLICIES),
        minimum_redundancy: random.pick(&[0, 0, 1, 2, 3]),
        backups,
    }
}

/// The WAL so far.
struct Archive<'a> {
    catalog: &'a mut ServerCatalog,
    timeline: u32,
    next: u32,
}

impl Archive<'_> {
    fn new(catalog: &mut ServerCatalog) -> Archive<'_> {
        Archive {
            catalog,
            timeline: 1,
            next: 1,
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
        // Now and then a segment is missing.
        if !random.one_in(12) {
            self.catalog.archived(&self.name(self.next), None);
        }
        self.next += 1;
    }

    fn name(&self, segment: u32) -> String {
        format!("{:08X}00000000{segment:08X}", self.timeline)
    }
}

fn backup(random: &mut Random, archive: &mut Archive<'_>, older: &[Backup], days_ago: i64) -> Backup {
    // Half a day away from every boundary of a window.
    let moment = Local::now() - Duration::days(days_ago) - Duration::hours(12);
    let start: NaiveDateTime = moment.naive_local();
    let id: &'static str = start.format("%Y%m%dT%H%M%S").to_string().leak();
    let first = archive.next;
    archive.segment(random);
    if random.one_in(3) {
        archive.segment(random);
    }
    let mut backup = Backup::done(id, first, archive.next - 1);
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
    ]);
    let end = (moment.to_utc() + Duration::minutes(5)).format("%Y-%m-%d %H:%M:%S+00:00");
    let end: &'static str = end.to_string().leak();
    if matches!(backup.status, "DONE" | "WAITING_FOR_WALS") {
        backup.overrides.push(("end_time", Some(end)));
        backup.overrides.push(("begin_time", Some(end)));
    }
    if random.one_in(2) {
        backup.mode = "postgres";
        let parents: Vec<&Backup> = older
            .iter()
            .filter(|other| ["postgres", "rsync-concurrent"].contains(&other.mode) && other.status == "DONE")
            .collect();
        if !parents.is_empty() && random.one_in(2) {
            backup.parent = Some(random.pick(&parents).id);
        }
    }
    if backup.parent.is_none() && backup.status == "DONE" && random.one_in(4) {
        backup.keep = Some(random.pick(&["full", "standalone"]));
    }
    backup
}
