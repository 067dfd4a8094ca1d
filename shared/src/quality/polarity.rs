use super::lungs::Lungs;
use super::scene::{Scene, mean, median};
use super::spec::QualitySpec;

/// Columns of the spine and of the lungs at either side, rows of the chest, side of the upper corners: shares
/// of the image's sides, where a chest that fills the image has them.
const SPINE: (f64, f64) = (0.42, 0.58);
const FLANKS: [(f64, f64); 2] = [(0.15, 0.38), (0.62, 0.85)];
const CHEST: (f64, f64) = (0.2, 0.75);
const CORNER: f64 = 0.09;

/// Whether dense is dark. `lungs` are those of masks that lie as in a chest: then what lies between them must
/// be brighter than they are. Networks seldom find lungs in an inverted image; without them, the middle is
/// darker than both flanks in most rows of an inverted chest, and the corners above the shoulders are bright.
pub(super) fn is_inverted(scene: &Scene, lungs: Option<&Lungs>, spec: &QualitySpec) -> bool {
    if let Some(lungs) = lungs {
        let between = median(lungs.grey_between(scene));
        return between.zip(median(lungs.grey(scene))).is_some_and(|(between, lungs)| between < lungs);
    }
    peaked_rows(scene) < spec.peaked_rows && corners(scene) > spec.corner_grey
}

/// Share of the chest's rows that are brighter in the middle than at the flanks.
fn peaked_rows(scene: &Scene) -> f64 {
    let height = 1.0 / scene.rows as f64;
    let (from, to) = (CHEST.0 * scene.rows as f64, CHEST.1 * scene.rows as f64);
    let rows = from as usize..(to as usize).max(from as usize + 1);
    let level = |row: usize, columns| {
        // The middle of the row, so that rounding does not choose a neighbour.
        let y = (row as f64 + 0.5) * height;
        median(scene.window(columns, (y, y)).collect()).unwrap_or_default()
    };
    let peaked = rows.clone().filter(|&row| {
        let [left, right] = FLANKS.map(|columns| level(row, columns));
        level(row, SPINE) > 0.5 * (left + right)
    });
    peaked.count() as f64 / rows.len() as f64
}

/// Mean grey of the two upper corners.
fn corners(scene: &Scene) -> f64 {
    let side = CORNER * scene.rows.max(scene.cols) as f64;
    let (width, height) = (side / scene.cols as f64, side / scene.rows as f64);
    0.5 * (mean(scene.window((0.0, width), (0.0, height)))
        + mean(scene.window((1.0 - width, 1.0), (0.0, height))))
}
