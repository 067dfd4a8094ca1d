use tract_onnx::pb::NodeProto;

use super::refusal::Refusal;
use crate::graph::{Coordinates, Interpolation, Resize, ResizeTo, Rounding};
use crate::onnx::{Attributes, OnnxGraph};

/// The settings of a Resize of rows and columns.
pub(crate) fn resize(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Resize, Refusal> {
    let attributes = Attributes(node);
    // Defaults of this operator have a meaning only together: what would change it is asked for first.
    if attributes.has("axes")
        || attributes.int("antialias", 0) != 0
        || attributes.text("keep_aspect_ratio_policy", "stretch") != "stretch"
    {
        return Err("it resizes with axes, antialias or an aspect ratio".into());
    }
    let coordinates = match attributes.text("coordinate_transformation_mode", "half_pixel").as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return Err(format!("its coordinates are {other}").into()),
    };
    let interpolation = match attributes.text("mode", "nearest").as_str() {
        "linear" => Interpolation::Linear,
        "nearest" => {
            Interpolation::Nearest(match attributes.text("nearest_mode", "round_prefer_floor").as_str() {
                "round_prefer_floor" => Rounding::RoundPreferFloor,
                "round_prefer_ceil" => Rounding::RoundPreferCeil,
                "floor" => Rounding::Floor,
                "ceil" => Rounding::Ceil,
                other => return Err(format!("its nearest_mode is {other}").into()),
            })
        }
        other => return Err(format!("its mode is {other}").into()),
    };
    let known = |input: usize| match node.input.get(input).filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => graph.constant(name).map(Some).ok_or("its size is not known"),
    };
    if let Some(sizes) = known(3)? {
        let sizes = sizes.integers().unwrap_or_default();
        let [_, _, rows, columns] =
            <[i64; 4]>::try_from(sizes).map_err(|_| "its sizes are not those of [n, c, h, w]")?;
        let side = |side: i64| usize::try_from(side).ok().filter(|side| (1..1 << 20).contains(side));
        let sizes = [rows, columns].map(side);
        let [Some(rows), Some(columns)] = sizes else { return Err("its sizes are out of range".into()) };
        // Batch and channels would have to stay: the caller's shapes tell, and a Resize of these is refused there.
        return Ok(Resize { interpolation, coordinates, to: ResizeTo::Sizes([rows, columns]) });
    }
    let scales = known(2)?.and_then(|scales| scales.f32().map(<[f32]>::to_vec)).unwrap_or_default();
    match *scales.as_slice() {
        [1.0, 1.0, rows, columns] if [rows, columns].iter().all(|s| s.is_finite() && *s > 0.0) => {
            Ok(Resize { interpolation, coordinates, to: ResizeTo::Scales([rows, columns]) })
        }
        _ => Err(format!("its scales are {scales:?}").into()),
    }
}
