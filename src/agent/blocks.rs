//! The changed blocks of a relation file: found in one pass, named first, then sent.
//!
//! The first pass hashes every page and finds those that changed, by their LSN or by the hashes of the old file. Their
//! content is kept up to a limit; beyond it pages are read a second time when they are sent. A page that PostgreSQL wrote
//! between the two is sent as it is then, and its hash exchanged, so that the sum is always that of the file as it was
//! sent. Sources: PostgreSQL's `basebackup_incremental.c` (what is sent whole), `bufpage.h` (new pages).

use std::path::Path;

use super::conversation::{Session, Stopped};
use super::delta;
use super::message::{CHUNK, Checks, HASH_SIZE, Response, Since};
use super::source::SourceFile;
use super::spans::{Base, Spans, window_for};
use crate::base::error::PathError;
use crate::postgres::lsn::Lsn;
use crate::postgres::page::{self, PAGE_SIZE, SEGMENT_PAGES};
use crate::postgres::page_sum::PageSum;

/// Content of changed pages that is kept between the passes.
const KEPT: usize = 8 << 20;

/// What the first pass found.
struct Scan {
    /// Blocks of the file.
    blocks: u32,
    /// Those that changed, ascending.
    changed: Vec<u32>,
    /// The content of the first of them.
    kept: Vec<u8>,
    /// The hashes of the others.
    left: Vec<PageSum>,
}

/// Answers a fetch of changed blocks.
pub(super) fn send(
    session: &mut Session,
    path: &Path,
    since: Since,
    checks: Option<Checks>,
    base: &mut Base,
) -> Result<(), Stopped> {
    let mut source = SourceFile::open(path, checks)?;
    let mut old = |wanted: usize| {
        session.check()?;
        match since.lsn {
            Some(_) => Ok(Vec::new()),
            None => base.take(session, wanted),
        }
    };
    let Some(mut scan) = scan::<Stopped>(&mut source, since, KEPT, &mut old)? else {
        session.output.message(&Response::InWhole)?;
        return super::reading::whole(session, path, checks);
    };
    session.output.message(&Response::Changed {
        blocks: scan.blocks,
        count: u32::try_from(scan.changed.len()).unwrap_or(u32::MAX),
    })?;
    for numbers in scan.changed.chunks(CHUNK / 4) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        session.output.data(&bytes)?;
    }
    let mut spans = Spans::default();
    spans.new_content(session, &std::mem::take(&mut scan.kept))?;
    let mut content = Vec::new();
    let unkept = scan.changed.len() - scan.left.len();
    let left = scan.changed.get(unkept..).unwrap_or_default();
    for (numbers, hashes) in left
        .chunks(CHUNK / PAGE_SIZE)
        .zip(scan.left.chunks(CHUNK / PAGE_SIZE))
    {
        session.check()?;
        content.resize(numbers.len() * PAGE_SIZE, 0);
        for ((number, hash), page) in numbers
            .iter()
            .zip(hashes)
            .zip(content.chunks_exact_mut(PAGE_SIZE))
        {
            source.read_again(*number, *hash, page)?;
        }
        spans.new_content(session, &content)?;
    }
    spans.flush(session)?;
    session.output.message(&Response::Fetched(source.finish()))?;
    Ok(())
}

