//! WAL on its way to the backup host: `archive_command`, called as PostgreSQL calls it.
//!
//! The segments do not compress. They lie in a data directory that only looks like one: it has the control file of the
//! cluster, which pgBackRest reads, and a `pg_wal` that nobody writes to. They are in the page cache, as what PostgreSQL
//! has just written is.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, Outcome, remove, text};
use crate::field::pgbackrest;
use crate::meter::{Cost, Meter};
use crate::support::manager::Manager;
use crate::support::process::Account;
use crate::support::scratch::{Scratch, make_directory, write_file};
use crate::support::sshd::Sshd;
use crate::support::tool::Tool;

/// The operations: one segment waits at a time, or many at once.
const SINGLE: &str = "WAL, one by one";
const BACKLOG: &str = "WAL, backlog";
const SEGMENT: usize = 16 << 20;
/// So many segments differ; the others are the same files under other names.
const DIFFERENT: usize = 20;
/// Calls `archive_command` for one name after the other, as PostgreSQL's archiver does: through a shell, and the file in
/// `archive_status` is renamed afterwards. With `single` each segment is ready only when the one before is done.
const ARCHIVER: &str = r#"
my ($mode, $command, @names) = @ARGV;
my $status = 'pg_wal/archive_status';
for my $name (@names) {
    if ($mode eq 'single') { open(my $file, '>', "$status/$name.ready") or die "$name: $!" }
    (my $call = $command) =~ s/%p/pg_wal\/$name/;
    system('/bin/sh', '-c', $call) == 0 or die "$call: $?\n";
    rename("$status/$name.ready", "$status/$name.done") or die "$name: $!";
}
"#;

/// The host of a cluster, and the ways from there to the backup host.
struct Sender<'a> {
    directory: PathBuf,
    /// To barkeep, and to Barman.
    ways: [(&'a Tool, &'static str, &'static str, &'a Sshd); 2],
    meter: Meter,
    serial: usize,
}

impl Bench<'_> {
    /// Half as many as `segments` one by one, and three times that as a backlog.
    pub(super) fn wal_sent(&mut self, rounds: usize, segments: usize) -> Outcome {
        let field = self.field;
        let stanza = field.pgbackrest("near", &["stanza-create"]);
        field.quietly(stanza, "pgbackrest stanza-create")?;
        let (few, many) = (segments / 2, segments * 3 / 2);
        let barman_host = Scratch::new("bench-barman");
        let barman_sshd = Sshd::start(&barman_host, &[field.barman.path()], &field.manager.config_file());
        let mut meter = field.meter();
        meter.daemons.extend(barman_sshd.pid());
        let directory = field.scratch.join("sender");
        self.make_sender(&directory)?;
        let mut sender = Sender {
            directory,
            ways: [
                (&field.barkeep, "linked", "barkeep", &field.sshd),
                (&field.barman, "main", "Barman", &barman_sshd),
            ],
            meter,
            serial: 0,
        };
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: WAL sent");
            for way in sender.ways {
                let outcome = sender.with_barman(&field.manager, "single", few, way);
                self.table.note(SINGLE, way.2, outcome);
            }
            for way in sender.ways {
                // Minutes, and no wonder in them.
                if way.2 == "Barman" && round > 1 {
                    continue;
                }
                let outcome = sender.with_barman(&field.manager, "backlog", many, way);
                self.table.note(BACKLOG, way.2, outcome);
            }
            let outcome = self.pgbackrest_backlog(&mut sender, many);
            self.table.note(BACKLOG, "pgBackRest", outcome);
        }
        remove(&sender.directory);
        Ok(())
    }

    /// The directory, with its control file and segments under names that are no segment's.
    fn make_sender(&self, directory: &Path) -> Outcome {
        let postgres = Account::postgres();
        for name in [
            "",
            "pg_wal",
            "pg_wal/archive_status",
            "global",
            "spool",
            "tmp",
            "pool",
        ] {
            make_directory(&directory.join(name), &postgres);
        }
        for name in ["PG_VERSION", "global/pg_control"] {
            let content = std::fs::read(self.field.cluster.data.join(name)).map_err(|e| e.to_string())?;
            write_file(&directory.join(name), content, 0o600, &postgres);
        }
        let control = std::fs::read(directory.join("global/pg_control")).map_err(|e| e.to_string())?;
        let system = control.get(..8).ok_or("the control file is empty")?;
        for number in 0..DIFFERENT {
            write_file(
                &directory.join(format!("pool/{number}")),
                segment(system, number as u64),
                0o600,
                &postgres,
            );
        }
        Ok(())
    }

    /// `archive-push` in its asynchronous mode, which is the fast one.
    fn pgbackrest_backlog(&self, sender: &mut Sender<'_>, count: usize) -> Result<Cost, String> {
        let field = self.field;
        let config = field.scratch.join("pgbackrest-sender.conf");
        let place = sender.directory.join("spool");
        let lines = format!(
            "[global]\nlog-path={0}\nlock-path={0}\nspool-path={0}\nlog-level-file=off\ncmd={1}\ncmd-ssh={2}/ssh\n\
             process-max=2\ncompress-type=none\narchive-async=y\nrepo1-host=127.0.0.1\nrepo1-host-user=barman\n\
             repo1-host-port={3}\nrepo1-host-cmd={1}\nrepo1-host-config={4}\n[main]\npg1-path={5}\n",
            place.display(),
            pgbackrest().display(),
            field.sshd.bin.display(),
            field.sshd.port,
            field.pgbackrest_config("local").display(),
            sender.directory.display(),
        );
        write_file(&config, lines, 0o644, &Account::barman());
        let command = format!(
            "{} --config={} --stanza=main archive-push %p",
            pgbackrest().display(),
            config.display()
        );
        let path = format!(
            "{}:{}",
            text(pgbackrest().parent().unwrap_or(Path::new("/"))),
            text(&field.sshd.bin)
        );
        let names = sender.ready("backlog", count);
        let outcome = sender.archive("backlog", &command, &path, &names);
        let archive = field.scratch.join("pgbackrest/archive/main");
        for entry in walkdir::WalkDir::new(archive).into_iter().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.len() > 24 && names.iter().any(|sent| name.starts_with(sent.as_str())) {
                remove(entry.path());
            }
        }
        outcome
    }
}

