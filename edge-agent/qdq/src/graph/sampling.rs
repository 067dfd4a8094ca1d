//! Where the pixels of a Resize come from (ONNX operator Resize).

use super::op::{Coordinates, Interpolation, Resize, ResizeTo, Rounding};

/// A row or column of the output, between two of the input: `first × (1 − weight) + second × weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tap {
    pub(crate) first: usize,
    pub(crate) second: usize,
    /// From 0 up to but not 1; 0 where `first` and `second` are one.
    pub(crate) weight: f32,
}

impl Resize {
    /// The sources of the rows (side 0) or columns (side 1) of the output, of which there are `output` for `input`.
    ///
    /// Places of linear interpolation are computed in f64 and their weights rounded to f32. Those of the nearest pixel
    /// are computed in f32, as onnxruntime does, so that both choose one pixel where two are as near.
    pub(crate) fn taps(&self, side: usize, input: usize, output: usize) -> Vec<Tap> {
        let scale = match self.to {
            ResizeTo::Scales(scales) => scales[side],
            ResizeTo::Sizes(_) => output as f32 / input as f32,
        };
        let last = input.saturating_sub(1);
        let tap = |index: usize| match self.interpolation {
            Interpolation::Nearest(rounding) => {
                let at = self.coordinates.at_f32(index, scale, input, output);
                let nearest = (rounding.round(at).max(0.0) as usize).min(last);
                Tap { first: nearest, second: nearest, weight: 0.0 }
            }
            Interpolation::Linear => {
                let exact = match self.to {
                    ResizeTo::Scales(_) => f64::from(scale),
                    ResizeTo::Sizes(_) => output as f64 / input as f64,
                };
                let at = self.coordinates.at(index, exact, input, output).clamp(0.0, last as f64);
                let first = at as usize;
                let weight = (at - first as f64) as f32;
                // A weight that rounds to 1 is the next pixel.
                let (first, weight) =
                    if weight < 1.0 { (first, weight) } else { ((first + 1).min(last), 0.0) };
                let second = if weight > 0.0 { (first + 1).min(last) } else { first };
                Tap { first, second, weight: if second > first { weight } else { 0.0 } }
            }
        };
        (0..output).map(tap).collect()
    }
}

impl Coordinates {
    fn at(self, index: usize, scale: f64, input: usize, output: usize) -> f64 {
        let index = index as f64;
        match self {
            Self::PytorchHalfPixel if output <= 1 => 0.0,
            Self::HalfPixel | Self::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
            Self::AlignCorners if output <= 1 => 0.0,
            Self::AlignCorners => index * (input as f64 - 1.0) / (output as f64 - 1.0),
            Self::Asymmetric => index / scale,
        }
    }

    fn at_f32(self, index: usize, scale: f32, input: usize, output: usize) -> f32 {
        let index = index as f32;
        match self {
            Self::PytorchHalfPixel if output <= 1 => 0.0,
            Self::HalfPixel | Self::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
            Self::AlignCorners if output <= 1 => 0.0,
            Self::AlignCorners => index * (input as f32 - 1.0) / (output as f32 - 1.0),
            Self::Asymmetric => index / scale,
        }
    }
}

impl Rounding {
    fn round(self, at: f32) -> f32 {
        // onnxruntime takes for the middle between two pixels what f32 leaves so near to it.
        let is_middle = (at - at.floor() - 0.5).abs() < 1e-6;
        match self {
            Self::RoundPreferFloor if is_middle => at.floor(),
            Self::RoundPreferCeil if is_middle => at.ceil(),
            Self::RoundPreferFloor | Self::RoundPreferCeil => at.round(),
            Self::Floor => at.floor(),
            Self::Ceil => at.ceil(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(
        interpolation: Interpolation,
        coordinates: Coordinates,
        input: usize,
        output: usize,
    ) -> Vec<(usize, f32)> {
        let resize = Resize { interpolation, coordinates, to: ResizeTo::Sizes([output, output]) };
        resize.taps(0, input, output).iter().map(|tap| (tap.first, tap.weight)).collect()
    }

    #[test]
    fn places_are_those_of_the_standard() {
        let linear = |coordinates, input, output| taps(Interpolation::Linear, coordinates, input, output);
        assert_eq!(linear(Coordinates::HalfPixel, 2, 4), [(0, 0.0), (0, 0.25), (0, 0.75), (1, 0.0)]);
        assert_eq!(linear(Coordinates::Asymmetric, 2, 4), [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.0)]);
        assert_eq!(
            linear(Coordinates::AlignCorners, 3, 5),
            [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (2, 0.0)]
        );
        assert_eq!(linear(Coordinates::AlignCorners, 3, 1), [(0, 0.0)]);
        assert_eq!(linear(Coordinates::HalfPixel, 4, 1), [(1, 0.5)]);
        assert_eq!(linear(Coordinates::PytorchHalfPixel, 4, 1), [(0, 0.0)]);
        assert_eq!(linear(Coordinates::HalfPixel, 1, 3), [(0, 0.0); 3]);
    }

    #[test]
    fn the_nearest_pixel_is_rounded_as_asked() {
        let nearest = |rounding, output| -> Vec<usize> {
            let taps = taps(Interpolation::Nearest(rounding), Coordinates::HalfPixel, 4, output);
            taps.iter().map(|(first, _)| *first).collect()
        };
        assert_eq!(nearest(Rounding::RoundPreferFloor, 2), [0, 2]);
        assert_eq!(nearest(Rounding::RoundPreferCeil, 2), [1, 3]);
        assert_eq!(nearest(Rounding::Floor, 8), [0, 0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(nearest(Rounding::Ceil, 8), [0, 1, 1, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn the_middle_between_pixels_is_what_onnxruntime_takes_for_it() {
        // In f32 these are 12.499999 and 19.499998.
        let nearest = |input, output, index: usize| {
            let rounding = Interpolation::Nearest(Rounding::RoundPreferCeil);
            taps(rounding, Coordinates::Asymmetric, input, output)[index].0
        };
        assert_eq!((nearest(25, 18, 9), nearest(39, 20, 10)), (13, 19));
    }
}
