use serde::{Deserialize, Serialize};

/// Settings of the fully connected CRF; the default is IRNet's `crf_inference_label`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrfSpec {
    /// Mean-field updates; 0 leaves the labels as they are.
    pub iterations: usize,
    /// Trust in the given labels, between 0 and 1: the probability of a pixel's own label. The others share the
    /// rest.
    pub gt_prob: f32,
    /// Standard deviation of the smoothness kernel, pixels.
    pub gaussian_sxy: f32,
    /// Weight of the smoothness kernel; 0 leaves it out.
    pub gaussian_compat: f32,
    /// Standard deviation of the appearance kernel over place, pixels.
    pub bilateral_sxy: f32,
    /// Standard deviation of the appearance kernel over each of red, green and blue, grey levels of 0..=255.
    pub bilateral_srgb: f32,
    /// Weight of the appearance kernel; 0 leaves it out.
    pub bilateral_compat: f32,
}

impl Default for CrfSpec {
    fn default() -> Self {
        Self {
            iterations: 10,
            gt_prob: 0.7,
            gaussian_sxy: 3.0,
            gaussian_compat: 3.0,
            bilateral_sxy: 50.0,
            bilateral_srgb: 5.0,
            bilateral_compat: 10.0,
        }
    }
}

impl CrfSpec {
    /// The first field that is out of its range, and what it should be.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        if !(self.gt_prob > 0.0 && self.gt_prob < 1.0) {
            return Some(("gt_prob", "must lie between 0 and 1, both excluded"));
        }
        let deviations = [
            ("gaussian_sxy", self.gaussian_sxy),
            ("bilateral_sxy", self.bilateral_sxy),
            ("bilateral_srgb", self.bilateral_srgb),
        ];
        for (name, value) in deviations {
            // Below, places on the lattice of a large image would outgrow what f32 tells apart.
            if !(value.is_finite() && value >= 0.05) {
                return Some((name, "must be finite and at least 0.05"));
            }
        }
        for (name, value) in
            [("gaussian_compat", self.gaussian_compat), ("bilateral_compat", self.bilateral_compat)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return Some((name, "must be finite and at least 0"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_field() {
        assert_eq!(CrfSpec::default().fault(), None);
        let fault = |change: fn(&mut CrfSpec)| {
            let mut spec = CrfSpec::default();
            change(&mut spec);
            spec.fault().map(|(field, _)| field)
        };
        assert_eq!(fault(|s| s.gt_prob = 1.0), Some("gt_prob"));
        assert_eq!(fault(|s| s.gt_prob = f32::NAN), Some("gt_prob"));
        assert_eq!(fault(|s| s.gaussian_sxy = 0.0), Some("gaussian_sxy"));
        assert_eq!(fault(|s| s.bilateral_sxy = f32::INFINITY), Some("bilateral_sxy"));
        assert_eq!(fault(|s| s.bilateral_srgb = -5.0), Some("bilateral_srgb"));
        assert_eq!(fault(|s| s.gaussian_compat = -1.0), Some("gaussian_compat"));
        assert_eq!(fault(|s| s.bilateral_compat = f32::NAN), Some("bilateral_compat"));
        assert_eq!(fault(|s| s.gaussian_compat = 0.0), None);
    }

    #[test]
    fn a_file_may_name_some_fields_and_no_others() {
        let spec: CrfSpec = serde_json::from_str(r#"{"iterations": 3}"#).unwrap();
        assert_eq!(spec, CrfSpec { iterations: 3, ..CrfSpec::default() });
        assert!(serde_json::from_str::<CrfSpec>(r#"{"iteration": 3}"#).is_err());
    }
}
