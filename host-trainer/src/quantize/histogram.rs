//! What an activation looked like over the calibration images, and the ranges that follow from it.

use serde::{Deserialize, Serialize};

use super::scheme::Affine;

/// How a range is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Everything that was seen.
    MinMax,
    /// On either side at most the rest of this share of all values lies beyond, as 0.9999.
    Percentile(f64),
    /// The fraction of min–max with the least mean squared error of the stored values.
    Mse,
    /// The fraction of min–max whose stored values tell least from the values themselves, by Kullback–Leibler divergence
    /// (Migacz 2017, 8-bit Inference with TensorRT).
    Entropy,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MinMax => write!(f, "min-max"),
            Self::Percentile(share) => write!(f, "percentile {}", share * 100.0),
            Self::Mse => write!(f, "mse"),
            Self::Entropy => write!(f, "entropy"),
        }
    }
}

/// An interval of values that holds 0: padding and ReLU's floor must be exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// At most 0.
    pub min: f32,
    /// At least 0.
    pub max: f32,
}

impl Range {
    /// The least range that holds these and 0.
    pub fn including_zero(min: f32, max: f32) -> Self {
        Self { min: min.min(0.0), max: max.max(0.0) }
    }
}

/// Counts of values in equal bins about 0.
///
/// The half-width is a power of two that doubles as needed, two bins becoming one: the counts do not depend on the
/// order in which values come.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    limit: f32,
    counts: Vec<u64>,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            limit: 2f32.powi(-30),
            counts: vec![0; Self::BINS],
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Histogram {
    /// Bins: at least 16 for each of the 256 stored levels, even when only the positive half is used and the limit
    /// has just doubled.
    pub const BINS: usize = 16384;
    const HALF: usize = Self::BINS / 2;

    /// Whether nothing was counted yet.
    pub fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// The bins cover −limit ≤ x < limit (with x = limit in the last); bin i begins at (i − BINS/2) · limit·2/BINS.
    pub fn limit(&self) -> f32 {
        self.limit
    }

    /// Makes room for values from `min` to `max` and notes them as the extremes. Both must be finite.
    pub fn make_room(&mut self, min: f32, max: f32) {
        let empty = self.is_empty();
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        while self.limit < self.max.abs().max(self.min.abs()) {
            self.limit *= 2.0;
            if empty {
                continue;
            }
            let mut merged = vec![0; Self::BINS];
            for (i, count) in self.counts.iter().enumerate() {
                merged[(i + Self::HALF) / 2] += count;
            }
            self.counts = merged;
        }
    }

    /// Adds counts by bin, after [`Histogram::make_room`].
    pub fn add_counts(&mut self, counts: impl IntoIterator<Item = u64>) {
        for (bin, count) in self.counts.iter_mut().zip(counts) {
            *bin += count;
        }
    }

    /// Adds finite values.
    pub fn add(&mut self, values: &[f32]) {
        let (min, max) =
            values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        if min > max {
            return;
        }
        self.make_room(min, max);
        for &v in values {
            let bin = (v / self.limit * Self::HALF as f32).floor() as i64 + Self::HALF as i64;
            self.counts[bin.clamp(0, Self::BINS as i64 - 1) as usize] += 1;
        }
    }

    /// The range by this method, or `None` if nothing was counted.
    pub fn range(&self, method: Method) -> Option<Range> {
        if self.is_empty() {
            return None;
        }
        let all = Range::including_zero(self.min, self.max);
        Some(match method {
            Method::MinMax => all,
            Method::Percentile(share) => self.percentile(share, all),
            Method::Mse => least_cost(all, |range| self.squared_error(range)),
            Method::Entropy => least_cost(all, |range| self.divergence(range)),
        })
    }

    fn bin_width(&self) -> f64 {
        f64::from(self.limit) / Self::HALF as f64
    }

    fn percentile(&self, share: f64, all: Range) -> Range {
        // Values beyond the range, at most: on each side, of all.
        let total: u64 = self.counts.iter().sum();
        let allowed = ((1.0 - share.clamp(0.0, 1.0)) * total as f64).floor() as u64;
        let mut passed = 0;
        let low = self.counts.iter().position(|count| {
            passed += count;
            passed > allowed
        });
        passed = 0;
        let high = self.counts.iter().rposition(|count| {
            passed += count;
            passed > allowed
        });
        let edge = |i: usize| ((i as f64 - Self::HALF as f64) * self.bin_width()) as f32;
        let (min, max) = (low.map_or(all.min, edge), high.map_or(all.max, |i| edge(i + 1)));
        Range::including_zero(min.max(all.min), max.min(all.max))
    }

    /// The middle of every bin that holds something, and how much.
    fn used(&self) -> impl Iterator<Item = (f32, f64)> {
        let middle = |i: usize| ((i as f64 + 0.5 - Self::HALF as f64) * self.bin_width()) as f32;
        let used = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        used.map(move |(i, &count)| (middle(i), count as f64))
    }

    fn squared_error(&self, range: Range) -> f64 {
        let affine = Affine::from_range(range);
        self.used().map(|(v, n)| n * f64::from(affine.round_trip(v) - v).powi(2)).sum()
    }

    /// KL(P ‖ Q): P the bins' shares, those beyond the range added to the outermost bins within; Q what is left of them
    /// when all that one level stores is spread evenly over the level's used bins. Only bins within are seen by Q, so
    /// that what is clipped costs.
    fn divergence(&self, range: Range) -> f64 {
        let affine = Affine::from_range(range);
        let within: Vec<(u8, f64)> = self
            .used()
            .filter(|(v, _)| (range.min..=range.max).contains(v))
            .map(|(v, n)| (affine.quantize(v), n))
            .collect();
        if within.is_empty() {
            return f64::INFINITY;
        }
        let total: f64 = self.used().map(|(_, n)| n).sum();
        let kept: f64 = within.iter().map(|(_, n)| n).sum();
        let below: f64 = self.used().filter(|(v, _)| *v < range.min).map(|(_, n)| n).sum();
        let mut levels = [(0.0, 0.0); 256];
        for &(level, n) in &within {
            let (sum, bins) = &mut levels[usize::from(level)];
            (*sum, *bins) = (*sum + n, *bins + 1.0);
        }
        let last_place = within.len() - 1;
        let parts = within.iter().enumerate().map(|(place, &(level, n))| {
            let clipped = match place {
                // One bin alone takes both ends.
                0 if place == last_place => total - kept,
                0 => below,
                _ if place == last_place => total - kept - below,
                _ => 0.0,
            };
            let p = (n + clipped) / total;
            let (sum, bins) = levels[usize::from(level)];
            p * (p / (sum / bins / kept)).ln()
        });
        parts.sum()
    }
}

