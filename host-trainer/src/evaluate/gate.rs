use super::{Counts, Measure};
use shared::mask::Mask;

/// Gates that are tried: 0 (never shut), 0.05, … 0.5.
const CANDIDATES: u32 = 10;

/// One validation image, one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GateCase {
    /// What the auxiliary head says: the class is there.
    pub(super) presence: f32,
    /// Agreement with the expert if the mask stays.
    open: f64,
    /// Agreement if the mask is emptied.
    shut: f64,
}

impl GateCase {
    /// From the expert's mask and the predicted one. Two empty masks agree.
    pub(super) fn new(presence: f32, truth: &Mask, found: &Mask) -> Self {
        let open = Measure::Iou.of(Counts::of(truth, found)).unwrap_or(1.0);
        Self { presence, open, shut: if truth.is_empty() { 1.0 } else { 0.0 } }
    }
}

/// The probability of presence below which a mask is best emptied: the candidate of highest mean agreement per image.
/// Ties go to the lowest, so that a head that helps nowhere gates nothing.
pub(super) fn best_gate(cases: &[GateCase]) -> f32 {
    let mean = |gate: f32| {
        let agreement = |case: &GateCase| if case.presence < gate { case.shut } else { case.open };
        cases.iter().map(agreement).sum::<f64>() / cases.len().max(1) as f64
    };
    let mut best = (0.0, mean(0.0));
    for k in 1..=CANDIDATES {
        let gate = k as f32 / (2 * CANDIDATES) as f32;
        if mean(gate) > best.1 {
            best = (gate, mean(gate));
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(presence: f32, truth: bool, found: bool) -> GateCase {
        let mask = |full: bool| Mask::from_fn(4, 4, |_, _| full);
        GateCase::new(presence, &mask(truth), &mask(found))
    }

    #[test]
    fn false_alarms_with_low_presence_are_shut_out() {
        let cases = [
            case(0.12, false, true),
            case(0.22, true, true),
            case(0.9, true, true),
            case(0.05, false, false),
        ];
        assert_eq!(best_gate(&cases), 0.15);
    }

    #[test]
    fn a_head_that_cannot_tell_gates_nothing() {
        assert_eq!(best_gate(&[case(0.3, true, true), case(0.4, false, false)]), 0.0);
        assert_eq!(best_gate(&[]), 0.0);
    }
}
