//! The completions of the shells: what clap knows of the options, and the names of servers and backups, which the program
//! is asked for ([`super::complete`]).

use std::collections::BTreeMap;

use clap::{Command, ValueEnum};
use clap_complete::Shell;

/// The completions of every program for every shell, by file name.
pub(super) fn files(programs: Vec<Command>) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for mut program in programs {
        let name = program.get_name().to_owned();
        let has_servers = program.has_subcommands();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut program, &name, &mut text);
            if has_servers {
                text = with_names(shell, &name, &String::from_utf8_lossy(&text)).into_bytes();
            }
            files.insert(clap_complete::Generator::file_name(&shell, &name), text);
        }
    }
    files
}

/// Completions that ask for names.
fn with_names(shell: Shell, program: &str, text: &str) -> String {
    match shell {
        Shell::Bash => bash(program, text),
        Shell::Zsh => zsh(program, text),
        Shell::Fish => fish(program, text),
        other => {
            log::error!("no names for {:?}", other.to_possible_value());
            text.to_owned()
        }
    }
}

/// In the place of options, which clap offers also before a dash is typed.
fn bash(program: &str, text: &str) -> String {
    let wrapper = format!(
        r#"
_{program}_names() {{
    _{program} "$@"
    local cur="${{COMP_WORDS[COMP_CWORD]}}" names
    if [[ "$cur" != -* ]]; then
        names="$({program} complete "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)"
        [[ -z "$names" ]] || COMPREPLY=($(compgen -W "$names" -- "$cur"))
    fi
}}

if [["#
    );
    let (functions, registration) = text.rsplit_once("\nif [[").unwrap_or((text, ""));
    let registration = registration.replace(
        &format!("complete -F _{program} "),
        &format!("complete -F _{program}_names "),
    );
    format!("{functions}{wrapper}{registration}")
}

/// In the place of files.
fn zsh(program: &str, text: &str) -> String {
    let function = format!(
        r#"
_{program}_names() {{
    local -a names
    names=(${{(f)"$({program} complete ${{words[1,CURRENT-1]}} 2>/dev/null)"}})
    compadd -V names -a names
}}

if [ "$funcstack[1]" ="#
    );
    let is_name = |line: &str| line.contains("server_name --") || line.contains("backup_id --");
    let asked: String = text
        .split_inclusive('\n')
        .map(|line| {
            if is_name(line) {
                line.replacen(":_default'", &format!(":_{program}_names'"), 1)
            } else {
                line.to_owned()
            }
        })
        .collect();
    match asked.rsplit_once("\nif [ \"$funcstack[1]\" =") {
        Some((functions, registration)) => format!("{functions}{function}{registration}"),
        None => asked,
    }
}

/// For every command; nothing is said where nothing fits.
fn fish(program: &str, text: &str) -> String {
    format!(
        "{text}complete -c {program} -n \"not __fish_{program}_needs_command\" -k -a \"({program} complete (commandline -opc)[2..] \
         2>/dev/null)\"\n"
    )
}
