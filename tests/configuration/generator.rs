//! Random configurations: within the grammar, with good values and bad ones, and broken in one place.
//!
//! What is left out of the first kind is what `differences.md` lists under "Configuration": there Barman crashes or we
//! accept more.

use barkeep::config::{OptionSpec, SERVER_OPTIONS};

use crate::random_numbers::Random;

/// The files of a configuration.
pub type Files = Vec<(String, Vec<u8>)>;

const NAMES: [&str; 12] = [
    "main", "Main", "pg-15", "a b", "größe", "x.y", "0", "None", "true", "s'q", "[x", "barman2",
];

/// Values by kind of option: those that are meant, near misses, and nonsense.
const BOOLEANS: [&str; 18] = [
    "true", "false", "on", "off", "1", "0", "t", "F", "Yes", "NO", "TRUE", "'on'", "y", "2", "maybe", "",
    "None", "on # x",
];
const INTEGERS: [&str; 19] = [
    "0", "1", "7", "10", "007", "+5", "1_000", "4000", "  3", "'12'", "1.5", "x", "0x10", "1e3", "1__0",
    "_1", "", "None", "- 1",
];
const INTERVALS: [&str; 16] = [
    "1 day",
    "2 WEEKS",
    "36 hours",
    "1  month",
    "0 days",
    "3 Months",
    "10\tdays",
    "1day",
    "5 minutes",
    "-1 day",
    "day",
    "x",
    "",
    "None",
    "1 day ago",
    "1.5 days",
];
const SIZES: [&str; 16] = [
    "0", "7", "10k", "3 Mi", "5Gi", "1 T", "2Ti", "10K", "1.5G", "1MiB", "x", "", "None", "-1", "1 G i",
    "8M ",
];
const TEXTS: [&str; 18] = [
    "plain",
    "two words",
    "a # b ; c",
    "'quoted'",
    "\"quoted\"",
    "'half",
    "\"",
    "''",
    "a = b : c",
    "ünï ½",
    "tab\there",
    "none",
    "None",
    "",
    "\\n",
    "[x]",
    "$HOME",
    "~",
];
const CONNINFOS: [&str; 10] = [
    "host=/nonexistent",
    "host=/nonexistent user=u password=geheim",
    "host=/nonexistent port=1 dbname=d",
    "host=/nonexistent application_name=x",
    "host",
    "foo bar",
    "",
    "None",
    "service=nosuch",
    "host=/nonexistent\n  user=u",
];
/// Beginnings of paths: a number follows, so that servers seldom share one.
const PATHS: [&str; 7] = [
    "DIR/elsewhere",
    "DIR/home/x/../y",
    "DIR/a//b/",
    "relative",
    "~/x",
    "./x",
    "DIR/with blank",
];
/// Those of object stores need modules that are no part of a plain installation (differences.md, "snapshot providers").
const URLS: [&str; 2] = ["ftp://x", "x://"];
const LIMITS: [&str; 8] = ["a:3", "a:3 b:7", "a:3  a:9", "a", "a:x b:1", "a:b:5", "", "None"];
const LISTS: [&str; 6] = ["a", "a,b", "a, b", "a,,b", "", ","];
const SLOTS: [&str; 7] = ["barman", "Main_1", "main-1", "", "None", "a b", "é"];
const POLICIES: [&str; 10] = [
    "REDUNDANCY 2",
    "redundancy  3",
    "RECOVERY WINDOW OF 2 WEEKS",
    "RECOVERY WINDOW OF 1 DAY",
    "recovery window of 3 months ",
    "REDUNDANCY",
    "none",
    "",
    "None",
    "RECOVERY WINDOW OF 2 YEARS",
];
const LEVELS: [&str; 8] = ["low", "HIGH", "medium", "3", "-1", "best", "", "1.0"];

