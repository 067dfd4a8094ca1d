use super::Mask;
use super::grid::each_run;

/// Clears every 8-connected component of fewer than `min_area` pixels, and every one that has less than `min_share` (0 to 1) of
/// the largest one's.
pub fn remove_small_components(mask: &mut Mask, min_area: usize, min_share: f32) {
    if min_area <= 1 && min_share <= 0.0 {
        return;
    }
    let runs = Run::all(mask);
    let mut forest = Forest::new(runs.len());
    let mut above = 0;
    for (i, run) in runs.iter().enumerate() {
        // Runs come in reading order: skip those of earlier rows that end before this one begins.
        while runs[above].row + 1 < run.row || (runs[above].row + 1 == run.row && runs[above].end < run.start)
        {
            above += 1;
        }
        let mut j = above;
        while runs[j].row + 1 == run.row && runs[j].start <= run.end {
            forest.join(i, j);
            j += 1;
        }
    }
    let mut areas = vec![0; runs.len()];
    for (i, run) in runs.iter().enumerate() {
        areas[forest.root(i)] += run.end - run.start;
    }
    let largest = areas.iter().copied().max().unwrap_or(0);
    let too_small = |area: usize| area < min_area || (area as f32) < min_share * largest as f32;
    for (i, run) in runs.iter().enumerate() {
        if too_small(areas[forest.root(i)]) {
            mask.row_mut(run.row)[run.start..run.end].fill(0);
        }
    }
}

/// Foreground of one row from `start` to before `end`.
struct Run {
    row: usize,
    start: usize,
    end: usize,
}

impl Run {
    fn all(mask: &Mask) -> Vec<Self> {
        let mut runs = Vec::new();
        for (row, line) in mask.data().chunks_exact(mask.cols().max(1)).enumerate() {
            each_run(line, |start, end| runs.push(Self { row, start, end }));
        }
        runs
    }
}

/// Union-find with path halving.
struct Forest(Vec<usize>);

impl Forest {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(rows: &[&str]) -> Mask {
        Mask::from_fn(rows.len(), rows[0].len(), |r, c| rows[r].as_bytes()[c] == b'#')
    }

    #[test]
    fn specks_go_and_the_rest_stays() {
        let mut mask = parse(&["##...", "##..#", ".....", "#..##"]);
        remove_small_components(&mut mask, 3, 0.0);
        assert_eq!(mask, parse(&["##...", "##...", ".....", "....."]));
    }

    #[test]
    fn diagonal_neighbours_belong_together() {
        let mut mask = parse(&["#....", ".#...", "..#..", "#...#"]);
        remove_small_components(&mut mask, 3, 0.0);
        assert_eq!(mask, parse(&["#....", ".#...", "..#..", "....."]));
    }

    #[test]
    fn a_u_shape_is_one_component() {
        let u = parse(&["#...#", "#...#", "#####"]);
        let mut mask = u.clone();
        remove_small_components(&mut mask, 9, 0.0);
        assert_eq!(mask, u);
    }

    #[test]
    fn parts_are_measured_against_the_largest() {
        let mask = parse(&["####.#", "####..", "......", "##..#.", "......"]);
        let left = |share| {
            let mut mask = mask.clone();
            remove_small_components(&mut mask, 0, share);
            mask.area()
        };
        // Of 8, 2, 1 and 1 pixels.
        assert_eq!([0.0, 0.125, 0.13, 0.25, 0.26, 1.0].map(left), [12, 12, 10, 10, 8, 8]);
        let mut tenths = parse(&["##########", "..........", "###......."]);
        let whole = tenths.clone();
        remove_small_components(&mut tenths, 0, 0.3);
        assert_eq!(tenths, whole);
        let mut none = Mask::empty(3, 4);
        remove_small_components(&mut none, 0, 1.0);
        assert!(none.is_empty());
    }

    proptest! {
        /// Against a flood fill.
        #[test]
        fn agrees_with_flood_fill(cells in proptest::collection::vec(any::<bool>(), 12 * 9), min in 0_usize..12, share in 0.0..=1.0_f32) {
            let original = Mask::from_fn(12, 9, |r, c| cells[r * 9 + c]);
            let mut fast = original.clone();
            remove_small_components(&mut fast, min, share);
            let mut slow = original.clone();
            let (mut seen, mut components) = ([false; 12 * 9], Vec::new());
            for start in 0..12 * 9 {
                if original.data()[start] == 0 || seen[start] {
                    continue;
                }
                let mut component = vec![start];
                seen[start] = true;
                let mut next = 0;
                while next < component.len() {
                    let (r, c) = (component[next] / 9, component[next] % 9);
                    next += 1;
                    for y in r.saturating_sub(1)..(r + 2).min(12) {
                        for x in c.saturating_sub(1)..(c + 2).min(9) {
                            if original.get(y, x) && !seen[y * 9 + x] {
                                seen[y * 9 + x] = true;
                                component.push(y * 9 + x);
                            }
                        }
                    }
                }
                components.push(component);
            }
            let largest = components.iter().map(Vec::len).max().unwrap_or(0) as f32;
            let small = |c: &Vec<usize>| c.len() < min || (c.len() as f32) < share * largest;
            components.into_iter().filter(small).flatten().for_each(|i| slow.set(i / 9, i % 9, false));
            prop_assert_eq!(fast, slow);
        }
    }
}
