/// Maps samples to 0..=1 so that the `low` percentile becomes 0 and the `high` one 1; values outside are
/// clamped. Exposure and windowing differ wildly between units: this takes both out before the network.
///
/// Percentiles are in 0..=100 and refer to the given samples. A constant image maps to all zeros.
pub fn percentile_stretch(samples: &[u16], low: f32, high: f32) -> Vec<f32> {
    let (floor, ceiling) = percentiles(samples, low, high);
    if ceiling <= floor {
        return vec![0.0; samples.len()];
    }
    let scale = 1.0 / (ceiling - floor) as f32;
    samples.iter().map(|&v| ((i64::from(v) - floor) as f32 * scale).clamp(0.0, 1.0)).collect()
}

/// The values at two percentiles, 0..=100, of the samples.
pub(crate) fn percentiles(samples: &[u16], low: f32, high: f32) -> (i64, i64) {
    let mut histogram = vec![0_u32; 1 << 16];
    for &v in samples {
        histogram[usize::from(v)] += 1;
    }
    let total = samples.len() as f64;
    (percentile(&histogram, total, f64::from(low)), percentile(&histogram, total, f64::from(high)))
}

/// The smallest value that at least `p` percent of the samples do not exceed.
fn percentile(histogram: &[u32], total: f64, p: f64) -> i64 {
    let target = (total * p / 100.0).max(1.0);
    let mut seen = 0.0;
    for (value, &count) in histogram.iter().enumerate() {
        seen += f64::from(count);
        if seen >= target {
            return value as i64;
        }
    }
    histogram.len() as i64 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range_become_zero_and_one() {
        let samples: Vec<u16> = (0..=1000).map(|v| 20_000 + v).collect();
        let out = percentile_stretch(&samples, 0.0, 100.0);
        assert_eq!(out[0], 0.0);
        assert_eq!(out[1000], 1.0);
        assert!((out[500] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn outliers_beyond_the_percentiles_are_clamped() {
        let mut samples = vec![1000_u16; 990];
        samples.extend([2000; 1000]);
        samples.extend([65_535; 5]);
        let out = percentile_stretch(&samples, 0.5, 99.5);
        assert_eq!((out[0], out[1500], out[1990]), (0.0, 1.0, 1.0));
    }

    #[test]
    fn gain_and_offset_do_not_change_the_result() {
        let base: Vec<u16> = (0..4096).map(|v| (v * 7 % 4096) as u16).collect();
        let other: Vec<u16> = base.iter().map(|v| v * 3 + 500).collect();
        assert_eq!(percentile_stretch(&base, 0.5, 99.5), percentile_stretch(&other, 0.5, 99.5));
    }

    #[test]
    fn constant_image_is_all_zero() {
        assert_eq!(percentile_stretch(&[77; 9], 0.5, 99.5), vec![0.0; 9]);
    }
}
