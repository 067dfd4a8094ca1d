//! Measurements on a radiograph, from the masks of its structures.

mod cardiothoracic;
mod draw;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cardiothoracic::{CardiothoracicRatio, CardiothoracicSpec, Extent};
pub use draw::draw_measurements;

use crate::anatomy::{AnatomySpec, Structures};

/// A manifest's `[measurements]`: what is measured. Nothing in bundles without the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementsSpec {
    /// The heart's width over the thorax's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cardiothoracic_ratio: Option<CardiothoracicSpec>,
}

/// What was measured on a radiograph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurements {
    /// The heart's width over the thorax's; none if the model does not measure it or heart or a lung was not
    /// found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cardiothoracic_ratio: Option<CardiothoracicRatio>,
}

/// A manifest's measurements that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("measurements.{field} = {value}: must be {must}")]
pub struct MeasurementsSpecError {
    field: &'static str,
    value: String,
    must: &'static str,
}

impl MeasurementsSpec {
    /// Whether nothing is measured.
    pub fn is_empty(&self) -> bool {
        self.cardiothoracic_ratio.is_none()
    }

    /// Checks ranges, and that the anatomy names what is measured.
    ///
    /// # Errors
    /// [`MeasurementsSpecError`] names the field.
    pub fn validate(&self, anatomy: &AnatomySpec) -> Result<(), MeasurementsSpecError> {
        let Some(spec) = &self.cardiothoracic_ratio else { return Ok(()) };
        if !anatomy.is_complete() {
            return Err(MeasurementsSpecError {
                field: "cardiothoracic_ratio",
                value: "{ … }".into(),
                must: "left out unless [anatomy] names left_lung, right_lung and heart",
            });
        }
        if !(spec.enlarged_from > 0.0 && spec.enlarged_from < 1.0) {
            return Err(MeasurementsSpecError {
                field: "cardiothoracic_ratio.enlarged_from",
                value: spec.enlarged_from.to_string(),
                must: "above 0 and below 1",
            });
        }
        Ok(())
    }

    /// Measures a radiograph of `source` = (rows, columns) pixels.
    pub fn measure(&self, structures: &Structures<'_>, source: (usize, usize)) -> Measurements {
        Measurements {
            cardiothoracic_ratio: self
                .cardiothoracic_ratio
                .as_ref()
                .and_then(|spec| CardiothoracicRatio::measure(spec, structures, source)),
        }
    }
}

impl Measurements {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.cardiothoracic_ratio.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_needs_its_structures_and_a_sensible_limit() {
        let spec = |enlarged_from| MeasurementsSpec {
            cardiothoracic_ratio: Some(CardiothoracicSpec { enlarged_from, ..CardiothoracicSpec::default() }),
        };
        let named = |label: &str| Some(label.to_owned());
        let anatomy = AnatomySpec { left_lung: named("l"), right_lung: named("r"), heart: named("h") };
        assert!(spec(0.5).validate(&anatomy).is_ok());
        let error = spec(1.0).validate(&anatomy).unwrap_err().to_string();
        assert!(error.contains("enlarged_from = 1"), "{error}");
        assert!(spec(f64::NAN).validate(&anatomy).is_err());
        let error = spec(0.5).validate(&AnatomySpec { heart: None, ..anatomy }).unwrap_err().to_string();
        assert!(error.contains("[anatomy]"), "{error}");
        assert!(MeasurementsSpec::default().validate(&AnatomySpec::default()).is_ok());
    }
}
