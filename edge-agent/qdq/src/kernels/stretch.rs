//! Rows of numbers, stretched by linear interpolation.

use super::versions;
use crate::graph::Tap;

/// Between two numbers: `first × (1 − weight) + second × weight`.
#[inline(always)]
pub(super) fn between(first: f32, second: f32, weight: f32) -> f32 {
    first * (1.0 - weight) + second * weight
}

/// Where the columns of a stretched row come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns {
    taps: Vec<Tap>,
    even: Option<Even>,
}

/// Rows stretched by a whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Even {
    Two(Gaps<2>),
    Four(Gaps<4>),
    Eight(Gaps<8>),
}

/// Columns that lie between neighbours, the same number with the same weights in every gap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Gaps<const COLUMNS: usize> {
    /// The first of the columns, and its first neighbour.
    column: usize,
    neighbour: usize,
    count: usize,
    weights: [f32; COLUMNS],
}

impl<const COLUMNS: usize> Gaps<COLUMNS> {
    /// Those of most of the columns, if there are such.
    fn of(taps: &[Tap]) -> Option<Self> {
        let from = |column: usize| {
            let taps = taps.get(column..)?;
            let start = taps.first_chunk::<COLUMNS>()?;
            let weights = start.map(|tap| tap.weight);
            let like = |(gap, own): &(usize, &[Tap; COLUMNS])| {
                let first = start[0].first + gap;
                (0..COLUMNS).all(|at| own[at] == Tap { first, second: first + 1, weight: weights[at] })
            };
            let count = taps.as_chunks::<COLUMNS>().0.iter().enumerate().take_while(like).count();
            Some(Self { column, neighbour: start[0].first, count, weights })
        };
        // The first gap may begin in the middle.
        let most = (0..=COLUMNS).filter_map(from).max_by_key(|gaps| gaps.count)?;
        (2 * most.count * COLUMNS > taps.len()).then_some(most)
    }

    /// Fills the gaps, and tells which columns these were.
    #[inline(always)]
    fn fill(&self, to: &mut [f32], from: &[f32]) -> std::ops::Range<usize> {
        let columns = self.column..self.column + self.count * COLUMNS;
        let neighbours = &from[self.neighbour..][..self.count + 1];
        let gaps = to[columns.clone()].as_chunks_mut::<COLUMNS>().0;
        for ((to, first), second) in gaps.iter_mut().zip(neighbours).zip(&neighbours[1..]) {
            *to = self.weights.map(|weight| between(*first, *second, weight));
        }
        columns
    }
}

impl Columns {
    pub(crate) fn new(taps: Vec<Tap>) -> Self {
        let even = Gaps::of(&taps).map(Even::Four);
        let even = even.or_else(|| Gaps::of(&taps).map(Even::Two));
        let even = even.or_else(|| Gaps::of(&taps).map(Even::Eight));
        Self { taps, even }
    }

    pub(crate) fn taps(&self) -> &[Tap] {
        &self.taps
    }
}

versions! {
    /// Between columns of a row of numbers.
    pub(crate) fn widen_reals(to: &mut [f32], from: &[f32], columns: &Columns) = widen_reals_body
}

#[inline(always)]
fn widen_reals_body(to: &mut [f32], from: &[f32], columns: &Columns) {
    let done = match &columns.even {
        Some(Even::Two(gaps)) => gaps.fill(to, from),
        Some(Even::Four(gaps)) => gaps.fill(to, from),
        Some(Even::Eight(gaps)) => gaps.fill(to, from),
        None => 0..0,
    };
    for columns_left in [0..done.start, done.end..columns.taps.len()] {
        let taps = &columns.taps[columns_left.clone()];
        widen(&mut to[columns_left], taps, |column| from[column]);
    }
}

/// Between columns of anything that is numbers.
#[inline(always)]
pub(crate) fn widen(to: &mut [f32], taps: &[Tap], from: impl Fn(usize) -> f32) {
    for (to, tap) in to.iter_mut().zip(taps) {
        *to = between(from(tap.first), from(tap.second), tap.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::graph::{Coordinates, Interpolation, Resize, ResizeTo};

    #[test]
    fn even_stretches_are_found_and_change_nothing() {
        let (mut even, mut others) = (0, 0);
        for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
            for (input, output) in
                [(1, 4), (2, 4), (3, 12), (20, 80), (80, 320), (7, 14), (9, 72), (5, 15), (10, 5), (40, 79)]
            {
                let to = ResizeTo::Sizes([output; 2]);
                let resize = Resize { interpolation: Interpolation::Linear, coordinates, to };
                let columns = Columns::new(resize.taps(1, input, output));
                if columns.even.is_some() {
                    even += 1;
                } else {
                    others += 1;
                }
                let from: Vec<f32> = (0..input).map(|at| (at as f32 * 12.9898).sin() * 437.58).collect();
                let mut plain = vec![f32::NAN; output];
                widen(&mut plain, columns.taps(), |column| from[column]);
                for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
                    let mut to = vec![f32::NAN; output];
                    widen_reals(isa, &mut to, &from, &columns);
                    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&to), bits(&plain), "{coordinates:?}, {input} to {output}, {isa}");
                }
            }
        }
        // Those of half pixels by whole numbers; a place on a pixel has one neighbour only.
        assert_eq!((even, others), (5, 25));
    }
}
