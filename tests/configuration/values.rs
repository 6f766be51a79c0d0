//! Values for every option: those that are meant, near misses, and nonsense.

use barkeep::config::OptionSpec;

use crate::random_numbers::Random;

const BOOLEANS: [&str; 19] = [
    "true", "false", "on", "off", "1", "0", "t", "F", "Yes", "NO", "TRUE", "'on'", "y", "2", "maybe", "",
    "None", "on # x", "tru e",
];
const INTEGERS: [&str; 22] = [
    "0", "1", "7", "10", "007", "+5", "1_000", "4000", "  3", "'12'", "' 12 '", "-0", "+", "1.5", "x",
    "0x10", "1e3", "1__0", "_1", "", "None", "- 1",
];
const INTERVALS: [&str; 22] = [
    "1 day",
    "2 WEEKS",
    "36 hours",
    "1  month",
    "0 days",
    "3 Months",
    "10\tdays",
    "007 days",
    "1day",
    "5 minutes",
    "-1 day",
    "+1 day",
    "1_0 days",
    "day",
    "x",
    "",
    "None",
    "1 day ago",
    "1.5 days",
    "' 1 day'",
    "1 dayS",
    "1 ' day",
];
const SIZES: [&str; 20] = [
    "0", "7", "10k", "3 Mi", "5Gi", "1 T", "2Ti", "10K", "1.5G", "1MiB", "x", "", "None", "-1", "1 G i",
    "8M ", "007", "1_0", "' 7'", "k",
];
const TEXTS: [&str; 26] = [
    "plain",
    "two words",
    "a # b ; c",
    "'quoted'",
    "\"quoted\"",
    "'half",
    "\"",
    "''",
    "'a' and 'b'",
    "\"'both'\"",
    "' blanks '",
    "a = b : c",
    "ünï ½",
    "𝄞 \u{200b}\u{a0}x",
    "e\u{301}\u{2028}x",
    "tab\there",
    "none",
    "None",
    "'None'",
    "",
    "\\n",
    "[x]",
    "$HOME",
    "~",
    "= x",
    ": x",
];
const CONNINFOS: [&str; 12] = [
    "host=/nonexistent",
    "host=/nonexistent user=u password=geheim",
    "host=/nonexistent port=1 dbname=d",
    "host=/nonexistent application_name=x",
    "'host=/nonexistent user=u'",
    "host",
    "foo bar",
    "",
    "None",
    "service=nosuch",
    "host=/nonexistent\n  user=u",
    "host=/nonexistent\n\tuser=u\n  # comment\n\n  port=1",
];
/// Beginnings of paths: a number follows, so that servers seldom share one.
const PATHS: [&str; 9] = [
    "DIR/elsewhere",
    "DIR/home/x/../y",
    "DIR/a//b/",
    "relative",
    "~/x",
    "./x",
    "DIR/with blank",
    "DIR/größe",
    "../x",
];
/// Those of object stores need modules that are no part of a plain installation (differences.md, "snapshot providers").
const URLS: [&str; 2] = ["ftp://x", "x://"];
const LIMITS: [&str; 11] = [
    "a:3",
    "a:3 b:7",
    "a:3  a:9",
    "a",
    "a:x b:1",
    "a:b:5",
    "",
    "None",
    ":5",
    "a:",
    "é:7 b :1",
];
const LISTS: [&str; 8] = ["a", "a,b", "a, b", "a,,b", "", ",", " a ,b", "'a',b"];
const SLOTS: [&str; 8] = ["barman", "Main_1", "main-1", "", "None", "a b", "é", "'x'"];
const POLICIES: [&str; 14] = [
    "REDUNDANCY 2",
    "redundancy  3",
    "RECOVERY WINDOW OF 2 WEEKS",
    "RECOVERY WINDOW OF 1 DAY",
    "recovery window of 3 months ",
    "Recovery\twindow of 007 day",
    "RECOVERY WINDOW OF 0 DAYS",
    "REDUNDANCY -1",
    "REDUNDANCY 2 x",
    "REDUNDANCY",
    "none",
    "",
    "None",
    "RECOVERY WINDOW OF 2 YEARS",
];
const LEVELS: [&str; 11] = [
    "Best of", "low", "HIGH", "medium", "3", "-1", "best", "", "1.0", "+3", "1_0",
];

/// A value for an option; none for those that are tried elsewhere.
pub fn value(random: &mut Random, spec: &OptionSpec) -> Option<String> {
    let values: &[&str] = match spec.name {
        // Barman crashes on nothing; it refuses a negative one as we do.
        "minimum_redundancy" => &["0", "1", "3", "x", "-1", "1.5", "1_0", "' 2'"],
        "retention_policy" => &POLICIES,
        "retention_policy_mode" => &["auto", "AUTO", "manual", "", "None"],
        "wal_retention_policy" => &["main", "MAIN", "simple-wal", "x", "", "None"],
        "backup_options" => &[
            "concurrent_backup",
            "exclusive_backup",
            "concurrent_backup, external_configuration",
            "CONCURRENT_backup,",
            "exclusive_backup,concurrent_backup",
            "concurrent_backup concurrent_backup",
            "y,,X, a",
            "x,exclusive_backup,concurrent_backup",
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
        "ssh_command" => &["true", "true x@y", "", "None", "/bin/true -p 22", "true 'a b'"],
        "primary_ssh_command" => &["true", "", "true b@h"],
        // Its providers' modules are no part of a plain installation (differences.md, "snapshot providers").
        "snapshot_provider" => &["foo", ""],
        // differences.md, "options of compressed backups".
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
        values.extend(["X", "Nonsense é", "' x '", "", "None", upper.as_str()]);
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
        "path" | "absolute path" | "path or URL" => return path(random),
        "text" => &TEXTS,
        other => panic!("a new kind of option: {other}"),
    };
    random.pick(values).to_owned()
}

/// A path, seldom one that another server has.
pub fn path(random: &mut Random) -> String {
    let number = if random.one_in(100) {
        0
    } else {
        random.below(100_000)
    };
    format!("{}{number}", random.pick(&PATHS))
}
