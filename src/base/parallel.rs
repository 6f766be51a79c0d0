//! Work on many items with some threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `work` to each item, with up to `workers` threads; the results are in the order of the items.
pub fn map<T: Sync, R: Send>(items: &[T], workers: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    perform(items, workers, &work, &|_| false)
}

/// [`map`], but nobody begins another item once one has failed: what is left has no result.
pub fn try_map<T: Sync, R: Send, E: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Vec<Result<R, E>> {
    perform(items, workers, &work, &Result::is_err)
}

fn perform<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: &(impl Fn(&T) -> R + Sync),
    ends: &(impl Fn(&R) -> bool + Sync),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            let result = work(item);
            if ends(&result) {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((index, result));
        }
    };
    let mut numbered: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.clamp(1, items.len().max(1)))
            .map(|_| scope.spawn(run))
            .collect();
        // A panic in a worker is a panic here.
        threads
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    numbered.sort_by_key(|(index, _)| *index);
    numbered.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_end_with_a_failure() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = map(&items, 4, |item| item * 2);
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(map(&[], 4, |item: &u32| *item).is_empty());
        let results = try_map(&items, 1, |item| if *item < 7 { Ok(*item) } else { Err(*item) });
        assert_eq!(results.len(), 8);
        assert_eq!(results.last(), Some(&Err(7)));
    }
}
