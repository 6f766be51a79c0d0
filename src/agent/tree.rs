//! Listing a tree as rsync would: filters first, links followed or not, special files left out.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use walkdir::WalkDir;

use super::filter::{Filter, Verdict};
use super::message::{Attributes, Entry, EntryKind};
use crate::base::error::PathError;

/// Goes through the tree at `root` and hands every entry to `each`, parents before their children, the root first with an
/// empty path. Returns the paths that were skipped (dangling links; special files when links are followed).
///
/// What vanishes between two looks is left out silently: normal on a live server.
///
/// # Errors
/// The root or a directory cannot be read, or `each` refuses to go on.
pub fn walk<E: From<PathError>>(
    root: &Path,
    filter: &Filter,
    follow: bool,
    each: &mut dyn FnMut(Entry) -> Result<(), E>,
) -> Result<Vec<Vec<u8>>, E> {
    let mut skipped = Vec::new();
    let walk = WalkDir::new(root)
        .follow_links(follow)
        .follow_root_links(true)
        .into_iter();
    let taken = walk.filter_entry(|entry| {
        let path = relative(root, entry.path());
        path.is_empty() || filter.verdict(path, entry.file_type().is_dir()) == Verdict::Take
    });
    for entry in taken {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                if let Some(path) = forgivable(root, filter, error)? {
                    skipped.push(path);
                }
                continue;
            }
        };
        let path = relative(root, entry.path());
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                forgivable(root, filter, error)?;
                continue;
            }
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            kind if kind.is_symlink() => EntryKind::Symlink,
            _ if follow => {
                skipped.push(path.to_vec());
                continue;
            }
            _ => EntryKind::Other,
        };
        each(Entry {
            path: path.into(),
            kind,
            size: metadata.len(),
            attributes: Attributes::of(&metadata),
        })?;
    }
    Ok(skipped)
}

fn relative<'a>(root: &Path, path: &'a Path) -> &'a [u8] {
    path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes()
}

/// A vanished file is nothing; a dangling link or a loop is worth a mention; the rest are errors.
fn forgivable(root: &Path, filter: &Filter, error: walkdir::Error) -> Result<Option<Vec<u8>>, PathError> {
    let path = error.path().unwrap_or(root).to_path_buf();
    let inside = relative(root, &path).to_vec();
    let left_out = !inside.is_empty() && filter.verdict(&inside, false) != Verdict::Take;
    if left_out {
        return Ok(None);
    }
    if error.loop_ancestor().is_some() {
        return Ok(Some(inside));
    }
    let source = error
        .into_io_error()
        .unwrap_or_else(|| std::io::ErrorKind::Other.into());
    if source.kind() == std::io::ErrorKind::NotFound && !inside.is_empty() {
        let dangling = std::fs::symlink_metadata(&path).is_ok();
        return Ok(dangling.then_some(inside));
    }
    Err(PathError::new("read", path, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_unless_left_out() {
        let root = std::env::temp_dir().join(format!(".barkeep-walk-{}", std::process::id()));
        let outside = std::env::temp_dir().join(format!(".barkeep-walk-out-{}", std::process::id()));
        fs::create_dir_all(root.join("pg_tblspc")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("f"), "12345").unwrap();
        symlink(&outside, root.join("pg_tblspc/1")).unwrap();
        symlink(&outside, root.join("pg_tblspc/2")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("nowhere", root.join("postmaster.pid")).unwrap();
        symlink(&root, root.join("loop")).unwrap();
        let filter = Filter::default().exclude(["/pg_tblspc/1", "postmaster.pid"]);
        let mut seen = Vec::new();
        let mut skipped = walk(&root, &filter, true, &mut |entry: Entry| {
            seen.push((
                String::from_utf8(entry.path.into()).unwrap(),
                entry.kind,
                entry.size,
            ));
            Ok::<(), PathError>(())
        })
        .unwrap();
        seen.retain(|(_, kind, _)| *kind == EntryKind::File);
        skipped.sort();
        assert_eq!(seen, [("pg_tblspc/2/f".to_owned(), EntryKind::File, 5)]);
        assert_eq!(skipped, [b"dangling".to_vec(), b"loop".to_vec()]);
        let mut kinds = Vec::new();
        walk(&root, &filter, false, &mut |entry: Entry| {
            kinds.push(entry.kind);
            Ok::<(), PathError>(())
        })
        .unwrap();
        assert_eq!(
            kinds.iter().filter(|kind| **kind == EntryKind::Symlink).count(),
            3
        );
        fs::remove_dir_all(&root).unwrap();
        fs::remove_dir_all(&outside).unwrap();
    }
}
