//! Advice about ssh.

use super::{Advice, Failed};
use crate::base::{host, shell};
use crate::transport::SshFailure;

/// OpenSSH's options that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// Where an ssh command leads.
struct Goal {
    /// As it is written: `postgres@db`.
    destination: String,
    /// The host alone.
    host: String,
    /// `-p`.
    port: Option<String>,
    /// `-i`.
    key: Option<String>,
}

impl Goal {
    /// What the options of OpenSSH mean in `command`.
    fn of(command: &str) -> Goal {
        let words = shell::split(command).unwrap_or_default();
        let mut goal = Goal {
            destination: String::new(),
            host: String::new(),
            port: None,
            key: None,
        };
        let mut words = words.into_iter().skip(1);
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix('-') else {
                if !goal.destination.is_empty() {
                    break; // what runs there
                }
                goal.host = word.rsplit('@').next().unwrap_or_default().to_owned();
                goal.destination = word;
                continue; // ssh takes options behind the host as well
            };
            let Some(letter) = option
                .chars()
                .next()
                .filter(|letter| WITH_VALUE.contains(*letter))
            else {
                continue;
            };
            let rest = option.get(1..).unwrap_or_default();
            let value = if rest.is_empty() {
                words.next()
            } else {
                Some(rest.to_owned())
            };
            match letter {
                'p' => goal.port = value,
                'i' => goal.key = value,
                _ => {}
            }
        }
        goal
    }

    /// The host as `known_hosts` names it.
    fn known_as(&self) -> String {
        match &self.port {
            Some(port) if port != "22" => format!("[{}]:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    fn copy_id(&self) -> String {
        let port = self
            .port
            .as_ref()
            .map(|port| format!(" -p {port}"))
            .unwrap_or_default();
        let key = self
            .key
            .as_ref()
            .map(|key| format!(" -i {key}"))
            .unwrap_or_default();
        format!("ssh-copy-id{port}{key} {}", self.destination)
    }
}

impl Failed<'_> {
    fn ssh_command(&self) -> &str {
        let server = &self.context.server;
        server
            .primary_ssh_command
            .as_deref()
            .or(server.ssh_command.as_deref())
            .unwrap_or_default()
    }

    pub(super) fn ssh(&self) -> Advice {
        use SshFailure as Kind;
        let command = self.ssh_command();
        if let Err(error) = shell::split(command) {
            return Advice::broken(format!("ssh_command cannot be read: {error}"))
                .file(self.file_of("ssh_command"), "correct ssh_command");
        }
        let goal = Goal::of(command);
        let Some((code, stderr)) = self.context.ssh_refusal() else {
            return Advice::broken(self.hint).file(self.file_of("ssh_command"), "correct ssh_command");
        };
        let host = &goal.host;
        let said = stderr
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim();
        match SshFailure::of(*code, stderr) {
            Kind::UnknownHost => Advice::broken(format!("the host name \"{host}\" leads to no address"))
                .here(format!("getent hosts {host}"))
                .file(self.file_of("ssh_command"), "correct the host in ssh_command"),
            Kind::Refused => Advice::broken(format!(
                "{host} answers, and nothing listens on its port {}: sshd is down, or listens on another port",
                goal.port.as_deref().unwrap_or("22")
            ))
            .there(host, "systemctl status ssh sshd"),
            Kind::Timeout => Advice::broken(format!(
                "nothing answers from {host}: it is down, or a firewall drops the packets"
            ))
            .here(format!(
                "ping -c 3 {host}; nc -vz -w 5 {host} {}",
                goal.port.as_deref().unwrap_or("22")
            )),
            Kind::Unreachable => {
                Advice::broken(format!("there is no way to {host}")).here(format!("ip route get {host}"))
            }
            Kind::HostKeyChanged => changed_key(stderr, &goal, command),
            Kind::HostKeyUnknown => Advice::broken(format!("the host key of {host} is not known here")).here(
                format!("{command} true    (compare the fingerprint before you say yes)"),
            ),
            Kind::KeyRefused => {
                let advice = Advice::broken(format!(
                    "{} accepts no key of this user ({said})",
                    goal.destination
                ));
                let advice = match &goal.key {
                    None if !has_key() => advice.here("ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519"),
                    _ => advice,
                };
                advice.here(goal.copy_id()).there(
                    host,
                    "chmod go-w ~ ~/.ssh ~/.ssh/authorized_keys    (sshd ignores keys that others can write)",
                )
            }
            Kind::KeyExposed => Advice::broken("others can read the private key, so ssh does not use it")
                .here(format!(
                    "chmod 600 {}",
                    goal.key.as_deref().unwrap_or("~/.ssh/id_*")
                )),
            Kind::KeyMissing => Advice::broken(format!(
                "the private key {} does not exist",
                goal.key.as_deref().unwrap_or("that ssh is to use")
            ))
            .file(self.file_of("ssh_command"), "correct -i in ssh_command"),
            Kind::NoCommonMethod => {
                Advice::broken(format!("the two ssh programs do not agree: {said}")).here("ssh -V")
            }
            Kind::Closed => Advice::broken(format!(
                "{host} broke the connection off before the login: {said}"
            ))
            .there(host, "journalctl -u ssh -u sshd -n 20"),
            Kind::NoProgram => Advice::broken("the program in ssh_command is not installed here")
                .here("apt-get install openssh-client    (as root; dnf install openssh-clients)"),
            Kind::Command => {
                Advice::broken(format!("the login works, and commands do not run there: {said}"))
                    .here(format!("{command} true; echo $?"))
            }
            Kind::Other => Advice::broken(format!("ssh ended with {code}: {said}"))
                .here(format!("{command} -v -o BatchMode=yes true")),
        }
    }

    pub(super) fn ssh_output(&self) -> Advice {
        let command = self.ssh_command();
        let goal = Goal::of(command);
        let stderr = self
            .context
            .ssh_refusal()
            .map_or("", |(_, stderr)| stderr.as_str());
        if SshFailure::warns_of_changed_key(stderr) {
            return changed_key(stderr, &goal, command);
        }
        if !stderr.trim().is_empty() && SshFailure::without_learned_keys(stderr).is_empty() {
            return Advice::not_yet("ssh has just learned the key of the host; the next check is clean");
        }
        Advice::broken("a login script there prints something, which would get into the data")
            .here(format!("{command} true | od -c | head"))
            .there(goal.host, "no output in ~/.bashrc, ~/.profile and /etc/profile.d without a terminal: [ -t 1 ] || return")
    }

    pub(super) fn backup_label(&self) -> Advice {
        let host = Goal::of(self.ssh_command()).host;
        Advice::broken("PostgreSQL is down, and its data directory holds the label of a backup")
            .there(host, "start PostgreSQL")
            .note("if it does not start, read its log before you touch backup_label: in a restored directory it is needed")
    }
}

