/// Bilinear interpolation of a map of `rows` × `cols` to `size`² with half-pixel centres, edges repeated: PyTorch's
/// `interpolate(mode="bilinear", align_corners=False)`.
pub fn bilinear(map: &[f32], rows: usize, cols: usize, size: usize) -> Vec<f32> {
    let taps = |from: usize| -> Vec<(usize, usize, f32)> {
        let tap = |i: usize| {
            let at = ((i as f32 + 0.5) * from as f32 / size as f32 - 0.5).max(0.0);
            let low = (at as usize).min(from - 1);
            (low, (low + 1).min(from - 1), at - low as f32)
        };
        (0..size).map(tap).collect()
    };
    let columns = taps(cols);
    let mut out = Vec::with_capacity(size * size);
    for (top, bottom, down) in taps(rows) {
        for &(left, right, across) in &columns {
            let at = |r: usize, c: usize| map[r * cols + c];
            let upper = at(top, left) + (at(top, right) - at(top, left)) * across;
            let lower = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across;
            out.push(upper + (lower - upper) * down);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_are_half_pixels_and_edges_repeat() {
        // PyTorch: F.interpolate(torch.tensor([[[[0., 1.]]]]), size=(4, 4), mode="bilinear")[0, 0, 0]
        let out = bilinear(&[0.0, 1.0], 1, 2, 4);
        assert_eq!(out[..4], [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(out[12..], out[..4]);
    }

    #[cfg(feature = "torch")]
    #[test]
    fn it_is_libtorchs() {
        let map: Vec<f32> = (0..35).map(|v| ((v * 37) % 23) as f32).collect();
        let tensor = tch::Tensor::from_slice(&map).view([1, 1, 5, 7]);
        let theirs = Vec::<f32>::try_from(tensor.upsample_bilinear2d([19, 19], false, None, None).view(-1));
        for (a, b) in bilinear(&map, 5, 7, 19).iter().zip(theirs.unwrap()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