/// A configuration of one main file and others, in which nothing keeps Barman from going on.
pub fn configuration(random: &mut Random, servers: u32) -> Files {
    let mut main = String::from("[barman]\n");
    let mut head = vec![
        "barman_home = DIR/home".to_owned(),
        "barman_user = USER".to_owned(),
        "log_file = DIR/log".to_owned(),
    ];
    if random.one_in(2) {
        head.push("configuration_files_directory = DIR/d".to_owned());
    }
    if random.one_in(3) {
        head.push("barman_lock_directory = DIR/locks".to_owned());
    }
    write(random, &mut main, &head);
    write_options(
        random,
        &mut main,
        |spec| spec.scope.global && spec.name != "keepalive_interval",
        5,
    );
    let mut files = Files::new();
    let mut others = vec![String::new(); 3];
    for number in 0..servers {
        let name = format!("{}{number}", random.pick(&NAMES));
        let place = random.below(6) as usize;
        let file = others.get_mut(place).unwrap_or(&mut main);
        section(random, file, &name);
        // Now and then a second piece of it, in another file.
        if random.one_in(8) {
            let file = &mut others[random.below(3) as usize];
            file.push_str(&format!("[{name}]\n"));
            write_options(random, file, of_servers, 3);
        }
        if random.one_in(10) {
            let model = random.pick(&["model0", "model1", "nosuch", "", " model0\n"]);
            files.push((format!("home/{name}/.active-model.auto"), model.into()));
        }
    }
    for number in 0..2 {
        main.push_str(&format!(
            "[model{number}]\nmodel = {}\ncluster = {}\n",
            random.pick(&["true", "on", "T"]),
            random.pick(&CLUSTERS)
        ));
        write_options(
            random,
            &mut main,
            |spec| spec.scope.model && spec.name != "cluster" && spec.name != "disabled",
            6,
        );
    }
    if random.one_in(4) {
        others[1].push_str("[DEFAULT]\nparallel_jobs = 3\nowner = somebody\n");
    }
    files.push(("barman.conf".to_owned(), main.into_bytes()));
    for (name, text) in ["d/a.conf", "d/B.conf", "home/.barman.auto.conf"]
        .iter()
        .zip(others)
    {
        files.push(((*name).to_owned(), text.into_bytes()));
    }
    files.push(("d/.hidden.conf".to_owned(), b"[broken".to_vec()));
    files
}

const CLUSTERS: [&str; 3] = ["blue", "green", "Blue"];

fn section(random: &mut Random, file: &mut String, name: &str) {
    file.push_str(random.pick(&["", "\n", "; a comment\n", "  # another\n\n"]));
    file.push_str(&format!("[{name}]{}\n", random.pick(&["", "", " ; tail", "  "])));
    let base: &[&str] = match random.below(8) {
        0..=2 => &[
            "conninfo = host=/nonexistent",
            "ssh_command = true",
            "archiver = on",
            "backup_options = concurrent_backup",
        ],
        3..=4 => &[
            "conninfo = host=/nonexistent",
            "backup_method = postgres",
            "streaming_archiver = on",
            "slot_name = b",
        ],
        5 => &["primary_ssh_command = true barman@elsewhere"],
        6 => &["conninfo = host=/nonexistent", "backup_method = local-rsync"],
        _ => &[],
    };
    let mut lines: Vec<String> = base.iter().map(|line| (*line).to_owned()).collect();
    if random.one_in(4) {
        lines.push(format!("cluster = {}", random.pick(&CLUSTERS)));
    }
    if random.one_in(5) {
        lines.push("description = from %(base)s %(BASE)s".to_owned());
        lines.push("base = here".to_owned());
    }
    write(random, file, &lines);
    write_options(random, file, of_servers, 8);
}

fn of_servers(spec: &OptionSpec) -> bool {
    spec.scope.server
}

/// Writes some options of a kind, some of them twice, and one that does not exist.
fn write_options(random: &mut Random, file: &mut String, wanted: fn(&OptionSpec) -> bool, most: u32) {
    let known: Vec<&OptionSpec> = SERVER_OPTIONS
        .iter()
        .filter(|spec| spec.own.is_none() && wanted(spec))
        .collect();
    let mut lines = Vec::new();
    for _ in 0..random.below(most + 1) {
        let spec = random.pick(&known);
        if let Some(value) = value(random, spec) {
            lines.push(format!("{} = {value}", spec.name));
        }
    }
    if random.one_in(6) {
        lines.push(format!(
            "{} = x",
            random.pick(&["paralel_jobs", "archive_command", "kéy", "a b", "barman_home"])
        ));
    }
    write(random, file, &lines);
}

/// Writes lines `option = value`, each in one of the ways in which it can be written.
fn write(random: &mut Random, file: &mut String, lines: &[String]) {
    for line in lines {
        let (option, value) = line.split_once(" = ").unwrap();
        let option = if random.one_in(8) {
            option.to_uppercase()
        } else {
            option.to_owned()
        };
        let between = random.pick(&[" = ", "=", " : ", ":", "\t=  "]);
        file.push_str(&format!("{option}{between}{value}"));
        file.push_str(random.pick(&[
            "\n",
            "\n",
            "\n",
            " \n",
            "\n\n",
            "\n# comment\n",
            "\n    ; comment\n",
            "\r\n",
        ]));
    }
}

