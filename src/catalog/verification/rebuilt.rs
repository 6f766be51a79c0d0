//! What an incremental backup becomes with its chain: every file that would be restored is put together and read.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{BATCH, Mismatch, Tree, Verification, bad_pages};
use crate::base::directory;
use crate::base::error::{PathContext, PathError};
use crate::base::parallel;
use crate::copy::chain;
use crate::copy::verify::{self, Wanted};

/// A directory of the backup and the same of those it builds on, the newest first.
struct Chain {
    members: Vec<PathBuf>,
    /// What precedes the paths of its files in the records of the backup.
    prefix: String,
    /// What precedes them in messages.
    shown: String,
}

impl Tree {
    /// Puts every file with changed blocks together and compares it with what it was when the backup was taken.
    pub(super) fn verify_rebuilt(
        &self,
        workers: usize,
        verification: &mut Verification,
    ) -> Result<(), PathError> {
        for chain in self.chains()? {
            let files = incremental_files(&chain)?;
            for batch in files.chunks(BATCH) {
                for (size, mismatches) in
                    parallel::map(batch, workers, |file| self.compare_rebuilt(&chain, file))
                {
                    verification.files += u64::from(mismatches.is_empty());
                    verification.bytes += size;
                    verification.mismatches.extend(mismatches);
                }
            }
        }
        Ok(())
    }

    /// The data directory, and the tablespaces beside it.
    fn chains(&self) -> Result<Vec<Chain>, PathError> {
        let older = self.older.iter().map(|member| member.data.clone());
        let mut chains = vec![Chain {
            members: std::iter::once(self.data.clone()).chain(older).collect(),
            prefix: "data/".to_owned(),
            shown: String::new(),
        }];
        for name in directory::names(&self.base)? {
            if name.bytes().all(|byte| byte.is_ascii_digit()) {
                let older = self.older.iter().map(|member| member.base.join(&name));
                chains.push(Chain {
                    members: std::iter::once(self.base.join(&name)).chain(older).collect(),
                    prefix: format!("{name}/"),
                    shown: format!("pg_tblspc/{name}/"),
                });
            }
        }
        Ok(chains)
    }

    fn compare_rebuilt(&self, chain: &Chain, file: &[u8]) -> (u64, Vec<Mismatch>) {
        let name = format!("{}{}", chain.shown, String::from_utf8_lossy(file));
        let recorded = self
            .sums
            .as_ref()
            .and_then(|sums| sums.sum(&[chain.prefix.as_bytes(), file].concat()));
        let wanted = Wanted {
            checksum: None,
            sum: recorded.is_some(),
            pages: self.pages,
        };
        match verify::rebuilt(&chain.members, file, wanted) {
            Ok(Some(found)) => {
                let mut mismatches = bad_pages(&name, &found.corrupt);
                if recorded.is_some_and(|sum| sum != found.sum) {
                    mismatches.insert(0, Mismatch::Rebuilt(name));
                }
                (found.size, mismatches)
            }
            // It went while the directory was listed: somebody removes the backup in spite of the lock.
            Ok(None) => (0, vec![Mismatch::Missing(name)]),
            Err(error) => {
                let reason = error.to_string();
                (0, vec![Mismatch::Chain { path: name, reason }])
            }
        }
    }
}

/// The files with changed blocks in the newest directory, by the names they stand for.
fn incremental_files(chain: &Chain) -> Result<Vec<Vec<u8>>, PathError> {
    let Some(newest) = chain.members.first() else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(newest).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from).at("read directory", newest)?;
        let inside = entry.path().strip_prefix(newest).unwrap_or(Path::new(""));
        if entry.file_type().is_file() {
            files.extend(chain::rebuilt_path(inside.as_os_str().as_bytes()));
        }
    }
    Ok(files)
}
