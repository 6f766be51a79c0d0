//! Stubs: incremental files without blocks, for relation files that did not change.
//!
//! A stub says no more than how many blocks its file has, so all stubs of one length are names of one file: a million
//! unchanged files cost entries of directories, not inodes and blocks.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::agent::syncer::Syncer;
use crate::base::error::{PathContext, PathError};
use crate::copy::local;
use crate::copy::records::FileChecksum;
use crate::postgres::incremental::Header;
use crate::postgres::manifest::Checksum;

/// The stubs of a backup, by the blocks they stand for.
#[derive(Default)]
pub(super) struct Stubs {
    made: Mutex<HashMap<u32, PathBuf>>,
}

impl Stubs {
    /// Puts a stub at `path`; whether it is one more name of an older one.
    pub(super) fn place(&self, blocks: u32, path: &Path, syncer: &Syncer) -> Result<bool, PathError> {
        let older = self.lock().get(&blocks).cloned();
        if let Some(older) = older
            && local::link(&older, path)?
        {
            return Ok(true);
        }
        // The first of its length, or one that can have no more names.
        let mut file = local::create(path)?;
        file.write_all(&content(blocks)).at("write", path)?;
        syncer.submit(file, path.to_path_buf())?;
        self.lock().insert(blocks, path.to_path_buf());
        Ok(false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a stub.
pub(super) fn content(blocks: u32) -> Vec<u8> {
    Header {
        truncation: blocks,
        blocks: Vec::new(),
    }
    .to_bytes()
}

/// The checksum of a stub.
pub(super) fn checksum(blocks: u32, algorithm: Checksum) -> FileChecksum {
    let mut computation = algorithm.start();
    computation.update(&content(blocks));
    FileChecksum {
        algorithm,
        value: computation.finish(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn stubs_of_one_length_are_one_file() {
        let root = std::env::temp_dir().join(format!(".barkeep-stubs-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let (stubs, syncer) = (Stubs::default(), Syncer::new(1));
        let inode = |name: &str| std::fs::metadata(root.join(name)).unwrap().ino();
        assert!(!stubs.place(7, &root.join("a"), &syncer).unwrap());
        assert!(stubs.place(7, &root.join("b"), &syncer).unwrap());
        assert!(!stubs.place(8, &root.join("c"), &syncer).unwrap());
        assert_eq!(inode("a"), inode("b"));
        assert_ne!(inode("a"), inode("c"));
        let stub = std::fs::read(root.join("b")).unwrap();
        assert_eq!(
            stub,
            [&0xd3ae_1f0d_u32.to_ne_bytes()[..], &[0; 4], &7_u32.to_ne_bytes()].concat()
        );
        // The first is gone: another is made.
        std::fs::remove_file(root.join("a")).unwrap();
        assert!(stubs.place(7, &root.join("d"), &syncer).is_err() || root.join("d").exists());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
