//! Facts about a host for `diagnose`: the kernel, the distribution, rsync and ssh.

use serde_json::{Map, Value, json};

use crate::transport::Remote;
use crate::{BARMAN_LEVEL, VERSION};

/// What is asked, and the shell commands that answer. ssh writes its version to standard error.
const QUESTIONS: [(&str, &str); 4] = [
    ("kernel_ver", "uname -a"),
    ("release", "lsb_release -a 2>/dev/null || cat /etc/os-release"),
    ("rsync_ver", "rsync --version 2>&1 | head -n 1"),
    ("ssh_ver", "ssh -V 2>&1"),
];

/// The exit code of ssh when it cannot connect.
const UNREACHABLE: i32 = 255;

/// The object `system_info` of a host; empty answers where a program is missing, `None` when the host cannot be
/// reached.
pub(super) fn system_info(host: &Remote) -> Option<Map<String, Value>> {
    let mut info = Map::new();
    for (key, command) in QUESTIONS {
        match host.run(command) {
            Ok(answer) if answer.code == UNREACHABLE => return None,
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
                info.insert(key.to_owned(), json!(text));
            }
            Err(error) => {
                log::warn!(target: "barman.diagnose", "cannot run '{command}' on {}: {error}", host.describe());
                return None;
            }
        }
    }
    Some(info)
}

/// The object `system_info` of this host, with the versions of this program.
#[must_use]
pub fn own_system_info() -> Map<String, Value> {
    let mut info = system_info(&Remote::local()).unwrap_or_default();
    info.insert("barman_ver".to_owned(), json!(BARMAN_LEVEL));
    info.insert("barkeep_ver".to_owned(), json!(VERSION));
    // Barman tells which Python it runs on; readers of the document may look for the keys.
    info.insert("python_executable".to_owned(), Value::Null);
    info.insert("python_ver".to_owned(), Value::Null);
    info
}
