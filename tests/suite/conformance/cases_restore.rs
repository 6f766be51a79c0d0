//! Restores of the synthetic backups: what is printed, what stands in the destination afterwards.

use super::runner::{Case, Site, case};

pub fn cases() -> Vec<Case> {
    let hooks = "pre_recovery_script = {site}/hook\npost_recovery_script = {site}/hook\n\
                 pre_recovery_retry_script = {site}/hook\npost_recovery_retry_script = {site}/hook";
    let mut cases = vec![
        case(
            "restore::hooks",
            "restore --target-time 2024-01-13~12:00:00+00:00 main latest {dest}/pg",
        )
        .server("main", hooks)
        .differs("time behind the WAL", behind_the_wal),
        case(
            "restore::hooks_tablespaces",
            "restore --tablespace two:{dest}/b --tablespace space~one:{dest}/a tables oldest {dest}/pg",
        )
        .server("tables", hooks)
        .differs("timeline warning", not_followed),
        case("restore::retry_stop", "restore main latest {dest}/pg")
            .server("main", "pre_recovery_retry_script = {site}/hook 63"),
        case("restore::not_empty", "restore main latest {dest}/pg").prepare(|site| {
            std::fs::create_dir(site.destination.join("pg")).unwrap();
            std::fs::write(site.destination.join("pg/file"), "x").unwrap();
        }),
        case("restore::existing_empty", "restore main latest {dest}/pg").prepare(|site| {
            let directory = site.destination.join("pg");
            std::fs::create_dir(&directory).unwrap();
            site.manager.account.own(&directory);
        }),
        case("restore::configured_get_wal", "restore main latest {dest}/pg")
            .server("main", "recovery_options = get-wal"),
        case(
            "restore::no_get_wal",
            "restore --no-get-wal main latest {dest}/pg",
        )
        .server("main", "recovery_options = get-wal"),
        case(
            "restore::incoming_is_archived_first",
            "restore main latest {dest}/pg",
        )
        .prepare(|site| {
            let name = "00000001000000000000000F";
            let path = site.manager.server("main").join("incoming").join(name);
            std::fs::write(&path, crate::support::catalog::delivered_content(name)).unwrap();
            site.manager.account.own(&path);
        }),
        case("restore::delta", "restore --delta-restore main latest {dest}/pg")
            .prepare(earlier_restore)
            // The two labels have one size and one time: Barman keeps the label of the other backup. And it removes a file
            // that is not PostgreSQL's.
            .differs("delta-restore", |outcome| {
                outcome.destination = outcome
                    .destination
                    .replace("backup_label 234 6afa9fd62de1", "backup_label 234 cb5f1417f449")
                    .replace(
                        "d 0755 pg/global\n",
                        "f 0644 pg/foreign 1 2d711642b726 now\nd 0755 pg/global\n",
                    );
            }),
        case("restore::colon", "restore main latest host:/srv/pg"),
        case(
            "restore::no_time_zone",
            "restore --target-time 2024-01-13~12:00:00 main latest {dest}/pg",
        )
        .differs("time behind the WAL", behind_the_wal),
    ];
    let words = [
        ("latest", "main latest {dest}/pg"),
        ("alias", "main latest {dest}/pg"),
        ("oldest", "main oldest {dest}/pg"),
        ("kept", "main 20240111T100000 {dest}/pg"),
        ("auto", "main auto {dest}/pg"),
        (
            "auto_time",
            "--target-time 2024-01-12~12:00:00+00:00 main auto {dest}/pg",
        ),
        (
            "auto_lsn",
            "--target-lsn 0/9000000 --target-tli 1 main auto {dest}/pg",
        ),
        (
            "auto_too_early",
            "--target-time 2023-01-01~00:00:00+00:00 main auto {dest}/pg",
        ),
        ("auto_xid", "--target-xid 5 main auto {dest}/pg"),
        ("auto_name", "--target-name x main auto {dest}/pg"),
        ("auto_immediate", "--target-immediate main auto {dest}/pg"),
        ("auto_tli", "--target-tli 2 tables auto {dest}/pg"),
        ("by_name", "main first {dest}/pg"),
        ("failed", "main 20240111T120000 {dest}/pg"),
        ("started", "main 20240112T120000 {dest}/pg"),
        ("unknown", "main nosuch {dest}/pg"),
        ("unknown_server", "nosuch latest {dest}/pg"),
        ("waiting", "wait 20240503T100000 {dest}/pg"),
        ("inactive", "off latest {dest}/pg"),
        ("disabled", "dis latest {dest}/pg"),
        (
            "time",
            "--target-time 2024-01-13~12:00:00+00:00 main latest {dest}/pg",
        ),
        (
            "time_exclusive",
            "--target-time 2024-01-13~12:00:00+00:00 --exclusive main latest {dest}/pg",
        ),
        (
            "time_too_early",
            "--target-time 2024-01-13~01:00:00+00:00 main latest {dest}/pg",
        ),
        (
            "time_nonsense",
            "--target-time yesterdayish main latest {dest}/pg",
        ),
        ("xid", "--target-xid 1234 main latest {dest}/pg"),
        (
            "xid_exclusive",
            "--target-xid 1234 --exclusive main latest {dest}/pg",
        ),
        ("name", "--target-name spot main latest {dest}/pg"),
        (
            "name_exclusive",
            "--target-name spot --exclusive main latest {dest}/pg",
        ),
        (
            "lsn_tli",
            "--target-lsn 0/D000000 --target-tli 1 main latest {dest}/pg",
        ),
        (
            "immediate_tli",
            "--target-immediate --target-tli 1 main latest {dest}/pg",
        ),
        ("tli_latest", "--target-tli latest main latest {dest}/pg"),
        ("tli_current", "--target-tli current main latest {dest}/pg"),
        ("tli_number", "--target-tli 2 tables oldest {dest}/pg"),
        (
            "tli_latest_timelines",
            "--target-tli latest tables oldest {dest}/pg",
        ),
        ("tli_unknown", "--target-tli 9 main latest {dest}/pg"),
        (
            "two_targets",
            "--target-xid 1 --target-name x main latest {dest}/pg",
        ),
        (
            "time_and_immediate",
            "--target-time 2024-01-13~12:00:00+00:00 --target-immediate main latest {dest}/pg",
        ),
        (
            "action_without_target",
            "--target-action promote main latest {dest}/pg",
        ),
        (
            "action_pause",
            "--target-name spot --target-action pause main latest {dest}/pg",
        ),
        (
            "action_promote",
            "--target-name spot --target-action promote main latest {dest}/pg",
        ),
        (
            "action_shutdown",
            "--target-name spot --target-action shutdown main latest {dest}/pg",
        ),
        ("standby", "--standby-mode main latest {dest}/pg"),
        (
            "standby_target",
            "--standby-mode --target-name spot main latest {dest}/pg",
        ),
        (
            "standby_get_wal",
            "--standby-mode --get-wal main latest {dest}/pg",
        ),
        ("get_wal", "--get-wal main latest {dest}/pg"),
        (
            "get_wal_target",
            "--get-wal --target-name spot main latest {dest}/pg",
        ),
        (
            "restore_command",
            "--get-wal --restore-command my'command~%f main latest {dest}/pg",
        ),
        (
            "restore_command_alone",
            "--restore-command cp main latest {dest}/pg",
        ),
        (
            "conf_file",
            "--target-name spot --recovery-conf-filename my.conf main latest {dest}/pg",
        ),
        (
            "wal_directory",
            "--target-name spot --staging-wal-directory {dest}/wal main latest {dest}/pg",
        ),
        ("jobs", "--jobs 2 main latest {dest}/pg"),
        ("bwlimit", "--bwlimit 10000 main latest {dest}/pg"),
        (
            "network_compression_local",
            "--network-compression main latest {dest}/pg",
        ),
        (
            "tablespaces_in_place_refused",
            "--tablespace nosuch:{dest}/x tables oldest {dest}/pg",
        ),
        (
            "tablespaces",
            "--tablespace two:{dest}/b --tablespace space~one:{dest}/a tables oldest {dest}/pg",
        ),
        ("tablespace_syntax", "--tablespace two tables oldest {dest}/pg"),
        ("mixed_wals", "mixed latest {dest}/pg"),
        ("mixed_wals_target", "--target-name spot mixed latest {dest}/pg"),
        ("no_wal", "nowal latest {dest}/pg"),
        ("passive", "pas latest {dest}/pg"),
    ];
    for (name, arguments) in words {
        let command = if name == "alias" { "recover" } else { "restore" };
        let mut row = case(&format!("restore::{name}"), &format!("{command} {arguments}"));
        if matches!(name, "waiting" | "no_wal" | "passive") {
            // Barman copies a backup whose WAL it does not have and reports success.
            row = row.console().differs("restore with missing WAL", refused);
        }
        row = match name {
            "time" | "time_exclusive" | "auto_time" => row.differs("time behind the WAL", behind_the_wal),
            "tli_number" => row
                .console()
                .differs("location that cannot be made", location_refused),
            "tli_latest_timelines" => row.console().differs("restore with missing WAL", hole_on_the_way),
            "tli_unknown" => row.console().differs("unreachable target", no_history),
            "standby_target" => row.console().differs("standby with a target", into_pg_wal),
            "tablespaces" => row.differs("timeline warning", not_followed),
            "lsn_tli" => row.differs("WAL behind a target position", one_segment_more),
            "auto_lsn" => row.differs("WAL behind a target position", next_segment_too),
            "get_wal_target" => row.differs("get-wal with a target", nothing_staged),
            _ => row,
        };
        cases.push(row);
    }
    for (name, arguments) in [
        ("remote", "main latest {dest}/pg"),
        ("remote_target", "--target-name spot main latest {dest}/pg"),
        ("remote_get_wal", "--get-wal main latest {dest}/pg"),
        ("remote_standby", "--standby-mode --get-wal main latest {dest}/pg"),
        (
            "remote_tablespaces",
            "--tablespace two:{dest}/b --tablespace space~one:{dest}/a tables oldest {dest}/pg",
        ),
        (
            "remote_network_compression",
            "--network-compression main latest {dest}/pg",
        ),
        ("remote_jobs", "--jobs 3 main latest {dest}/pg"),
    ] {
        let row = case(
            &format!("restore::{name}"),
            &format!("restore --remote-ssh-command {{ssh}} {arguments}"),
        )
        .prepare(open_destination);
        cases.push(if name == "remote_tablespaces" {
            row.differs("timeline warning", not_followed)
        } else {
            row
        });
    }
    cases.push(case(
        "restore::remote_down",
        "restore --remote-ssh-command ssh~-o~ConnectTimeout=5~-p~1~postgres@127.0.0.1 main latest {dest}/pg",
    ));
    cases
}

