use super::lungs::Lungs;
use super::scene::{Scene, mean};
use super::spec::QualitySpec;

/// Beside the midline as shares of the thorax's width, and below its top as shares of its height: where the
/// heart lies, mostly at the patient's left.
const BESIDE: (f64, f64) = (0.08, 0.25);
const BELOW: (f64, f64) = (0.55, 0.85);
/// Grey values and areas are not lengths: what they count for beside those.
const HALF: f64 = 0.5;

/// Whether the lungs' labels contradict their sides, or heart and lungs look mirrored. Says nothing without a
/// heart.
pub(super) fn is_suspicious(lungs: &Lungs, scene: &Scene, spec: &QualitySpec) -> bool {
    lungs.swapped || leftness(lungs, scene).is_some_and(|leftness| leftness < spec.leftness)
}

/// How far the chest looks as its heart lay to the image's right, where the patient's left belongs; below 0
/// for most mirrored images. Four signs, so that neither a network that puts the heart where it usually is
/// nor one wide lung decides: the heart's centroid and the middle of the mediastinum against the middle of
/// the thorax, as shares of its width; how much brighter it is right of the middle than left; how much wider
/// the left lung is than the right.
fn leftness(lungs: &Lungs, scene: &Scene) -> Option<f64> {
    let heart = lungs.heart.as_ref()?;
    let (width, middle) = (lungs.thorax.width as f64, lungs.midline());
    let mediastinum = mediastinal_shift(lungs) / width;
    let (left, right) = (lungs.left.mean_width(), lungs.right.mean_width());
    Some(
        (heart.x - middle) / width
            + mediastinum
            + HALF * brightness(lungs, scene)
            + HALF * (left - right) / (left + right),
    )
}

/// Columns by which the middle between the lungs lies right of the middle of both, over the rows that both
/// are in.
fn mediastinal_shift(lungs: &Lungs) -> f64 {
    let shifts = lungs.shared.iter().map(|row| {
        let inner = row.left.end as f64 + row.right.start as f64;
        let outer = row.left.start as f64 + row.right.end as f64;
        HALF * (inner - outer)
    });
    shifts.sum::<f64>() / lungs.shared.len().max(1) as f64
}

/// Grey right of the middle less that left of it.
fn brightness(lungs: &Lungs, scene: &Scene) -> f64 {
    let thorax = lungs.thorax;
    let (cols, rows) = (scene.cols as f64, scene.rows as f64);
    let x = |share: f64| (lungs.midline() + share * thorax.width as f64) / cols;
    let y = |share: f64| (thorax.y as f64 + share * thorax.height as f64) / rows;
    let down = (y(BELOW.0), y(BELOW.1));
    mean(scene.window((x(BESIDE.0), x(BESIDE.1)), down))
        - mean(scene.window((x(-BESIDE.1), x(-BESIDE.0)), down))
}
