//! What of each backup of a chain is needed, by their manifests: a file of an older one only where every newer one has
//! nothing but changed blocks of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::copy::CopyError;
use crate::copy::chain::ChainError;
use crate::postgres::incremental;
use crate::postgres::manifest::{self, Checksum, ManifestFile};

/// The manifest beside the tar files.
pub(super) const MANIFEST: &str = "backup_manifest";

/// The backup that each file begins with, 0 being the newest. Files that are not here begin, and end, with the newest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    first: HashMap<Vec<u8>, usize>,
    /// Files and bytes of the newest backup's manifest, for the display.
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What a manifest says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) algorithm: Checksum,
    pub(super) checksum: Vec<u8>,
}

impl Needs {
    /// Reads the manifests of a chain, the newest backup first. A backup that stands alone needs none.
    pub(super) fn of(members: &[PathBuf]) -> Result<Needs, CopyError> {
        let mut needs = Needs::default();
        let mut open: HashMap<Vec<u8>, ()> = HashMap::new();
        let Some((newest, older)) = members.split_first() else {
            return Ok(needs);
        };
        let path = newest.join(MANIFEST);
        if older.is_empty() && !path.is_file() {
            return Ok(needs);
        }
        manifest::read(&path, &mut |file| {
            needs.files += 1;
            needs.bytes += file.size;
            if let Some(whole) = incremental::stands_for(&file.path) {
                open.insert(whole, ());
            }
        })?;
        for (index, member) in older.iter().enumerate() {
            if open.is_empty() {
                break;
            }
            let mut still = HashMap::new();
            manifest::read(&member.join(MANIFEST), &mut |file| {
                let blocks = incremental::stands_for(&file.path);
                let whole = blocks.as_ref().unwrap_or(&file.path);
                if let Some((path, ())) = open.remove_entry(whole) {
                    match blocks {
                        Some(_) => still.insert(path, ()).map_or((), drop),
                        None => {
                            needs.first.insert(path, index + 1);
                        }
                    }
                }
            })?;
            if let Some(path) = open.into_keys().next() {
                return Err(lost(member, &path).into());
            }
            open = still;
        }
        match open.into_keys().next() {
            Some(path) => Err(lost(members.last().unwrap_or(newest), &path).into()),
            None => Ok(needs),
        }
    }

    /// Whether the backup at `index` is needed for the file, by the path that it has when it is whole.
    pub(super) fn wants(&self, index: usize, whole: &[u8]) -> bool {
        index == 0 || self.first.get(whole).is_some_and(|first| index <= *first)
    }
}

/// What the manifest of a backup says of its files; `None` without a manifest.
pub(super) fn expected(data: &Path) -> Result<Option<HashMap<Vec<u8>, Expected>>, CopyError> {
    let path = data.join(MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let mut all = HashMap::new();
    manifest::read(&path, &mut |ManifestFile {
                                    path,
                                    size,
                                    algorithm,
                                    checksum,
                                    ..
                                }| {
        let expected = Expected {
            size,
            algorithm,
            checksum,
        };
        all.insert(path, expected);
    })?;
    Ok(Some(all))
}

fn lost(member: &Path, path: &[u8]) -> ChainError {
    ChainError::NoWholeFile {
        path: member.join(String::from_utf8_lossy(path).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::postgres::manifest::{Layout, ManifestWriter};
    use std::fs;

    fn write(directory: &Path, files: &[&str]) {
        fs::create_dir_all(directory).unwrap();
        let layout = Layout::PostgreSql {
            ranges: Vec::new(),
            system_identifier: Some(7),
        };
        let mut writer = ManifestWriter::new(Vec::new(), layout).unwrap();
        for path in files {
            let file = ManifestFile {
                path: path.as_bytes().to_vec(),
                size: 3,
                modified: 0,
                algorithm: Checksum::Crc32c,
                checksum: vec![1, 2, 3, 4],
            };
            writer.file(&file).unwrap();
        }
        fs::write(directory.join(MANIFEST), writer.finish().unwrap()).unwrap();
    }

    #[test]
    fn older_files_only_where_the_newer_have_blocks() {
        let root = std::env::temp_dir().join(format!(".barkeep-needs-{}", std::process::id()));
        let members = [root.join("3"), root.join("2"), root.join("1")];
        write(
            &members[0],
            &["base/INCREMENTAL.1", "base/INCREMENTAL.2", "base/3"],
        );
        write(&members[1], &["base/INCREMENTAL.1", "base/2", "base/3"]);
        write(&members[2], &["base/1", "base/2", "base/3", "base/4"]);
        let needs = Needs::of(&members).unwrap();
        let wanted = |index| {
            ["base/1", "base/2", "base/3", "base/4"]
                .iter()
                .filter(|path| needs.wants(index, path.as_bytes()))
                .count()
        };
        assert_eq!((wanted(2), wanted(1)), (1, 2));
        assert!(needs.wants(2, b"base/1") && !needs.wants(1, b"base/3"));
        assert_eq!((needs.files, needs.bytes), (3, 9));
        let alone = expected(&members[2]).unwrap().unwrap();
        assert_eq!((alone.len(), alone[&b"base/1"[..]].size), (4, 3));
        // Without its beginning a file cannot be put together.
        assert!(Needs::of(&members[..2]).is_err());
        write(&members[2], &["base/2"]);
        assert!(Needs::of(&members).is_err());
        fs::remove_file(members[2].join(MANIFEST)).unwrap();
        assert!(Needs::of(&members).is_err());
        assert_eq!(Needs::of(&members[2..]).unwrap(), Needs::default());
        fs::remove_dir_all(&root).unwrap();
    }
}
