//! Every option with good values and bad ones, and the ways in which files and sections come together.

use std::path::Path;
use std::process::Command;

use barkeep::config::{Config, ConfigError};

use crate::case::{Case, barman, differences};

const HEAD: &str = "[barman]\nbarman_home = DIR/home\nbarman_user = USER\nlog_file = DIR/log\n";
const SSH: &str =
    "conninfo = host=/nonexistent\nssh_command = true\nbackup_options = concurrent_backup\narchiver = on\n";
const STREAM: &str =
    "conninfo = host=/nonexistent\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = b\n";

/// One server for each thing that can be said of one; all in one file, so that Barman runs once for all of them.
fn single_servers() -> String {
    let mut cases: Vec<(&str, String)> = vec![
        (
            "minimal",
            "conninfo = host=/nonexistent\nssh_command = true\n".into(),
        ),
        ("ssh", SSH.into()),
        ("stream", STREAM.into()),
        ("no conninfo", "ssh_command = true\n".into()),
        ("no conninfo, streaming", STREAM.replace("conninfo", "#")),
        ("bad conninfo", SSH.replace("host=/nonexistent", "host")),
        (
            "password",
            SSH.replace("/nonexistent", "/nonexistent password=geheim user=x"),
        ),
        ("no slot", STREAM.replace("slot_name", "#")),
        (
            "no slot, archiver",
            STREAM.replace("slot_name", "archiver = on\n#"),
        ),
        ("no ssh", SSH.replace("ssh_command", "#")),
        ("local with ssh", format!("{SSH}backup_method = local-rsync\n")),
        (
            "local",
            format!("{}backup_method = LOCAL-rsync\n", SSH.replace("ssh_command", "#")),
        ),
        ("passive", "primary_ssh_command = ssh x\n".into()),
        (
            "passive, all wrong",
            "primary_ssh_command = ssh\nconninfo = foo\nbackup_method = postgres\n".into(),
        ),
        ("inactive", "active = false\n".into()),
        (
            "inactive, passive",
            "active = no\nprimary_ssh_command = x\n".into(),
        ),
        (
            "shared path",
            format!("{SSH}errors_directory = DIR/home/m/incoming\n"),
        ),
        (
            "shared path by dots",
            format!("{SSH}errors_directory = DIR/home/m/x/../incoming\n"),
        ),
        (
            "local to cloud",
            "conninfo = host=/nonexistent\nbackup_method = local-to-cloud\n".into(),
        ),
        (
            "references",
            format!("{SSH}cluster = c\ndescription = %(cluster)s-%(CLUSTER)s\n"),
        ),
        (
            "inline comments",
            format!("{SSH}description = a # b ; c\n# x = 1\n ; y = 2\n"),
        ),
        (
            "continuation",
            format!("{SSH}description = a\n  b = c\n# comment\n  [d]\n\n  e\n"),
        ),
        (
            "quotes",
            format!("{SSH}description = 'a'\ncluster=\"b c\"\npath_prefix='x\" 'y'\n"),
        ),
        (
            "half quotes",
            format!("{SSH}description = '\ncluster=''\npath_prefix='a' 'b'\n"),
        ),
        ("colon", format!("{SSH}description : a=b:c\n")),
        (
            "repeated",
            format!(
                "{SSH}parallel_jobs = 2\nPARALLEL_JOBS = 3\n[n]\n{}[m]\nparallel_jobs = 4\n",
                SSH
            ),
        ),
        (
            "none",
            format!("{SSH}description = None\nstreaming_conninfo = None\nretention_policy = none\n"),
        ),
        (
            "snapshot",
            format!("{SSH}backup_method = snapshot\nsnapshot_provider = foo\n"),
        ),
    ];
    for (name, line) in [
        ("unknown", "foo = bar\nMODEL = false\nkeepalive_internval = 2"),
        ("disabled", "disabled = true"),
        ("exclusive", "backup_options = exclusive_backup"),
        (
            "both strategies",
            "backup_options = exclusive_backup, concurrent_backup",
        ),
        (
            "both strategies, other order",
            "backup_options = concurrent_backup, external_configuration, exclusive_backup",
        ),
        (
            "unknown keyword",
            "backup_options = concurrent_backup, foo\nrecovery_options = bar",
        ),
        (
            "upper keyword",
            "backup_options = CONCURRENT_backup ,\nrecovery_options = GET-wal,,delta-restore",
        ),
        ("external", "backup_options = external_configuration"),
        (
            "numbers",
            "parallel_jobs = 1_0\ncheck_timeout = +5\nbasebackup_retry_times = 0\nmax_incoming_wals_queue = 0x1",
        ),
        (
            "bad numbers",
            "parallel_jobs = 1__0\ncheck_timeout = 1.5\nbasebackup_retry_times = _1\nkeepalive_interval = x",
        ),
        (
            "booleans",
            "immediate_checkpoint = T\nautogenerate_manifest = YES\nworm_mode = 1\nforward_config_path = On",
        ),
        (
            "bad booleans",
            "immediate_checkpoint = y\nworm_mode = 2\nnetwork_compression = tru",
        ),
        (
            "intervals",
            "last_backup_maximum_age = 2 WEEKS\nlast_wal_maximum_age = 36 hour",
        ),
        (
            "more intervals",
            "last_backup_maximum_age = 1  month\nlast_wal_maximum_age = 0 days",
        ),
        (
            "bad intervals",
            "last_backup_maximum_age = 1day\nlast_wal_maximum_age = 5 minutes",
        ),
        (
            "bad intervals 2",
            "last_backup_maximum_age = -1 day\nlast_wal_maximum_age = day",
        ),
        (
            "sizes",
            "last_backup_minimum_size = 3 Mi\ncloud_staging_max_size = 10k\ncloud_upload_min_chunk_size = 7",
        ),
        (
            "bad sizes",
            "last_backup_minimum_size = 10K\ncloud_staging_max_size = 1.5G\ncloud_upload_min_chunk_size = 1MiB",
        ),
        (
            "lenient",
            "bandwidth_limit = x\nminimum_redundancy = -1\nretention_policy_mode = foo\nwal_retention_policy = bar",
        ),
        (
            "limits",
            "bandwidth_limit = 7\ntablespace_bandwidth_limit = a:3 b:7 c:x d 4:5 a:9",
        ),
        (
            "limits 0",
            "bandwidth_limit = 0\ntablespace_bandwidth_limit = a:0",
        ),
        (
            "retention",
            "retention_policy_mode = AUTO\nwal_retention_policy = MAIN\nminimum_redundancy = 3",
        ),
        (
            "reuse",
            "reuse_backup = LINK\ncreate_slot = AUTO\ncombine_mode = link\nstaging_location = remote",
        ),
        (
            "bad choices",
            "reuse_backup = hard\ncreate_slot = x\ncombine_mode = x\nstaging_location = Remote\nbackup_method = x",
        ),
        ("compression", "compression = ZSTD\ncompression_level = 22"),
        (
            "compression level word",
            "compression = lz4\ncompression_level = HIGH",
        ),
        ("bad compression", "compression = rar\ncompression_level = best"),
        (
            "custom",
            "compression = custom\ncustom_compression_filter = x\ncustom_compression_magic = 0xab",
        ),
        (
            "paths",
            "staging_path = tmp\nlocal_staging_path = /x\nrecovery_staging_path = ./y\ncloud_staging_directory = ~/z",
        ),
        ("limits with two colons", "tablespace_bandwidth_limit = a:b:5"),
        ("bad primary", "primary_conninfo = foo bar"),
        ("slot", "slot_name = Main_1"),
        ("bad slot", "slot_name = main-1"),
        (
            "disks",
            "snapshot_disks = a, b\nsnapshot_instance = i\nsnapshot_zone = z\nsnapshot_gcp_project = p",
        ),
        ("bad disks", "snapshot_disks = a,,b"),
        ("encryption", "encryption = NONE\nencryption_key_id = k"),
        ("gpg", "encryption = gpg"),
        ("bad encryption", "encryption = aes"),
        ("backup compression", "backup_compression = gzip"),
        (
            "aws",
            "aws_encryption = aes256\naws_snapshot_lock_mode = foo\naws_read_timeout = 5",
        ),
        (
            "aws 2",
            "aws_encryption = AES256\naws_snapshot_lock_duration = 7\naws_region = r",
        ),
        (
            "bad url",
            "wals_directory = ftp://x\nbasebackups_directory = foo://",
        ),
        (
            "directories",
            "backup_directory = DIR/elsewhere\nxlogdb_directory = DIR/x\nwals_directory = DIR/w/",
        ),
        ("relative", "barman_home = /x\nerrors_directory = errors"),
        ("tilde", "incoming_wals_directory = ~/in"),
        (
            "empty choices",
            "compression =\ncompression_level =\nreuse_backup =\ncreate_slot =\nencryption =\nslot_name =",
        ),
        (
            "empty numbers",
            "parallel_jobs =\ncheck_timeout = None\nactive =\nbandwidth_limit =\nimmediate_checkpoint = ''",
        ),
        (
            "empty others",
            "last_backup_maximum_age =\nlast_backup_minimum_size =\ncloud_staging_max_size =\nstaging_path =",
        ),
        (
            "empty texts",
            "description =\nretention_policy =\nretention_policy_mode =\nwal_retention_policy =\nstreaming_archiver_name =",
        ),
        (
            "empty sets",
            "recovery_options =\nsnapshot_disks =\ntablespace_bandwidth_limit =\nstreaming_conninfo =",
        ),
        (
            "empty connections",
            "primary_conninfo =\nwal_conninfo =\nprimary_ssh_command =\npath_prefix =",
        ),
        ("unicode", "description = Größe ½ 𝄞"),
        ("trailing blanks", "description = a b \t "),
    ] {
        cases.push((name, format!("{SSH}{line}\n")));
    }
    for (name, line) in [
        (
            "streaming reuse",
            "reuse_backup = link\nnetwork_compression = true\ntablespace_bandwidth_limit = a:3",
        ),
        ("streaming reuse off", "reuse_backup = off"),
        ("streaming useless limits", "tablespace_bandwidth_limit = a"),
        (
            "streaming exclusive",
            "backup_options = exclusive_backup, external_configuration",
        ),
        ("streaming no strategy", "backup_options ="),
        ("streaming bad dsn", "streaming_conninfo = foo"),
        ("streaming no dsn", "streaming_conninfo ="),
    ] {
        cases.push((name, format!("{STREAM}{line}\n")));
    }
    let mut text = HEAD.to_owned();
    for (name, body) in cases {
        let name = name.replace([' ', ','], "-");
        let body = body
            .replace("DIR/home/m/", &format!("DIR/home/{name}/"))
            .replace("[m]", &format!("[{name}]"));
        text.push_str(&format!("[{name}]\n{body}"));
    }
    text
}

