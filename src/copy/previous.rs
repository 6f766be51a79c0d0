//! The checksums of the previous backup, so that unchanged files need not be read for the manifest.

use std::collections::HashMap;

use super::plan::CopyPlan;
use crate::agent::message::Attributes;
use crate::postgres::manifest::{self, Checksum};

/// Checksums by path, for files of the algorithm in use.
#[derive(Default)]
pub(super) struct PreviousManifest {
    files: HashMap<Box<[u8]>, Known>,
}

struct Known {
    size: u64,
    modified: i64,
    checksum: Box<[u8]>,
}

impl PreviousManifest {
    /// Loads what the plan names; a manifest that is missing or damaged only means that files are read.
    pub(super) fn load(plan: &CopyPlan) -> PreviousManifest {
        let mut files = HashMap::new();
        let (Some(algorithm), Some(path)) = (
            plan.manifest.filter(|a| *a != Checksum::None),
            &plan.previous_manifest,
        ) else {
            return PreviousManifest::default();
        };
        let read = manifest::read(path, &mut |file| {
            if file.algorithm == algorithm {
                let known = Known {
                    size: file.size,
                    modified: file.modified,
                    checksum: file.checksum.into(),
                };
                files.insert(file.path.into(), known);
            }
        });
        if let Err(error) = read {
            log::info!("checksums of unchanged files are computed anew: {error}");
            files.clear();
        }
        PreviousManifest { files }
    }

    /// The checksum of a file that is unchanged.
    pub(super) fn checksum(&self, path: &[u8], size: u64, attributes: Attributes) -> Option<Vec<u8>> {
        let known = self.files.get(path)?;
        (known.size == size && known.modified == attributes.modified.seconds).then(|| known.checksum.to_vec())
    }
}
