//! How backups and WAL are stored: encryption, compression, object stores.

use crate::codec::gpg;
use crate::config::{BackupCompressionFormat, BackupMethod, Encryption, WalCompression};

use super::context::Context;
use super::{Cancelled, Sink};

/// Encryption must work before the first file depends on it.
pub(super) fn check_encryption(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    if let Err(cloud) = &context.catalog {
        let hint = format!("{cloud}: this version of barkeep keeps backups and WAL on this host only");
        sink.report("cloud storage configuration", false, hint)?;
    }
    if server.encryption != Some(Encryption::Gpg) {
        return Ok(());
    }
    let mistake = match &server.encryption_key_id {
        None => Some("encryption_key_id is unset"),
        Some(_) if server.backup_method != BackupMethod::Postgres => Some("backup_method != postgres"),
        Some(_) if server.backup_compression.is_none() => Some("backup_compression is unset"),
        Some(_) if server.backup_compression_format != Some(BackupCompressionFormat::Tar) => {
            Some("backup_compression_format != tar")
        }
        Some(_) => None,
    };
    if let Some(mistake) = mistake {
        return sink.report(
            "encryption",
            false,
            format!("Encryption is set as gpg, but {mistake}"),
        );
    }
    match server.encryption_key_id.as_deref().map(try_encryption) {
        Some(Err(error)) => {
            log::error!(target: "barman.server", "{error}");
            sink.report(
                "encryption",
                false,
                "encryption test failed. Check the log file for more details",
            )
        }
        _ => sink.report("encryption", true, "encryption test succeeded"),
    }
}

/// Encrypts a few bytes for the key.
fn try_encryption(key: &str) -> std::io::Result<()> {
    let directory = std::env::temp_dir().join(format!("barkeep-encryption-test-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let (plain, secret) = (directory.join("plain"), directory.join("secret"));
    let outcome = std::fs::write(&plain, b"barkeep").and_then(|()| gpg::encrypt(key, &plain, &secret));
    std::fs::remove_dir_all(&directory)?;
    outcome
}

/// The compression must be one that can be undone again.
pub(super) fn check_compression(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    let mut missing = Vec::new();
    if server.compression == Some(WalCompression::Custom) {
        if server.custom_compression_filter.is_none() {
            missing.push("custom_compression_filter");
        }
        if server.custom_decompression_filter.is_none() {
            missing.push("custom_decompression_filter");
        }
    }
    let hint = if missing.is_empty() {
        String::new()
    } else {
        format!("compression = custom requires {}", missing.join(" and "))
    };
    sink.report("compression settings", missing.is_empty(), hint)
}
