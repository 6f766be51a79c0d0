//! Keys for gpg.

use std::path::PathBuf;
use std::process::Command;

use super::manager::Manager;
use super::process::{Account, run};
use super::scratch::make_directory;

/// Whom to encrypt for, and the command that prints the passphrase.
pub const RECIPIENT: &str = "wal@example.com";
pub const PASSPHRASE_COMMAND: &str = "printf 'open sesame'";

/// A key for the account of a manager, of a kind that Debian's `file` knows, by which Barman knows encrypted WAL. The agent
/// that gpg starts for it ends with this value.
pub struct Keys {
    account: Account,
    home: PathBuf,
}

impl Keys {
    /// Makes one, and lets the manager's commands find it.
    pub fn generate(manager: &mut Manager) -> Keys {
        let home = manager.directory.join("gnupg");
        make_directory(&home, &manager.account);
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        manager
            .environment
            .insert("GNUPGHOME".to_owned(), home.display().to_string());
        let mut gpg = manager.account.applied_to(Command::new("gpg"));
        gpg.env("GNUPGHOME", &home)
            .args([
                "--batch",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "open sesame",
            ])
            .args([
                "--quick-generate-key",
                RECIPIENT,
                "rsa2048",
                "sign,encrypt",
                "never",
            ]);
        run(gpg).success();
        Keys {
            account: manager.account.clone(),
            home,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut end = self.account.applied_to(Command::new("gpgconf"));
        end.env("GNUPGHOME", &self.home).args(["--kill", "all"]);
        let _ = end.output();
    }
}
