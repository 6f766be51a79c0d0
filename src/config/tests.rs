//! The configuration as a whole, from text to servers. Barman's own reading is compared in `tests/configuration/`.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

const HEAD: &str = "[barman]\nbarman_home = /srv/barman\n";
const SERVER: &str =
    "[m]\nconninfo = host=h\nssh_command = ssh h\nbackup_options = concurrent_backup\narchiver = on\n";

fn config(text: &str) -> Config {
    Config::parse(&format!("{HEAD}{text}")).unwrap()
}

fn server(options: &str) -> ServerConfig {
    config(&format!("{SERVER}{options}\n"))
        .servers
        .remove("m")
        .unwrap()
}

/// The reason why a value is refused.
fn refusal(option: &str, value: &str) -> String {
    let config = config(&format!("{SERVER}{option} = {value}\n"));
    let [warning] = config.warnings.as_slice() else {
        panic!("{option} = {value}: {:?}", config.warnings);
    };
    let start = format!("Ignoring invalid configuration value '{value}' for key {option} in [m] section: ");
    warning
        .strip_prefix(&start)
        .and_then(|rest| rest.strip_suffix(" (barman.conf:8)"))
        .unwrap_or_else(|| panic!("{warning}"))
        .to_owned()
}

#[test]
fn refusals_are_in_barmans_words() {
    for (option, value, reason) in [
        (
            "active",
            "maybe",
            "Invalid boolean representation (must be one in: true|t|yes|1|on | false|f|no|0|off)",
        ),
        (
            "parallel_jobs",
            "1.5",
            "invalid literal for int() with base 10: '1.5'",
        ),
        (
            "check_timeout",
            "1__0",
            "invalid literal for int() with base 10: '1__0'",
        ),
        (
            "last_backup_maximum_age",
            "1day",
            "Invalid value for a time interval 1day",
        ),
        (
            "last_wal_maximum_age",
            "5 minutes",
            "Invalid value for a time interval 5 minutes",
        ),
        (
            "last_backup_minimum_size",
            "10K",
            "Invalid value for a number 10K",
        ),
        (
            "cloud_staging_max_size",
            "1.5G",
            "Invalid value for a number 1.5G",
        ),
        (
            "reuse_backup",
            "hard",
            "Invalid value (use 'copy', 'link' or 'off')",
        ),
        ("create_slot", "x", "Invalid value (use 'manual' or 'auto')"),
        (
            "compression",
            "rar",
            "Invalid value: 'rar' (must be one in: gzip, bzip2, pygzip, pybzip2, pigz, xz, zstd, lz4, snappy, custom)",
        ),
        (
            "compression_level",
            "best",
            "Invalid value: 'best' (must be one in [low, medium, high] or an acceptable integer)",
        ),
        (
            "encryption",
            "aes",
            "Invalid encryption value 'aes'. Allowed values are: none, gpg.",
        ),
        (
            "staging_path",
            "tmp",
            "Invalid value : 'tmp' (must be an absolute path)",
        ),
        (
            "staging_location",
            "Remote",
            "Invalid value: Remote (options are: local, remote)",
        ),
        (
            "slot_name",
            "a-b",
            "Replication slot names may only contain lower case letters, numbers, and the underscore character.",
        ),
        ("snapshot_disks", "a,,b", "['a', '', 'b']"),
        (
            "wals_directory",
            "ftp://x",
            "The URL is not compatible with any of the supported cloud providers",
        ),
        (
            "recovery_options",
            "get-wal,x",
            "Invalid configuration value 'x' for key recovery_options in [m] section: Unknown option",
        ),
    ] {
        assert_eq!(refusal(option, value), reason, "{option}");
    }
}

#[test]
fn values_become_types() {
    let server = server(
        "parallel_jobs = 1_0\nlast_backup_maximum_age = 2 WEEKS\nlast_wal_maximum_age = 1 month\n\
         last_backup_minimum_size = 3 Mi\ncloud_staging_max_size = 10k\nslot_name = Main_1\nreuse_backup = LINK\n\
         recovery_options = GET-wal\ncompression_level = -3\ntablespace_bandwidth_limit = a:3 b:x c:4",
    );
    assert_eq!(server.parallel_jobs, 10);
    assert_eq!(server.last_backup_maximum_age.unwrap().num_days(), 14);
    assert_eq!(server.last_wal_maximum_age.unwrap().num_days(), 31);
    assert_eq!(server.last_backup_minimum_size, Some(ByteSize(3 << 20)));
    assert_eq!(server.cloud_staging_max_size, ByteSize(10_000));
    assert_eq!(server.slot_name.unwrap().0, "main_1");
    assert_eq!(server.reuse_backup, Some(ReuseBackup::Link));
    assert!(server.recovery_options.get_wal && !server.recovery_options.delta_restore);
    assert_eq!(server.compression_level, CompressionLevel::Level(-3));
    let limits = server.tablespace_bandwidth_limit.unwrap().0;
    assert_eq!(limits, [("a".to_owned(), 3), ("c".to_owned(), 4)]);
    assert_eq!(
        server.log_warnings,
        ["Invalid tablespace_bandwidth_limit rule 'b:x'"]
    );
}