/// The account of the other host may write into the destination.
fn open_destination(site: &Site) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&site.destination, PermissionsExt::from_mode(0o777)).unwrap();
}

/// Restores with real Barman first, then changes a few things.
fn earlier_restore(site: &Site) {
    let destination = site.destination.join("pg");
    let barman = crate::support::tool::Tool::barman();
    let path = destination.display().to_string();
    site.manager
        .run(&barman, &["restore", "main", "oldest", &path])
        .success();
    std::fs::write(destination.join("foreign"), "x").unwrap();
    std::fs::write(destination.join("base/5/1259"), "changed").unwrap();
    std::fs::remove_file(destination.join("PG_VERSION")).unwrap();
}

/// Barkeep stops after its first lines, copies nothing, and says what is missing.
fn refused(outcome: &mut super::outcome::Outcome) {
    let missing = if outcome.stdout.contains("server wait") {
        "000000010000000000000009"
    } else {
        "000000010000000000000002"
    };
    outcome.code = 1;
    outcome.stdout = outcome.stdout.split_inclusive('\n').take(2).collect();
    outcome.stderr = outcome
        .stderr
        .split_inclusive('\n')
        .filter(|line| !line.contains("IMPORTANT"))
        .collect();
    outcome.stderr.push_str(&format!(
        "ERROR: WAL that the backup itself needs is missing from the archive: {missing}. Without it the restored \
         cluster cannot become consistent.\nHINT: Wait until they are archived (barman switch-wal --force --archive), \
         or use --get-wal\n"
    ));
    outcome.destination.clear();
}

