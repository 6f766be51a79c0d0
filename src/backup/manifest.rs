//! `backup_manifest`: PostgreSQL's list of the files of a backup with their checksums, written from the records of the
//! backup (catalog reference §6). Barman's covers only `data/`; in those of members of chains tablespaces are below
//! `pg_tblspc/`.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::agent::message::Time;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::copy::records::{self, FileRecord, Form, RecordsError};
use crate::postgres::incremental::incremental_path;
use crate::postgres::manifest::{Checksum, Layout, ManifestFile, ManifestWriter};

/// The name of the manifest in the data directory.
pub(super) const MANIFEST: &str = "backup_manifest";

/// A file whose checksum nobody knows yet gets this one, as in PostgreSQL.
const FAST: Checksum = Checksum::Crc32c;

/// Writes the manifest of a data directory, durably, with the checksums of its records. `label` is the checksum algorithm
/// of `backup_label`, which barkeep wrote itself; `tablespaces` are those that are linked below `pg_tblspc`.
pub(super) fn write(
    data: &Path,
    records: &Path,
    layout: Layout,
    label: Checksum,
    tablespaces: &[u32],
) -> Result<(), RecordsError> {
    let path = data.join(MANIFEST);
    let temporary = durable::sibling(&path, ".tmp");
    let file = File::create(&temporary).at("create", &temporary)?;
    let mut writer = ManifestWriter::new(BufWriter::new(file), layout).at("write", &temporary)?;
    records::read::<RecordsError>(records, &mut |record| {
        let inside = match record.path.strip_prefix(b"data/") {
            Some(inside) => inside.to_vec(),
            None if tablespaces.iter().any(|oid| is_of(*oid, &record.path)) => {
                [b"pg_tblspc/", &*record.path].concat()
            }
            None => return Ok(()),
        };
        // The label is the one of this backup, not one that lay in the data directory.
        if inside != b"backup_label" && inside != MANIFEST.as_bytes() {
            let entry = entry(data, &inside, &record)?;
            writer.file(&entry).at("write", &temporary)?;
        }
        Ok(())
    })?;
    let entry = file_entry(data, b"backup_label", label)?;
    writer.file(&entry).at("write", &temporary)?;
    let output = writer.finish().at("write", &temporary)?;
    let file = output
        .into_inner()
        .map_err(|error| PathError::new("write", &temporary, error.into_error()))?;
    file.sync_all().at("sync", &temporary)?;
    durable::rename(&temporary, &path)?;
    Ok(())
}

/// Whether a path relative to the backup's directory lies in the tablespace `oid`.
fn is_of(oid: u32, path: &[u8]) -> bool {
    path.strip_prefix(oid.to_string().as_bytes())
        .is_some_and(|rest| rest.starts_with(b"/"))
}

/// Whether the data directory has a manifest of version 2, on which incremental backups can be built.
pub(super) fn is_of_member(data: &Path) -> bool {
    let mut head = [0; 64];
    let read = File::open(data.join(MANIFEST)).and_then(|mut file| file.read(&mut head));
    let length = read.unwrap_or(0);
    let head = String::from_utf8_lossy(head.get(..length).unwrap_or_default()).into_owned();
    head.split_once(':')
        .is_some_and(|(key, rest)| key.contains("Manifest-Version") && rest.trim_start().starts_with('2'))
}

fn entry(data: &Path, inside: &[u8], record: &FileRecord) -> Result<ManifestFile, PathError> {
    let path = match record.form {
        Form::Whole => inside.to_vec(),
        Form::Blocks { .. } => incremental_path(inside),
    };
    let Some(checksum) = &record.checksum else {
        return file_entry(data, &path, FAST);
    };
    Ok(ManifestFile {
        path,
        size: record.stored,
        modified: record.modified.seconds,
        algorithm: checksum.algorithm,
        checksum: checksum.value.clone(),
    })
}

/// An entry for a file as it is.
fn file_entry(data: &Path, relative: &[u8], algorithm: Checksum) -> Result<ManifestFile, PathError> {
    let path = data.join(std::ffi::OsStr::from_bytes(relative));
    let mut file = File::open(&path).at("open", &path)?;
    let modified = Time::modified(&file.metadata().at("look at", &path)?).seconds;
    let mut computation = algorithm.start();
    let mut buffer = vec![0_u8; 64 << 10];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).at("read", &path)?;
        if count == 0 {
            break;
        }
        computation.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
    Ok(ManifestFile {
        path: relative.to_vec(),
        size,
        modified,
        algorithm,
        checksum: computation.finish(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::copy::records::{FileChecksum, RecordWriter};

    #[test]
    fn layout_is_barmans() {
        let root = std::env::temp_dir().join(format!(".barkeep-manifest-{}", std::process::id()));
        let data = root.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let records = root.join("files");
        let record = |path: &str, form| FileRecord {
            path: path.as_bytes().into(),
            mode: 0o600,
            size: 16384,
            modified: Time::default(),
            sum: None,
            form,
            stored: 3,
            checksum: Some(FileChecksum {
                algorithm: Checksum::Sha256,
                value: vec![0xab, 0x01],
            }),
        };
        let mut writer = RecordWriter::create(&records).unwrap();
        for (path, form) in [
            ("data/PG_VERSION", Form::Whole),
            ("16400/PG_15_202209061/5/1", Form::Whole),
            ("data/backup_label", Form::Whole),
            ("data/é", Form::Whole),
            ("data/base/5/1", Form::Blocks { longest: 2 }),
        ] {
            writer.add(&record(path, form)).unwrap();
        }
        writer.finish().unwrap();
        let label = data.join("backup_label");
        std::fs::write(&label, "label").unwrap();
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        File::options()
            .write(true)
            .open(&label)
            .unwrap()
            .set_modified(epoch)
            .unwrap();
        write(&data, &records, Layout::Barman, Checksum::Sha256, &[]).unwrap();
        let text = std::fs::read_to_string(data.join(MANIFEST)).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let line = |sum: &str, path: &str, size: u32| {
            format!(
                "{{\"Checksum\": \"{sum}\", \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"1970-01-01 00:00:00\", \
                 \"Path\": \"{path}\", \"Size\": {size}}}"
            )
        };
        let files = [
            line("ab01", "PG_VERSION", 3),
            line("ab01", "\\u00e9", 3),
            line("ab01", "base/5/INCREMENTAL.1", 3),
            line(
                "1aca80e8b55c802f7b43740da2990e1b5735bbb323d93eb5ebda8395b04025e2",
                "backup_label",
                5,
            ),
        ];
        let (covered, _) = text.split_at(text.find("\"Manifest-Checksum\"").unwrap());
        assert_eq!(
            covered,
            format!(
                "{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{}],\n",
                files.join(",\n")
            )
        );
    }
}
