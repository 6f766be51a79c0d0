//! Why ssh did not connect, told from what it wrote to standard error.
//!
//! OpenSSH ends with 255 for every reason; its texts are not translated. Facts: OpenSSH 7 to 10, observed.

/// The kinds of failure that call for different repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshFailure {
    /// The name of the host leads to no address.
    UnknownHost,
    /// The host answers, and no sshd listens on the port.
    Refused,
    /// Nothing answers.
    Timeout,
    /// There is no way to the host.
    Unreachable,
    /// The key of the host is another one than the one known.
    HostKeyChanged,
    /// The key of the host is not known, and must be.
    HostKeyUnknown,
    /// The host did not accept any key of this user.
    KeyRefused,
    /// A private key is readable by others, so ssh does not use it.
    KeyExposed,
    /// The key that the command names does not exist.
    KeyMissing,
    /// The two programs have no method in common.
    NoCommonMethod,
    /// The connection was made and ended before the login.
    Closed,
    /// There is no ssh program here.
    NoProgram,
    /// The login worked, and the command did not run: a forced command, or an account without a shell.
    Command,
    /// None of these.
    Other,
}

use SshFailure as Kind;

/// Words and what they mean; the first that is found counts. What names a cause comes before what names its effect.
const WORDS: [(&str, Kind); 24] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Kind::HostKeyChanged),
    ("UNPROTECTED PRIVATE KEY FILE", Kind::KeyExposed),
    ("bad permissions", Kind::KeyExposed),
    ("Host key verification failed", Kind::HostKeyUnknown),
    ("Could not resolve hostname", Kind::UnknownHost),
    ("Name or service not known", Kind::UnknownHost),
    ("Connection refused", Kind::Refused),
    ("timed out", Kind::Timeout),
    ("No route to host", Kind::Unreachable),
    ("Network is unreachable", Kind::Unreachable),
    ("Host is down", Kind::Unreachable),
    ("not accessible: No such file", Kind::KeyMissing),
    ("Permission denied (", Kind::KeyRefused),
    ("Permission denied, please try again", Kind::KeyRefused),
    ("Too many authentication failures", Kind::KeyRefused),
    ("no matching", Kind::NoCommonMethod),
    ("Unable to negotiate", Kind::NoCommonMethod),
    ("Connection closed by", Kind::Closed),
    ("Connection reset by", Kind::Closed),
    ("kex_exchange_identification", Kind::Closed),
    ("account is currently not available", Kind::Command),
    ("account has expired", Kind::KeyRefused),
    ("command not found", Kind::Command),
    ("not allowed", Kind::Command),
];

/// ssh's own exit code, whatever went wrong.
const NO_CONNECTION: i32 = 255;

/// The shell's exit code for a program that does not exist.
const NOT_FOUND: i32 = 127;

impl SshFailure {
    /// What is wrong when ssh ended with `code` after writing `stderr`.
    #[must_use]
    pub fn of(code: i32, stderr: &str) -> SshFailure {
        let found = WORDS
            .iter()
            .find(|(words, _)| stderr.contains(words))
            .map(|(_, kind)| *kind);
        match (found, code) {
            (Some(kind), _) => kind,
            (None, NO_CONNECTION) => Kind::Other,
            (None, NOT_FOUND) if stderr.is_empty() => Kind::NoProgram,
            (None, _) => Kind::Command,
        }
    }

    /// What ssh wrote, but for the note that it keeps a host key that it has not known before.
    #[must_use]
    pub fn without_learned_keys(stderr: &str) -> String {
        stderr
            .lines()
            .filter(|line| !line.starts_with("Warning: Permanently added "))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Whether a connection that was made nevertheless speaks of a changed host key: with `StrictHostKeyChecking=no`
    /// OpenSSH only warns.
    #[must_use]
    pub fn warns_of_changed_key(stderr: &str) -> bool {
        stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED")
    }
}

#[cfg(test)]
mod tests {
    use super::SshFailure::{self, *};

    #[test]
    fn every_text_has_its_kind() {
        let changed = "@@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@@@@\nHost key \
                       verification failed.\r\n";
        for (code, text, kind) in [
            (
                255,
                "ssh: Could not resolve hostname nohost: Name or service not known\r\n",
                UnknownHost,
            ),
            (
                255,
                "ssh: connect to host 127.0.0.1 port 1: Connection refused\r\n",
                Refused,
            ),
            (
                255,
                "ssh: connect to host 10.0.0.5 port 22: Connection timed out\r\n",
                Timeout,
            ),
            (
                255,
                "ssh: connect to host 10.0.0.5 port 22: No route to host\r\n",
                Unreachable,
            ),
            (255, changed, HostKeyChanged),
            (255, "Host key verification failed.\r\n", HostKeyUnknown),
            (
                255,
                "postgres@db: Permission denied (publickey,password).\r\n",
                KeyRefused,
            ),
            (
                255,
                "Warning: Identity file /k not accessible: No such file or directory.\npostgres@db: Permission denied \
                 (publickey).\r\n",
                KeyMissing,
            ),
            (
                255,
                "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\nLoad key \"/k\": bad permissions\npostgres@db: \
                 Permission denied (publickey).\r\n",
                KeyExposed,
            ),
            (
                255,
                "kex_exchange_identification: Connection closed by remote host\r\n",
                Closed,
            ),
            (1, "This account is currently not available.\n", Command),
            (127, "", NoProgram),
            (255, "", Other),
            (3, "", Command),
        ] {
            assert_eq!(SshFailure::of(code, text), kind, "{text}");
        }
    }

    #[test]
    fn a_new_host_key_is_no_noise() {
        let text = "Warning: Permanently added '[db]:22' (ED25519) to the list of known hosts.\r\nhello\n";
        assert_eq!(SshFailure::without_learned_keys(text), "hello");
    }
}
