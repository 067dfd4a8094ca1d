use crate::config::Gate;
use crate::dataset::Finding;

/// What becomes of a saliency map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It becomes the pseudo-mask.
    Use,
    /// The pseudo-mask is empty: the class is known to be absent.
    Empty,
    /// There is no pseudo-mask: the image takes no part in the class's loss.
    Skip,
}

/// What an image's label makes of its map.
pub fn decide(finding: Option<Finding>, gate: Gate) -> Decision {
    match (gate, finding) {
        (Gate::None, _) | (_, Some(Finding::Present)) => Decision::Use,
        (Gate::Empty, Some(Finding::Absent)) => Decision::Empty,
        (Gate::Empty | Gate::Ignore, _) => Decision::Skip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_that_say_so_empty_a_mask() {
        use Decision::{Empty, Skip, Use};
        use Finding::{Absent, Present, Uncertain};
        let labels = [Some(Present), Some(Absent), Some(Uncertain), None];
        assert_eq!(labels.map(|l| decide(l, Gate::None)), [Use; 4]);
        assert_eq!(labels.map(|l| decide(l, Gate::Empty)), [Use, Empty, Skip, Skip]);
        assert_eq!(labels.map(|l| decide(l, Gate::Ignore)), [Use, Skip, Skip, Skip]);
    }
}
