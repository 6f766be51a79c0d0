//! Random configurations within the grammar, with good values and bad ones, in which nothing keeps Barman from going on.
//!
//! What is left out is what `differences.md` lists under "Configuration": there Barman crashes or we accept more.

use barkeep::config::{OptionSpec, SERVER_OPTIONS};

use crate::random_numbers::Random;
use crate::values::{path, value};

/// The files of a configuration.
pub type Files = Vec<(String, Vec<u8>)>;

const NAMES: [&str; 26] = [
    "main",
    "Main",
    "pg-15",
    "a b",
    "größe",
    "x.y",
    "0",
    "None",
    "true",
    "s'q",
    "[x",
    "barman2",
    " lead",
    "a]b",
    "x;y",
    "x # y",
    "x=y",
    "x : y",
    "a/b",
    "\"q\"",
    "--all",
    "b\\n",
    "ünï\u{a0}½",
    "𝄞",
    "a\tb",
    "$HOME",
];
/// Names that stand alone.
const SINGULAR: [&str; 8] = [
    "Barman", "BARMAN", "default", "All", "x ", "m]", "Default", "barman ",
];

const CLUSTERS: [&str; 5] = ["blue", "green", "Blue", "'blue'", "blue green"];

/// The files beside the main one.
const OTHERS: [&str; 4] = ["d/a.conf", "d/B.conf", "d/ä.conf", "home/.barman.auto.conf"];

pub fn configuration(random: &mut Random, servers: u32) -> Files {
    let mut main = String::from(random.pick(&["", "", "\n", "# barman\n", "  \n;\n"]));
    main.push_str("[barman]\n");
    let head = head(random);
    write(random, &mut main, &head);
    let most = random.pick(&[0, 5, 5, 40]);
    let inherited: fn(&OptionSpec) -> bool = |spec| spec.scope.global && spec.name != "keepalive_interval";
    write_options(random, &mut main, inherited, most);
    let mut files = Files::new();
    let mut others = OTHERS.map(|_| String::new());
    for number in 0..servers {
        let name = match SINGULAR.get(number as usize) {
            Some(name) if random.one_in(12) => (*name).to_owned(),
            _ => format!("{}{number}", random.pick(&NAMES)),
        };
        let place = random.below(7) as usize;
        section(random, others.get_mut(place).unwrap_or(&mut main), &name);
        // Now and then a second piece of it, in another file or further down in the same.
        if random.one_in(8) {
            let place = random.below(5) as usize;
            let file = others.get_mut(place).unwrap_or(&mut main);
            file.push_str(&format!("[{name}]\n"));
            write_options(random, file, of_servers, 3);
        }
        if random.one_in(10) {
            let model = random.pick(&[
                "model0",
                "model1",
                "nosuch",
                "",
                " model0\n",
                "model1\r\n",
                "\n",
                "Model0",
            ]);
            files.push((format!("home/{name}/.active-model.auto"), model.into()));
        }
    }
    for number in 0..3 {
        let place = random.below(9) as usize;
        model(random, others.get_mut(place).unwrap_or(&mut main), number);
    }
    if random.one_in(4) {
        others[1].push_str("[DEFAULT]\nparallel_jobs = 3\nowner = somebody\nwho = %(owner)s\n");
    }
    if random.one_in(8) {
        let defaults = random.pick(&[
            "parallel_jobs = 4\n",
            "owner : me\n",
            "description =\n",
            "check_timeout = x\n",
        ]);
        main.push_str(&format!("[DEFAULT]\n{defaults}"));
    }
    // A section of the program that changes nothing.
    if random.one_in(6) {
        others[2].push_str(random.pick(&[
            "[barman]\n",
            "[barman]\nbarman_user = USER\n",
            "[barman]\nBARMAN_HOME=DIR/home\n",
        ]));
    }
    files.push(("barman.conf".to_owned(), saved(random, main)));
    for (name, text) in OTHERS.iter().zip(others) {
        files.push(((*name).to_owned(), saved(random, text)));
    }
    for (name, text) in [
        ("d/.hidden.conf", "[broken"),
        ("d/x.conf.bak", "[broken"),
        ("d/sub.conf/x.conf", "[broken"),
    ] {
        files.push((name.to_owned(), text.into()));
    }
    files
}

