//! The system calls of a command, recorded, for what must be on the disk before something else happens.

use std::path::Path;
use std::process::Command;

/// A call and where it stands in the recording: other threads may have been at work between its begin and its end.
pub struct Call {
    thread: String,
    text: String,
    begun: usize,
    ended: usize,
}

impl Call {
    /// Whether it was over when the other one began.
    pub fn is_before(&self, other: &Call) -> bool {
        self.ended < other.begun
    }

    fn has(&self, parts: &[&str]) -> bool {
        parts.iter().all(|part| self.text.contains(part))
    }
}

/// All calls of a command, in the order in which they began.
pub struct SystemCalls(Vec<Call>);

impl SystemCalls {
    /// Runs `command` to its successful end under `strace` (which says as whom, and with which input), and records these
    /// calls, which are separated by commas.
    pub fn of(mut strace: Command, command: &Command, calls: &str, record: &Path) -> SystemCalls {
        let trace = format!("trace={calls}");
        strace
            .args(["-f", "-qq", "-y", "-s", "1000", "-e", &trace, "-o"])
            .arg(record)
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            strace.env(key, value.unwrap_or_default());
        }
        if let Some(directory) = command.get_current_dir() {
            strace.current_dir(directory);
        }
        let output = strace.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        SystemCalls::read(&std::fs::read_to_string(record).unwrap())
    }

    /// strace writes a call that another thread interrupts on two lines.
    fn read(text: &str) -> SystemCalls {
        let mut calls: Vec<Call> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (thread, what) = line.split_once(' ').unwrap();
            let what = what.trim_start();
            if let Some((_, rest)) = what.split_once(" resumed>") {
                let open = calls
                    .iter_mut()
                    .rev()
                    .find(|call| call.thread == thread && call.ended == usize::MAX);
                let open = open.unwrap_or_else(|| panic!("a call that never began: {line}"));
                open.text.push_str(rest);
                open.ended = number;
                continue;
            }
            let begun = what.strip_suffix(" <unfinished ...>");
            calls.push(Call {
                thread: thread.to_owned(),
                text: begun.unwrap_or(what).to_owned(),
                begun: number,
                ended: if begun.is_some() { usize::MAX } else { number },
            });
        }
        SystemCalls(calls)
    }

    /// The first call whose text has all these parts.
    pub fn first(&self, parts: &[&str]) -> &Call {
        self.found(self.0.iter().find(|call| call.has(parts)), parts, "")
    }

    /// The last one.
    pub fn last(&self, parts: &[&str]) -> &Call {
        self.found(self.0.iter().rev().find(|call| call.has(parts)), parts, "")
    }

    /// The first one that begins when `earlier` is over.
    pub fn after(&self, earlier: &Call, parts: &[&str]) -> &Call {
        let mut later = self.0.iter().filter(|call| earlier.is_before(call));
        self.found(later.find(|call| call.has(parts)), parts, &earlier.text)
    }

    /// The same, of the thread that made `earlier`.
    pub fn after_in_its_thread(&self, earlier: &Call, parts: &[&str]) -> &Call {
        let own = self.0.iter().filter(|call| call.thread == earlier.thread);
        let mut later = own.filter(|call| earlier.is_before(call));
        self.found(later.find(|call| call.has(parts)), parts, &earlier.text)
    }

    fn found<'a>(&self, call: Option<&'a Call>, parts: &[&str], after: &str) -> &'a Call {
        call.unwrap_or_else(|| panic!("no {parts:?} after \"{after}\":\n{self}"))
    }

    /// How many there are.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.0.iter().filter(|call| call.has(parts)).count()
    }
}

impl std::fmt::Display for SystemCalls {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for call in &self.0 {
            writeln!(to, "{}-{} {} {}", call.begun, call.ended, call.thread, call.text)?;
        }
        Ok(())
    }
}
