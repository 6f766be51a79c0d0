//! What no manifest covers: whole files are compared with what was recorded when the backup was taken.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::{BATCH, Mismatch, Tree, Verification, VerifyError, bad_pages};
use crate::base::error::strerror;
use crate::base::parallel;
use crate::copy::records::{self, FileRecord, Form};
use crate::copy::verify::{self, Wanted};
use crate::postgres::incremental;

/// Which files are compared with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// All: there is no manifest.
    All,
    /// Those of tablespaces.
    Tablespaces,
}

impl Tree {
    /// Compares every recorded file that is stored whole; the others come with the chain.
    pub(super) fn compare_recorded(
        &self,
        which: Recorded,
        workers: usize,
        known: &mut BTreeSet<Vec<u8>>,
        verification: &mut Verification,
    ) -> Result<(), VerifyError> {
        let mut batch = Vec::new();
        records::read::<VerifyError>(&self.records, &mut |record| {
            if which == Recorded::Tablespaces && record.path.starts_with(b"data/") {
                return Ok(());
            }
            let (listed, _) = listed(&record);
            known.insert(listed);
            // The label is written when the copy is over.
            if record.form == Form::Whole && &*record.path != b"data/backup_label" {
                batch.push(record);
            }
            if batch.len() == BATCH {
                self.compare_batch(&batch, workers, verification);
                batch.clear();
            }
            Ok(())
        })?;
        self.compare_batch(&batch, workers, verification);
        if which == Recorded::All {
            known.insert(b"backup_label".to_vec());
        }
        Ok(())
    }

    fn compare_batch(&self, batch: &[FileRecord], workers: usize, verification: &mut Verification) {
        for (record, mismatches) in batch.iter().zip(parallel::map(batch, workers, |record| {
            self.compare_record(record)
        })) {
            verification.files += u64::from(mismatches.is_empty());
            verification.bytes += record.size;
            verification.mismatches.extend(mismatches);
        }
    }

    fn compare_record(&self, record: &FileRecord) -> Vec<Mismatch> {
        let (relative, name) = listed(record);
        let Some(path) = self.place_of(&relative) else {
            return vec![Mismatch::Missing(name)];
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return vec![Mismatch::Missing(name)];
            }
            Err(error) => {
                let reason = strerror(&error);
                return vec![Mismatch::Unreadable { path: name, reason }];
            }
            Ok(metadata) if metadata.len() != record.size => {
                return vec![Mismatch::Size {
                    path: name,
                    found: metadata.len(),
                    expected: record.size,
                }];
            }
            Ok(_) => {}
        }
        let wanted = Wanted {
            checksum: None,
            sum: true,
            pages: self.pages,
        };
        match verify::file(&path, &relative, wanted) {
            Ok(found) => {
                let mut mismatches = bad_pages(&name, &found.corrupt);
                if record.sum.is_some_and(|sum| sum != found.sum) {
                    mismatches.insert(0, Mismatch::Checksum(name));
                }
                mismatches
            }
            Err(error) => vec![Mismatch::Unreadable {
                path: name,
                reason: error.to_string(),
            }],
        }
    }
}

/// The path as a manifest would list it, and for messages.
fn listed(record: &FileRecord) -> (Vec<u8>, String) {
    let path = match record.path.strip_prefix(b"data/") {
        Some(inside) => inside.to_vec(),
        None => [b"pg_tblspc/", &*record.path].concat(),
    };
    let path = match record.form {
        Form::Whole => path,
        Form::Blocks { .. } => incremental::incremental_path(&path),
    };
    let name = OsStr::from_bytes(&path).display().to_string();
    (path, name)
}