/// The cheapest of the whole range and its fractions down to a fifth; the widest wins a tie.
fn least_cost(all: Range, cost: impl Fn(Range) -> f64) -> Range {
    const STEPS: u32 = 40;
    (0..STEPS)
        .map(|step| 1.0 - step as f32 * (0.8 / STEPS as f32))
        .map(|factor| Range { min: all.min * factor, max: all.max * factor })
        .map(|range| (cost(range), range))
        .reduce(|best, next| if next.0 < best.0 { next } else { best })
        .map_or(all, |(_, range)| range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut h = Histogram::default();
        h.add(values);
        h
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn order_and_batching_do_not_matter(mut values in prop::collection::vec(-1e3f32..1e3, 1..60), cut in 0usize..60) {
            let whole = of(&values);
            values.reverse();
            let (a, b) = values.split_at(cut.min(values.len()));
            let mut parts = of(a);
            parts.add(b);
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn every_method_stays_within_what_was_seen_and_holds_zero(values in prop::collection::vec(-50f32..80.0, 1..200)) {
            let h = of(&values);
            let all = h.range(Method::MinMax).unwrap();
            prop_assert!(values.iter().all(|v| (all.min..=all.max).contains(v)));
            for method in [Method::Percentile(0.999), Method::Percentile(0.5), Method::Mse, Method::Entropy] {
                let r = h.range(method).unwrap();
                prop_assert!(all.min <= r.min && r.min <= 0.0 && 0.0 <= r.max && r.max <= all.max, "{method} {r:?}");
            }
        }
    }

    #[test]
    fn the_percentile_leaves_an_outlier_out_and_keeps_the_rest() {
        let mut values: Vec<f32> = (0..20_000).map(|i| i as f32 / 20_000.0).collect();
        values.push(100.0);
        let r = of(&values).range(Method::Percentile(0.9999)).unwrap();
        assert!((0.99..1.05).contains(&r.max), "{r:?}");
        assert_eq!(r.min, 0.0);
    }

    #[test]
    fn least_error_clips_a_rare_outlier_and_keeps_an_even_spread() {
        let even: Vec<f32> = (0..50_000).map(|i| i as f32 / 50_000.0).collect();
        assert!(of(&even).range(Method::Mse).unwrap().max > 0.95);
        let mut spiked = of(&[1.5]);
        (0..20).for_each(|_| spiked.add(&even));
        let r = spiked.range(Method::Mse).unwrap();
        assert!(r.max < 1.2, "{r:?}");
    }

    #[test]
    fn entropy_cuts_a_thin_tail_and_keeps_an_even_spread() {
        let even: Vec<f32> = (0..50_000).map(|i| i as f32 / 50_000.0).collect();
        assert!(of(&even).range(Method::Entropy).unwrap().max > 0.95);
        // A peak at 0 and a thin tail: levels are worth more near 0.
        let peak: Vec<f32> = (0..50_000).map(|i| (i as f32 / 50_000.0).powi(4)).collect();
        let mut tailed = of(&(0..100).map(|i| 1.0 + i as f32 * 0.09).collect::<Vec<_>>());
        (0..20).for_each(|_| tailed.add(&peak));
        let r = tailed.range(Method::Entropy).unwrap();
        assert!(r.max < 6.0, "{r:?}");
    }

    #[test]
    fn nothing_seen_gives_no_range_and_zeros_give_a_range_of_zero() {
        assert_eq!(Histogram::default().range(Method::MinMax), None);
        for method in [Method::MinMax, Method::Percentile(0.9999), Method::Mse, Method::Entropy] {
            let r = of(&[0.0; 10]).range(method).unwrap();
            assert_eq!(r, Range { min: 0.0, max: 0.0 }, "{method}");
        }
    }
}
