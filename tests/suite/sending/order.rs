//! Recordings of system calls: what would be there after a power cut at any moment.

use std::path::Path;
use std::process::Command;

use super::{Hosts, call_as_root, content, joined, name};
use crate::support::scratch::write_file;
use crate::support::system_calls::SystemCalls;
use crate::support::tool::Tool;

/// What is recorded.
const CALLS: &str = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,exit_group";

/// The system calls of `put-wal`: what it answers for has been synced, content and name.
pub(super) fn of_the_server(tool: &Tool) {
    let hosts = Hosts::new("order", tool);
    let incoming = hosts.incoming();
    let names: Vec<String> = (1..=3).map(name).collect();
    let stream = hosts.scratch.join("stream");
    std::fs::write(
        &stream,
        delivery(&(1..=3).map(|n| (name(n), content(n))).collect::<Vec<_>>()),
    )
    .unwrap();
    let calls = traced(&hosts, tool, &stream);
    let end = calls.last(&["exit_group(0)"]);
    let names_synced = calls.last(&["fsync(", &format!("{}>", incoming.display())]);
    assert!(names_synced.is_before(end), "{calls}");
    for name in &names {
        let synced = calls.first(&["fsync(", &format!("-{name}>")]);
        let named = calls.first(&["link", &format!("incoming/{name}\"")]);
        assert!(
            synced.is_before(named) && named.is_before(names_synced),
            "{name}:\n{calls}"
        );
    }
    // Another content: it is on disk beside the first before the answer.
    std::fs::write(&stream, delivery(&[(name(1), content(2))])).unwrap();
    let calls = traced(&hosts, tool, &stream);
    let errors = hosts.manager.server("main").join("errors");
    let synced = calls.first(&["fsync(", &format!("-{}>", names[0])]);
    let named = calls.first(&["link", ".duplicate\""]);
    let name_synced = calls.first(&["fsync(", &format!("{}>", errors.display())]);
    assert!(synced.is_before(named) && named.is_before(name_synced), "{calls}");
    assert_eq!(hosts.arrived(), (1..=3).collect());
    let check = hosts.manager.run(tool, &["check", "main"]);
    assert!(
        check.stdout.contains("archiver errors: FAILED (duplicates: 1, '"),
        "{}",
        check.stdout
    );
}

/// The client notes what was acknowledged ahead when the server has answered, which it does when everything is on its disk; and
/// it answers when the note is on the disk.
pub(super) fn of_the_client(tool: &Tool) {
    let (hosts, bin) = joined("noted", tool);
    hosts.ready(1..=3);
    let mut strace = Command::new("strace");
    strace.env_clear().current_dir(hosts.scratch.join("data"));
    let calls = SystemCalls::of(
        strace,
        &call_as_root(&hosts, tool, &bin, 1),
        CALLS,
        &hosts.scratch.join("calls"),
    );
    // The server: contents, names, directory, answer.
    let incoming = format!("{}>", hosts.incoming().display());
    let last = calls.last(&["link", &format!("{}/", hosts.incoming().display())]);
    for number in 1..=3 {
        let content = calls.first(&["fsync(", &format!("-{}>", name(number))]);
        let link = calls.first(&["link", &format!("incoming/{}\"", name(number))]);
        assert!(content.is_before(link), "{calls}");
    }
    let on_disk = calls.after(last, &["fsync(", &incoming]);
    let answer = calls.after_in_its_thread(on_disk, &["exit_group(0)"]);
    // The client: note, content, name, answer.
    let note = calls.first(&["write(", ".sent.tmp>", &name(2), &name(3)]);
    assert!(answer.is_before(note), "{calls}");
    let content = calls.after(note, &["fsync(", ".sent.tmp>"]);
    let renamed = calls.after(content, &["rename", ".sent.tmp\"", ".sent\""]);
    let spool = format!("{}>", hosts.scratch.join("tmp/.barkeep.0").display());
    let named = calls.after(renamed, &["fsync(", &spool]);
    calls.after(named, &["exit_group(0)"]);
}

/// Runs `put-wal` to its successful end and returns its system calls.
fn traced(hosts: &Hosts, tool: &Tool, stream: &Path) -> SystemCalls {
    let record = hosts.scratch.join("calls");
    write_file(&record, "", 0o666, &hosts.manager.account);
    let mut strace = hosts.manager.account.applied_to(Command::new("strace"));
    strace.stdin(std::fs::File::open(stream).unwrap());
    let command = hosts.manager.command(tool, &["put-wal", "main"]);
    SystemCalls::of(strace, &command, CALLS, &record)
}

/// What a client sends.
fn delivery(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_704_990_000);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let mut list = String::new();
    for (name, content) in files {
        append(name, content);
        let sum: String = Sha256::digest(content)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        list.push_str(&format!("{sum} *{name}\n"));
    }
    append("SHA256SUMS", list.as_bytes());
    archive.into_inner().unwrap()
}