/// The first pass; `None` when the file is to be sent whole. `old` gives the hashes of the old file's next pages.
fn scan<E: From<PathError>>(
    source: &mut SourceFile,
    since: Since,
    keep: usize,
    old: &mut dyn FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Option<Scan>, E> {
    let Some(expected) = blocks_of(source.size()) else {
        return Ok(None);
    };
    let mut buffer = vec![0_u8; window_for(source.size())];
    let mut scan = Scan {
        blocks: 0,
        changed: Vec::new(),
        kept: Vec::new(),
        left: Vec::new(),
    };
    loop {
        let wanted = buffer.len() / PAGE_SIZE * HASH_SIZE;
        let count = source.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let hashes = old(wanted)?;
        let content = buffer.get(..count).unwrap_or_default();
        let mut unkept = false;
        let mut hashes = PageSum::all_of(&hashes);
        for (page, hash) in content.chunks(PAGE_SIZE).zip(source.pages()) {
            let block = scan.blocks;
            scan.blocks += 1;
            let same = hashes.next() == Some(*hash);
            if !is_changed(since, block, page, same) {
                continue;
            }
            scan.changed.push(block);
            if scan.left.is_empty() && scan.kept.len() + PAGE_SIZE <= keep {
                scan.kept.extend_from_slice(page);
            } else {
                scan.left.push(*hash);
                unkept = true;
            }
        }
        if unkept {
            source.keep_cached();
        }
        if is_mostly(scan.changed.len(), expected) {
            return Ok(None);
        }
    }
    // It may have become shorter, and end within a page.
    let complete = source.offset() == u64::from(scan.blocks) * PAGE_SIZE as u64;
    let worth_it = complete && scan.blocks > 0 && !is_mostly(scan.changed.len(), scan.blocks);
    Ok(worth_it.then_some(scan))
}

fn is_changed(since: Since, block: u32, page: &[u8], same: bool) -> bool {
    if block >= since.blocks {
        return block < since.longest || !delta::is_zero(page);
    }
    match since.lsn {
        Some(start) => {
            page::is_new(page) || page::lsn(page).is_none_or(|lsn| lsn == Lsn(0) || lsn >= Lsn(start))
        }
        None => !same,
    }
}

/// Whether so many of the blocks changed that the whole file is the better choice: PostgreSQL's limit.
fn is_mostly(changed: usize, blocks: u32) -> bool {
    changed as u64 * 10 > u64::from(blocks) * 9
}

/// Blocks of a file of this size; `None` when it is no file of blocks, or empty.
fn blocks_of(size: u64) -> Option<u32> {
    let blocks = u32::try_from(size / PAGE_SIZE as u64).ok()?;
    (size > 0 && size.is_multiple_of(PAGE_SIZE as u64) && blocks <= SEGMENT_PAGES).then_some(blocks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    /// A file whose pages have these LSNs; `None` for a page of zeros.
    fn file(name: &str, lsns: &[Option<u32>]) -> (Scratch, Vec<u8>) {
        let mut content = vec![0_u8; lsns.len() * PAGE_SIZE];
        for (page, lsn) in content.chunks_mut(PAGE_SIZE).zip(lsns) {
            if let Some(lsn) = lsn {
                page[4..8].copy_from_slice(&lsn.to_ne_bytes());
                page[15] = 0x20;
            }
        }
        let path = std::env::temp_dir().join(format!(".barkeep-blocks-{name}-{}", std::process::id()));
        std::fs::write(&path, &content).unwrap();
        (Scratch(path), content)
    }

    fn since(lsn: Option<u64>, blocks: u32, longest: u32) -> Since {
        Since { lsn, blocks, longest }
    }

    fn scanned(path: &Path, since: Since, keep: usize, old: &[u8]) -> Option<(Scan, SourceFile)> {
        let mut source = SourceFile::open(path, None).unwrap();
        let mut taken = 0;
        let scan = scan::<PathError>(&mut source, since, keep, &mut |wanted| {
            let end = (taken + wanted).min(old.len());
            let hashes = old[taken..end].to_vec();
            taken = end;
            Ok(hashes)
        });
        Some((scan.unwrap()?, source))
    }

    #[test]
    fn by_position() {
        let pages: Vec<_> = (0..20).map(|_| Some(10)).collect();
        let mut pages = pages.clone();
        pages[3] = Some(100);
        pages[4] = Some(99);
        pages[5] = Some(101);
        pages[6] = None;
        pages[7] = Some(0);
        let (scratch, content) = file("lsn", &pages);
        let (scan, source) = scanned(&scratch.0, since(Some(100), 20, 20), 1 << 20, &[]).unwrap();
        assert_eq!((scan.blocks, scan.changed), (20, vec![3, 5, 6, 7]));
        assert_eq!(scan.kept[..PAGE_SIZE], content[3 * PAGE_SIZE..4 * PAGE_SIZE]);
        let mut hashes = Vec::new();
        assert_eq!(source.finish().sum, delta::page_sums(0, &content, &mut hashes));
    }

    #[test]
    fn by_hash() {
        let (scratch, content) = file("hash", &[Some(100); 20]);
        let mut old = content.clone();
        old[9 * PAGE_SIZE + 5000] = 1;
        // Equal content in another place is something else.
        let mut hashes = Vec::new();
        delta::page_sums(0, &old, &mut hashes);
        let (scan, _) = scanned(&scratch.0, since(None, 20, 20), 1 << 20, &hashes).unwrap();
        assert_eq!(scan.changed, [9]);
        let (scan, _) = scanned(
            &scratch.0,
            since(None, 18, 18),
            1 << 20,
            &hashes[..18 * HASH_SIZE],
        )
        .unwrap();
        assert_eq!(scan.changed, [9, 18, 19]);
    }

    #[test]
    fn zeros_beyond_the_old_end_count_only_where_an_older_backup_has_something() {
        let mut pages = vec![Some(10); 12];
        pages.extend([None, None, Some(5), None, None]);
        let (scratch, _) = file("zeros", &pages);
        let (scan, _) = scanned(&scratch.0, since(Some(100), 12, 12), 1 << 20, &[]).unwrap();
        assert_eq!((scan.blocks, scan.changed), (17, vec![14]));
        let (scan, _) = scanned(&scratch.0, since(Some(100), 12, 14), 1 << 20, &[]).unwrap();
        assert_eq!(scan.changed, [12, 13, 14]);
    }

    #[test]
    fn mostly_changed_and_odd_files_go_whole() {
        let (scratch, _) = file("mostly", &[Some(100); 10]);
        assert!(scanned(&scratch.0, since(Some(100), 10, 10), 1 << 20, &[]).is_none());
        let mut pages = vec![Some(100); 9];
        pages.push(Some(1));
        let (scratch, content) = file("almost", &pages);
        assert!(scanned(&scratch.0, since(Some(100), 10, 10), 1 << 20, &[]).is_some());
        std::fs::write(&scratch.0, &content[..content.len() - 1]).unwrap();
        assert!(scanned(&scratch.0, since(Some(100), 10, 10), 1 << 20, &[]).is_none());
        std::fs::write(&scratch.0, []).unwrap();
        assert!(scanned(&scratch.0, since(Some(100), 10, 10), 1 << 20, &[]).is_none());
    }

    #[test]
    fn what_does_not_fit_is_read_again_as_it_is_then() {
        let (scratch, mut content) = file("again", &[Some(100), Some(1), Some(100), Some(1), Some(100)]);
        let (scan, mut source) = scanned(&scratch.0, since(Some(100), 5, 5), PAGE_SIZE, &[]).unwrap();
        assert_eq!(scan.changed, [0, 2, 4]);
        assert_eq!((scan.kept.len(), scan.left.len()), (PAGE_SIZE, 2));
        content[2 * PAGE_SIZE + 100] = 77;
        // The last page is truncated away meanwhile: zeros are sent for it.
        std::fs::write(&scratch.0, &content[..4 * PAGE_SIZE]).unwrap();
        content[4 * PAGE_SIZE..].fill(0);
        let mut page = vec![1; PAGE_SIZE];
        source.read_again(2, scan.left[0], &mut page).unwrap();
        assert_eq!(page[100], 77);
        source.read_again(4, scan.left[1], &mut page).unwrap();
        assert!(delta::is_zero(&page));
        let fetched = source.finish();
        assert_eq!(fetched.size, 5 * PAGE_SIZE as u64);
        assert_eq!(fetched.sum, delta::page_sums(0, &content, &mut Vec::new()));
    }
}
