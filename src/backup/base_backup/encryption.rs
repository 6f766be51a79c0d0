//! Encrypting the tar files of a backup (behaviour reference §12).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::base::durable;
use crate::base::error::PathContext;
use crate::base::interrupt;
use crate::codec::gpg;
use crate::config::Encryption;
use crate::copy::packed;

use crate::backup::error::BackupError;
use crate::backup::run::Run;

impl Run<'_> {
    /// Encrypts them where the configuration says so. Each is on disk in its new form before the old one goes.
    pub(super) fn encrypt(&mut self) -> Result<(), BackupError> {
        let Some(key) = self
            .config
            .encryption_key_id
            .as_deref()
            .filter(|_| self.config.encryption == Some(Encryption::Gpg))
        else {
            return Ok(());
        };
        self.action = "encrypting the backup";
        self.reporter.info("Encrypting backup using gpg encryption");
        let data = self.catalog.layout().data_dir(&self.info.id);
        for part in packed::parts(&data)? {
            interrupt::check()?;
            let secret = durable::sibling(&part.path, ".gpg");
            gpg::encrypt(key, &part.path, &secret).at("encrypt", &part.path)?;
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&secret, private).at("set the permissions of", &secret)?;
            durable::sync_file(&secret)?;
            durable::sync_dir(&data)?;
            durable::remove(&part.path)?;
        }
        self.info.encryption = Some(Encryption::Gpg.keyword().to_owned());
        Ok(())
    }
}
