use super::Mask;

/// The smallest convex region that holds all foreground pixels' centres (Andrew 1979, Another efficient algorithm for convex
/// hulls in two dimensions), row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvexHull {
    top: usize,
    /// First and last column in each row from `top` on.
    spans: Vec<(usize, usize)>,
}

impl ConvexHull {
    /// Around the foreground of all masks together, which have one size; none if there is no foreground.
    pub fn around(masks: &[&Mask]) -> Option<Self> {
        let rows = masks.first()?.rows();
        let ends = (0..rows).filter_map(|row| Some((row as i64, ends(masks, row)?)));
        let ends: Vec<(i64, (i64, i64))> = ends.collect();
        let top = ends.first()?.0;
        let lefts = lower_hull(ends.iter().map(|&(row, (first, _))| (row, first)));
        let rights = lower_hull(ends.iter().map(|&(row, (_, last))| (row, -last)));
        let span = |(left, right): (i64, i64)| (left as usize, -right as usize);
        Some(Self { top: top as usize, spans: lefts.into_iter().zip(rights).map(span).collect() })
    }

    /// Clears what lies outside.
    ///
    /// # Panics
    /// If the mask is narrower than those that the hull is around.
    pub fn clip(&self, mask: &mut Mask) {
        for row in 0..mask.rows() {
            let line = mask.row_mut(row);
            let span = row.checked_sub(self.top).and_then(|row| self.spans.get(row));
            // A slanted line passes between the pixels of some rows.
            match span.filter(|(first, last)| first <= last) {
                None => line.fill(0),
                Some(&(first, last)) => {
                    line[..first].fill(0);
                    line[last + 1..].fill(0);
                }
            }
        }
    }
}

/// First and last foreground column of a row, over all masks.
fn ends(masks: &[&Mask], row: usize) -> Option<(i64, i64)> {
    let each = masks.iter().filter_map(|mask| {
        let line = mask.data().get(row * mask.cols()..(row + 1) * mask.cols())?;
        Some((memchr::memchr(1, line)? as i64, memchr::memrchr(1, line)? as i64))
    });
    each.reduce(|(first, last), (f, l)| (first.min(f), last.max(l)))
}

/// The least whole numbers, in every row from the first to the last, not below the greatest convex function that is nowhere above
/// the points. Points are (row, value), rows ascending.
fn lower_hull(points: impl Iterator<Item = (i64, i64)>) -> Vec<i64> {
    let mut corners: Vec<(i64, i64)> = Vec::new();
    for point in points {
        while let [.., a, b] = corners[..] {
            let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
            if turn > 0 {
                break;
            }
            corners.pop();
        }
        corners.push(point);
    }
    let mut bound: Vec<i64> = corners.first().map(|corner| corner.1).into_iter().collect();
    for side in corners.windows(2) {
        let ((from, a), (to, b)) = (side[0], side[1]);
        // Rounded up; the divisor is positive.
        let at = |row: i64| a - ((a - b) * (row - from)).div_euclid(to - from);
        bound.extend((from + 1..=to).map(at));
    }
    bound
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hull_of(mask: &Mask) -> Mask {
        let mut all = Mask::from_fn(mask.rows(), mask.cols(), |_, _| true);
        ConvexHull::around(&[mask]).unwrap().clip(&mut all);
        all
    }

    #[test]
    fn a_hollow_is_filled_and_what_is_outside_goes() {
        let u = Mask::from_fn(8, 9, |r, c| (1..6).contains(&r) && (c == 2 || c == 6) || (r, c) == (6, 4));
        let filled = hull_of(&u);
        // Straight sides down to row 5, then towards the tip.
        let expected =
            Mask::from_fn(8, 9, |r, c| (1..6).contains(&r) && (2..7).contains(&c) || (r, c) == (6, 4));
        assert_eq!(filled, expected);
        assert_eq!(ConvexHull::around(&[&Mask::empty(3, 3)]), None);
        assert_eq!(ConvexHull::around(&[]), None);
    }

    #[test]
    fn masks_are_taken_together() {
        let (left, right) = (Mask::from_fn(3, 9, |_, c| c == 1), Mask::from_fn(3, 9, |_, c| c == 7));
        let mut all = Mask::from_fn(3, 9, |_, _| true);
        ConvexHull::around(&[&left, &right]).unwrap().clip(&mut all);
        assert_eq!(all, Mask::from_fn(3, 9, |_, c| (1..8).contains(&c)));
    }

    proptest! {
        /// A pixel lies in the hull if it lies in a triangle, or on a side, of foreground pixels.
        #[test]
        fn agrees_with_triangles(points in proptest::collection::vec((0_i64..7, 0_i64..8), 1..7)) {
            let mask = Mask::from_fn(7, 8, |r, c| points.contains(&(r as i64, c as i64)));
            let turn = |a: (i64, i64), b: (i64, i64), p: (i64, i64)| {
                ((b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)).signum()
            };
            let between = |a: (i64, i64), b: (i64, i64), p: (i64, i64)| {
                turn(a, b, p) == 0
                    && (a.0.min(b.0)..=a.0.max(b.0)).contains(&p.0)
                    && (a.1.min(b.1)..=a.1.max(b.1)).contains(&p.1)
            };
            let inside = |p: (i64, i64)| {
                points.iter().any(|&a| points.iter().any(|&b| between(a, b, p) || points.iter().any(|&c| {
                    let turns = [turn(a, b, p), turn(b, c, p), turn(c, a, p)];
                    turn(a, b, c) != 0 && (turns.iter().all(|t| *t >= 0) || turns.iter().all(|t| *t <= 0))
                })))
            };
            prop_assert_eq!(hull_of(&mask), Mask::from_fn(7, 8, |r, c| inside((r as i64, c as i64))));
        }
    }
}
