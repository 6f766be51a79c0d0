//! What changes while a cluster runs, replaced by words.

use std::sync::OnceLock;

use super::normalise::Replacements;

/// Replaces what changes while a cluster runs.
pub fn volatile(text: &str) -> String {
    const RULES: &[(&str, &str)] = &[
        (r"\d{8}T\d{6}", "ID"),
        // In JSON a tab is \t: no word boundary before the name.
        (r"(\\t)[0-9A-F]{24}\b", "${1}SEGMENT"),
        (r"\b[0-9A-F]{24}\b", "SEGMENT"),
        (r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b", "LSN"),
        (r", [0-9A-F]{8}\)", ", OFFSET)"),
        (r#"(offset"?[:=] ?|Offset +: )\d+"#, "${1}N"),
        (
            r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:?(\d\d)?)?",
            "TIME",
        ),
        (
            r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
            "TIME",
        ),
        (r"\d+(\.\d+)? (B|KiB|MiB|GiB)(/s)?\b", "SIZE"),
        (r"-?\d+\.\d+%", "PERCENT"),
        (r"\d+\.\d+/hour", "RATE/hour"),
        (r#"("copy_stats": )\{.*?\}(, "data_checksums")"#, "${1}TIMES$2"),
        (r"\(time: [^)]*\)", "(time: DURATION)"),
        (r"(?m)(Copy time +: ).*$", "${1}DURATION"),
        (
            r#"("(?:copy_time|analysis_time|wal_rate|throughput)": )"[^"]*""#,
            r#"$1"X""#,
        ),
        (
            r#"((?:_bytes|_timestamp|_seconds|_percentage|_per_second|_size|_count|wal_num|no_of_files|_ratio)"?[:=] ?"?)-?[\d.e-]+"#,
            "${1}N",
        ),
        (
            r#"((?:size|wal_num|Number of WALs|Number of files|cluster_size|archived_count|current_size|_per_second)"?\s*[:=] ?)-?[\d.e-]+"#,
            "${1}N",
        ),
        (r"main(_wals)?=\d+B", "main$1=NB"),
        (r"BARMAN_(TIMESTAMP|SIZE)=[\d.]+", "BARMAN_$1=N"),
        // What a WAL receiver has told PostgreSQL by now: it does so every few seconds.
        (r#"(Sync stage +: |"sync_stage": )[^\n,]+"#, "${1}STAGE"),
        (r"(diff: )-SIZE", "${1}SIZE"),
        // A WAL receiver that was ended is another process the next time.
        (r"\b\d+ receive-wal\b", "PID receive-wal"),
        (r"receive-wal\(\d+\)", "receive-wal(PID)"),
        (r#"("pid": )\d+"#, "${1}PID"),
        // How many segments one run finds in incoming is PostgreSQL's affair.
        (
            r"(?m)^(Processing xlog segments from .*|\tSEGMENT(\.0000\w+\.backup)?)\n",
            "",
        ),
        (
            r#"(, )?"(Processing xlog segments from [^"]*|\\tSEGMENT(\.0000\w+\.backup)?)""#,
            "",
        ),
        (r#""_INFO": \[, "#, "\"_INFO\": ["),
    ];
    static COMPILED: OnceLock<Replacements> = OnceLock::new();
    COMPILED.get_or_init(|| Replacements::new(RULES)).applied_to(text)
}