impl Sender<'_> {
    fn with_barman(
        &mut self,
        manager: &Manager,
        mode: &str,
        count: usize,
        (tool, server, _, sshd): (&Tool, &str, &str, &Sshd),
    ) -> Result<Cost, String> {
        let names = self.ready(mode, count);
        // A connection that is kept for a second is used by the next call, and ended when the measurement is.
        let keep = if tool.name == "barkeep" {
            "--persist 1 "
        } else {
            ""
        };
        let command = format!(
            "{} {keep}-U barman 127.0.0.1 {server} %p",
            tool.program("barman-wal-archive").display()
        );
        let outcome = self.archive(mode, &command, &text(&sshd.bin), &names);
        let incoming = manager.server(server).join("incoming");
        let arrived = names.iter().filter(|name| incoming.join(name).exists()).count();
        names.iter().for_each(|name| remove(&incoming.join(name)));
        if outcome.is_ok() && arrived != count {
            return Err(format!("{arrived} of {count} segments arrived"));
        }
        outcome
    }

    /// Segments of new names, which all wait or will.
    fn ready(&mut self, mode: &str, count: usize) -> Vec<String> {
        let wal = self.directory.join("pg_wal");
        remove(&wal);
        make_directory(&wal, &Account::postgres());
        make_directory(&wal.join("archive_status"), &Account::postgres());
        self.serial += 1;
        let names: Vec<String> = (0..count)
            .map(|number| {
                format!(
                    "{:08X}{:08X}{:08X}",
                    1,
                    0x5000 + self.serial * 16 + number / 256,
                    number % 256
                )
            })
            .collect();
        for (number, name) in names.iter().enumerate() {
            let pool = self.directory.join(format!("pool/{}", number % DIFFERENT));
            std::fs::hard_link(pool, wal.join(name)).unwrap();
            if mode == "backlog" {
                let ready = wal.join(format!("archive_status/{name}.ready"));
                write_file(&ready, "", 0o600, &Account::postgres());
            }
        }
        names
    }

    fn archive(&self, mode: &str, command: &str, path: &str, names: &[String]) -> Result<Cost, String> {
        let mut archiver = Account::postgres().applied_to(Command::new("perl"));
        archiver
            .env_clear()
            .env("PATH", format!("{path}:/usr/bin:/bin"))
            .env("HOME", "/var/lib/postgresql")
            .env("TMPDIR", self.directory.join("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&self.directory)
            .args(["-e", ARCHIVER, mode, command])
            .args(names);
        self.meter.run(archiver, "archive_command")
    }
}

/// A segment of PostgreSQL 15 of the cluster with these bytes as its identifier: a true header, then noise.
fn segment(system: &[u8], seed: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(SEGMENT);
    content.extend(0xD110_u16.to_le_bytes());
    content.extend(2_u16.to_le_bytes());
    content.extend(1_u32.to_le_bytes());
    content.extend([0; 16]);
    content.extend(system);
    content.extend((SEGMENT as u32).to_le_bytes());
    content.extend(8192_u32.to_le_bytes());
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    while content.len() < SEGMENT {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_le_bytes());
    }
    content.truncate(SEGMENT);
    content
}