#[test]
fn defaults_derive_from_other_options() {
    let server = server("backup_directory = /else/where\nwals_directory = /wals");
    assert_eq!(server.local_basebackups().unwrap(), Path::new("/else/where/base"));
    assert_eq!(server.errors_directory, Path::new("/else/where/errors"));
    assert_eq!(server.xlogdb_directory, Path::new("/wals"));
    assert_eq!(server.streaming_conninfo.as_deref(), Some("host=h"));
    assert_eq!(server.cluster, "m");
    assert_eq!(server.lock_file("cron"), Path::new("/srv/barman/.m-cron.lock"));
}

#[test]
fn a_server_inherits_unless_it_says_otherwise_or_nothing() {
    let text = "compression = gzip\nkeepalive_interval = 7\nretention_policy = REDUNDANCY 2\nparallel_jobs = 4\n\
                last_wal_maximum_age = 1 day\ndescription = not inherited\n";
    let config = Config::parse(&format!(
        "{HEAD}{text}{SERVER}compression = xz\nretention_policy =\nparallel_jobs = many\nlast_wal_maximum_age =\n"
    ))
    .unwrap();
    let server = config.servers.get("m").unwrap();
    assert_eq!(server.compression, Some(WalCompression::Xz));
    assert_eq!(server.keepalive_interval, 7);
    assert_eq!(server.parallel_jobs, 4);
    assert_eq!((&server.retention_policy, &server.description), (&None, &None));
    assert_eq!(server.shown("retention_policy"), Shown::Null);
    assert_eq!(server.last_wal_maximum_age.unwrap().num_hours(), 24);
}

#[test]
fn an_empty_directory_is_refused() {
    assert_eq!(refusal("backup_directory", ""), "the value must not be empty");
    assert_eq!(
        server("backup_directory =").backup_directory,
        Path::new("/srv/barman/m")
    );
}

#[test]
fn unknown_options_are_named_with_their_place() {
    let config = config(&format!("foo = 1\n{SERVER}bar = 2\n"));
    assert_eq!(
        config.warnings,
        ["Invalid configuration option \"bar\" in [m] section. (barman.conf:9)"]
    );
}

#[test]
fn options_of_our_own_are_shown_where_they_are_set() {
    let shown = |server: &ServerConfig| -> Vec<&str> {
        let all = server.all_shown().into_iter().map(|(name, _)| name);
        all.filter(|name| ["full_backup_interval", "resume_failed_backups"].contains(name))
            .collect()
    };
    assert_eq!(shown(&server("")), [""; 0]);
    let server = server("full_backup_interval = 7 DAYS\n");
    assert_eq!(shown(&server), ["full_backup_interval"]);
    assert_eq!(server.full_backup_interval, chrono::TimeDelta::try_days(7));
}

#[test]
fn what_there_is_to_say_precedes_a_refusal() {
    let before =
        format!("{HEAD}{SERVER}parallel_jobs = x\n[big]\nmodel = true\nparallel_jobs = y\nfoo = 1\n");
    let error = Config::parse(&before).unwrap_err();
    assert!(matches!(&error, ConfigError::MissingRequired { errors, .. } if errors.len() == 1));
    let [jobs, unknown] = error.warnings() else {
        panic!("{:?}", error.warnings());
    };
    assert!(jobs.contains("for key parallel_jobs in [m]"), "{jobs}");
    assert!(unknown.contains("option \"foo\" in [big]"), "{unknown}");
    let reserved = Config::parse(&format!("{HEAD}{SERVER}foo = 1\n[all]\nbar = 1\n")).unwrap_err();
    assert!(matches!(reserved, ConfigError::ReservedName { .. }));
    assert_eq!(reserved.warnings().len(), 1, "{:?}", reserved.warnings());
}

#[test]
fn mistakes_disable_a_server_and_hide_passwords() {
    let server = server("backup_method = local-rsync\nconninfo = host=h password=geheim =");
    assert!(server.disabled);
    assert_eq!(server.msg_list.len(), 2, "{:?}", server.msg_list);
    assert!(server.msg_list.iter().all(|message| !message.contains("geheim")));
}

