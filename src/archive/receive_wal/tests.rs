//! Resets on real directories, and the watch over a program that stands in for `pg_receivewal`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use crate::archive::sandbox::Sandbox;
use crate::base::report::{NoProgress, Progress, Reporter, Total};
use crate::postgres::facts::{Facts, ReplicationSlot};

use super::program::Ended;
use super::readiness::Ready;
use super::{ReceiveError, program, reset};

const SEGMENT: u64 = 1 << 20;

/// Collects what is said.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).collect()
    }
}

impl Reporter for Heard {
    fn info(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn warning(&self, line: &str) {
        self.info(&format!("WARNING {line}"));
    }
    fn error(&self, line: &str) {
        self.info(&format!("ERROR {line}"));
    }
    fn debug(&self, _line: &str) {}
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
        Box::new(NoProgress)
    }
}

/// A server on timeline 1 that is at `current` and keeps WAL from `slot` on.
fn server(current: &str, slot: Option<&str>) -> Ready {
    let mut facts = Facts::default();
    facts.current_lsn = Some(current.parse().unwrap());
    facts.xlog_segment_size = SEGMENT;
    facts.replication_slot = slot.map(|lsn| ReplicationSlot {
        slot_name: "s".to_owned(),
        active: false,
        restart_lsn: Some(lsn.to_owned()),
    });
    Ready {
        facts,
        timeline: Some(1),
    }
}

fn name(segment: u32) -> String {
    format!("0000000100000000{segment:08X}")
}

const ALIGNED: &str = "Nothing to do. Position of receive-wal is aligned.";

fn reset_says(sandbox: &Sandbox, ready: &Ready) -> Result<Vec<String>, ReceiveError> {
    let heard = Heard::default();
    reset::reset(&sandbox.root.join("streaming"), ready, &heard)?;
    Ok(heard.lines())
}

#[test]
fn what_the_server_can_go_on_from_is_aligned() {
    let sandbox = Sandbox::new();
    let ready = server("0/600100", Some("0/300000"));
    assert_eq!(
        reset_says(&sandbox, &ready).unwrap(),
        [ALIGNED],
        "nothing received yet"
    );
    // Behind the slot's beginning and not ahead of the server: it has everything that follows.
    for partial in [3, 4, 6] {
        let file = sandbox.write(&format!("streaming/{}.partial", name(partial)), b"WAL");
        assert_eq!(reset_says(&sandbox, &ready).unwrap(), [ALIGNED], "{partial}");
        fs::remove_file(file).unwrap();
    }
    sandbox.write(&format!("streaming/{}", name(5)), b"WAL");
    assert_eq!(reset_says(&sandbox, &ready).unwrap(), [ALIGNED], "the next is 6");
}

#[test]
fn received_wal_survives_a_reset_and_is_archived() {
    let sandbox = Sandbox::new();
    let old = sandbox.write(&format!("streaming/{}.partial", name(2)), b"WAL");
    let lines = reset_says(&sandbox, &server("0/600100", Some("0/400000"))).unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0], "Resetting receive-wal directory status");
    assert!(lines[1].starts_with("Keeping status file"), "{lines:?}");
    assert!(lines[2].ends_with(&format!("{}.partial", name(4))), "{lines:?}");
    assert!(lines[3].contains("take a new backup"), "{lines:?}");
    assert_eq!(fs::read(old).unwrap(), b"WAL");
    assert_eq!(
        sandbox.list("streaming"),
        [format!("{}.partial", name(2)), format!("{}.partial", name(4))]
    );
    // The empty file of a reset is no loss; without a slot streaming goes on at the segment being written.
    let lines = reset_says(&sandbox, &server("0/600100", None)).unwrap();
    assert!(lines[1].starts_with("Removing status file"), "{lines:?}");
    assert_eq!(
        sandbox.list("streaming"),
        [format!("{}.partial", name(2)), format!("{}.partial", name(6))]
    );
}

#[test]
fn complete_segments_alone_are_a_position() {
    let sandbox = Sandbox::new();
    sandbox.write(&format!("streaming/{}", name(2)), b"WAL");
    let lines = reset_says(&sandbox, &server("0/900000", None)).unwrap();
    assert_eq!(lines[0], "Resetting receive-wal directory status");
    assert_eq!(
        sandbox.list("streaming"),
        [name(2), format!("{}.partial", name(9))]
    );
}

#[test]
fn a_position_ahead_of_the_server_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write(&format!("streaming/{}.partial", name(9)), b"WAL");
    let error = reset_says(&sandbox, &server("0/600100", None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "The receive-wal position is ahead of PostgreSQL current WAL lsn ({}.partial > {})",
            name(9),
            name(6)
        )
    );
    assert_eq!(sandbox.list("streaming"), [format!("{}.partial", name(9))]);
}

#[test]
fn only_the_newest_partial_of_a_wrong_size_is_truncated() {
    let sandbox = Sandbox::new();
    let streaming = sandbox.root.join("streaming");
    let old = sandbox.write(&format!("streaming/{}.partial", name(1)), b"old");
    let new = sandbox.write(&format!("streaming/{}.partial", name(2)), b"new");
    let heard = Heard::default();
    reset::truncate_damaged(&streaming, SEGMENT, &heard).unwrap();
    assert_eq!(
        heard.lines(),
        [format!(
            "Truncating partial file {} that has wrong size 3 while {SEGMENT} was expected.",
            new.display()
        )]
    );
    assert_eq!(
        (fs::read(&old).unwrap(), fs::read(&new).unwrap()),
        (b"old".to_vec(), Vec::new())
    );
    fs::write(&new, vec![1; 1 << 20]).unwrap();
    reset::truncate_damaged(&streaming, SEGMENT, &heard).unwrap();
    assert_eq!(fs::metadata(&new).unwrap().len(), SEGMENT);
    assert!(heard.lines().is_empty());
}

#[test]
fn lines_and_exit_codes_are_passed_on() {
    let run = |script: &str| {
        let heard = Heard::default();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let result = program::supervise("main", command, || false, &heard);
        let mut lines = heard.lines();
        lines.sort();
        (lines, result.map_err(|error| error.to_string()))
    };
    let (lines, result) = run("echo out; echo err >&2; exit 7");
    assert_eq!(lines, ["main: err", "main: out"]);
    assert_eq!(
        result.unwrap_err(),
        "ArchiverFailure:sh terminated with error code: 7"
    );
    let (lines, result) = run("printf 'no line end'");
    assert_eq!(lines, ["main: no line end"]);
    assert_eq!(result.unwrap(), Ended::ByItself);
}

#[test]
fn what_has_to_be_started_anew_is_stopped() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'exit 0' INT; while :; do sleep 0.05; done"]);
    let ended = program::supervise("main", command, || true, &Heard::default());
    assert_eq!(ended.unwrap(), Ended::Outdated);
}
