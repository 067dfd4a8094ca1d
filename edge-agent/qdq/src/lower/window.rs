use tract_onnx::pb::NodeProto;

use crate::graph::{Pads, Window};
use crate::onnx::Attributes;

/// The window of a Conv or pool; `kernel` where the node may leave it out.
pub(crate) fn window(node: &NodeProto, kernel: Option<[usize; 2]>) -> Result<Window, String> {
    let attributes = Attributes(node);
    let stated = match kernel {
        Some(kernel) if !attributes.has("kernel_shape") => kernel,
        _ => attributes.sizes("kernel_shape", 0, 1)?,
    };
    if stated.contains(&0) || kernel.is_some_and(|kernel| kernel != stated) {
        return Err(format!("kernel_shape is {:?}", attributes.ints("kernel_shape")));
    }
    let pads = match attributes.text("auto_pad", "NOTSET").as_str() {
        "SAME_UPPER" => Pads::SameUpper,
        "SAME_LOWER" => Pads::SameLower,
        "VALID" => Pads::Explicit([0; 4]),
        "NOTSET" => Pads::Explicit(attributes.sizes("pads", 0, 0)?),
        other => return Err(format!("auto_pad is {other}")),
    };
    Ok(Window {
        kernel: stated,
        strides: attributes.sizes("strides", 1, 1)?,
        dilations: attributes.sizes("dilations", 1, 1)?,
        pads,
        ceil: attributes.int("ceil_mode", 0) != 0,
    })
}
