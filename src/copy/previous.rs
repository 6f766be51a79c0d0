//! What is known of the files of the previous backup, so that unchanged ones need not be read.

use std::collections::HashMap;

use super::page_hashes::PageHashes;
use super::plan::CopyPlan;
use super::records::{FileChecksum, Known, RecordIndex};
use crate::agent::message::Time;
use crate::postgres::manifest::{self, Checksum};
use crate::postgres::page_sum::PageSum;

/// The records of the previous backup, or its manifest where it has none: one that Barman took.
#[derive(Default)]
pub(super) struct Previous {
    records: RecordIndex,
    manifest: HashMap<Box<[u8]>, Listed>,
    /// Of the backups of the chain, the newest first.
    page_hashes: Vec<PageHashes>,
}

/// A file of a manifest.
struct Listed {
    size: u64,
    modified: i64,
    checksum: Box<[u8]>,
}

impl Previous {
    /// Loads what the plan names; what is missing or damaged only means that files are read.
    pub(super) fn load(plan: &CopyPlan) -> Previous {
        let records = plan
            .records
            .as_ref()
            .and_then(|records| records.previous.as_deref());
        if let Some(path) = records.filter(|path| path.exists()) {
            match RecordIndex::load(path) {
                Ok(records) => {
                    let hashes = plan.records.iter().flat_map(|records| &records.older_page_hashes);
                    return Previous {
                        records,
                        manifest: HashMap::new(),
                        page_hashes: hashes.filter_map(|path| PageHashes::open(path)).collect(),
                    };
                }
                Err(error) => log::warn!("files are compared by their content: {error}"),
            }
        }
        Previous {
            records: RecordIndex::default(),
            manifest: from_manifest(plan),
            page_hashes: Vec::new(),
        }
    }

    /// What is known of a file of the previous backup, by its path relative to the backup's directory.
    pub(super) fn known(&self, path: &[u8]) -> Option<&Known> {
        self.records.get(path)
    }

    /// The hashes of the pages of a file that has this sum, if a backup left them.
    pub(super) fn page_hashes(&self, path: &[u8], sum: PageSum) -> Option<Vec<PageSum>> {
        self.page_hashes.iter().find_map(|hashes| hashes.get(path, sum))
    }

    /// The checksum of the stored file, in whatever algorithm.
    pub(super) fn checksum(&self, path: &[u8], size: u64, modified: Time) -> Option<FileChecksum> {
        if let Some(known) = self.records.get(path) {
            return (known.stored == size && known.modified == modified)
                .then(|| self.records.checksum(known))
                .flatten();
        }
        let listed = self.manifest.get(path.strip_prefix(b"data/")?)?;
        (listed.size == size && listed.modified == modified.seconds).then(|| FileChecksum {
            algorithm: Checksum::Sha256,
            value: listed.checksum.to_vec(),
        })
    }
}

/// The SHA-256 checksums of the manifest, if they are asked for.
fn from_manifest(plan: &CopyPlan) -> HashMap<Box<[u8]>, Listed> {
    let mut files = HashMap::new();
    let (Some(Checksum::Sha256), Some(path)) = (plan.manifest, &plan.previous_manifest) else {
        return files;
    };
    let read = manifest::read(path, &mut |file| {
        if file.algorithm == Checksum::Sha256 {
            let listed = Listed {
                size: file.size,
                modified: file.modified,
                checksum: file.checksum.into(),
            };
            files.insert(file.path.into(), listed);
        }
    });
    if let Err(error) = read {
        log::info!("checksums of unchanged files are computed anew: {error}");
        files.clear();
    }
    files
}
