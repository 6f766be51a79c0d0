//! Advice about this host: directories, cron, configuration.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Advice, Failed};
use crate::base::{duration, host, shell};
use crate::config::ServerConfig;

/// cron that has left no trace for so long does not run every minute.
const CRON_PATIENCE: Duration = Duration::from_secs(300);

impl Failed<'_> {
    pub(super) fn directories(&self) -> Advice {
        let user = host::user().unwrap_or_else(|| "barman".to_owned());
        let path = self.hint.split_once(": ").map_or("", |(path, _)| path);
        let reason = self.hint.rsplit(": ").next().unwrap_or_default();
        let quoted = shell::quote(path);
        let advice = Advice::broken(format!("{path} cannot be made or used: {reason}"));
        match reason {
            "Permission denied" => advice.here(format!("sudo install -d -o {user} -m 750 {quoted}")),
            "No space left on device" => advice.here(format!("df -h {quoted}")),
            "Read-only file system" => advice.here(format!("findmnt -T {quoted}")),
            "missing" => Advice::not_yet(format!("{path} does not exist yet"))
                .here(format!("barman doctor --fix {}", self.server())),
            _ => advice.here(format!("ls -ld {quoted}")),
        }
    }

    pub(super) fn configuration(&self) -> Advice {
        let messages = &self.context.server.msg_list;
        messages
            .iter()
            .map(|message| correction(message))
            .fold(Advice::broken(messages.join("; ")), |advice, (option, line)| {
                advice.file(self.file_of(option), line)
            })
    }

    pub(super) fn retention(&self) -> Advice {
        Advice::broken("retention_policy cannot be understood, so nothing is ever deleted").file(
            self.file_of("retention_policy"),
            "retention_policy = RECOVERY WINDOW OF 4 WEEKS, or REDUNDANCY 3",
        )
    }

    pub(super) fn encryption(&self) -> Advice {
        match &self.context.server.encryption_key_id {
            Some(key) if self.hint.starts_with("encryption test failed") => {
                Advice::broken("gpg cannot encrypt for the key")
                    .here(format!("gpg --list-keys {}", shell::quote(key)))
            }
            _ => Advice::broken(self.hint).file(
                self.file_of("encryption"),
                "backup_method = postgres, backup_compression, backup_compression_format = tar, encryption_key_id",
            ),
        }
    }
}

/// What to write instead, for what the configuration says about itself: the option, and the line.
fn correction(message: &str) -> (&'static str, &'static str) {
    const CORRECTIONS: [(&str, &str, &str); 4] = [
        (
            "Missing or invalid ssh_command",
            "ssh_command",
            "ssh_command = ssh postgres@HOST",
        ),
        (
            "Missing 'conninfo'",
            "conninfo",
            "conninfo = host=HOST user=barman dbname=postgres",
        ),
        (
            "Missing 'streaming_conninfo'",
            "streaming_conninfo",
            "streaming_conninfo = host=HOST user=streaming_barman",
        ),
        (
            "Local copy requires ssh_command",
            "ssh_command",
            "no ssh_command, or backup_method = rsync",
        ),
    ];
    CORRECTIONS
        .iter()
        .find(|(words, ..)| message.contains(words))
        .map_or(("conninfo", "correct it"), |(_, option, line)| (option, line))
}

/// How long `barman cron` has certainly not run, in words; `None` when it may have run a moment ago. It makes and removes a
/// lock file each time.
#[must_use]
pub fn cron_silence(server: &ServerConfig) -> Option<String> {
    let touched = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    let last = [&server.barman_lock_directory, &server.lock_file("cron")]
        .into_iter()
        .filter_map(|path| touched(path))
        .max()?;
    let age = SystemTime::now().duration_since(last).ok()?;
    (age > CRON_PATIENCE).then(|| duration::human(age.as_secs_f64()))
}

/// Nothing has run `barman cron` for a while.
#[must_use]
pub fn cron_missing(silence: &str) -> Advice {
    let user = host::user().unwrap_or_else(|| "barman".to_owned());
    Advice::broken(format!(
        "'barman cron' has not run for {silence}; it is to run every minute"
    ))
    .file("/etc/cron.d/barman", format!("* * * * * {user} barman -q cron"))
    .here("systemctl status cron crond")
}