#[test]
fn without_an_archiver_one_is_forced_and_told() {
    let config = config("[m]\nconninfo = host=h\nssh_command = ssh h\n");
    let server = config.servers.get("m").unwrap();
    assert!(server.archiver && server.backup_options.concurrent_backup);
    assert_eq!(
        server.warnings,
        [
            "No backup strategy set for server 'm' (using default 'concurrent_backup').",
            "No archiver enabled for server 'm'. Please turn on 'archiver', 'streaming_archiver' or both",
            "Forcing 'archiver = on'",
        ]
    );
}

#[test]
fn a_model_changes_what_it_sets_and_nothing_else() {
    let text = format!(
        "{SERVER}[big]\nmodel = true\ncluster = m\nconninfo = host=other\nparallel_jobs = 8\ndescription =\n"
    );
    let config = config(&text);
    let mut server = config.servers.get("m").unwrap().clone();
    config.models.get("big").unwrap().apply(&mut server);
    assert_eq!(server.conninfo.as_deref(), Some("host=other"));
    assert_eq!(server.parallel_jobs, 8);
    // Derived when the configuration was read, and not again.
    assert_eq!(server.streaming_conninfo.as_deref(), Some("host=h"));
    assert_eq!(server.active_model.as_deref(), Some("big"));
    assert_eq!(server.source("parallel_jobs").unwrap().line, 12);
}

#[test]
fn a_model_cannot_turn_encryption_off() {
    let text = format!("{SERVER}encryption = gpg\n[open]\nmodel = true\ncluster = m\nencryption = None\n");
    let config = config(&text.replace("= None", "= NONE"));
    let mut server = config.servers.get("m").unwrap().clone();
    config.models.get("open").unwrap().apply(&mut server);
    assert_eq!(server.encryption, Some(Encryption::Gpg));
}

#[test]
fn a_server_cannot_turn_encryption_off() {
    for value in ["none", "NONE", "None"] {
        let text = format!("[barman]\nbarman_home = /srv\nencryption = gpg\n{SERVER}encryption = {value}\n");
        let config = Config::parse(&text).unwrap();
        let server = config.servers.get("m").unwrap();
        assert_eq!(server.encryption, Some(Encryption::Gpg), "{value}");
    }
    assert_eq!(server("encryption = none").encryption, None);
}

#[test]
fn the_words_of_a_list_are_looked_at_in_barmans_order() {
    for (value, word) in [
        ("x,,y", "'' for key"),
        ("b,a", "'a' for key"),
        ("B,a", "'b' for key"),
        (
            "exclusive_backup,concurrent_backup,x",
            "'exclusive_backup' for key",
        ),
        (
            "concurrent_backup, exclusive_backup",
            "'concurrent_backup' for key",
        ),
    ] {
        let reason = refusal("backup_options", value);
        assert!(reason.contains(word), "{value}: {reason}");
    }
    for (value, reason) in [
        ("+3", "Invalid value: '+3'"),
        ("BEST", "Invalid value: 'best'"),
        ("--3", "invalid literal for int() with base 10: '--3'"),
    ] {
        assert!(refusal("compression_level", value).starts_with(reason), "{value}");
    }
}

#[test]
fn directories_are_not_shared() {
    let twice = server("errors_directory = /srv/barman/m/./incoming");
    assert_eq!(twice.msg_list.len(), 1, "{:?}", twice.msg_list);
    let other = SERVER.replace("[m]", "[n]");
    let config = config(&format!("{SERVER}{other}errors_directory = /srv/barman/m/wals\n"));
    assert_eq!(
        config.errors,
        [
            "Conflicting path: errors_directory=/srv/barman/m/wals for server 'n' conflicts with 'wals_directory' for server \
          'm'"
        ]
    );
}

#[test]
fn the_log_format_keeps_its_placeholders() {
    let config = Config::parse(&format!("{HEAD}log_format = %(levelname)s %%(message)s\n")).unwrap();
    assert_eq!(config.main.log_format, "%(levelname)s %(message)s");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\[|\\]|=|:|%|\\(|\\)|s|a|\n| |#|;|\"|'|barman|model=true|cluster|\u{f8ff}){0,60}") {
        if let Ok(config) = Config::parse(&text) {
            for server in config.servers.values() {
                let _ = server.diagnose(true);
            }
        }
    }

    #[test]
    fn any_value_of_any_option_is_taken_or_refused(value in "\\PC{0,20}", index in 0..SERVER_OPTIONS.len()) {
        let option = SERVER_OPTIONS.get(index).unwrap().name;
        if let Ok(config) = Config::parse(&format!("{HEAD}[m]\n{option} = {value}\n")) {
            let server = config.servers.get("m").unwrap();
            let _ = server.shown(option).console();
        }
    }
}
