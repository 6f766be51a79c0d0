//! Hashes, signatures and deltas: how a file is compared with an older copy of it on another host.
//!
//! PostgreSQL rewrites pages in place and never shifts bytes, so files of pages are compared by the hashes of aligned
//! pages. Everything else is compared by rolling checksums (`fast_rsync`), window by window, so that memory is bounded.

use fast_rsync::{Signature, SignatureOptions};
use xxhash_rust::xxh3::xxh3_128;

use super::message::{HASH_SIZE, ROLLING_WINDOW};
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;

/// Block of rolling signatures: half a kilobyte of signature per window.
const BLOCK: u32 = 2048;
/// Bytes of MD4 kept per block. A false match is caught by the hash of the whole file.
const STRONG: u32 = 8;
/// The longest signature of a window: its header and one entry per block.
const MAX_SIGNATURE: usize = 12 + (ROLLING_WINDOW / BLOCK as usize + 1) * (4 + STRONG as usize);

/// Appends the hashes of the pages of `content` to `hashes`; a last short page counts as one.
pub fn page_hashes(content: &[u8], hashes: &mut Vec<u8>) {
    for page in content.chunks(PAGE_SIZE) {
        hashes.extend_from_slice(&xxh3_128(page).to_le_bytes());
    }
}

/// Appends the hashes of the pages of `content`, of which the first has the number `first` in its file, as
/// [`PageSum::of_page`]. Returns their sum.
pub fn page_sums(first: u64, content: &[u8], hashes: &mut Vec<u8>) -> PageSum {
    let mut sum = PageSum::default();
    for (page, number) in content.chunks(PAGE_SIZE).zip(first..) {
        let hash = PageSum::of_page(number, page);
        hashes.extend_from_slice(&hash.to_bytes());
        sum = sum.plus(hash);
    }
    sum
}

/// Whether `page` has the hash that is at the front of `hashes`.
#[must_use]
pub fn page_is(page: &[u8], hash: &[u8]) -> bool {
    hash.len() == HASH_SIZE && xxh3_128(page).to_le_bytes() == hash
}

/// The signature of a window of the old file.
#[must_use]
pub fn signature(window: &[u8]) -> Vec<u8> {
    let options = SignatureOptions {
        block_size: BLOCK,
        crypto_hash_size: STRONG,
    };
    Signature::calculate(window, options).into_serialized()
}

/// The delta that makes `window` from the window that `signature` describes, or `None` when it would save nothing, or
/// when the signature is not one of ours.
#[must_use]
pub fn delta(signature: &[u8], window: &[u8]) -> Option<Vec<u8>> {
    let (header, _) = signature.split_first_chunk::<12>()?;
    let (_, sizes) = header.split_first_chunk::<4>()?;
    let (block, strong) = sizes.split_first_chunk::<4>()?;
    // Other sizes make the crate loop or match everything.
    if u32::from_be_bytes(*block) != BLOCK
        || strong != STRONG.to_be_bytes()
        || signature.len() > MAX_SIGNATURE
    {
        return None;
    }
    let signature = Signature::deserialize(signature.to_vec()).ok()?;
    let mut delta = Vec::new();
    fast_rsync::diff(&signature.index(), window, &mut delta).ok()?;
    (delta.len() < window.len()).then_some(delta)
}

/// Makes the new window of `size` bytes from the old one and a delta.
#[must_use]
pub fn apply(old: &[u8], delta: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut window = Vec::new();
    fast_rsync::apply_limited(old, delta, &mut window, size).ok()?;
    (window.len() == size).then_some(window)
}

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(content: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    content
        .chunks(ZEROS.len())
        .all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rolling_delta_of_shifted_text_is_small_and_exact() {
        let old: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut new = old.clone();
        new.splice(1000..1000, *b"inserted");
        let delta = delta(&signature(&old), &new).unwrap();
        assert!(delta.len() < 10_000);
        assert_eq!(apply(&old, &delta, new.len()).unwrap(), new);
        assert_eq!(
            apply(&old, &delta, new.len() - 1),
            None,
            "a longer result is refused"
        );
        assert_eq!(
            apply(&old[..100], &delta, new.len()),
            None,
            "a copy beyond the old file is refused"
        );
    }

    #[test]
    fn hostile_signatures_are_refused() {
        let mut bad = signature(&[1; 5000]);
        bad[7] = 0;
        bad[6] = 0;
        assert_eq!(delta(&bad, &[1; 5000]), None);
        let mut none = signature(&[1; 5000]);
        none[11] = 0;
        assert_eq!(delta(&none, &[1; 5000]), None);
        assert_eq!(delta(&[], &[1]), None);
    }

    #[test]
    fn pages_are_told_apart() {
        let mut hashes = Vec::new();
        page_hashes(&vec![3; PAGE_SIZE + 10], &mut hashes);
        assert_eq!(hashes.len(), 2 * HASH_SIZE);
        assert!(page_is(&[3; PAGE_SIZE], &hashes[..HASH_SIZE]));
        assert!(page_is(&[3; 10], &hashes[HASH_SIZE..]));
        assert!(!page_is(&[3; 11], &hashes[HASH_SIZE..]));
        assert!(is_zero(&[0; 10_000]) && !is_zero(&[0, 0, 1]));
    }
}
