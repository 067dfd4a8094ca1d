use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use shared::message::Percentiles;

/// Values that are remembered: an hour or so of a busy unit.
const KEPT: usize = 256;

/// The last values of something.
#[derive(Debug, Default)]
pub(super) struct Window {
    values: Mutex<VecDeque<f64>>,
}

impl Window {
    pub(super) fn push(&self, value: f64) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() == KEPT {
            values.pop_front();
        }
        values.push_back(value);
    }

    /// By nearest rank; none without values.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let mut sorted: Vec<f64> =
            self.values.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let max = *sorted.last()?;
        let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
        Some(Percentiles { count: sorted.len() as u64, p50: at(50), p95: at(95), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks_of_the_last_values() {
        let window = Window::default();
        assert_eq!(window.percentiles(), None);
        window.push(7.0);
        assert_eq!(window.percentiles(), Some(Percentiles { count: 1, p50: 7.0, p95: 7.0, max: 7.0 }));
        (1..=1000).rev().for_each(|v| window.push(f64::from(v)));
        let expected = Percentiles { count: 256, p50: 128.0, p95: 244.0, max: 256.0 };
        assert_eq!(window.percentiles(), Some(expected));
    }
}
