//! Files that nobody expects: they would be restored with the others.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{IGNORED, Mismatch, Tree, Verification};
use crate::base::directory;
use crate::base::error::{PathContext, PathError};

impl Tree {
    /// Finds them in the data directory and in the tablespaces beside it.
    pub(super) fn find_extra(
        &self,
        known: &BTreeSet<Vec<u8>>,
        verification: &mut Verification,
    ) -> Result<(), PathError> {
        let mut roots = vec![(self.data.clone(), PathBuf::new())];
        for name in directory::names(&self.base)? {
            let beside = self.base.join(&name);
            let linked = self.data.join("pg_tblspc").join(&name);
            if name.bytes().all(|byte| byte.is_ascii_digit()) && beside.is_dir() {
                let covered = known
                    .iter()
                    .any(|path| path.starts_with(format!("pg_tblspc/{name}/").as_bytes()));
                // The manifests of Barman do not cover tablespaces kept beside the data.
                if covered || linked.symlink_metadata().is_ok() {
                    roots.push((beside, Path::new("pg_tblspc").join(&name)));
                }
            }
        }
        for (root, prefix) in roots {
            self.find_extra_below(&root, &prefix, known, verification)?;
        }
        Ok(())
    }

    fn find_extra_below(
        &self,
        root: &Path,
        prefix: &Path,
        known: &BTreeSet<Vec<u8>>,
        verification: &mut Verification,
    ) -> Result<(), PathError> {
        let walk = WalkDir::new(root)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| {
                let top = entry.depth() == 1 && prefix.as_os_str().is_empty();
                !(top && IGNORED.iter().any(|name| entry.file_name() == *name))
            });
        for entry in walk {
            let entry = entry.map_err(std::io::Error::from).at("read directory", root)?;
            let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let name = prefix.join(inside);
            if entry.file_type().is_file() && !known.contains(name.as_os_str().as_bytes()) {
                verification
                    .mismatches
                    .push(Mismatch::Extra(name.display().to_string()));
            }
        }
        Ok(())
    }
}