/// The options of the program itself.
fn head(random: &mut Random) -> Vec<String> {
    let mut head = vec![
        "barman_home = DIR/home".to_owned(),
        "barman_user = USER".to_owned(),
        "log_file = DIR/log".to_owned(),
    ];
    for (option, values, times) in [
        (
            "configuration_files_directory",
            &[
                "DIR/d",
                "DIR/d",
                "DIR/d/",
                "~/d",
                "d",
                "'DIR/d'",
                "DIR/nosuch",
                "DIR/barman.conf",
                "",
                "None",
            ][..],
            2,
        ),
        (
            "barman_lock_directory",
            &["DIR/locks", "locks", "~/locks", "", "None"],
            3,
        ),
        ("log_level", &["INFO", "debug", "10", "WARNING", "x", "", "0"], 5),
        ("lock_directory_cleanup", &["true", "OFF", "0", "'no'"], 5),
        ("config_changes_queue", &["DIR/queue", "q", "~/q", "None", ""], 5),
        ("description", &["ignored", ""], 8),
        ("conninfo", &["host=ignored", "x"], 8),
    ] {
        if random.one_in(times) {
            head.push(format!("{option} = {}", random.pick(values)));
        }
    }
    // Written twice, the last one holds.
    if random.one_in(8) {
        head.insert(0, "barman_home = DIR/elsewhere".to_owned());
    }
    head
}

/// A file in one of the ways in which editors save it.
fn saved(random: &mut Random, text: String) -> Vec<u8> {
    let text = match random.below(24) {
        0 => text.replace('\n', "\r\n"),
        1 => text.replace('\n', "\r"),
        2 => text.trim_end().to_owned(),
        3 => format!("{text}  "),
        _ => text,
    };
    text.into_bytes()
}

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
    if random.one_in(20) {
        lines.push(format!("model = {}", random.pick(&["false", "no", "OFF"])));
    }
    write(random, file, &lines);
    let most = random.pick(&[3, 8, 8, 60]);
    write_options(random, file, of_servers, most);
}

fn model(random: &mut Random, file: &mut String, number: u32) {
    file.push_str(&format!("[model{number}]\n"));
    let mut lines = vec![
        format!("model = {}", random.pick(&["true", "on", "T", "'yes'"])),
        format!("cluster = {}", random.pick(&CLUSTERS)),
    ];
    if random.one_in(10) {
        lines[1] = random.pick(&["cluster = ", "cluster = None"]).to_owned();
    }
    write(random, file, &lines);
    let most = random.pick(&[6, 6, 40]);
    let allowed: fn(&OptionSpec) -> bool =
        |spec| spec.scope.model && spec.name != "cluster" && spec.name != "disabled";
    // What a model may not set.
    let any: fn(&OptionSpec) -> bool = |spec| spec.name != "cluster" && spec.name != "disabled";
    let wanted = if random.one_in(6) { any } else { allowed };
    write_options(random, file, wanted, most);
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
        let unknown = random.pick(&[
            "paralel_jobs",
            "archive_command",
            "kéy",
            "a b",
            "barman_home",
            "[x]y",
            "ÀÉ",
            "x\ty",
            "-",
            "'conninfo'",
            "keepalive_internval",
            "xlogdb_directory ",
        ]);
        let value = if unknown.starts_with("xlogdb") {
            path(random)
        } else {
            "x".to_owned()
        };
        lines.push(format!("{unknown} = {value}"));
    }
    write(random, file, &lines);
}

/// Writes lines `option = value`, each in one of the ways in which it can be written.
fn write(random: &mut Random, file: &mut String, lines: &[String]) {
    // Options may be indented, where nothing stands before them that they would continue.
    let margin = if file.trim_end().ends_with(']') && random.one_in(4) {
        random.pick(&["  ", "\t", "\u{a0}"])
    } else {
        ""
    };
    for line in lines {
        let (option, value) = line.split_once(" = ").unwrap();
        let option = if random.one_in(8) {
            option.to_uppercase()
        } else {
            option.to_owned()
        };
        let between = random.pick(&[" = ", "=", " : ", ":", "\t=  "]);
        // Without these nothing works.
        let first = [
            "barman_",
            "log_",
            "lock_directory_cleanup",
            "model",
            "configuration_",
        ];
        let needed = first.iter().any(|name| option.to_lowercase().starts_with(name));
        let value = if random.one_in(30) && !needed {
            continued(random, value, margin)
        } else {
            value.to_owned()
        };
        file.push_str(&format!("{margin}{option}{between}{value}"));
        file.push_str(random.pick(&[
            "\n",
            "\n",
            "\n",
            " \n",
            "\t \n",
            "\n\n",
            "\n# comment\n",
            "\n    ; comment\n",
            "\n\n \n",
            "\r\n",
        ]));
    }
}

/// A value that goes on in the next lines.
fn continued(random: &mut Random, value: &str, margin: &str) -> String {
    let more = random.pick(&[
        "more",
        "[x]",
        "a = b",
        "'q'",
        "x : y",
        "more\n{margin}   and more",
        "more\n\n{margin}  and more",
    ]);
    let between = random.pick(&[
        "\n{margin}  ",
        "\n{margin}\t",
        "\n# comment\n{margin} ",
        "\n\n{margin}    ",
    ]);
    let more = format!("{between}{more}").replace("{margin}", margin);
    match value.split_once(' ') {
        Some((first, rest)) if random.one_in(2) => {
            format!("{first}{}{rest}", between.replace("{margin}", margin))
        }
        _ if random.one_in(4) => more,
        _ => format!("{value}{more}"),
    }
}
