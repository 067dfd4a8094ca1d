use std::cell::RefCell;

use rand::seq::SliceRandom;

use super::{Stream, stream_rng};

/// Shuffled epochs that a thread keeps: radiographs, phantoms and unlabeled images are drawn in turns.
const KEPT: usize = 4;

thread_local! {
    /// The latest at the end. Shuffling a large collection for every draw would take longer than
    /// varying an image.
    static EPOCHS: RefCell<Vec<(Key, Vec<usize>)>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    len: usize,
    seed: u64,
    stream: Stream,
    epoch: u64,
}

/// Where draw `nth` falls when every epoch is a fresh permutation of `len` items.
pub(super) fn nth_index(len: usize, seed: u64, stream: Stream, nth: u64) -> usize {
    let (epoch, at) = (nth / len as u64, (nth % len as u64) as usize);
    let key = Key { len, seed, stream, epoch };
    EPOCHS.with_borrow_mut(|epochs| {
        if let Some((_, order)) = epochs.iter().find(|(known, _)| *known == key) {
            return order[at];
        }
        if epochs.len() == KEPT {
            epochs.remove(0);
        }
        let mut order: Vec<usize> = (0..len).collect();
        order.shuffle(&mut stream_rng(seed, stream, epoch));
        let index = order[at];
        epochs.push((key, order));
        index
    })
}

/// The item that draw `nth` takes when every epoch is a fresh permutation of `items`.
pub(super) fn nth_of_epochs<T>(items: &[T], seed: u64, stream: Stream, nth: u64) -> &T {
    &items[nth_index(items.len(), seed, stream, nth)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_do_not_depend_on_what_the_thread_keeps() {
        let draws: Vec<(usize, u64)> = (0..200_u64).map(|i| (3 + (i % 6) as usize, i * 7 % 40)).collect();
        let draw = |(len, nth): (usize, u64)| nth_index(len, 1, Stream::Order, nth);
        let kept: Vec<usize> = draws.iter().map(|d| draw(*d)).collect();
        let fresh = |d: (usize, u64)| std::thread::spawn(move || draw(d)).join().unwrap();
        assert!(draws.iter().zip(kept).all(|(d, index)| fresh(*d) == index));
    }
}
