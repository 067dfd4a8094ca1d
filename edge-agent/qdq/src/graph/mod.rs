//! What is lowered: operators over tensors of bytes, still apart from any memory or processor.

mod arithmetic;
mod op;
mod quant;
mod sampling;
mod shape;

#[cfg(test)]
pub(crate) use arithmetic::to_byte;
pub(crate) use op::{
    Arithmetic, Binary, Convolution, Coordinates, Interpolation, Op, Pads, RealConvolution, Reshape, Resize,
    ResizeTo, Rounding, Window, magnitude,
};
pub(crate) use quant::Quant;
pub(crate) use sampling::Tap;
pub(crate) use shape::Shape;
#[cfg(test)]
pub(crate) use shape::axis_of;

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Bytes. `signed`: the graph around the island keeps them as i8.
    Bytes { quant: Quant, signed: bool },
    /// f32.
    Real,
}

impl Kind {
    /// The zero point of bytes.
    pub(crate) fn zero(&self) -> Option<u8> {
        match self {
            Self::Bytes { quant, .. } => Some(quant.zero),
            Self::Real => None,
        }
    }
}

/// A tensor of an island.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    /// Its name in the ONNX graph.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// For constants: shape and bytes, row-major.
    pub(crate) constant: Option<(Shape, Vec<u8>)>,
}

/// Index of a value in its island.
pub(crate) type ValueId = usize;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Its name in the ONNX graph.
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// Operators that are run as one: each after those that it reads from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Island {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

impl Island {
    /// The ends alone, without operators and constants.
    pub(crate) fn ends(&self) -> Self {
        let value = |value: &Value| Value { name: value.name.clone(), kind: value.kind, constant: None };
        Self {
            values: self.values.iter().map(value).collect(),
            nodes: Vec::new(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
        }
    }

    /// The shape of every value, given those of the inputs.
    pub(crate) fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
        let mut shapes: Vec<Shape> = self
            .values
            .iter()
            .map(|v| v.constant.as_ref().map_or_else(Vec::new, |(shape, _)| shape.clone()))
            .collect();
        for (value, shape) in self.inputs.iter().zip(inputs) {
            shapes[*value].clone_from(shape);
        }
        for node in &self.nodes {
            let read: Vec<&Shape> = node.inputs.iter().map(|value| &shapes[*value]).collect();
            let shape = node.op.output_shape(&read);
            shapes[node.output] =
                shape.map_err(|reason| format!("{} '{}': {reason}", node.op.name(), node.name))?;
        }
        Ok(shapes)
    }
}
