use serde::Serialize;

/// Durations of repeated runs in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// How many.
    pub runs: usize,
    /// The shortest.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten are no longer.
    pub p90_ms: f64,
    /// 99 of 100 are no longer.
    pub p99_ms: f64,
}

impl Latency {
    /// Percentiles by nearest rank; all 0 without runs.
    pub fn of(mut durations: Vec<f64>) -> Self {
        durations.sort_by(f64::total_cmp);
        let runs = durations.len();
        let at = |percent: usize| {
            let rank = (runs * percent).div_ceil(100).max(1);
            durations.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { runs, min_ms: at(0), p50_ms: at(50), p90_ms: at(90), p99_ms: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect());
        let expected = Latency { runs: 200, min_ms: 1.0, p50_ms: 100.0, p90_ms: 180.0, p99_ms: 198.0 };
        assert_eq!(latency, expected);
        let one = Latency::of(vec![7.0]);
        assert_eq!((one.min_ms, one.p99_ms), (7.0, 7.0));
        assert_eq!(Latency::of(Vec::new()).runs, 0);
    }
}
