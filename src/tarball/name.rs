//! The name of a tarball: `backup-export-{server}-{id}-{time}-{checksum}.tar`, and the ending of its compression.

use crate::catalog::BackupId;

/// How many digits of the SHA-256 stand in the name.
pub(super) const DIGITS: usize = 8;

/// What the name of a tarball says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarballName {
    pub(super) id: BackupId,
    pub(super) checksum: String,
}

/// The name without its ending and the checksum.
pub(super) fn stem(server: &str, id: &BackupId, time: &str) -> String {
    format!("backup-export-{server}-{id}-{time}")
}

impl TarballName {
    /// Reads the name of a tarball of `server`.
    pub(super) fn parse(name: &str, server: &str) -> Option<TarballName> {
        let rest = name
            .strip_prefix("backup-export-")?
            .strip_prefix(server)?
            .strip_prefix('-')?;
        let stem = [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]
            .into_iter()
            .find_map(|ending| rest.strip_suffix(ending))?;
        let mut parts = stem.split('-');
        let (id, time, checksum) = (parts.next()?, parts.next()?, parts.next()?);
        let is_checksum = checksum.len() == DIGITS
            && checksum
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // The time has the form of an id.
        BackupId::parse(time)?;
        (is_checksum && parts.next().is_none()).then_some(TarballName {
            id: BackupId::parse(id)?,
            checksum: checksum.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_name_says_whose_backup_it_is() {
        let name = "backup-export-my-pg-20240110T100000-20261121T120936-6eebf018.tar.xz";
        let parsed = TarballName::parse(name, "my-pg").unwrap();
        assert_eq!(
            (parsed.id.as_str(), parsed.checksum.as_str()),
            ("20240110T100000", "6eebf018")
        );
        for (name, server) in [
            (name, "my"),
            (name, "pg"),
            (name, "other"),
            (
                "backup-export-my-pg-20240110T100000-20261121T120936-6eebf018.zip",
                "my-pg",
            ),
            (
                "backup-export-my-pg-20240110T100000-20261121T120936-6EEBF018.tar",
                "my-pg",
            ),
            (
                "backup-export-my-pg-20240110T100000-20261121T120936-6eebf018-x.tar",
                "my-pg",
            ),
            ("backup-export-my-pg-latest-20261121T120936-6eebf018.tar", "my-pg"),
        ] {
            assert_eq!(TarballName::parse(name, server), None, "{name}");
        }
    }
}
