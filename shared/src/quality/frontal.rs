use super::lungs::{Lungs, SharedRow};
use super::spec::QualitySpec;
use crate::anatomy::Structures;
use crate::mask::Mask;

/// Whether every named structure was found.
pub(super) fn are_found(structures: &Structures<'_>) -> bool {
    let named = [structures.left_lung, structures.right_lung, structures.heart];
    !named.into_iter().flatten().any(Mask::is_empty)
}

/// Whether the lungs lie, measure and fill their box as in an upright frontal chest radiograph.
pub(super) fn lungs_are_plausible(lungs: &Lungs, spec: &QualitySpec) -> bool {
    let (left, right, thorax) = (&lungs.left, &lungs.right, lungs.thorax);
    let width = thorax.width as f64;
    let overlap =
        |a: (usize, usize), b: (usize, usize)| (a.0 + a.1).min(b.0 + b.1) as f64 - a.0.max(b.0) as f64;
    let across = overlap((left.bbox.x, left.bbox.width), (right.bbox.x, right.bbox.width))
        / left.bbox.width.min(right.bbox.width) as f64;
    let down =
        overlap((left.bbox.y, left.bbox.height), (right.bbox.y, right.bbox.height)) / lungs.height() as f64;
    let fill = (left.area + right.area) / (thorax.width * thorax.height) as f64;
    within((right.x - left.x) / width, spec.lung_separation)
        && across <= spec.lung_overlap_across
        && down >= spec.lung_overlap_down
        && fill >= spec.lung_fill
        && within(lungs.height() as f64 / width, spec.lung_aspect)
        && flare(&lungs.shared, width) >= spec.mediastinal_flare
}

/// How much wider the space between the lungs is in the lowest third than in the highest, as a share of the
/// thorax: the heart lies below. Lungs upside down have it above.
fn flare(shared: &[SharedRow], width: f64) -> f64 {
    let third = shared.len().div_ceil(3);
    let gap = |rows: &[SharedRow]| {
        let gaps = rows.iter().map(|row| row.right.start as f64 - row.left.end as f64);
        gaps.sum::<f64>() / rows.len().max(1) as f64
    };
    (gap(&shared[shared.len() - third..]) - gap(&shared[..third])) / width
}

/// Whether the heart, if the model segments it, lies and measures beside the lungs as a heart.
pub(super) fn heart_is_plausible(lungs: &Lungs, spec: &QualitySpec) -> bool {
    let Some(heart) = &lungs.heart else { return true };
    let thorax = lungs.thorax;
    let outside = thorax.x.saturating_sub(heart.bbox.x)
        + (heart.bbox.x + heart.bbox.width).saturating_sub(thorax.x + thorax.width);
    heart.fill() >= spec.heart_fill
        && outside as f64 / thorax.width as f64 <= spec.heart_outside
        && within(heart.area / (lungs.left.area + lungs.right.area), spec.heart_to_lungs)
}

fn within(value: f64, [low, high]: [f64; 2]) -> bool {
    (low..=high).contains(&value)
}
