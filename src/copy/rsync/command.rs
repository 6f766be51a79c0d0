//! rsync's command lines and how its runs end.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::agent::filter::{Filter, Rule};
use crate::base::interrupt;
use crate::base::process::{self, SpawnError, exit_code};
use crate::base::shell;
use crate::copy::CopyError;
use crate::transport::{Remote, TransportError};

/// What one kind of run has in common.
#[derive(Clone, Copy)]
pub(super) struct Rsync<'a> {
    pub(super) remote: &'a Remote,
    pub(super) compress: bool,
    pub(super) bandwidth_kib: Option<u64>,
}

impl Rsync<'_> {
    /// The options of every call, in Barman's order; `dest` is `--link-dest=DIR` or `--copy-dest=DIR`.
    pub(super) fn arguments(&self, filter: &Filter, dest: Option<OsString>) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some((program, rest)) = self.remote.ssh_words().split_first() {
            let mut words = vec![program.clone()];
            words.extend(rest.iter().map(|word| shell::quote(word)));
            arguments.push("-e".into());
            arguments.push(words.join(" ").into());
        }
        if self.compress {
            arguments.push("-z".into());
        }
        for rule in filter.rules() {
            match rule {
                Rule::Include(pattern) => arguments.push(format!("--include={pattern}").into()),
                Rule::Exclude(pattern) => arguments.push(format!("--exclude={pattern}").into()),
                Rule::ExcludeAndProtect(pattern) => {
                    arguments.push(format!("--exclude={pattern}").into());
                    arguments.push(format!("--filter=P_{pattern}").into());
                }
            }
        }
        arguments.extend(["-rLKpts", "--delete-excluded", "--inplace"].map(OsString::from));
        arguments.extend(dest);
        arguments
            .extend(["--ignore-missing-args", "--itemize-changes", "--itemize-changes"].map(OsString::from));
        if let Some(limit) = self.bandwidth_kib.filter(|limit| *limit > 0) {
            arguments.push(format!("--bwlimit={limit}").into());
        }
        arguments
    }

    /// A path of the other host: the host itself is part of the ssh command. The leading blank keeps some rsync builds
    /// from taking the argument for something else.
    pub(super) fn far(&self, path: &Path, directory: bool) -> OsString {
        let mut argument = OsString::from(if self.remote.is_local() { "" } else { " :" });
        argument.push(path);
        if directory {
            argument.push("/");
        }
        argument
    }
}

/// A path of this host.
pub(super) fn near(path: &Path, directory: bool) -> OsString {
    let mut argument = path.as_os_str().to_owned();
    if directory {
        argument.push("/");
    }
    argument
}

/// Runs rsync to its end; gives its standard output. Vanished files (24, and 23 when it says nothing worse) are fine.
pub(super) fn run(item: &str, arguments: &[OsString]) -> Result<Vec<u8>, CopyError> {
    log::debug!("rsync {arguments:?}");
    let failed = |source| {
        TransportError::from(SpawnError {
            program: "rsync".to_owned(),
            source,
        })
    };
    let mut child = process::command("rsync")
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let mut step = Duration::from_millis(2);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if let Err(interrupted) = interrupt::check() {
            // rsync ends its own ssh on SIGTERM.
            let _ = crate::base::process::signal(child.id(), nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
            return Err(interrupted.into());
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(50));
    };
    let stdout = stdout.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
    match exit_code(status) {
        0 | 24 => Ok(stdout),
        23 if stderr.lines().all(is_normal_on_a_live_server) => Ok(stdout),
        code => Err(CopyError::Rsync {
            item: item.to_owned(),
            code,
            stderr: stderr.trim().to_owned(),
        }),
    }
}

fn collect<R: Read + Send + 'static>(stream: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Lines of rsync that Barman takes for the normal life of a server.
fn is_normal_on_a_live_server(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || line.starts_with("file has vanished: ")
        || line.starts_with("symlink has no referent: ")
        || (line.contains("link_stat ") && line.ends_with("(2)"))
        || (line.contains("read errors mapping ") && line.ends_with("(61)"))
        || (line.starts_with("rsync error: ") && line.contains("(code 23)"))
        || line.starts_with("skipping non-regular file")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::SshOptions;

    #[test]
    fn the_command_line_is_barmans() {
        let remote = Remote::ssh("ssh -q -p 22 'postgres@pg'", SshOptions::SERVER).unwrap();
        let rsync = Rsync {
            remote: &remote,
            compress: true,
            bandwidth_kib: Some(100),
        };
        let filter = Filter::default().exclude(["/pg_wal/*"]).protect(["/pg_tblspc/1"]);
        let arguments = rsync.arguments(&filter, Some("--link-dest=/old".into()));
        let expected = [
            "-e",
            "ssh '-q' '-p' '22' 'postgres@pg' '-o' 'BatchMode=yes' '-o' 'StrictHostKeyChecking=no'",
            "-z",
            "--exclude=/pg_wal/*",
            "--exclude=/pg_tblspc/1",
            "--filter=P_/pg_tblspc/1",
            "-rLKpts",
            "--delete-excluded",
            "--inplace",
            "--link-dest=/old",
            "--ignore-missing-args",
            "--itemize-changes",
            "--itemize-changes",
            "--bwlimit=100",
        ];
        assert_eq!(arguments, expected.map(OsString::from));
        assert_eq!(rsync.far(Path::new("/data"), true), " :/data/");
    }

    #[test]
    fn only_normal_lines_are_forgiven() {
        assert!(is_normal_on_a_live_server("file has vanished: \"/d/base/1/2\""));
        assert!(!is_normal_on_a_live_server(
            "rsync: [sender] send_files failed to open \"/d/x\": Permission denied (13)"
        ));
    }
}
