//! barkeep beside its peers: Barman, pgBackRest, pg_basebackup, and what the machine itself can do. `tests/bench` runs it.
//!
//! Every operation is run by everybody in turn, round after round, so that a change of the machine's mood meets all of
//! them. What is printed are medians, and ratios of times of the same round.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod field;
mod meter;
mod rows;
mod table;

#[path = "../suite/support/mod.rs"]
mod support;

use field::Field;
use rows::Bench;
use table::{Table, Target};

const USAGE: &str = "\
usage: tests/bench [--quick] [--rounds N] [--rows ROW,ROW,…]
  --quick      a cluster of 200 MB instead of 2.2 GB
  --rounds N   how often everything is done (3)
  --rows       only these: full restore remote delta verify incremental chain merge xfs files
               bandwidth sparse archive-wal wal-restore wal-send catalog";

/// What barkeep promises. Absolute times depend on the machine; these do not, much.
const TARGETS: [Target; 26] = [
    ("full", "barkeep", "Barman", 0.55),
    ("full", "barkeep", "pgBackRest", 0.75),
    ("full", "barkeep", "floor", 1.2),
    ("full", "barkeep", "ssh cat | dd conv=fsync, twice", 1.2),
    ("incremental", "barkeep chain", "Barman link", 0.10),
    ("incremental", "barkeep chain", "pgBackRest block", 0.20),
    ("incremental", "barkeep linked", "Barman link", 0.40),
    ("linked on XFS", "barkeep", "Barman", 0.10),
    ("restore", "barkeep", "pgBackRest", 0.8),
    ("restore", "barkeep", "Barman (no fsync)", 1.0),
    ("restore remote", "barkeep", "pgBackRest", 0.8),
    ("restore remote", "barkeep", "Barman (no fsync)", 1.0),
    ("delta restore", "barkeep", "pgBackRest", 1.0),
    ("delta restore", "barkeep", "Barman (no fsync)", 1.0),
    ("verify", "barkeep", "Barman", 1.0),
    ("verify", "barkeep", "pgBackRest", 1.0),
    ("restore of 7", "barkeep chain", "barkeep full", 1.3),
    ("50,000 files", "barkeep", "Barman", 0.55),
    ("50,000 files, linked", "barkeep", "Barman", 0.40),
    ("archive-wal, gzip", "barkeep", "Barman", 0.20),
    ("archive-wal, zstd", "barkeep", "Barman", 0.25),
    ("replay, restore_command over ssh", "barkeep", "Barman", 0.20),
    ("list-backups", "barkeep", "Barman", 0.001),
    ("WAL, one by one", "barkeep", "Barman", 1.0 / 6.0),
    ("WAL, backlog", "barkeep", "Barman", 1.0 / 15.0),
    ("WAL, backlog", "barkeep", "pgBackRest", 1.0),
];

/// What the largest process of barkeep may need, in bytes: on the backup host, and on the other.
const MEMORY: (u64, u64) = (64 << 20, 32 << 20);
/// What a backup of a chain may store and send, in parts of what its changed pages have.
const CHANGED: f64 = 1.15;

struct Options {
    quick: bool,
    rounds: usize,
    rows: Option<Vec<String>>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        quick: false,
        rounds: 3,
        rows: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--rounds" => {
                let number = arguments.next().and_then(|text| text.parse().ok());
                options.rounds = number.filter(|n| *n > 0).ok_or("--rounds needs a number")?;
            }
            "--rows" => {
                let names = arguments.next().ok_or("--rows needs names")?;
                options.rows = Some(names.split(',').map(str::to_owned).collect());
            }
            // What cargo adds.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

fn main() {
    let options = options().unwrap_or_else(|message| {
        eprintln!("{message}\n{USAGE}");
        std::process::exit(2);
    });
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("tests/bench must run as root: it starts an sshd that logs in several accounts");
        std::process::exit(1);
    }
    // ssh masters become daemons: as our children, their CPU time is known.
    nix::sys::prctl::set_child_subreaper(true).expect("to be the subreaper");
    support::cleanup::install();
    let wanted = |row: &str| {
        options
            .rows
            .as_ref()
            .is_none_or(|rows| rows.iter().any(|name| name == row))
    };
    let newer = ["incremental", "chain", "merge"].into_iter().any(wanted);
    let (scale, segments) = if options.quick { (12, 24) } else { (150, 200) };
    eprintln!("loading the clusters (pgbench, scale {scale})");
    let field = Field::start(scale, newer);
    let mut table = Table::default();
    let performed = Bench::new(&field, &mut table).perform(options.rounds, segments, &wanted);
    println!("\n{}", machine());
    println!("\n{}", table.render());
    println!("{}", table.verdicts(&TARGETS));
    println!("{}", table.frugality("barkeep", MEMORY));
    println!(
        "{}",
        table.thrift("incremental", "barkeep chain", "dd of the changed pages", CHANGED)
    );
    println!("{}", table.rates());
    let complete = table.is_complete();
    drop(field);
    if let Err(reason) = performed {
        eprintln!("tests/bench: {reason}");
        std::process::exit(1);
    }
    std::process::exit(i32::from(!complete));
}

/// The machine, in a line.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<u64>().ok());
    format!(
        "{} cores ({}), {} GiB, Linux {}; both hosts are this one, ssh over loopback, 2 jobs; {} random transactions \
         between two incremental backups",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("unknown", |(_, name)| name),
        kib.unwrap_or(0) >> 20,
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
        field::TRANSACTIONS
    )
}