/// The host shows another key than the one that is known.
fn changed_key(stderr: &str, goal: &Goal, command: &str) -> Advice {
    // ssh names the file as well.
    let forget = stderr
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("ssh-keygen -f"))
        .map_or_else(
            || format!("ssh-keygen -R {}", shell::quote(&goal.known_as())),
            str::to_owned,
        );
    Advice::broken(format!(
        "{} shows another host key than before: it was installed anew, or it is another machine",
        goal.host
    ))
    .note("ask whoever runs the host; when the change is meant:")
    .here(forget)
    .here(format!("{command} true"))
}

/// Whether this user has a key pair where ssh looks for one.
fn has_key() -> bool {
    host::home().is_some_and(|home| {
        ["id_ed25519", "id_rsa", "id_ecdsa", "id_ed25519_sk", "id_ecdsa_sk"]
            .into_iter()
            .any(|name| home.join(".ssh").join(name).exists())
    })
}

#[cfg(test)]
mod tests {
    use super::Goal;

    #[test]
    fn the_destination_is_the_first_word_that_is_no_option() {
        for (command, destination, host, known) in [
            ("ssh postgres@db", "postgres@db", "db", "db"),
            (
                "ssh -q -p 2222 -i /k/id -o BatchMode=yes db.example.com",
                "db.example.com",
                "db.example.com",
                "[db.example.com]:2222",
            ),
            ("/usr/bin/ssh -p22 'a@b'", "a@b", "b", "b"),
            ("ssh postgres@db -p 2222", "postgres@db", "db", "[db]:2222"),
            ("ssh db sudo -p 2222 x", "db", "db", "db"),
            ("ssh", "", "", ""),
        ] {
            let goal = Goal::of(command);
            assert_eq!(
                (
                    goal.destination.as_str(),
                    goal.host.as_str(),
                    goal.known_as().as_str()
                ),
                (destination, host, known)
            );
        }
        assert_eq!(
            Goal::of("ssh -p 2222 -i /k/id db").copy_id(),
            "ssh-copy-id -p 2222 -i /k/id db"
        );
    }
}
