//! The agent's simple verbs as shell commands, for hosts where it cannot run: `sh` and POSIX tools are all that Barman itself
//! needs there.

use std::path::Path;

use super::message::{Attributes, Entry, EntryKind, Failure, Request, Response, Time, bytes_of, path_of};
use super::refusal::Refusal;
use crate::base::shell::quote;
use crate::transport::Remote;

/// The exit code by which our scripts say that nothing is there.
const ABSENT: i32 = 44;

/// Performs a request of one step.
pub(super) fn answer(remote: &Remote, request: &Request, content: &[u8]) -> Result<Response, Refusal> {
    let (path, script) = match request {
        Request::Look { path } => (
            path,
            format!(
                "if [ -L {p} ]; then echo l; elif [ -d {p} ]; then echo d; elif [ -f {p} ]; then echo f; wc -c < {p}; \
             elif [ -e {p} ]; then echo o; else echo n; fi",
                p = word(path)
            ),
        ),
        Request::Names { path, .. } => (path, format!("cd {} && ls -A", word(path))),
        Request::MakeDirectory { path, mode, .. } => (
            path,
            format!(
                "[ -d {p} ] || {{ umask 077; mkdir -p -- {p} && chmod {mode:o} {p}; }}",
                p = word(path)
            ),
        ),
        Request::Symlink { target, path } => (
            path,
            format!(
                "if [ -e {p} ] && [ ! -L {p} ]; then echo 'File exists' >&2; exit 1; fi; rm -f -- {p}; ln -s -- {t} {p}",
                p = word(path),
                t = word(target)
            ),
        ),
        Request::Remove { path, .. } => (path, format!("rm -rf -- {}", word(path))),
        Request::Rename { from, to } => (from, format!("mv -f -- {} {}", word(from), word(to))),
        Request::Write { path, mode } => (
            path,
            format!(
                "umask 077; t={p}.barkeep-tmp; cat > \"$t\" && chmod {mode:o} \"$t\" && {{ sync \"$t\" 2>/dev/null || sync; }} && \
             mv -f -- \"$t\" {p}",
                p = word(path)
            ),
        ),
        Request::FreeBytes { path } => (
            path,
            format!(
                "p={}; while [ ! -e \"$p\" ]; do p=$(dirname -- \"$p\"); done; df -Pk -- \"$p\" | tail -n 1 | awk '{{print $4}}'",
                word(path)
            ),
        ),
        other => return Err(failed(&[], format!("{other:?} needs the agent"), None)),
    };
    let output = run(remote, path, &script, content)?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let unreadable = || failed(path, format!("unexpected answer \"{}\"", text.trim()), None);
    Ok(match request {
        Request::Look { .. } => Response::Look(looked(path, &text).ok_or_else(unreadable)?),
        Request::Names { .. } => {
            let mut names: Vec<Vec<u8>> = output
                .split(|byte| *byte == b'\n')
                .filter(|name| !name.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            names.sort();
            Response::Names(names)
        }
        Request::FreeBytes { .. } => {
            let kib: u64 = text.trim().parse().map_err(|_| unreadable())?;
            Response::Free(kib.saturating_mul(1024))
        }
        _ => Response::Done,
    })
}

/// A whole file.
pub(super) fn read(remote: &Remote, path: &Path) -> Result<Vec<u8>, Refusal> {
    let bytes = bytes_of(path);
    let script = format!("[ -e {p} ] || exit {ABSENT}; cat -- {p}", p = word(&bytes));
    run(remote, &bytes, &script, &[])
}

fn run(remote: &Remote, path: &[u8], script: &str, input: &[u8]) -> Result<Vec<u8>, Refusal> {
    let output = remote.run_with_input(&format!("exec sh -c {}", quote(script)), input)?;
    match output.code {
        0 => Ok(output.stdout),
        ABSENT => Err(failed(
            path,
            "No such file or directory".to_owned(),
            Some(nix::errno::Errno::ENOENT as i32),
        )),
        code => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let reason = if said.is_empty() {
                format!("the command ended with code {code}")
            } else {
                said
            };
            Err(failed(path, reason, None))
        }
    }
}

fn looked(path: &[u8], text: &str) -> Option<Option<Entry>> {
    let mut lines = text.lines();
    let (kind, size) = match lines.next()? {
        "n" => return Some(None),
        "l" => (EntryKind::Symlink, 0),
        "d" => (EntryKind::Directory, 0),
        "o" => (EntryKind::Other, 0),
        "f" => (EntryKind::File, lines.next()?.trim().parse().ok()?),
        _ => return None,
    };
    let attributes = Attributes {
        mode: 0,
        modified: Time::default(),
    };
    Some(Some(Entry {
        path: path.into(),
        kind,
        size,
        attributes,
    }))
}

fn word(path: &[u8]) -> String {
    quote(&path_of(path.to_vec()).to_string_lossy())
}

fn failed(path: &[u8], reason: String, errno: Option<i32>) -> Refusal {
    Refusal::Failed(Failure {
        action: "use".to_owned(),
        path: path.to_vec(),
        errno,
        reason,
    })
}
