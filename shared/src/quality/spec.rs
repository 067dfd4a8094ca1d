use serde::{Deserialize, Serialize};

/// A manifest's `[quality]`: the limits of every check. A field that is left out has its default.
///
/// The defaults were chosen by hand on the 301 weakly labelled radiographs of the heart-lung set and
/// corrupted copies of its validation images, with the distributions on the field, covid-weak and paediatric
/// sets in view; never on test images. Rates on those sets are therefore not held out.
///
/// Grey values are stretched to 0 (black) to 1 (white); lengths are shares of what each field names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySpec {
    /// Least and greatest distance between the lungs' centroids, as shares of the thorax's width, 0 to 1.
    pub lung_separation: [f64; 2],
    /// Greatest share of the narrower lung's columns that the other one is in too, 0 to 1.
    pub lung_overlap_across: f64,
    /// Least share of the taller lung's rows that the other one spans too, 0 to 1.
    pub lung_overlap_down: f64,
    /// Least share of the box around both lungs that they fill, 0 to 1.
    pub lung_fill: f64,
    /// Least and greatest height of the taller lung over the thorax's width, 0 to 10.
    pub lung_aspect: [f64; 2],
    /// Least widening of the space between the lungs from the upper to the lower third, as a share of the
    /// thorax's width, −1 to 1.
    pub mediastinal_flare: f64,
    /// Least share of its box that the heart fills, 0 to 1.
    pub heart_fill: f64,
    /// Greatest width by which the heart reaches beyond the lungs, as a share of the thorax's, 0 to 1.
    pub heart_outside: f64,
    /// Least and greatest area of the heart over the lungs', 0 to 10.
    pub heart_to_lungs: [f64; 2],
    /// Share of the image's height that counts as its upper or lower border, 0 to 0.2.
    pub border_margin: f64,
    /// Share of a lung's width at the upper border from which its apex is cut off, 0 to 1.
    pub apex_contact: f64,
    /// Tilt in the image's plane from which the patient is rotated, degrees, 0 to 90.
    pub tilted_from: f64,
    /// Least and greatest asymmetry of the lungs' upper halves, (left − right) / (left + right) of their
    /// areas, −1 to 1: beyond, the patient is rotated. The aortic knob narrows the left lung.
    pub upper_lung_asymmetry: [f64; 2],
    /// Share of the lungs that is black without detail from which they are overexposed, 0 to 1.
    pub black_lung: f64,
    /// Least and greatest median grey of the lungs: below they are overexposed, above underexposed, 0 to 1.
    pub lung_grey: [f64; 2],
    /// Share of what lies between the lungs that is white without detail from which it is underexposed, 0 to
    /// 1.
    pub white_mediastinum: f64,
    /// Least range of grey values, as a share of the display's, 0 to 1: below, the image is underexposed.
    pub least_contrast: f64,
    /// Least share of rows that are brightest in the middle, 0 to 1; with bright corners, fewer mean
    /// inversion.
    pub peaked_rows: f64,
    /// Greatest mean grey of the upper corners of an image that is not inverted, 0 to 1.
    pub corner_grey: f64,
    /// Least evidence that the heart lies at the image's right, −2 to 2: below, the side is suspicious.
    pub leftness: f64,
}

impl Default for QualitySpec {
    fn default() -> Self {
        Self {
            lung_separation: [0.4, 0.68],
            lung_overlap_across: 0.45,
            lung_overlap_down: 0.4,
            lung_fill: 0.18,
            lung_aspect: [0.5, 1.25],
            mediastinal_flare: 0.1,
            heart_fill: 0.33,
            heart_outside: 0.1,
            heart_to_lungs: [0.12, 1.6],
            border_margin: 0.012,
            apex_contact: 0.12,
            tilted_from: 9.0,
            upper_lung_asymmetry: [-0.26, 0.12],
            black_lung: 0.15,
            lung_grey: [0.2, 0.8],
            white_mediastinum: 0.45,
            least_contrast: 0.05,
            peaked_rows: 0.4,
            corner_grey: 0.35,
            leftness: 0.0,
        }
    }
}

/// A manifest's limit of quality that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("quality.{field} = {value}: must be {must}")]
pub struct QualitySpecError {
    field: &'static str,
    value: String,
    must: String,
}

impl QualitySpec {
    /// Whether every limit is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every field's range.
    ///
    /// # Errors
    /// [`QualitySpecError`] names the field.
    pub fn validate(&self) -> Result<(), QualitySpecError> {
        let share = (0.0, 1.0);
        let single = [
            ("lung_overlap_across", self.lung_overlap_across, share),
            ("lung_overlap_down", self.lung_overlap_down, share),
            ("lung_fill", self.lung_fill, share),
            ("mediastinal_flare", self.mediastinal_flare, (-1.0, 1.0)),
            ("heart_fill", self.heart_fill, share),
            ("heart_outside", self.heart_outside, share),
            ("border_margin", self.border_margin, (0.0, 0.2)),
            ("apex_contact", self.apex_contact, share),
            ("tilted_from", self.tilted_from, (0.0, 90.0)),
            ("black_lung", self.black_lung, share),
            ("white_mediastinum", self.white_mediastinum, share),
            ("least_contrast", self.least_contrast, share),
            ("peaked_rows", self.peaked_rows, share),
            ("corner_grey", self.corner_grey, share),
            ("leftness", self.leftness, (-2.0, 2.0)),
        ];
        for (field, value, (low, high)) in single {
            if !(low..=high).contains(&value) {
                let must = format!("from {low} to {high}");
                return Err(QualitySpecError { field, value: value.to_string(), must });
            }
        }
        let double = [
            ("lung_separation", self.lung_separation, share),
            ("lung_aspect", self.lung_aspect, (0.0, 10.0)),
            ("heart_to_lungs", self.heart_to_lungs, (0.0, 10.0)),
            ("upper_lung_asymmetry", self.upper_lung_asymmetry, (-1.0, 1.0)),
            ("lung_grey", self.lung_grey, share),
        ];
        for (field, [least, greatest], (low, high)) in double {
            let inside = |value| (low..=high).contains(&value);
            if !(inside(least) && inside(greatest) && least < greatest) {
                let must = format!("two rising numbers from {low} to {high}");
                return Err(QualitySpecError { field, value: format!("[{least}, {greatest}]"), must });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_leaves_out_has_its_default_and_what_it_invents_is_an_error() {
        let spec: QualitySpec = toml::from_str("tilted_from = 20.0").unwrap();
        assert_eq!(spec, QualitySpec { tilted_from: 20.0, ..QualitySpec::default() });
        assert!(!spec.is_default() && QualitySpec::default().is_default());
        assert!(toml::from_str::<QualitySpec>("tilted = 20.0").unwrap_err().to_string().contains("tilted"));
    }

    #[test]
    fn limits_out_of_range_are_named() {
        assert!(QualitySpec::default().validate().is_ok());
        let bad = |f: fn(&mut QualitySpec)| {
            let mut spec = QualitySpec::default();
            f(&mut spec);
            spec.validate().unwrap_err().to_string()
        };
        assert_eq!(bad(|s| s.black_lung = 1.5), "quality.black_lung = 1.5: must be from 0 to 1");
        assert!(bad(|s| s.leftness = f64::NAN).contains("quality.leftness = NaN"));
        let error = bad(|s| s.lung_grey = [0.8, 0.2]);
        assert_eq!(error, "quality.lung_grey = [0.8, 0.2]: must be two rising numbers from 0 to 1");
        assert!(bad(|s| s.lung_aspect = [0.5, f64::INFINITY]).contains("lung_aspect"));
    }
}
