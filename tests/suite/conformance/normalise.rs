//! What two runs of the same command can never have in common: clocks, pids, durations.

use std::sync::LazyLock;

use regex::Regex;

/// Patterns and what takes the place of what they match, applied in order.
pub struct Replacements(Vec<(Regex, &'static str)>);

impl Replacements {
    pub fn new(rules: &[(&str, &'static str)]) -> Replacements {
        let compiled =
            |(pattern, replacement): &(&str, &'static str)| (Regex::new(pattern).unwrap(), *replacement);
        Replacements(rules.iter().map(compiled).collect())
    }

    pub fn applied_to(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (pattern, replacement)| {
                pattern.replace_all(&text, *replacement).into_owned()
            })
    }
}

/// Pattern and replacement, applied in order to every output.
const RULES: &[(&str, &str)] = &[
    (r"elapsed time: [^)\n]*\)", "elapsed time: DURATION)"),
    (r#""(recovery_elapsed_time)": "[^"]*""#, r#""$1": "DURATION""#),
    (
        r#""(recovery_elapsed_time_seconds)": [0-9.e-]+"#,
        r#""$1": SECONDS"#,
    ),
    (
        r#""(recovery_start_time_timestamp)": "[0-9.]+""#,
        r#""$1": "SECONDS""#,
    ),
    (r#""(recovery_start_time)": "[^"]*""#, r#""$1": "TIME""#),
    (r"\(start time: [^,)\n]*,", "(start time: TIME,"),
    (r"((?:latest backup age|latest wal age): )[^)\n\x22]*", "${1}AGE"),
    (r"\(latest backup: [^)]*\)", "(latest backup: AGE)"),
    (
        r"\(WARNING! latest backup is .*? old\)",
        "(WARNING! latest backup is AGE old)",
    ),
    (r"\.\d{8}T\d{6}Z\.", ".STAMP."),
    // Files per hour since the statistics were reset: it sinks from second to second.
    (r"(Server WAL archiving rate: )[0-9.]+", "${1}RATE"),
    (r#"(Server WAL archiving rate", "message": ")[0-9.]+"#, "${1}RATE"),
    // Exports are named by the time and the sum of a file that tells the time; what is in them is told by its members.
    (
        r"(backup-export-[^\n/]*?-\d{8}T\d{6}-)\d{8}T\d{6}-[0-9a-f]{8}",
        "${1}STAMP",
    ),
    (r"(?m)^(f \d+ backup-export-.*-STAMP\.tar(?:\.\w+)?) .*$", "$1"),
    (r"process \w+ \(pid \d+\)", "process (pid PID)"),
    // differences.md: "wal gaps".
    (r"(?m)^\t?(?:\w+\.)?wal gaps: (?:\x1b\[31m)?FAILED.*\n", ""),
    (r", wal gaps\b", ""),
    (r#", "wal_gaps": \{[^}]*\}"#, ""),
    // differences.md: "place of a mistake".
    (r" \((?:[^\s()]*\.conf|[^\s()]*\.auto\.conf):\d+\)", ""),
    // The drivers of both tools word a refused connection alike but may differ in their final hint.
    (r"(?m)[ \t]+$", ""),
];

/// Applies the rules.
pub fn text(input: &str) -> String {
    static COMPILED: LazyLock<Replacements> = LazyLock::new(|| Replacements::new(RULES));
    order_of_options(&order_of_names(&order_of_warnings(&COMPILED.applied_to(input))))
}

/// What monitoring looks for in a log: level, logger and text of the lines that a command printed, of failed checks and of
/// warnings and errors, without times and process numbers.
///
/// They are in the order of the alphabet: a filter looks at one at a time. The loggers of the command, of a server and of its
/// catalog are one.
///
/// Left out are inner steps, which the tools take differently (differences.md, "the log"): the level DEBUG, tracebacks, what
/// programs said that were run, the steps of a copy, and archivers that found nothing.
pub fn log(text: &str) -> String {
    static RECORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[\d+\] (\S+ \w+: .*)$").unwrap()
    });
    static INNER: LazyLock<Regex> = LazyLock::new(|| Regex::new(INNER_STEPS).unwrap());
    static LOGGER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^barman\.(?:cli|server|backup|config|backup_executor) ").unwrap());
    let mut kept: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(found) = RECORD.captures(line) {
            let line = LOGGER.replace(&found[1], "barman.command ").into_owned();
            let line = line.replace(
                "barman.command WARNING: Error retr",
                "barman.postgres WARNING: Error retr",
            );
            // Barman asks PostgreSQL again and again.
            let again = line.contains("Error retrieving PostgreSQL status") && kept.contains(&line);
            inside = !INNER.is_match(&line) && !again;
            if inside {
                kept.push(line);
            }
        } else {
            inside = inside && !line.starts_with("Traceback") && line != "See log file for more details.";
            // What a hook script wrote: in Barman's log below its exit code.
            if inside && !line.is_empty() && line != "Output details:" {
                kept.push(line.to_owned());
            }
        }
    }
    kept.sort_unstable();
    kept.dedup();
    kept.join("\n")
}

const INNER_STEPS: &str = concat!(
    r"^\S+ DEBUG:",
    r"|^(Command|barman\.copy_controller|barman\.utils|barman\.retention_policies|barman\.command_wrappers|barman\.fs) ",
    r"|^barman\.wal_archiver INFO: (No xlog segments found|Found \d|Archiving segment|\t)",
    r"|^barman\.recovery_executor INFO: (Starting copy of|Finished copying|\t)",
    r"|^barman\.recovery_executor WARNING: Unable to retrieve safe horizon",
    r"|^barman\.command WARNING: Retention policy redundancy |^barman\.command INFO: Force a CHECKPOINT",
    // Barman does not log what get-wal --peek lists.
    r"|^barman\.command INFO: [0-9A-F]{24}$",
    r"|^barman\.command INFO: Synchronising with server .* step \d/3",
    r"|^barman\.command ERROR:\s*$|^PgVerifyBackup |^barman\.command ERROR: cannot switch the WAL of server",
    r"|does not begin like a WAL segment$|heck 'wal gaps'",
    // The list of tablespaces at the end of pg_basebackup.
    r"|^barman\.command INFO:(\s*| \t\d+, .*)$",
);

/// The members of a set of options are shown by Barman in an order that changes from run to run: in `show-servers`, and in
/// `diagnose`.
fn order_of_options(text: &str) -> String {
    static SETS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        [
            r"(Options\(\{)([^}]*)",
            r#"("(?:backup|recovery)_options": ")([a-z_,-]*)"#,
        ]
        .map(|pattern| Regex::new(pattern).unwrap())
    });
    SETS.iter().fold(text.to_owned(), |text, set| {
        set.replace_all(&text, |found: &regex::Captures<'_>| {
            let mut members: Vec<&str> = found[2].split(',').map(str::trim).collect();
            members.sort_unstable();
            format!("{}{}", &found[1], members.join(","))
        })
        .into_owned()
    })
}

/// Barman names the backups of one name in the order of the directory.
fn order_of_names(text: &str) -> String {
    static LIST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(Multiple backups found matching name '[^']*' \(try using backup ID instead\): )([0-9T ]+)",
        )
        .unwrap()
    });
    LIST.replace_all(text, |found: &regex::Captures<'_>| {
        let mut ids: Vec<&str> = found[2].split(' ').collect();
        ids.sort_unstable();
        format!("{}{}", &found[1], ids.join(" "))
    })
    .into_owned()
}

/// differences.md, "order of warnings": Barman's changes from run to run. On the console they are neighbouring lines,
/// in JSON the items of `_WARNING`.
fn order_of_warnings(text: &str) -> String {
    let is_warning = |line: &str| {
        line.starts_with("WARNING: Invalid configuration option")
            || line.starts_with("WARNING: Ignoring invalid configuration")
    };
    let mut lines: Vec<&str> = text.split('\n').collect();
    for run in lines.chunk_by_mut(|a, b| is_warning(a) && is_warning(b)) {
        if run.len() > 1 {
            run.sort_unstable();
        }
    }
    let text = lines.join("\n");
    static LIST: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""_WARNING": \[(".*?")\]"#).unwrap());
    LIST.replace(&text, |found: &regex::Captures<'_>| {
        let mut items: Vec<&str> = found[1]
            .split("\", \"")
            .map(|item| item.trim_matches('"'))
            .collect();
        items.sort_unstable();
        format!("\"_WARNING\": [\"{}\"]", items.join("\", \""))
    })
    .into_owned()
}
