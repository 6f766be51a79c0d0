//! A hash of a file that follows from the hashes of its pages, whatever their order.
//!
//! The sum (modulo 2¹²⁸) of the xxh3-128 hashes of all pages, each seeded with the number of its page. Of a file of which
//! only some pages changed, the new sum follows from the old one and those pages: nothing else has to be read. So an
//! incremental backup knows the hash of the whole file that it will become when it is restored, and a wrong guess about
//! which pages changed shows at once.
//!
//! A last, shorter page counts as one. It is a guard against mistakes and damage, not against somebody who forges files.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::page::PAGE_SIZE;

/// The hash of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PageSum(pub u128);

impl PageSum {
    /// Bytes of a hash where it is stored or sent: little endian.
    pub const BYTES: usize = 16;

    /// As it is stored and sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    /// All that are stored in `bytes`, one after the other; what is left at the end is none.
    pub fn all_of(bytes: &[u8]) -> impl Iterator<Item = PageSum> {
        let each = bytes.as_chunks::<{ Self::BYTES }>().0.iter();
        each.map(|bytes| PageSum(u128::from_le_bytes(*bytes)))
    }

    /// What the page with this number (within its file) contributes.
    #[must_use]
    pub fn of_page(number: u64, page: &[u8]) -> PageSum {
        PageSum(xxh3_128_with_seed(page, number))
    }

    /// With another page.
    #[must_use]
    pub fn plus(self, page: PageSum) -> PageSum {
        PageSum(self.0.wrapping_add(page.0))
    }

    /// Without a page that was part of it.
    #[must_use]
    pub fn minus(self, page: PageSum) -> PageSum {
        PageSum(self.0.wrapping_sub(page.0))
    }
}

impl<'a> std::iter::Sum<&'a PageSum> for PageSum {
    fn sum<I: Iterator<Item = &'a PageSum>>(pages: I) -> PageSum {
        pages.fold(PageSum::default(), |sum, page| sum.plus(*page))
    }
}

/// The sum of a file that comes in pieces of any length, from its start to its end.
#[derive(Debug, Clone, Default)]
pub struct PageSummer {
    sum: PageSum,
    /// The number of the page that comes next.
    number: u64,
    /// The beginning of a page whose rest is still to come.
    partial: Vec<u8>,
    /// What each page contributes, when that is wanted.
    pages: Option<Vec<PageSum>>,
}

impl PageSummer {
    /// One that keeps what each page contributes.
    #[must_use]
    pub fn keeping_pages() -> PageSummer {
        PageSummer {
            pages: Some(Vec::new()),
            ..PageSummer::default()
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let missing = (PAGE_SIZE - self.partial.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(missing);
            self.partial.extend_from_slice(head);
            bytes = rest;
            if self.partial.len() < PAGE_SIZE {
                return;
            }
            let page = std::mem::take(&mut self.partial);
            self.page(&page);
            self.partial = page;
            self.partial.clear();
        }
        let mut pages = bytes.chunks_exact(PAGE_SIZE);
        for page in &mut pages {
            self.page(page);
        }
        self.partial.extend_from_slice(pages.remainder());
    }

    /// The sum of everything taken in.
    #[must_use]
    pub fn finish(self) -> PageSum {
        self.finish_pages().0
    }

    /// The sum of everything taken in, and what each page contributes if that was to be kept.
    #[must_use]
    pub fn finish_pages(mut self) -> (PageSum, Vec<PageSum>) {
        if !self.partial.is_empty() {
            let page = std::mem::take(&mut self.partial);
            self.page(&page);
        }
        (self.sum, self.pages.unwrap_or_default())
    }

    fn page(&mut self, page: &[u8]) {
        let hash = PageSum::of_page(self.number, page);
        self.sum = self.sum.plus(hash);
        if let Some(pages) = &mut self.pages {
            pages.push(hash);
        }
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pieces: &[&[u8]]) -> PageSum {
        let mut summer = PageSummer::default();
        for piece in pieces {
            summer.update(piece);
        }
        summer.finish()
    }

    #[test]
    fn pieces_do_not_matter_and_places_do() {
        let mut file = vec![1_u8; PAGE_SIZE];
        file.extend(vec![2_u8; PAGE_SIZE]);
        file.extend([3_u8; 100]);
        let whole = sum(&[&file]);
        let (head, tail) = file.split_at(PAGE_SIZE + 5);
        assert_eq!(sum(&[head, &[], tail]), whole);
        let swapped = [
            &file[PAGE_SIZE..2 * PAGE_SIZE],
            &file[..PAGE_SIZE],
            &file[2 * PAGE_SIZE..],
        ];
        assert_ne!(sum(&swapped), whole, "pages in other places");
        assert_ne!(sum(&[&file[..2 * PAGE_SIZE + 99]]), whole, "a shorter end");
        assert_eq!(sum(&[]), PageSum::default());
    }

    #[test]
    fn pages_are_kept_when_that_is_wanted() {
        let file = [vec![1_u8; PAGE_SIZE], vec![2_u8; 9]].concat();
        let mut summer = PageSummer::keeping_pages();
        summer.update(&file);
        let pages =
            [0, 1].map(|n| PageSum::of_page(n, file.chunks(PAGE_SIZE).nth(n as usize).unwrap_or_default()));
        assert_eq!(summer.finish_pages(), (pages[0].plus(pages[1]), pages.to_vec()));
    }

    #[test]
    fn what_is_stored_is_read() {
        let pages = [PageSum(1), PageSum(u128::MAX), PageSum(7 << 90)];
        let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_bytes()).collect();
        assert_eq!(PageSum::all_of(&bytes).collect::<Vec<_>>(), pages);
        assert_eq!(PageSum::all_of(&bytes[..20]).count(), 1);
        assert_eq!(pages.iter().sum::<PageSum>(), PageSum(7 << 90));
    }

    #[test]
    fn a_changed_page_is_exchanged() {
        let (old, new) = (vec![1_u8; PAGE_SIZE], vec![9_u8; PAGE_SIZE]);
        let before = sum(&[&old, &old]);
        let changed = before
            .minus(PageSum::of_page(1, &old))
            .plus(PageSum::of_page(1, &new));
        assert_eq!(changed, sum(&[&old, &new]));
    }
}
