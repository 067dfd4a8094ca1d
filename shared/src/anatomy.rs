//! Which classes of a model are the structures that measurements and quality checks look at.

use serde::{Deserialize, Serialize};

use crate::manifest::ClassSpec;
use crate::mask::Mask;
use crate::postprocess::ClassResult;

/// A manifest's `[anatomy]`: the labels of the classes that are these structures. A structure that the model
/// does not segment is left out; what needs it is then not measured or checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnatomySpec {
    /// The patient's left lung field, at the image's right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_lung: Option<String>,
    /// The patient's right lung field, at the image's left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_lung: Option<String>,
    /// The cardiac silhouette.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heart: Option<String>,
}

/// The structures of one radiograph. Masks lie on one grid.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Structures<'a> {
    /// The patient's left lung field; none if the model does not segment it.
    pub left_lung: Option<&'a Mask>,
    /// The patient's right lung field; none if the model does not segment it.
    pub right_lung: Option<&'a Mask>,
    /// The cardiac silhouette; none if the model does not segment it.
    pub heart: Option<&'a Mask>,
}

/// An `[anatomy]` that does not fit the classes.
#[derive(Debug, thiserror::Error)]
pub enum AnatomySpecError {
    /// No such class.
    #[error("anatomy.{structure} = {label}: must be the label of one of the classes")]
    NoClass {
        /// The structure.
        structure: &'static str,
        /// The label.
        label: String,
    },
    /// Two structures of one class.
    #[error("anatomy.{structure} = {label}: must not be the label of another structure")]
    Twice {
        /// The later structure.
        structure: &'static str,
        /// The label.
        label: String,
    },
}

impl AnatomySpec {
    /// Whether no structure is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether lungs and heart are all named.
    pub fn is_complete(&self) -> bool {
        self.named().count() == 3
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("left_lung", &self.left_lung), ("right_lung", &self.right_lung), ("heart", &self.heart)]
            .into_iter()
            .filter_map(|(structure, label)| Some((structure, label.as_deref()?)))
    }

    /// Checks that every label is one of `labels`, and of one structure only.
    ///
    /// # Errors
    /// [`AnatomySpecError`] names the structure.
    pub fn validate(&self, labels: &[impl AsRef<str>]) -> Result<(), AnatomySpecError> {
        let mut seen = Vec::new();
        for (structure, label) in self.named() {
            if !labels.iter().any(|known| known.as_ref() == label) {
                return Err(AnatomySpecError::NoClass { structure, label: label.to_owned() });
            }
            if seen.contains(&label) {
                return Err(AnatomySpecError::Twice { structure, label: label.to_owned() });
            }
            seen.push(label);
        }
        Ok(())
    }

    /// The structures among the results of `classes`, both in the manifest's order.
    pub fn among<'a>(&self, classes: &[ClassSpec], results: &'a [ClassResult]) -> Structures<'a> {
        let find = |label: &Option<String>| {
            let at = classes.iter().position(|class| Some(&class.label) == label.as_ref())?;
            results.get(at).map(|result| &result.mask)
        };
        Structures {
            left_lung: find(&self.left_lung),
            right_lung: find(&self.right_lung),
            heart: find(&self.heart),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::class;

    fn spec(left_lung: &str, heart: &str) -> AnatomySpec {
        AnatomySpec { left_lung: Some(left_lung.into()), right_lung: None, heart: Some(heart.into()) }
    }

    #[test]
    fn structures_are_found_by_label_whatever_the_order() {
        let result = |n: usize| ClassResult { mask: Mask::from_fn(1, 9, |_, c| c < n), score: 0.5 };
        let (classes, results) = ([class("cor"), class("pulmo")], [result(1), result(2)]);
        let found = spec("pulmo", "cor").among(&classes, &results);
        assert_eq!(found.heart.map(Mask::area), Some(1));
        assert_eq!(found.left_lung.map(Mask::area), Some(2));
        assert_eq!(found.right_lung, None);
        assert_eq!(spec("gone", "gone").among(&classes, &results), Structures::default());
    }

    #[test]
    fn labels_must_be_classes_and_differ() {
        assert!(spec("a", "b").validate(&["a", "b"]).is_ok());
        let error = spec("a", "b").validate(&["a"]).unwrap_err().to_string();
        assert_eq!(error, "anatomy.heart = b: must be the label of one of the classes");
        assert!(spec("a", "a").validate(&["a"]).unwrap_err().to_string().contains("another structure"));
    }
}
