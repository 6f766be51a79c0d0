//! How the tar files of base backups are read.

use crate::codec::WalCodec;
use crate::codec::gpg::Passphrase;
use crate::config::ServerConfig;

/// Reads what `pg_basebackup` compressed and gpg encrypted, with the passphrase of the server. The options for WAL have no
/// say: what is plain is a tar file.
#[must_use]
pub fn codec_of_base_backups(config: &ServerConfig) -> WalCodec {
    let command = config.encryption_passphrase_command.as_deref();
    WalCodec {
        passphrase: command.map(Passphrase::from_command),
        ..WalCodec::default()
    }
}
