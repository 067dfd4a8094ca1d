//! Losses over masks that may be unknown for some classes of some images.

use tch::{Kind, Reduction, TchError, Tensor};

/// Weights of the parts of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossSpec {
    /// Of the mean binary cross-entropy.
    pub bce: f64,
    /// Of the class-average Dice loss.
    pub dice: f64,
}

/// A batch on the device.
#[derive(Debug)]
pub struct Targets {
    /// N × C × S × S: coverage 0..1; 0 where the class is unknown.
    pub coverage: Tensor,
    /// N × C: 1 where the class is annotated, else 0.
    pub valid: Tensor,
    /// How much pixels count; none: all of them, and equally.
    pub weight: Option<PixelWeight>,
}

/// How much each pixel counts.
#[derive(Debug)]
pub struct PixelWeight {
    /// N × C × S × S, 0..1.
    pub each: Tensor,
    /// N × C or N × 1: the number of pixels that a mean is over, those of weight 0 included.
    pub pixels: Tensor,
}

/// The weighted sum of both losses: a scalar.
pub fn segmentation_loss(logits: &Tensor, targets: &Targets, spec: LossSpec) -> Result<Tensor, TchError> {
    let bce = bce_loss(logits, targets)?.f_mul_scalar(spec.bce)?;
    bce.f_add(&dice_loss(logits, targets)?.f_mul_scalar(spec.dice)?)
}

/// Binary cross-entropy, averaged over the pixels of each annotated (image, class) pair and then over these pairs; 0
/// if there is none.
pub fn bce_loss(logits: &Tensor, targets: &Targets) -> Result<Tensor, TchError> {
    let pixels = logits.f_binary_cross_entropy_with_logits::<Tensor>(
        &targets.coverage,
        None,
        None,
        Reduction::None,
    )?;
    let over = [2_i64, 3];
    let planes = match &targets.weight {
        None => pixels.f_mean_dim(over.as_slice(), false, Kind::Float)?,
        Some(weight) => {
            let sum = |t: &Tensor| t.f_sum_dim_intlist(over.as_slice(), false, Kind::Float);
            sum(&pixels.f_mul(&weight.each)?)?.f_div(&weight.pixels.f_clamp_min(1.0)?)?
        }
    };
    let annotated = targets.valid.f_sum(Kind::Float)?.f_clamp_min(1.0)?;
    planes.f_mul(&targets.valid)?.f_sum(Kind::Float)?.f_div(&annotated)
}

/// Class-average Dice over batch and pixels (design §5.4): 1 − mean_c (2Σpy + 1) / (Σp + Σy + 1), the sums
/// over images that annotate c, the mean over classes that some image annotates; 0 if there is none.
pub fn dice_loss(logits: &Tensor, targets: &Targets) -> Result<Tensor, TchError> {
    let mut probability = logits.f_sigmoid()?.f_mul(&targets.valid.f_unsqueeze(2)?.f_unsqueeze(3)?)?;
    let mut coverage = targets.coverage.shallow_clone();
    if let Some(weight) = &targets.weight {
        probability = probability.f_mul(&weight.each)?;
        coverage = coverage.f_mul(&weight.each)?;
    }
    let sum = |t: &Tensor| t.f_sum_dim_intlist([0_i64, 2, 3].as_slice(), false, Kind::Float);
    let overlap = sum(&probability.f_mul(&targets.coverage)?)?;
    let total = sum(&probability)?.f_add(&sum(&coverage)?)?;
    let dice = overlap.f_mul_scalar(2.0)?.f_add_scalar(1.0)?.f_div(&total.f_add_scalar(1.0)?)?;
    let annotated = targets.valid.f_amax([0_i64].as_slice(), false)?;
    let lost = dice.f_neg()?.f_add_scalar(1.0)?.f_mul(&annotated)?.f_sum(Kind::Float)?;
    lost.f_div(&annotated.f_sum(Kind::Float)?.f_clamp_min(1.0)?)
}

/// Binary cross-entropy of the auxiliary head (N × C × 1 × 1) against whether each annotated mask has any pixel; 0 if
/// no class is annotated.
pub fn presence_loss(logits: &Tensor, targets: &Targets) -> Result<Tensor, TchError> {
    let present = targets.coverage.f_amax([2_i64, 3].as_slice(), false)?.f_ge(0.5)?.f_to_kind(Kind::Float)?;
    masked_bce(&logits.f_flatten(1, -1)?, &present, &targets.valid)
}

