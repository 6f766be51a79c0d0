//! The completions of bash, zsh and fish, loaded and asked in the shells themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::process::run;
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;

/// What a shell offers for a line.
type Ask = fn(&Place, &str) -> BTreeSet<String>;

/// The tests of this module, for the shells that are there.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    let shells: [(&str, Ask); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];
    let installed = |shell: &str| Path::new("/usr/bin").join(shell).exists();
    shells
        .into_iter()
        .map(|(shell, ask)| {
            let tool = barkeep.clone();
            Trial::test(format!("completions::{shell}"), move || {
                completed(&tool, shell, ask);
                Ok(())
            })
            .with_ignored_flag(!installed(shell))
        })
        .collect()
}

/// A line, what must be offered, and what must not.
const LINES: [(&str, &[&str], &[&str]); 11] = [
    ("barman dele", &["delete"], &["main"]),
    (
        "barman delete ",
        &["main", "other", "two words"],
        &["file", "all", "delete"],
    ),
    ("barman delete m", &["main"], &["other", "file"]),
    (
        "barman delete main ",
        &["20260102T000000", "20260101T000000", "latest"],
        &["main", "file"],
    ),
    (
        "barman delete main 20260101",
        &["20260101T000000"],
        &["20260102T000000"],
    ),
    ("barman delete main --d", &["--dry-run"], &["main"]),
    ("barman -c b.conf delete ma", &["main"], &["other"]),
    ("barman -c none.conf delete ", &[], &["main", "other"]),
    ("barman backup main ot", &["other"], &["main"]),
    (
        "barman backup --reuse-backup ",
        &["copy", "link", "off"],
        &["main", "file"],
    ),
    ("barman -f ", &["console", "json"], &["file"]),
];

/// Where the shells stand: beside a configuration and a file that nobody asks for.
struct Place {
    scratch: Scratch,
    path: String,
    completions: PathBuf,
}

impl Place {
    fn run(&self, shell: &str, script: &str, words: &[&str]) -> String {
        let mut command = Command::new(shell);
        command.args(if shell == "fish" {
            ["--no-config", "-c"]
        } else {
            ["-f", "-c"]
        });
        command.arg(script).arg(shell).args(words);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.scratch.path())
            .env("LC_ALL", "C.UTF-8");
        command
            .env("BARMAN_CONFIG_FILE", self.scratch.join("b.conf"))
            .current_dir(self.scratch.path());
        command.env("COMPLETIONS", &self.completions);
        let finished = run(command);
        assert_eq!(finished.stderr, "", "{shell}: {words:?}");
        finished.stdout
    }
}

fn completed(barkeep: &Tool, shell: &str, ask: Ask) {
    let scratch = Scratch::new("completions");
    for id in ["20260101T000000", "20260102T000000"] {
        let meta = scratch.join("home/main/meta");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(meta.join(format!("{id}-backup.info")), "").unwrap();
    }
    let home = scratch.join("home");
    let text = format!("[barman]\nbarman_home = {}\nbarman_user = root\n", home.display());
    std::fs::write(scratch.join("none.conf"), &text).unwrap();
    std::fs::write(
        scratch.join("b.conf"),
        format!("{text}[main]\n[other]\n[two words]\n"),
    )
    .unwrap();
    std::fs::write(scratch.join("file"), "").unwrap();
    let place = Place {
        path: format!("{}:/usr/bin:/bin", barkeep.bin.display()),
        completions: Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/completions"),
        scratch,
    };
    for (line, wanted, unwanted) in LINES {
        let offered = ask(&place, line);
        for word in wanted {
            assert!(offered.contains(*word), "{shell}: {line:?} offers {offered:?}");
        }
        for word in unwanted {
            assert!(!offered.contains(*word), "{shell}: {line:?} offers {offered:?}");
        }
    }
}

/// The function that is registered for the program, called as bash calls it.
fn bash(place: &Place, line: &str) -> BTreeSet<String> {
    let script = r#"
        source "$COMPLETIONS/barman.bash"
        read -ra COMP_WORDS <<<"$1"
        [[ "$1" != *" " ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        registered=($(complete -p barman))
        for index in "${!registered[@]}"; do
            [[ "${registered[index]}" != -F ]] || function=${registered[index + 1]}
        done
        "$function" barman "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let offered = place.run("bash", script, &[line]);
    unescaped(&offered)
}

/// One word a line, as it would be typed.
fn unescaped(offered: &str) -> BTreeSet<String> {
    offered.lines().map(|word| word.replace('\\', "")).collect()
}

fn fish(place: &Place, line: &str) -> BTreeSet<String> {
    let script = "source $COMPLETIONS/barman.fish; complete -C $argv[2]";
    let offered = place.run("fish", script, &[line]);
    offered
        .lines()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

/// zsh completes where a line is edited only: a shell within the shell, which tells what it is about to offer.
fn zsh(place: &Place, line: &str) -> BTreeSet<String> {
    let inner = r#"
        PROMPT=
        fpath=("$COMPLETIONS" $fpath)
        autoload -Uz compinit
        compinit -u -D
        bindkey '^I' complete-word
        compadd() {
            local -a offered
            [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] || {
                builtin compadd -A offered "$@"
                (( ! $#offered )) || print -rl -- "=OFFER "${^offered}=.
            }
            builtin compadd "$@"
        }
        leave() { print -r -- "=E""ND"; exit }
        comppostfuncs=(leave)
        print -r -- "=READ""Y""#;
    let file = place.scratch.join("inner");
    std::fs::write(&file, inner).unwrap();
    let script = r#"
        zmodload zsh/zpty
        zpty inner zsh -f -i
        zpty -w inner 'source ./inner'
        while zpty -r inner line; do [[ $line != *=READY* ]] || break; done
        zpty -n -w inner "$1"$'\t'
        while zpty -r inner line; do
            [[ $line != *=END* ]] || break
            [[ $line != *=OFFER\ *=.* ]] || print -r -- "${${line##*=OFFER }%%=.*}"
        done"#;
    unescaped(&place.run("zsh", script, &[line]))
}