/// Several files or sections.
fn compositions() -> Vec<(String, Vec<(String, String)>)> {
    let single = |name: &str, text: String| (name.to_owned(), vec![("b.conf".to_owned(), text)]);
    let several = |name: &str, files: &[(&str, String)]| {
        let files = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), text.clone()))
            .collect();
        (name.to_owned(), files)
    };
    let directory = "configuration_files_directory = DIR/d\n";
    vec![
        single(
            "inheritance",
            format!(
                "{HEAD}parallel_jobs = x\ncompression = gzip\ndescription = d\nconninfo = c\nfoo = bar\n\
                 retention_policy = REDUNDANCY 5\nbackup_options = concurrent_backup\ndisabled = true\n\
                 xlogdb_directory = DIR/x\npost_backup_script = p\nlog_level = DEBUG\n\
                 [m]\nparallel_jobs = y\n{SSH}retention_policy =\n[n]\nretention_policy = None\n{SSH}compression =\n"
            ),
        ),
        single(
            "inherited emptiness",
            format!(
                "{HEAD}streaming_archiver_name =\ncompression =\nxlogdb_directory =\ncompression_level = None\n\
                 backup_options =\npath_prefix =\n[m]\n{}",
                SSH.replace("backup_options", "#").replace("archiver", "archiver = on\n#")
            )
            // An empty directory makes Barman crash later.
            .replace("xlogdb_directory =\n", ""),
        ),
        single(
            "models",
            format!(
                "{HEAD}[m]\n{SSH}cluster = x\n[m2]\nmodel = true\ncluster = x\nconninfo = host=b\nparallel_jobs = z\n\
                 disabled = true\nbackup_method = postgres\nretention_policy = REDUNDANCY 4\nbackup_options =\n\
                 foo = bar\nbackup_directory = x\npost_backup_script = y\ndescription =\nlast_wal_maximum_age = 1 day\n\
                 minimum_redundancy = 3\ntablespace_bandwidth_limit = a:3\nbandwidth_limit = 7\n\
                 [m3]\nmodel = on\ncluster = y\n"
            ),
        ),
        several(
            "active model",
            &[
                (
                    "b.conf",
                    format!(
                        "{HEAD}[m]\n{SSH}cluster = x\n[m2]\nmodel = true\ncluster = x\nconninfo = host=/b\n\
                         backup_method = postgres\nstreaming_archiver = on\nslot_name = s\nparallel_jobs = 3\n"
                    ),
                ),
                ("home/m/.active-model.auto", "m2".to_owned()),
            ],
        ),
        several(
            "unknown active model",
            &[
                ("b.conf", format!("{HEAD}[m]\n{SSH}")),
                ("home/m/.active-model.auto", " nosuch\n".to_owned()),
            ],
        ),
        several(
            "foreign active model",
            &[
                ("b.conf", format!("{HEAD}[m]\n{SSH}[mo]\nmodel = true\ncluster = y\n")),
                ("home/m/.active-model.auto", "mo".to_owned()),
            ],
        ),
        several(
            "empty active model",
            &[("b.conf", format!("{HEAD}[m]\n{SSH}")), ("home/m/.active-model.auto", String::new())],
        ),
        several(
            "directory of files",
            &[
                ("b.conf", format!("{HEAD}{directory}[m]\n{SSH}parallel_jobs = 1\n")),
                ("d/a.conf", format!("[n]\n{SSH}[m]\nparallel_jobs = 2\n")),
                ("d/B.conf", "[m]\nparallel_jobs = 3\ndescription = B\n".to_owned()),
                ("d/.hidden.conf", "[broken".to_owned()),
                ("d/c.conf~", "[broken".to_owned()),
                ("d/sub.conf/x", "[broken".to_owned()),
                ("home/.barman.auto.conf", "[m]\ncheck_timeout = 7\n[barman]\n".to_owned()),
            ],
        ),
        several(
            "default sections",
            &[
                ("b.conf", format!("{HEAD}{directory}[DEFAULT]\nparallel_jobs = 3\nfoo = 1\n[m]\n{SSH}")),
                (
                    "d/a.conf",
                    format!("[DEFAULT]\ncompression = gzip\nbarman_home = /x\n[n]\n{SSH}[m]\ndescription = o\n"),
                ),
            ],
        ),
        several(
            "same barman section",
            &[
                ("b.conf", format!("{HEAD}{directory}parallel_jobs = 3\n[m]\n{SSH}")),
                ("d/a.conf", "[barman]\nparallel_jobs = 3\n".to_owned()),
            ],
        ),
        single("missing directory of files", format!("{HEAD}configuration_files_directory = DIR/no\n[m]\n{SSH}")),
        single(
            "shared between servers",
            format!(
                "{HEAD}[m]\n{SSH}[n]\n{SSH}backup_directory = DIR/home/m\n[o]\n{SSH}errors_directory = DIR/home/m/wals/\n\
                 [p]\n{SSH}wals_directory = DIR/home/m/wals/../x\nincoming_wals_directory = DIR/home/m/x\n\
                 [a]\n{SSH}wals_directory = DIR/home/m/wals/../wals\nactive = false\n"
            ),
        ),
        single(
            "emptied",
            format!(
                "{HEAD}last_backup_maximum_age = 1 day\nlast_backup_minimum_size = 5\ncloud_staging_max_size = 6\n\
                 compression = gzip\ncompression_level = low\nbandwidth_limit = 4\nminimum_redundancy = 3\n\
                 tablespace_bandwidth_limit = a:5\nrecovery_options = get-wal\npath_prefix = x\n\
                 retention_policy = REDUNDANCY 2\n[m]\n{SSH}last_backup_maximum_age =\nlast_backup_minimum_size =\n\
                 cloud_staging_max_size =\ncompression =\ncompression_level =\nbandwidth_limit =\n\
                 tablespace_bandwidth_limit =\nrecovery_options =\npath_prefix =\nretention_policy =\n"
            ),
        ),
        single("no servers", HEAD.to_owned()),
        single("section names", format!("{HEAD}[ m ]\n{SSH}[M]\n{SSH}[m] ; tail\n{SSH}[default]\n{SSH}")),
        single("main options", format!("{HEAD}barman_lock_directory = DIR/l\nlock_directory_cleanup = off\n[m]\n{SSH}")),
    ]
}

