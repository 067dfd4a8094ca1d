use std::cell::RefCell;
use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::{Stream, stream_rng};

/// Places that the kept orders of a thread have in all (16 MiB). The groups of a plan share its images, so even
/// hundreds of groups fit; a collection that is larger keeps its own order and nothing else.
const KEPT_PLACES: usize = 1 << 21;

/// Orders that a thread keeps at most, for groups of hardly any images.
const KEPT_ORDERS: usize = 1 << 12;

thread_local! {
    /// Shuffling a large collection for every draw would take longer than varying an image.
    static ORDERS: RefCell<Orders> = const { RefCell::new(Orders::new(KEPT_PLACES)) };
}

/// Length, seed and stream: what has one epoch after the other.
type Key = (usize, u64, u64);

/// The latest epoch of every sequence, as many as fit.
struct Orders {
    kept: BTreeMap<Key, Order>,
    places: usize,
    limit: usize,
    clock: u64,
    #[cfg(test)]
    shuffled: usize,
}

struct Order {
    epoch: u64,
    used: u64,
    places: Vec<usize>,
}

impl Orders {
    const fn new(limit: usize) -> Self {
        Self {
            kept: BTreeMap::new(),
            places: 0,
            limit,
            clock: 0,
            #[cfg(test)]
            shuffled: 0,
        }
    }

    fn place(&mut self, len: usize, seed: u64, stream: Stream, nth: u64) -> usize {
        let (epoch, at) = (nth / len as u64, (nth % len as u64) as usize);
        let key = (len, seed, stream as u64);
        self.clock += 1;
        if let Some(order) = self.kept.get_mut(&key).filter(|order| order.epoch == epoch) {
            order.used = self.clock;
            return order.places[at];
        }
        let mut places: Vec<usize> = (0..len).collect();
        places.shuffle(&mut stream_rng(seed, stream, epoch));
        #[cfg(test)]
        {
            self.shuffled += 1;
        }
        let place = places[at];
        self.make_room(&key, len);
        self.places += len;
        self.kept.insert(key, Order { epoch, used: self.clock, places });
        place
    }

    /// Gives up an earlier epoch of the sequence, then what was not drawn from for longest.
    fn make_room(&mut self, key: &Key, len: usize) {
        let mut next = Some(*key).filter(|key| self.kept.contains_key(key));
        loop {
            if let Some(order) = next.and_then(|key| self.kept.remove(&key)) {
                self.places -= order.places.len();
            }
            if self.places + len <= self.limit && self.kept.len() < KEPT_ORDERS {
                return;
            }
            next = self.kept.iter().min_by_key(|(_, order)| order.used).map(|(key, _)| *key);
            if next.is_none() {
                return;
            }
        }
    }
}

/// Where draw `nth` falls when every epoch is a fresh permutation of `len` items.
pub(super) fn nth_index(len: usize, seed: u64, stream: Stream, nth: u64) -> usize {
    ORDERS.with_borrow_mut(|orders| orders.place(len, seed, stream, nth))
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

    #[test]
    fn many_groups_in_turns_are_shuffled_once_an_epoch() {
        let mut orders = Orders::new(KEPT_PLACES);
        for nth in 0..30 {
            for group in 0..100 {
                orders.place(10, group, Stream::Order, nth);
            }
        }
        assert_eq!((orders.shuffled, orders.kept.len(), orders.places), (300, 100, 1000));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut orders = Orders::new(25);
        for seed in 0..50 {
            orders.place(10, seed, Stream::Order, 0);
            assert!(orders.places <= 25);
        }
        // Larger than all that may be kept: it has the place alone.
        orders.place(40, 1, Stream::Order, 0);
        assert_eq!((orders.kept.len(), orders.places), (1, 40));
        orders.place(10, 1, Stream::Order, 0);
        assert_eq!((orders.kept.len(), orders.places), (1, 10));
    }
}
