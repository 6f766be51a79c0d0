//! The templates in `conf/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use barkeep::config::Config;

use crate::case::{Case, barman};

/// The templates that are shipped, filled in as their comments say.
fn filled_in_templates() -> Case {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let read = |name: &str| fs::read_to_string(conf.join(name)).unwrap();
    let main = read("barman.conf")
        .replace("/etc/barman.d", "DIR/d")
        .replace("/var/lib/barman", "DIR/home")
        .replace("/var/log/barman/barman.log", "DIR/log")
        .replace("barman_user = barman", "barman_user = USER");
    let server = |template: &str, name: &str| {
        read(&format!("barman.d/{template}-server.conf-template")).replace("[NAME]", &format!("[{name}]"))
    };
    Case::new(
        "templates",
        &[
            ("b.conf", &main),
            ("d/s.conf", &server("ssh", "s")),
            ("d/t.conf", &server("streaming", "t")),
            ("d/p.conf", &server("passive", "p")),
        ],
    )
}

#[test]
fn the_templates_are_read_without_a_warning() {
    let case = filled_in_templates();
    let config = Config::load(Some(&case.config()), None).unwrap();
    assert_eq!(config.servers.len(), 3);
    assert_eq!((&config.warnings, &config.errors), (&vec![], &vec![]));
    for server in config.servers.values() {
        assert_eq!(
            (&server.warnings, &server.log_warnings),
            (&vec![], &vec![]),
            "{}",
            server.name
        );
        assert_eq!(server.msg_list, Vec::<String>::new(), "{}", server.name);
    }
    let Some(barman) = barman() else {
        eprintln!("skipped in part: Barman is not installed (tests/setup)");
        return;
    };
    let output = Command::new(barman)
        .arg("-c")
        .arg(case.config())
        .arg("list-servers")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "p - Copy of the backups on backup1.example.com (Passive)\n\
         s - PostgreSQL on pg.example.com, over ssh\n\
         t - PostgreSQL on pg.example.com, by streaming replication\n"
    );
}

#[test]
fn commented_options_of_the_templates_exist() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    for name in [
        "barman.conf",
        "barman.d/ssh-server.conf-template",
        "barman.d/streaming-server.conf-template",
        "barman.d/passive-server.conf-template",
    ] {
        let text = fs::read_to_string(conf.join(name)).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix(';')) {
            // A comment that is not prose: no blank after the semicolon.
            let Some((option, _)) = line.split_once(" =").filter(|_| !line.starts_with(' ')) else {
                continue;
            };
            let known = barkeep::config::MAIN_OPTIONS
                .iter()
                .chain(barkeep::config::SERVER_OPTIONS);
            assert!(known.clone().any(|spec| spec.name == option), "{name}: {option}");
        }
    }
}
