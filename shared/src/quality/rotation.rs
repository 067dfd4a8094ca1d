use super::lungs::Lungs;
use super::spec::QualitySpec;

/// Whether the patient is tilted in the image's plane or turned about the long axis.
pub(super) fn is_rotated(lungs: &Lungs, spec: &QualitySpec) -> bool {
    let [low, high] = spec.upper_lung_asymmetry;
    tilt(lungs).abs() >= spec.tilted_from || !(low..=high).contains(&upper_asymmetry(lungs))
}

/// Tilt of the patient in degrees, positive if the head leans to the image's left. Two signs must agree, and
/// the weaker one counts: the lungs' long axes, whose own leanings cancel, and the line between their
/// centroids, which a low dome or an effusion alone moves too.
fn tilt(lungs: &Lungs) -> f64 {
    let axes = 0.5 * (lungs.left.lean() + lungs.right.lean());
    let (dx, dy) = (lungs.right.x - lungs.left.x, lungs.right.y - lungs.left.y);
    let level = (-dy).atan2(dx).to_degrees();
    if axes * level <= 0.0 {
        return 0.0;
    }
    if axes.abs() < level.abs() { axes } else { level }
}

/// (right − left) / (right + left) of the lungs' areas at the image's sides, over the upper half of the rows
/// that both are in, −1..=1: a turned chest narrows one lung at every height, while heart, effusion and a
/// high dome take from the lower half. 0 if no row has both.
fn upper_asymmetry(lungs: &Lungs) -> f64 {
    let upper = &lungs.shared[..lungs.shared.len().div_ceil(2)];
    let (left, right) =
        upper.iter().fold((0, 0), |(left, right), row| (left + row.left_area, right + row.right_area));
    (right as f64 - left as f64) / (right + left).max(1) as f64
}
