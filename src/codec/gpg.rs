//! Encryption by the `gpg` program, called as Barman calls it (behaviour reference §12).

use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use crate::base::process::{command, exit_code, output, shell};

use super::filter::FilterReader;

const COMMON: [&str; 4] = ["--yes", "--batch", "--pinentry-mode", "loopback"];

/// Encrypts `source` into `target` for the key `recipient`.
///
/// # Errors
/// gpg could not be run or refused.
pub fn encrypt(recipient: &str, source: &Path, target: &Path) -> io::Result<()> {
    let mut command = command("gpg");
    command
        .args(COMMON)
        .args([
            "--compress-level",
            "0",
            "--recipient",
            recipient,
            "--encrypt",
            "--output",
        ])
        .arg(target)
        .arg(source);
    let result = output(&mut command).map_err(io::Error::other)?;
    if result.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "gpg ended with exit code {}: {}",
        exit_code(result.status),
        String::from_utf8_lossy(&result.stderr).trim()
    )))
}

/// Decrypts a file into a stream. The passphrase reaches gpg through a pipe, never through its arguments.
///
/// # Errors
/// gpg could not be started or the passphrase not be had. A wrong passphrase or a damaged file is reported at the end of
/// the stream.
pub fn decrypt(passphrase: &Passphrase, source: &Path) -> io::Result<FilterReader> {
    let secret = passphrase.get()?;
    let mut command = command("gpg");
    command
        .args(COMMON)
        .args(["--quiet", "--passphrase-fd", "0", "--output", "-", "--decrypt"])
        .arg(source)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut reader = FilterReader::start(&mut command, "gpg --decrypt")?;
    if let Some(mut stdin) = reader.child().stdin.take() {
        // gpg may end before it has read the passphrase; its exit code tells.
        if let Err(error) = stdin.write_all(secret) {
            log::debug!("gpg did not read the passphrase: {error}");
        }
    }
    Ok(reader)
}

/// The passphrase that `encryption_passphrase_command` prints, asked for once per process.
#[derive(Debug)]
pub struct Passphrase {
    command: String,
    value: OnceLock<Vec<u8>>,
}

impl Passphrase {
    /// A passphrase that `command`, run by the shell, prints.
    #[must_use]
    pub fn from_command(command: &str) -> Passphrase {
        Passphrase {
            command: command.to_owned(),
            value: OnceLock::new(),
        }
    }

    fn get(&self) -> io::Result<&[u8]> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let result = output(&mut shell(&self.command)).map_err(io::Error::other)?;
        if !result.status.success() {
            // Neither the command nor what it printed: both may hold the secret.
            return Err(io::Error::other(format!(
                "the encryption_passphrase_command ended with exit code {}",
                exit_code(result.status)
            )));
        }
        Ok(self.value.get_or_init(|| result.stdout))
    }
}
