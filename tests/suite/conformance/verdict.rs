//! What a comparison came to: identical, different on purpose (`tests/conformance/intended.txt`), or different.
//!
//! Every verdict is a line of `target/tmp/conformance.results`, which `tests/conformance/report` counts.

use std::io::Write;
use std::sync::OnceLock;

use regex::Regex;

use super::cases_delete::short_refusal;
use super::outcome::Outcome;

const TEXT: &str = include_str!("../../conformance/intended.txt");
/// The bullets that rules and cases refer to.
const DIFFERENCES: &str = include_str!("../../conformance/differences.md");

/// How two outcomes compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Identical,
    /// Equal after the changes that these bullets of differences.md tell.
    Intended(Vec<String>),
    Unintended,
}

/// An intended difference: where it shows, and what makes the outcomes equal.
struct Rule {
    bullet: String,
    /// Over `STATE: COMMAND LINE`.
    when: Regex,
    /// What one of the outcomes must say, else the rule does not apply.
    conditions: Vec<Edit>,
    edits: Vec<Edit>,
}

struct Edit {
    barman: bool,
    barkeep: bool,
    stream: String,
    pattern: Regex,
    replacement: String,
}

/// Fails unless differences.md has this bullet.
pub fn assert_bullet(bullet: &str) {
    assert!(
        DIFFERENCES.contains(&format!("**{bullet}**")),
        "differences.md has no bullet **{bullet}**"
    );
}

fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let always = Regex::new("").unwrap();
        let mut rules: Vec<Rule> = Vec::new();
        for line in TEXT
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if let Some(bullet) = line.strip_prefix("difference ") {
                assert_bullet(bullet);
                rules.push(Rule {
                    bullet: bullet.to_owned(),
                    when: always.clone(),
                    conditions: Vec::new(),
                    edits: Vec::new(),
                });
                continue;
            }
            let rule = rules.last_mut().unwrap();
            if let Some(pattern) = line.strip_prefix("when ") {
                rule.when = Regex::new(pattern).unwrap();
            } else if let Some(condition) = line.strip_prefix("if ") {
                rule.conditions.push(Edit::parse(&format!("{condition} =>")));
            } else {
                rule.edits.push(Edit::parse(line));
            }
        }
        rules
    })
}

impl Edit {
    /// `barman stdout: PATTERN => REPLACEMENT`
    fn parse(line: &str) -> Edit {
        let (head, rest) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("intended.txt: {line}"));
        let (who, stream) = head
            .split_once(' ')
            .unwrap_or_else(|| panic!("intended.txt: {line}"));
        let (pattern, replacement) = rest
            .split_once(" =>")
            .unwrap_or_else(|| panic!("intended.txt: {line}"));
        let replacement = replacement.strip_prefix(' ').unwrap_or(replacement);
        assert!(
            ["barman", "barkeep", "both"].contains(&who),
            "intended.txt: {line}"
        );
        Edit {
            barman: who != "barkeep",
            barkeep: who != "barman",
            stream: stream.to_owned(),
            pattern: Regex::new(pattern).unwrap(),
            replacement: replacement.replace("\\n", "\n").replace("\\t", "\t"),
        }
    }

    /// Whether the pattern is found.
    fn holds(&self, barman: &Outcome, barkeep: &Outcome) -> bool {
        let mut outcome = if self.barman {
            barman.clone()
        } else {
            barkeep.clone()
        };
        let code = outcome.code.to_string();
        self.pattern.is_match(if self.stream == "code" {
            &code
        } else {
            self.text(&mut outcome)
        })
    }

    fn text<'a>(&self, outcome: &'a mut Outcome) -> &'a mut String {
        match self.stream.as_str() {
            "stdout" => &mut outcome.stdout,
            "stderr" => &mut outcome.stderr,
            "hooks" => &mut outcome.hooks,
            "catalog" => &mut outcome.catalog,
            "destination" => &mut outcome.destination,
            "log" => &mut outcome.log,
            other => panic!("intended.txt: no stream {other}"),
        }
    }

    /// Whether it changed something.
    fn apply(&self, outcome: &mut Outcome) -> bool {
        if self.stream == "code" {
            let code = self
                .pattern
                .replace_all(&outcome.code.to_string(), self.replacement.as_str())
                .parse()
                .unwrap();
            return std::mem::replace(&mut outcome.code, code) != code;
        }
        let text = self.text(outcome);
        let edited = self
            .pattern
            .replace_all(text, self.replacement.as_str())
            .into_owned();
        let changed = edited != *text;
        // A log and a tree are lists of lines, without an end of the last one.
        let list = changed && !self.stream.starts_with("std");
        *text = if list {
            edited.trim_end().to_owned()
        } else {
            edited
        };
        changed
    }
}

/// Compares Barman's outcome with ours; on a difference the two come back with the intended ones removed.
pub fn judge(label: &str, barman: &mut Outcome, barkeep: &mut Outcome) -> Verdict {
    if barman == barkeep {
        return Verdict::Identical;
    }
    let mut bullets: Vec<String> = Vec::new();
    let (said_by_barman, said_by_barkeep) = (barman.clone(), barkeep.clone());
    let applies = |rule: &&Rule| {
        rule.when.is_match(label)
            && rule
                .conditions
                .iter()
                .all(|condition| condition.holds(&said_by_barman, &said_by_barkeep))
    };
    short_refusal(barman);
    if *barman != said_by_barman {
        bullets.push("delete refusal".to_owned());
    }
    if barman == barkeep {
        return Verdict::Intended(bullets);
    }
    for rule in rules().iter().filter(applies) {
        let mut changed = false;
        for edit in &rule.edits {
            changed |= edit.barman && edit.apply(barman);
            changed |= edit.barkeep && edit.apply(barkeep);
        }
        if changed && !bullets.contains(&rule.bullet) {
            bullets.push(rule.bullet.clone());
        }
        if barman == barkeep {
            return Verdict::Intended(bullets);
        }
    }
    Verdict::Unintended
}

/// Notes the verdict on one case.
pub fn record(name: &str, command: &str, verdict: &Verdict) {
    let (word, bullets) = match verdict {
        Verdict::Identical => ("identical", String::new()),
        Verdict::Intended(bullets) => ("intended", bullets.join("; ")),
        Verdict::Unintended => ("unintended", String::new()),
    };
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance.results");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(format!("{name}\t{command}\t{word}\t{bullets}\n").as_bytes())
        .unwrap();
}