#[test]
fn every_option_is_read_as_barman_reads_it() {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let mut cases = vec![(
        "servers".to_owned(),
        vec![("b.conf".to_owned(), single_servers())],
    )];
    cases.extend(compositions());
    let mut failures = Vec::new();
    for (name, files) in &cases {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()))
            .collect();
        let case = Case::new(&name.replace([' ', ','], "-"), &files);
        let theirs = case
            .barman(&barman)
            .unwrap_or_else(|stderr| panic!("{name}: Barman fails: {stderr}"));
        match case.barkeep() {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(ours) => {
                let mut found = Vec::new();
                differences("", &theirs.document, &ours.document, &mut found);
                for line in theirs.warnings.symmetric_difference(&ours.warnings) {
                    let side = if ours.warnings.contains(line) {
                        "only barkeep"
                    } else {
                        "only Barman"
                    };
                    found.push(format!("{side}: {line}"));
                }
                failures.extend(found.into_iter().map(|line| format!("{name}: {line}")));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_stops_barman_stops_barkeep_in_the_same_words() {
    let Some(barman) = barman() else {
        eprintln!("skipped: Barman is not installed (tests/setup)");
        return;
    };
    let other = format!("{HEAD}configuration_files_directory = DIR/d\n[m]\n{SSH}");
    for (name, main, second) in [
        ("reserved", format!("{HEAD}[all]\n{SSH}"), ""),
        (
            "no-home",
            format!("[barman]\nbarman_user = USER\nlog_file = DIR/log\n[m]\n{SSH}"),
            "",
        ),
        ("model-without-cluster", format!("{HEAD}[mo]\nmodel = true\n"), ""),
        ("barman-section-elsewhere", other, "[barman]\nparallel_jobs = 3\n"),
    ] {
        let case = Case::new(name, &[("b.conf", &main), ("d/a.conf", second)]);
        let theirs = case.barman(&barman).expect_err(name);
        let error = case.barkeep().expect_err(name);
        let mut ours = String::new();
        if let ConfigError::MissingRequired { errors, .. } = &error {
            for line in errors {
                ours.push_str(&format!("ERROR: {line}\n"));
            }
        }
        ours.push_str(&format!("{error}\n"));
        assert_eq!(ours.trim_end(), theirs.trim_end(), "{name}");
    }
    let missing = Path::new("/nonexistent/barman.conf");
    let output = Command::new(&barman)
        .arg("-c")
        .arg(missing)
        .arg("list-servers")
        .output()
        .unwrap();
    let error = Config::load(Some(missing), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        String::from_utf8(output.stderr).unwrap().trim_end()
    );
}

#[test]
fn what_crashes_barman_names_file_and_line_or_works() {
    for (name, text, expected) in [
        ("no-section", "x = 1\n", "b.conf:1: there is text before"),
        ("no-value", "[m]\n\nlonely\n", "b.conf:3: the line is neither"),
        (
            "reference",
            "[m]\na = 1\ndescription = %(b)s\n",
            "b.conf:3: description in [m]: \"%(b)s\"",
        ),
        (
            "model",
            "[barman]\nbarman_home = DIR\n[m]\nmodel = maybe\n",
            "b.conf:4: model in [m]",
        ),
    ] {
        let case = Case::new(name, &[("b.conf", text)]);
        let error = case.barkeep().unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let case = Case::new(
        "percent",
        &[(
            "b.conf",
            &format!("{HEAD}[m]\nconninfo = host=h password='50% %%off'\nssh_command = ssh -o P=%p h\n"),
        )],
    );
    let config = Config::load(Some(&case.config()), None).unwrap();
    let server = &config.servers["m"];
    assert_eq!(server.conninfo.as_deref(), Some("host=h password='50% %off'"));
    assert_eq!(server.ssh_command.as_deref(), Some("ssh -o P=%p h"));
    assert!(!server.disabled, "{:?}", server.msg_list);
}
