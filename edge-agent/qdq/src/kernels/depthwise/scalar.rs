//! The reference that every other set of instructions is compared with.

use super::super::requant::round;
use super::Row;

/// Channels that are computed together.
const CHUNK: usize = 16;

pub(super) fn row(row: &mut Row<'_>) {
    row.pixels(|row, x, taps| {
        let weights = row.weights;
        let (channels, count) = (weights.channels(), weights.taps());
        for (chunk, first) in (0..channels).step_by(CHUNK).enumerate() {
            let outputs = (channels - first).min(CHUNK);
            let mut sums = [0; CHUNK];
            sums.copy_from_slice(&weights.bias[first..][..CHUNK]);
            let weights = &weights.data[chunk * count * CHUNK..][..count * CHUNK];
            for (tap, weights) in taps.iter().zip(weights.as_chunks::<CHUNK>().0) {
                // SAFETY: every tap points to a pixel of all channels (Row::fits, Row::pointers).
                let bytes = unsafe { std::slice::from_raw_parts(tap.add(first), outputs) };
                for ((sum, byte), weight) in sums.iter_mut().zip(bytes).zip(weights) {
                    *sum += i32::from(*byte) * i32::from(*weight);
                }
            }
            let weights = row.weights;
            for (lane, byte) in row.output[x * row.step + first..][..outputs].iter_mut().enumerate() {
                *byte = round(sums[lane] as f32 * weights.scale[first + lane], weights.zero, weights.clamp);
            }
        }
    });
}
