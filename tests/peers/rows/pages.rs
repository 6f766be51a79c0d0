//! Pages: changed on purpose, and counted.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::PAGE;

/// One page in a hundred of every relation is overwritten.
pub(super) fn damage(data: &Path) {
    for entry in WalkDir::new(data.join("base")).into_iter().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() || metadata.len() < PAGE as u64 {
            continue;
        }
        let Ok(file) = std::fs::File::options().write(true).open(entry.path()) else {
            continue;
        };
        let pages = metadata.len() / PAGE as u64;
        for number in 0..pages.div_ceil(100) {
            // Spread evenly enough, and the same for everybody.
            let page = number.wrapping_mul(6_364_136_223_846_793_005) % pages;
            let _ = file.write_all_at(&[0xDB; PAGE], page * PAGE as u64);
        }
    }
}

/// Pages of `new` that `old` does not have at the same place.
pub(super) fn changed_pages(old: &Path, new: &Path) -> u64 {
    changes(old, new)
        .iter()
        .map(|(_, pages)| pages.len() as u64)
        .sum()
}

/// The files of `new` that differ from those of `old`, by their relative paths, and the numbers of their pages that do.
pub(super) fn changes(old: &Path, new: &Path) -> Vec<(PathBuf, Vec<u64>)> {
    use std::os::unix::fs::MetadataExt;
    let mut changes = Vec::new();
    for entry in WalkDir::new(new)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
    {
        let Ok(relative) = entry.path().strip_prefix(new) else {
            continue;
        };
        let (Ok(now), Ok(then)) = (entry.metadata(), std::fs::metadata(old.join(relative))) else {
            continue;
        };
        if now.ino() == then.ino() || now.len() % PAGE as u64 != 0 {
            continue;
        }
        let (Ok(now), Ok(then)) = (
            std::fs::File::open(entry.path()),
            std::fs::File::open(old.join(relative)),
        ) else {
            continue;
        };
        changes.push((relative.to_path_buf(), differing(&now, &then)));
    }
    changes
}

fn differing(now: &std::fs::File, then: &std::fs::File) -> Vec<u64> {
    let (mut a, mut b) = (vec![0_u8; 128 * PAGE], vec![0_u8; 128 * PAGE]);
    let (mut offset, mut changed) = (0, Vec::new());
    loop {
        let count = fill(now, &mut a, offset);
        if count == 0 {
            return changed;
        }
        let old = fill(then, &mut b, offset);
        let first = offset / PAGE as u64;
        let pages = a[..count].chunks(PAGE).zip(first..);
        changed.extend(
            pages
                .filter(|(page, number)| b[..old].chunks(PAGE).nth((number - first) as usize) != Some(*page))
                .map(|(_, number)| number),
        );
        offset += count as u64;
    }
}

fn fill(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

/// Reads every file below `root`, so that whoever works on them next finds them in the page cache.
pub(super) fn warm(root: &Path) {
    for entry in WalkDir::new(root).into_iter().flatten() {
        if let (true, Ok(mut file)) = (entry.file_type().is_file(), std::fs::File::open(entry.path())) {
            let _ = std::io::copy(&mut file, &mut std::io::sink());
        }
    }
}
