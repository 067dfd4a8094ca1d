//! Collects nodes and constants of an ONNX graph.

use super::proto::{
    AttributeProto, AttributeType, DataType, DimensionProto, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// An ONNX graph under construction. Nodes are named after the value that they write.
#[derive(Debug, Default)]
pub(super) struct OnnxBuilder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl OnnxBuilder {
    /// Adds an operation that writes one value, and gives the value's name.
    pub(super) fn node(
        &mut self,
        op_type: &str,
        output: impl Into<String>,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = output.into();
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op_type.into(),
            attribute,
        });
        output
    }

    /// Adds an f32 constant.
    pub(super) fn floats(&mut self, name: String, dims: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Float, raw)
    }

    /// Adds an s32 constant.
    pub(super) fn ints(&mut self, name: String, dims: &[usize], values: &[i32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Int32, raw)
    }

    /// Adds an s64 constant.
    pub(super) fn longs(&mut self, name: String, dims: &[usize], values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Int64, raw)
    }

    /// Adds an s8 constant.
    pub(super) fn bytes(&mut self, name: String, dims: &[usize], values: &[i8]) -> String {
        self.constant(name, dims, DataType::Int8, values.iter().map(|v| v.cast_unsigned()).collect())
    }

    /// Adds a u8 constant.
    pub(super) fn unsigned_bytes(&mut self, name: String, dims: &[usize], values: &[u8]) -> String {
        self.constant(name, dims, DataType::Uint8, values.to_vec())
    }

    /// The graph between one input and one output, both f32 and of static shape.
    pub(super) fn finish(self, name: &str, input: (&str, &[usize]), output: (&str, &[usize])) -> GraphProto {
        GraphProto {
            node: self.nodes,
            name: name.into(),
            initializer: self.initializers,
            input: vec![value_info(input)],
            output: vec![value_info(output)],
        }
    }

    fn constant(&mut self, name: String, dims: &[usize], data_type: DataType, raw_data: Vec<u8>) -> String {
        let dims = dims.iter().map(|&d| d as i64).collect();
        self.initializers.push(TensorProto {
            dims,
            data_type: data_type.into(),
            name: name.clone(),
            raw_data,
        });
        name
    }
}

/// An f32 value of static shape.
fn value_info((name, shape): (&str, &[usize])) -> ValueInfoProto {
    let dim = shape.iter().map(|&d| DimensionProto { dim_value: Some(d as i64) }).collect();
    let tensor = TensorTypeProto { elem_type: DataType::Float.into(), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(value as i64), ..attribute(name, AttributeType::Int) }
}

/// A list of integers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|&v| v as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// A float.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

/// A string.
pub(super) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.into()), ..attribute(name, AttributeType::String) }
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: r#type.into(), ..AttributeProto::default() }
}
