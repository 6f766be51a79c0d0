//! Random configurations that are broken: in one place that is known, or by changes at random.

use crate::generator::{Files, configuration};
use crate::random_numbers::Random;

/// A configuration with one mistake that concerns all of it.
pub fn broken(random: &mut Random) -> Files {
    let mut files = configuration(random, 3);
    let index = files.iter().position(|(name, _)| name == "barman.conf").unwrap();
    let index = if random.one_in(4) { index + 1 } else { index };
    let text = String::from_utf8(files[index].1.clone()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let place = random.below(lines.len() as u32 + 1) as usize;
    match random.below(17) {
        0 => lines.insert(place, "lonely"),
        1 => lines.insert(0, "early = 1"),
        2 => lines.insert(place, "[unclosed"),
        3 => lines.insert(place, "= nameless"),
        4 => lines.push("[all]\nconninfo = host=/nonexistent\nfoo = 1"),
        5 => lines.push("[nocluster]\nmodel = true\nfoo = 1\nparallel_jobs = x"),
        6 => lines.push("[doubtful]\nmodel = maybe"),
        7 => lines.push("[reference]\ndescription = %(nosuch)s"),
        8 => lines.push("[percent]\ndescription = 100% %%"),
        9 => lines.retain(|line| !line.to_lowercase().contains("barman_home")),
        10 => lines.insert(place, "[]"),
        11 => lines.push("[barman]\nparallel_jobs = 77"),
        12 => lines.insert(0, "\u{FEFF}"),
        13 => lines.push("[DEFAULT]\nbarman_user = nobody\ncluster = x\nmodel = true"),
        14 => lines.push("[barman]\nbarman_user = nosuchuser"),
        15 => lines.insert(place, ": nameless"),
        _ => lines.retain(|line| !line.starts_with("[barman]")),
    }
    let mut content = lines.join("\n").into_bytes();
    if random.one_in(12) {
        content.push(0xFF);
    }
    files[index].1 = content;
    files
}

/// What may come in anywhere: the characters of the grammar, and those that some take for blanks or line ends.
const CHARACTERS: [&str; 24] = [
    "[", "]", "=", ":", "#", ";", "'", "\"", " ", "\t", "\n", "\n ", "\r", "\u{c}", "\u{b}", "\u{1c}",
    "\u{85}", "\u{a0}", "\u{2028}", "\u{feff}", "é", "\\", "%", "\0",
];

/// A configuration changed in a few places at random: what is left of it may still be one.
pub fn changed(random: &mut Random) -> Files {
    let mut files = configuration(random, 6);
    let first = files.iter().position(|(name, _)| name == "barman.conf").unwrap();
    for _ in 0..=random.below(4) {
        let index = if random.one_in(2) {
            first
        } else {
            first + 1 + random.below(4) as usize
        };
        let Ok(text) = String::from_utf8(files[index].1.clone()) else {
            continue;
        };
        files[index].1 = change(random, &text).into_bytes();
    }
    if random.one_in(20) {
        let content = &mut files[first + random.below(5) as usize].1;
        let place = random.below(content.len() as u32 + 1) as usize;
        content.insert(place, random.pick(&[0xFF, 0xC3, 0x80]));
    }
    files
}

/// One change of a text.
fn change(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    // The first lines say where everything is.
    let head = lines
        .iter()
        .take(12)
        .position(|line| line.contains("log_file"))
        .map_or(0, |line| line + 1);
    let count = (lines.len() - head.min(lines.len() - 1)) as u32;
    let place = head.min(lines.len() - 1) + random.below(count) as usize;
    let line = lines[place].clone();
    match random.below(9) {
        0 => drop(lines.remove(place)),
        1 => lines.insert(place, line),
        2 => {
            let other = head.min(lines.len() - 1) + random.below(count) as usize;
            lines.swap(place, other);
        }
        3 => {
            lines[place] = format!(
                "{}{line}",
                random.pick(&[" ", "  ", "\t", "\u{a0}", "\u{c}", "\u{1c}"])
            )
        }
        4 => lines[place] = line.trim_start().to_owned(),
        5 => lines[place] = without_one(random, &line),
        6 => lines.truncate(place + 1),
        _ => lines[place] = with_one(random, &line),
    }
    lines.join("\n")
}

fn without_one(random: &mut Random, line: &str) -> String {
    let count = line.chars().count() as u32;
    let gone = random.below(count.max(1)) as usize;
    line.chars()
        .enumerate()
        .filter(|(index, _)| *index != gone)
        .map(|(_, character)| character)
        .collect()
}

fn with_one(random: &mut Random, line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    // Those at the beginning matter most.
    let place = if random.one_in(3) {
        0
    } else {
        random.below(characters.len() as u32 + 1) as usize
    };
    let (before, after) = characters.split_at(place);
    let new = random.pick(&CHARACTERS);
    format!(
        "{}{new}{}",
        before.iter().collect::<String>(),
        after.iter().collect::<String>()
    )
}
