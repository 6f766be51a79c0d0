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
        if !has_servers {
            program = visible(&program);
        }
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

/// A program without the options that are in no help, which clap would offer.
fn visible(program: &Command) -> Command {
    let shown = program.get_arguments().filter(|argument| !argument.is_hide_set());
    Command::new(program.get_name().to_owned())
        .args(shown.cloned())
        .version(crate::VERSION)
        .disable_version_flag(program.is_disable_version_flag_set())
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

/// In the place of options, which clap offers also before a dash is typed. Names may have blanks.
fn bash(program: &str, text: &str) -> String {
    let wrapper = format!(
        r#"
_{program}_names() {{
    _{program} "$@"
    local cur="${{COMP_WORDS[COMP_CWORD]}}" name
    [[ "$cur" != -* ]] || return
    local -a names
    mapfile -t names < <({program} complete "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)
    [[ ${{#names[@]}} -gt 0 ]] || return
    COMPREPLY=()
    for name in "${{names[@]}}"; do
        printf -v name %q "$name"
        [[ "$name" != "$cur"* ]] || COMPREPLY+=("$name")
    done
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

/// In the place of files. What was typed is kept before clap's functions take the command, or more, off it.
fn zsh(program: &str, text: &str) -> String {
    let function = format!(
        r#"
_{program}_names() {{
    local -a names
    names=(${{(f)"$({program} complete ${{(Q)typed}} 2>/dev/null)"}})
    compadd -V names -a names
}}

if [ "$funcstack[1]" ="#
    );
    let begin = format!("_{program}() {{\n");
    let keeping = format!("{begin}    local -a typed=(\"${{(@)words[2,CURRENT-1]}}\")\n");
    let is_name = |line: &str| line.contains("server_name --") || line.contains("backup_id --");
    let asked: String = text
        .replacen(&begin, &keeping, 1)
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

/// In the place of files, where there are names. clap's function takes an option that waits for its value for a mistake, and
/// offers nothing then.
fn fish(program: &str, text: &str) -> String {
    let parse = format!("    argparse -s (__fish_{program}_global_optspecs) -- $cmd 2>/dev/null\n");
    let patient = format!(
        "{parse}    or begin\n        set -e cmd[-1]\n        {}    end\n",
        parse.trim_start()
    );
    let text = text.replacen(&parse, &patient, 1);
    format!(
        r#"{text}
function __fish_{program}_names
    {program} complete (commandline -opc)[2..] 2>/dev/null
end

function __fish_{program}_has_names
    __fish_{program}_needs_command >/dev/null
    and return 1
    set -l names (__fish_{program}_names)
    set -q names[1]
end

complete -c {program} -n "__fish_{program}_has_names" -f -k -a "(__fish_{program}_names)"
"#
    )
}
