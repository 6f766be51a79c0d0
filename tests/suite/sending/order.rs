//! Recordings of system calls: what would be there after a power cut at any moment.

use std::path::Path;
use std::process::Command;

use super::{Hosts, call_as_root, content, joined, name};
use crate::support::scratch::write_file;
use crate::support::tool::Tool;

/// What is recorded.
const CALLS: &str = "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,exit_group";

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
    let at = |wanted: &dyn Fn(&str) -> bool| calls.iter().position(|line| wanted(line));
    let last = |wanted: &dyn Fn(&str) -> bool| calls.iter().rposition(|line| wanted(line));
    let directory = format!("{}>", incoming.display());
    let end = last(&|line| line.contains("exit_group(0)")).expect("a success");
    let names_synced =
        last(&|line| line.contains("fsync(") && line.contains(&directory)).expect("a synced directory");
    assert!(names_synced < end);
    for name in &names {
        let synced = at(&|line| line.contains("fsync(") && line.contains(&format!("-{name}>")))
            .expect("a synced file");
        let named = at(&|line| line.contains("link") && line.contains(&format!("incoming/{name}\"")))
            .expect("a name");
        assert!(synced < named && named < names_synced, "{name}: {calls:#?}");
    }
    // Another content: it is on disk beside the first before the answer.
    std::fs::write(&stream, delivery(&[(name(1), content(2))])).unwrap();
    let calls = traced(&hosts, tool, &stream);
    let errors = hosts.manager.server("main").join("errors");
    let directory = format!("{}>", errors.display());
    let at = |wanted: &dyn Fn(&str) -> bool| calls.iter().position(|line| wanted(line));
    let synced = at(&|line| line.contains("fsync(") && line.contains(&format!("-{}>", names[0]))).unwrap();
    let named = at(&|line| line.contains("link") && line.contains(".duplicate\"")).unwrap();
    let name_synced = at(&|line| line.contains("fsync(") && line.contains(&directory)).unwrap();
    assert!(synced < named && named < name_synced, "{calls:#?}");
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
    let record = hosts.scratch.join("calls");
    let plain = call_as_root(&hosts, tool, &bin, 1);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-y", "-s", "1000", "-e", CALLS, "-o"])
        .arg(&record)
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .current_dir(hosts.scratch.join("data"));
    for (key, value) in plain.get_envs() {
        strace.env(key, value.unwrap_or_default());
    }
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(record).unwrap();
    let calls: Vec<&str> = text.lines().collect();
    let after = |from: usize, parts: &[&str]| {
        let found = calls
            .iter()
            .skip(from)
            .position(|line| parts.iter().all(|part| line.contains(part)));
        from + found.unwrap_or_else(|| panic!("no {parts:?} behind call {from}:\n{text}"))
    };
    // The server: contents, names, directory, answer.
    let incoming = format!("{}>", hosts.incoming().display());
    let mut named = 0;
    for number in 1..=3 {
        let content = after(0, &["fsync(", &format!("-{}>", name(number))]);
        let link = after(0, &["link", &format!("incoming/{}\"", name(number))]);
        assert!(content < link, "{text}");
        named = named.max(link);
    }
    let on_disk = after(named, &["fsync(", &incoming]);
    let server = calls[on_disk].split(' ').next().unwrap();
    let answer = after(on_disk, &[server, "exit_group(0)"]);
    // The client: note, content, name, answer.
    let note = after(0, &["write(", ".sent.tmp>", &name(2), &name(3)]);
    assert!(answer < note, "{text}");
    let content = after(note, &["fsync(", ".sent.tmp>"]);
    let renamed = after(content, &["rename", ".sent.tmp\"", ".sent\""]);
    let named = after(
        renamed,
        &[
            "fsync(",
            &format!("{}>", hosts.scratch.join("tmp/.barkeep.0").display()),
        ],
    );
    after(named, &["exit_group(0)"]);
}

/// Runs `put-wal` to its successful end and returns its system calls.
fn traced(hosts: &Hosts, tool: &Tool, stream: &Path) -> Vec<String> {
    let record = hosts.scratch.join("calls");
    write_file(&record, "", 0o666, &hosts.manager.account);
    let plain = hosts.manager.command(tool, &["put-wal", "main"]);
    let mut strace = hosts.manager.account.applied_to(Command::new("strace"));
    strace
        .args(["-f", "-qq", "-y", "-o"])
        .arg(&record)
        .args(["-e", CALLS])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(&hosts.manager.directory)
        .stdin(std::fs::File::open(stream).unwrap());
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(record).unwrap();
    text.lines().map(str::to_owned).collect()
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