/// Mean binary cross-entropy (N × C) over the entries where `valid` is 1; 0 if there is none.
pub fn masked_bce(logits: &Tensor, labels: &Tensor, valid: &Tensor) -> Result<Tensor, TchError> {
    let each = logits.f_binary_cross_entropy_with_logits::<Tensor>(labels, None, None, Reduction::None)?;
    each.f_mul(valid)?.f_sum(Kind::Float)?.f_div(&valid.f_sum(Kind::Float)?.f_clamp_min(1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose sigmoid is `p`.
    fn logits(p: &[f32], shape: [i64; 4]) -> Tensor {
        Tensor::from_slice(&p.iter().map(|p| (p / (1.0 - p)).ln()).collect::<Vec<_>>()).view(shape)
    }

    fn targets(coverage: &[f32], shape: [i64; 4], valid: &[f32]) -> Targets {
        Targets {
            coverage: Tensor::from_slice(coverage).view(shape),
            valid: Tensor::from_slice(valid).view([shape[0], shape[1]]),
            weight: None,
        }
    }

    #[test]
    fn dice_agrees_with_numbers_worked_out_by_hand() {
        // Two classes of 1 × 2 pixels. Class 0: p = (0.5, 0.25), y = (1, 0): (2·0.5 + 1) / (0.75 + 1 + 1) = 2 / 2.75.
        // Class 1: p = (0.8, 0.2), y = (0, 0): 1 / (1 + 0 + 1) = 0.5.
        let shape = [1, 2, 1, 2];
        let logits = logits(&[0.5, 0.25, 0.8, 0.2], shape);
        let loss = dice_loss(&logits, &targets(&[1.0, 0.0, 0.0, 0.0], shape, &[1.0, 1.0])).unwrap();
        let by_hand = 1.0 - (2.0 / 2.75 + 0.5) / 2.0;
        assert!((loss.double_value(&[]) - by_hand).abs() < 1e-6);
    }

    #[test]
    fn dice_agrees_with_numpy() {
        #[derive(serde::Deserialize)]
        struct Case {
            shape: [i64; 4],
            logits: Vec<f32>,
            coverage: Vec<f32>,
            valid: Vec<f32>,
            loss: f64,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/dice.json")).unwrap();
        for case in cases {
            let logits = Tensor::from_slice(&case.logits).view(case.shape);
            let loss = dice_loss(&logits, &targets(&case.coverage, case.shape, &case.valid)).unwrap();
            assert!((loss.double_value(&[]) - case.loss).abs() < 1e-6, "{:?}", case.shape);
        }
    }

    #[test]
    fn bce_agrees_with_numbers_worked_out_by_hand() {
        let shape = [1, 1, 1, 2];
        let loss = bce_loss(&logits(&[0.5, 0.25], shape), &targets(&[1.0, 0.0], shape, &[1.0])).unwrap();
        let by_hand = -(0.5_f64.ln() + 0.75_f64.ln()) / 2.0;
        assert!((loss.double_value(&[]) - by_hand).abs() < 1e-6);
    }

    #[test]
    fn unannotated_classes_take_no_part() {
        let shape = [2, 1, 1, 2];
        let known = [1, 1, 1, 2];
        for part in [bce_loss, dice_loss] {
            let with = part(
                &logits(&[0.3, 0.6, 0.9, 0.9], shape),
                &targets(&[1.0, 0.0, 0.0, 0.0], shape, &[1.0, 0.0]),
            );
            let without = part(&logits(&[0.3, 0.6], known), &targets(&[1.0, 0.0], known, &[1.0]));
            let (with, without) = (with.unwrap().double_value(&[]), without.unwrap().double_value(&[]));
            assert!((with - without).abs() < 1e-6, "{with} {without}");
        }
    }

    #[test]
    fn an_unannotated_class_gets_no_gradient() {
        let shape = [2, 2, 2, 2];
        let logits = Tensor::ones(shape, (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let targets = targets(&[0.0; 16], shape, &[1.0, 0.0, 1.0, 0.0]);
        let loss = segmentation_loss(&logits, &targets, LossSpec { bce: 1.0, dice: 1.0 }).unwrap();
        loss.backward();
        let gradient = logits.grad();
        assert_eq!(gradient.select(1, 1).abs().sum(Kind::Float).double_value(&[]), 0.0);
        assert!(gradient.select(1, 0).abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }

    #[test]
    fn nothing_annotated_is_no_loss() {
        let shape = [1, 1, 1, 2];
        let logits = logits(&[0.3, 0.6], shape);
        let loss = segmentation_loss(
            &logits,
            &targets(&[0.0, 0.0], shape, &[0.0]),
            LossSpec { bce: 1.0, dice: 1.0 },
        );
        assert_eq!(loss.unwrap().double_value(&[]), 0.0);
    }

    #[test]
    fn pixels_of_no_weight_change_neither_loss() {
        let shape = [1, 1, 1, 3];
        let with = |p: [f32; 3], y: [f32; 3]| {
            let mut targets = targets(&y, shape, &[1.0]);
            let each = Tensor::from_slice(&[1.0_f32, 1.0, 0.0]).view(shape);
            targets.weight = Some(PixelWeight { each, pixels: Tensor::from_slice(&[2.0_f32]).view([1, 1]) });
            [bce_loss, dice_loss].map(|loss| loss(&logits(&p, shape), &targets).unwrap().double_value(&[]))
        };
        assert_eq!(with([0.5, 0.25, 0.9], [1.0, 0.0, 0.0]), with([0.5, 0.25, 0.1], [1.0, 0.0, 1.0]));
        let plain = targets(&[1.0, 0.0], [1, 1, 1, 2], &[1.0]);
        let alone = [bce_loss, dice_loss]
            .map(|loss| loss(&logits(&[0.5, 0.25], [1, 1, 1, 2]), &plain).unwrap().double_value(&[]));
        for (a, b) in with([0.5, 0.25, 0.9], [1.0, 0.0, 0.0]).into_iter().zip(alone) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn presence_is_any_pixel_of_an_annotated_mask() {
        let targets = targets(&[0.0, 1.0, 0.0, 0.0], [1, 2, 1, 2], &[1.0, 1.0]);
        let loss = presence_loss(&logits(&[0.8, 0.3], [1, 2, 1, 1]), &targets).unwrap();
        let by_hand = -(0.8_f64.ln() + 0.7_f64.ln()) / 2.0;
        assert!((loss.double_value(&[]) - by_hand).abs() < 1e-6);
    }
}
