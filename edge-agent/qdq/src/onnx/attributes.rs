use tract_onnx::pb::{AttributeProto, NodeProto};

/// Reads attributes of a node. What has the wrong form is an operator that we do not know, so the answer is the reason.
pub(crate) struct Attributes<'a>(pub(crate) &'a NodeProto);

impl Attributes<'_> {
    fn find(&self, name: &str) -> Option<&AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.find(name).map_or_else(
            || default.to_owned(),
            |attribute| String::from_utf8_lossy(&attribute.s).into_owned(),
        )
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.find(name).map(|attribute| attribute.ints.as_slice())
    }

    /// N sizes of at least `least`, or `default` N times.
    pub(crate) fn sizes<const N: usize>(
        &self,
        name: &str,
        default: usize,
        least: usize,
    ) -> Result<[usize; N], String> {
        let Some(ints) = self.ints(name) else { return Ok([default; N]) };
        let sizes: Option<Vec<usize>> = ints.iter().map(|i| usize::try_from(*i).ok()).collect();
        sizes
            .and_then(|sizes| <[usize; N]>::try_from(sizes).ok())
            // What is larger than this overflows somewhere, and no image has it.
            .filter(|sizes| sizes.iter().all(|size| (least..1 << 20).contains(size)))
            .ok_or_else(|| format!("{name} is {ints:?}"))
    }
}
