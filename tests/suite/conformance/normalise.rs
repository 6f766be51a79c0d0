//! What two runs of the same command can never have in common: clocks, pids, durations.

use regex_lite::Regex;

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
    (r"process \w+ \(pid \d+\)", "process (pid PID)"),
    // differences.md: "wal gaps".
    (r"(?m)^\t?(?:\w+\.)?wal gaps: FAILED .*\n", ""),
    (r", wal gaps\b", ""),
    (r#", "wal_gaps": \{[^}]*\}"#, ""),
    // differences.md: "place of a mistake".
    (r" \((?:[^\s()]*\.conf|[^\s()]*\.auto\.conf):\d+\)", ""),
    // The drivers of both tools word a refused connection alike but may differ in their final hint.
    (r"(?m)[ \t]+$", ""),
];

/// Applies the rules.
pub fn text(input: &str) -> String {
    let mut output = input.to_owned();
    for (pattern, replacement) in RULES {
        let pattern = Regex::new(pattern).unwrap();
        output = pattern.replace_all(&output, *replacement).into_owned();
    }
    order_of_names(&order_of_warnings(&output))
}

/// Barman names the backups of one name in the order of the directory.
fn order_of_names(text: &str) -> String {
    let list = Regex::new(
        r"(Multiple backups found matching name '[^']*' \(try using backup ID instead\): )([0-9T ]+)",
    );
    list.unwrap()
        .replace_all(text, |found: &regex_lite::Captures<'_>| {
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
    let list = Regex::new(r#""_WARNING": \[(".*?")\]"#).unwrap();
    list.replace(&text, |found: &regex_lite::Captures<'_>| {
        let mut items: Vec<&str> = found[1]
            .split("\", \"")
            .map(|item| item.trim_matches('"'))
            .collect();
        items.sort_unstable();
        format!("\"_WARNING\": [\"{}\"]", items.join("\", \""))
    })
    .into_owned()
}
