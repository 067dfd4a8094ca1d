//! The pixel pairs of IRNet and the paths between them.
//!
//! J. Ahn, S. Cho and S. Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations",
//! CVPR 2019, section 4.1: the affinity of two pixels is 1 less the strongest edge on the line between them. What
//! counts as on the line follows the released code.

/// A way from an origin (0, 0) to a pixel near by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Offset of the destination, (dy, dx); dy is never negative.
    pub to: (i32, i32),
    /// Offsets (dy, dx) of the cells on the way in reading order, origin and destination among them.
    pub cells: Vec<(i32, i32)>,
}

/// The paths from a pixel to all that come after it in reading order and lie nearer than `radius` pixels.
///
/// Only half of the disc, so over all origins every pair comes up once. Cells are those of the box between origin
/// and destination whose distance to the line through both is below 1. A radius of 0 or 1 has no paths.
///
/// Order: (0, 1), (0, 2), …, then row by row from left to right.
pub fn search_paths(radius: usize) -> Vec<Path> {
    let radius = radius as i32;
    let squared = i64::from(radius) * i64::from(radius);
    let right = (1..radius).map(|dx| (0, dx));
    let down = (1..radius).flat_map(|dy| (1 - radius..radius).map(move |dx| (dy, dx)));
    right.chain(down).filter(|&to| dot(to, to) < squared).map(Path::new).collect()
}

impl Path {
    fn new(to: (i32, i32)) -> Self {
        let length = dot(to, to);
        let near = |cell: &(i32, i32)| {
            // Twice the area of the triangle is length · distance; squared, no root and no division is needed.
            let area = i64::from(to.0) * i64::from(cell.1) - i64::from(to.1) * i64::from(cell.0);
            area * area < length
        };
        let columns = to.1.min(0)..=to.1.max(0);
        let cells = (0..=to.0).flat_map(|y| columns.clone().map(move |x| (y, x))).filter(near).collect();
        Self { to, cells }
    }
}

fn dot(a: (i32, i32), b: (i32, i32)) -> i64 {
    i64::from(a.0) * i64::from(b.0) + i64::from(a.1) * i64::from(b.1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        whole: BTreeMap<usize, Vec<Whole>>,
        counts: BTreeMap<usize, Vec<usize>>,
    }

    #[derive(Deserialize)]
    struct Whole {
        to: (i32, i32),
        cells: Vec<(i32, i32)>,
    }

    #[test]
    fn paths_are_those_of_a_python_transcription() {
        let fixture: Fixture = serde_json::from_str(include_str!("../../tests/fixtures/paths.json")).unwrap();
        for (radius, paths) in fixture.whole {
            let expected: Vec<Path> = paths.into_iter().map(|p| Path { to: p.to, cells: p.cells }).collect();
            assert_eq!(search_paths(radius), expected, "radius {radius}");
        }
        assert_eq!(fixture.counts.keys().copied().collect::<Vec<_>>(), [3, 5, 10]);
        for (radius, counts) in fixture.counts {
            let ours: Vec<usize> = search_paths(radius).iter().map(|p| p.cells.len()).collect();
            assert_eq!(ours, counts, "radius {radius}");
        }
    }

    #[test]
    fn half_a_disc_is_covered_once() {
        for radius in [2, 3, 5, 10_i32] {
            let mut seen = BTreeSet::from([(0, 0)]);
            for Path { to: (dy, dx), .. } in search_paths(radius as usize) {
                assert!(seen.insert((dy, dx)) && seen.insert((-dy, -dx)), "({dy}, {dx}) twice");
            }
            let disc = (-radius..=radius)
                .flat_map(|y| (-radius..=radius).map(move |x| (y, x)))
                .filter(|&(y, x)| y * y + x * x < radius * radius);
            assert_eq!(seen, disc.collect(), "radius {radius}");
        }
    }

    #[test]
    fn a_path_holds_its_ends_stays_in_its_box_and_has_no_gap() {
        for path in search_paths(8) {
            let (dy, dx) = path.to;
            assert!(path.cells.contains(&(0, 0)) && path.cells.contains(&path.to));
            assert!(
                path.cells.iter().all(|&(y, x)| (0..=dy).contains(&y) && x.abs() <= dx.abs() && x * dx >= 0)
            );
            for y in 0..=dy {
                assert!(path.cells.iter().any(|cell| cell.0 == y), "{path:?}");
            }
            for x in dx.min(0)..=dx.max(0) {
                assert!(path.cells.iter().any(|cell| cell.1 == x), "{path:?}");
            }
        }
    }

    #[test]
    fn straight_paths_are_straight_and_small_radii_have_none() {
        let paths = search_paths(4);
        assert_eq!(paths[2], Path { to: (0, 3), cells: vec![(0, 0), (0, 1), (0, 2), (0, 3)] });
        assert!(search_paths(0).is_empty() && search_paths(1).is_empty());
    }
}
