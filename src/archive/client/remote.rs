//! The Barman host, reached through `ssh`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::base::process::{SpawnError, exit_code};
use crate::base::shell;
use crate::transport;

/// What ssh returns when the connection, and not the remote command, failed.
pub(super) const SSH_FAILED: i32 = 255;

/// The option of ssh that shows errors, and only these.
const SPEAKING: &str = "LogLevel=ERROR";

/// How to reach `barman` on its host.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The ssh program; a bare name is looked for in `PATH`.
    pub ssh: PathBuf,
    /// The host.
    pub host: String,
    /// The user there.
    pub user: String,
    /// The port; ssh's default without it.
    pub port: Option<String>,
    /// The configuration file on the Barman host.
    pub config: Option<String>,
}

impl Remote {
    /// A command that tests the way to `barman`: ssh says what is wrong, which Barman's `-q` keeps to itself.
    pub(super) fn barman_test<S: AsRef<str>>(&self, config: Option<String>, words: &[S]) -> Command {
        let speaks = transport::is_openssh(&self.ssh.to_string_lossy()).unwrap_or(false);
        let options: &[&str] = if speaks { &["-o", SPEAKING] } else { &[] };
        self.barman_with(options, config, words)
    }

    /// A command that runs `barman` with `words` on the Barman host, with `options` of ssh before the others. The words are
    /// joined by blanks and read by the shell there, so whatever may hold more than a plain word must be quoted already.
    pub(super) fn barman_with<O: AsRef<str>, S: AsRef<str>>(
        &self,
        options: &[O],
        config: Option<String>,
        words: &[S],
    ) -> Command {
        let mut command = Command::new(&self.ssh);
        command.args(options.iter().map(AsRef::as_ref));
        if let Some(port) = &self.port {
            command.arg("-p").arg(port);
        }
        if !options.iter().any(|option| option.as_ref() == SPEAKING) {
            command.arg("-q");
        }
        command.arg("-T");
        command.arg(format!("{}@{}", self.user, self.host));
        command.arg("barman").args(config);
        for word in words {
            command.arg(word.as_ref());
        }
        command
    }

    /// The words of an ssh command that ends before what it is to run.
    pub(super) fn destination(&self) -> Vec<String> {
        let mut words = vec![self.ssh.to_string_lossy().into_owned()];
        if let Some(port) = &self.port {
            words.extend(["-p".to_owned(), port.clone()]);
        }
        words.push(format!("{}@{}", self.user, self.host));
        words
    }

    /// Runs a test command: what it wrote (standard error first, as there is normally only one of them), and its exit
    /// code as ssh returned it.
    pub(super) fn test(command: &mut Command) -> Result<(Vec<u8>, i32), SpawnError> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| SpawnError {
                program: "ssh".to_owned(),
                source,
            })?;
        let mut text = output.stderr;
        text.extend(output.stdout);
        // Barman prints the text as one more line.
        text.push(b'\n');
        Ok((text, exit_code(output.status)))
    }
}

/// A word for the remote shell: as it is when that is safe, as forced commands like to match it, quoted otherwise.
pub(super) fn word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-.+@%/:,=".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        shell::quote(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_hides_nothing_that_ssh_says() {
        let remote = |ssh: &str| Remote {
            ssh: ssh.into(),
            host: "backup".to_owned(),
            user: "barman".to_owned(),
            port: None,
            config: None,
        };
        let words = |command: &Command| -> Vec<String> {
            command
                .get_args()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let test = words(&remote("ssh").barman_test(None, &["put-wal"]));
        assert_eq!(
            test,
            ["-o", "LogLevel=ERROR", "-T", "barman@backup", "barman", "put-wal"]
        );
        let none: [&str; 0] = [];
        assert_eq!(words(&remote("ssh").barman_with(&none, None, &none))[0], "-q");
        // What is not OpenSSH may not know the option.
        assert_eq!(words(&remote("true").barman_test(None, &none))[0], "-q");
    }
}
