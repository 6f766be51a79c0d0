//! Reaching the other host: commands and byte channels over the user's own `ssh_command`.
//!
//! A [`Remote`] is a place where commands run. For `ssh` it starts an OpenSSH master with the user's own command line
//! (every option they put there keeps working) on first use, and runs everything else through it; for ssh commands
//! that are not OpenSSH each command is a process of its own; for the local host it is `sh -c`.
//! Nothing is left behind when a `Remote` is dropped: no process, no socket, no directory.

mod bounded;
mod direct;
pub mod frame;
mod master;
pub mod patience;
mod remote;
mod ssh_failure;

pub use bounded::run_while;
pub(crate) use direct::{pipe, widen};
pub(crate) use master::{faster_ciphers, is_openssh};
pub use remote::{Channel, Ending, Remote, RunOutput, SshOptions};
pub use ssh_failure::SshFailure;

/// The other host could not be reached, or the connection was lost.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The `ssh_command` cannot be split into words, or is empty.
    #[error("cannot understand ssh command \"{command}\": {reason}")]
    Command {
        /// The command as configured.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program of this host could not be started.
    #[error(transparent)]
    Spawn(#[from] crate::base::process::SpawnError),
    /// ssh did not connect. The text is the one Barman prints; ssh's own words follow.
    #[error("Connection failed using '{command}' return code {code}{}", detail(stderr))]
    Connect {
        /// The ssh command with its options.
        command: String,
        /// ssh's exit code.
        code: i32,
        /// What ssh said.
        stderr: String,
    },
    /// An established connection failed.
    #[error("connection to {peer} lost: {reason}")]
    Lost {
        /// The other host.
        peer: String,
        /// What was seen.
        reason: String,
    },
    /// A local file or directory of the transport (control socket, pipe) failed.
    #[error(transparent)]
    Path(#[from] crate::base::error::PathError),
    /// The work was asked to stop.
    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
}

fn detail(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
