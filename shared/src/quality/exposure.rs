use super::lungs::Lungs;
use super::scene::{Scene, median};
use super::spec::QualitySpec;

/// Closer to an end of the stretch than this is without detail.
const SATURATED: f32 = 0.02;

/// Whether the lungs are black, or much of them without detail.
pub(super) fn is_over(lungs: &Lungs, scene: &Scene, spec: &QualitySpec) -> bool {
    let grey = lungs.grey(scene);
    let black = share(&grey, |v| v <= SATURATED);
    black >= spec.black_lung || median(grey).is_some_and(|grey| grey < spec.lung_grey[0])
}

/// Whether the picture has no contrast, the lungs are white, or much of what lies between them is without
/// detail.
pub(super) fn is_under(lungs: Option<&Lungs>, scene: &Scene, spec: &QualitySpec) -> bool {
    scene.contrast < spec.least_contrast
        || lungs.is_some_and(|lungs| {
            share(&lungs.grey_between(scene), |v| v >= 1.0 - SATURATED) >= spec.white_mediastinum
                || median(lungs.grey(scene)).is_some_and(|grey| grey > spec.lung_grey[1])
        })
}

fn share(grey: &[f32], is: impl Fn(f32) -> bool) -> f64 {
    grey.iter().filter(|&&v| is(v)).count() as f64 / grey.len().max(1) as f64
}