/// One more warning.
fn warn(outcome: &mut super::outcome::Outcome, line: &str) {
    if !outcome.stdout.starts_with('{') {
        outcome.stderr.push_str(&format!("WARNING: {line}\n"));
        return;
    }
    let start = "\"_WARNING\": [\"";
    let begin = outcome.stdout.find(start).unwrap() + start.len();
    let end = begin + outcome.stdout[begin..].find("\"]").unwrap();
    let mut items: Vec<&str> = outcome.stdout[begin..end].split("\", \"").collect();
    items.push(line);
    items.sort_unstable();
    let list = items.join("\", \"");
    outcome.stdout.replace_range(begin..end, &list);
}

fn behind_the_wal(outcome: &mut super::outcome::Outcome) {
    warn(
        outcome,
        "The target time lies behind the newest archived WAL (00000001000000000000000E). PostgreSQL 13 and newer refuse \
         to end recovery unless they see a transaction that is later than the target.",
    );
}

fn not_followed(outcome: &mut super::outcome::Outcome) {
    warn(
        outcome,
        "The archive has WAL of timeline 3, which this recovery does not follow: it ends with timeline 1. Use \
         --target-tli 3 to follow it.",
    );
}

/// The archive ends with the segment behind the one of the target.
fn one_segment_more(outcome: &mut super::outcome::Outcome) {
    let last = outcome
        .destination
        .find("pg/barman_wal/00000001000000000000000D")
        .unwrap();
    let end = last + outcome.destination[last..].find('\n').unwrap() + 1;
    let line = "f 0644 pg/barman_wal/00000001000000000000000E 65536 9a518ef0d97a now\n";
    outcome.destination.insert_str(end, line);
}