/// A value for an option; none for those that are tried elsewhere.
fn value(random: &mut Random, spec: &OptionSpec) -> Option<String> {
    let values: &[&str] = match spec.name {
        // Barman crashes on nothing; it refuses a negative one as we do.
        "minimum_redundancy" => &["0", "1", "3", "x", "-1", "1.5"],
        "retention_policy" => &POLICIES,
        "retention_policy_mode" => &["auto", "AUTO", "manual", "", "None"],
        "wal_retention_policy" => &["main", "MAIN", "simple-wal", "x", "", "None"],
        "backup_options" => &[
            "concurrent_backup",
            "exclusive_backup",
            "concurrent_backup, external_configuration",
            "CONCURRENT_backup,",
            "exclusive_backup,concurrent_backup",
            "x",
            "",
        ],
        "recovery_options" => &[
            "get-wal",
            "GET-wal,,delta-restore",
            "delta-restore",
            "x",
            "",
            "get-wal x",
        ],
        "conninfo"
        | "streaming_conninfo"
        | "wal_conninfo"
        | "wal_streaming_conninfo"
        | "primary_conninfo" => &CONNINFOS,
        "ssh_command" => &["true", "true x@y", "", "None", "/bin/true -p 22"],
        "primary_ssh_command" => &["true", "", "true b@h"],
        // Its providers' modules are no part of a plain installation (differences.md, "snapshot providers").
        "snapshot_provider" => &["foo", ""],
        // differences.md, "backup_compression*".
        "backup_compression_level" | "backup_compression_workers" | "backup_compression_location" => {
            return None;
        }
        "backup_compression_format" => &["tar", "TAR", "zip", ""],
        "aws_snapshot_lock_mode" => &["governance", "compliance", "x"],
        "aws_encryption" => &["AES256", "aws:kms", "aes256", ""],
        _ => return Some(of_kind(random, spec)),
    };
    Some(random.pick(values).to_owned())
}

fn of_kind(random: &mut Random, spec: &OptionSpec) -> String {
    if let Some(keywords) = spec.kind.strip_prefix("one of ") {
        let mut values: Vec<&str> = keywords.split(", ").collect();
        let upper = keywords.split(", ").next().unwrap_or_default().to_uppercase();
        values.extend(["x", "", "None", upper.as_str()]);
        return random.pick(&values).to_owned();
    }
    let values: &[&str] = match spec.kind {
        "boolean" => &BOOLEANS,
        "integer" | "integer, not negative" => &INTEGERS,
        "interval" => &INTERVALS,
        "size" => &SIZES,
        "low, medium, high or an integer" => &LEVELS,
        "list of NAME:LIMIT separated by blanks" => &LIMITS,
        "comma-separated list" => &LISTS,
        "name of a replication slot" => &SLOTS,
        "path or URL" if random.one_in(3) => &URLS,
        "path" | "absolute path" | "path or URL" => {
            let number = if random.one_in(100) {
                0
            } else {
                random.below(100_000)
            };
            return format!("{}{number}", random.pick(&PATHS));
        }
        "text" => &TEXTS,
        other => panic!("a new kind of option: {other}"),
    };
    random.pick(values).to_owned()
}

/// A configuration with one mistake that concerns all of it.
pub fn broken(random: &mut Random) -> Files {
    let mut files = configuration(random, 3);
    let index = files.iter().position(|(name, _)| name == "barman.conf").unwrap();
    let index = if random.one_in(4) { index + 1 } else { index };
    let text = String::from_utf8(files[index].1.clone()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let place = random.below(lines.len() as u32 + 1) as usize;
    match random.below(12) {
        0 => lines.insert(place, "lonely"),
        1 => lines.insert(0, "early = 1"),
        2 => lines.insert(place, "[unclosed"),
        3 => lines.insert(place, "= nameless"),
        4 => lines.push("[all]\nconninfo = host=/nonexistent"),
        5 => lines.push("[nocluster]\nmodel = true"),
        6 => lines.push("[doubtful]\nmodel = maybe"),
        7 => lines.push("[reference]\ndescription = %(nosuch)s"),
        8 => lines.push("[percent]\ndescription = 100% %%"),
        9 => lines.retain(|line| !line.to_lowercase().contains("barman_home")),
        10 => lines.insert(place, "[]"),
        _ => lines.retain(|line| !line.starts_with("[barman]")),
    }
    let mut content = lines.join("\n").into_bytes();
    if random.one_in(12) {
        content.push(0xFF);
    }
    files[index].1 = content;
    files
}