fn nothing_staged(outcome: &mut super::outcome::Outcome) {
    outcome.destination = outcome
        .destination
        .split_inclusive('\n')
        .filter(|line| !line.contains("pg/barman_wal"))
        .collect::<String>()
        .replace(
            "d 0755 pg/pg_wal\n",
            "d 0755 pg/pg_wal\nd 0755 pg/pg_wal/archive_status\n",
        );
}

/// Barkeep prints `lines` of standard output and stops with `message`; nothing stands in the destination.
fn stops(outcome: &mut super::outcome::Outcome, lines: usize, message: &str) {
    outcome.code = 1;
    outcome.stdout = outcome.stdout.split_inclusive('\n').take(lines).collect();
    outcome.stderr = outcome
        .stderr
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("EXCEPTION") && !line.starts_with("See log file"))
        .filter(|line| !line.contains("IMPORTANT"))
        .collect();
    outcome.stderr.push_str(message);
    outcome.destination.clear();
}

/// The tablespace is to lie where this account may not make a directory.
fn location_refused(outcome: &mut super::outcome::Outcome) {
    let line = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Destination directory: "));
    let destination = line.unwrap_or_default().to_owned();
    let message = format!(
        "WARNING: The destination directory '{destination}' is incomplete: do not start PostgreSQL in it. Empty it, or \
         repeat the restore with --delta-restore.\nERROR: cannot create directory \"/srv/one\": Permission denied\n"
    );
    let lines = outcome.stdout.lines().count();
    stops(outcome, lines, &message);
}

fn hole_on_the_way(outcome: &mut super::outcome::Outcome) {
    stops(
        outcome,
        3,
        "ERROR: WAL between the backup and the recovery target is missing from the archive: 000000030000000000000005, \
         000000030000000000000006. Recovery would end at 0/5000000.\nHINT: Bring them into the archive, or restore a later \
         backup, or recover what can be reached with --target-lsn 0/4000000, or just the backup with --target-immediate; \
         with --get-wal PostgreSQL goes as far as it can\n",
    );
}

fn no_history(outcome: &mut super::outcome::Outcome) {
    stops(
        outcome,
        3,
        "ERROR: Cannot recover to timeline 9: the archive has no history file of timeline 9 (00000009.history).\nHINT: Give \
         another timeline (the backup is on 1), or restore a backup that is on the way to it\n",
    );
}

/// WAL goes where a standby looks for it, with its status files.
fn into_pg_wal(outcome: &mut super::outcome::Outcome) {
    let copied = "Copying required WAL segments.\n";
    outcome.stdout = outcome
        .stdout
        .replace(copied, &format!("{copied}Generating archive status files\n"));
    let (staged, kept): (Vec<&str>, Vec<&str>) = outcome
        .destination
        .lines()
        .partition(|line| line.contains(" pg/barman_wal"));
    let mut lines: Vec<String> = kept.into_iter().map(str::to_owned).collect();
    let place = lines
        .iter()
        .position(|line| line.ends_with(" pg/pg_wal"))
        .unwrap()
        + 1;
    let mut moved: Vec<String> = staged
        .iter()
        .filter(|line| line.contains(" pg/barman_wal/"))
        .map(|line| line.replace("pg/barman_wal", "pg/pg_wal"))
        .collect();
    for line in staged.iter().filter(|line| line.contains("pg/barman_wal/0")) {
        let name = line
            .split_whitespace()
            .nth(2)
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        moved.push(format!(
            "f 0644 pg/pg_wal/archive_status/{name}.done 0 e3b0c44298fc now"
        ));
    }
    lines.splice(place..place, moved);
    outcome.destination = lines.join("\n");
}

/// The segment behind the one of the target.
fn next_segment_too(outcome: &mut super::outcome::Outcome) {
    let directory = "d 0755 pg/barman_wal/archive_status\n";
    outcome.destination = outcome.destination.replace(
        directory,
        &format!("f 0644 pg/barman_wal/00000001000000000000000A 65536 6cef5b8cbc01 now\n{directory}"),
    );
}
