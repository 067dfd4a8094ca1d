//! Writes small quantized graphs.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto,
};

/// A graph under construction; its functions return the names of the tensors that they make.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) graph: GraphProto,
}

/// A dimension: a number or a symbol.
#[derive(Clone, Copy)]
pub(crate) enum Dim {
    Is(i64),
    Named(&'static str),
}

impl Build {
    pub(crate) fn input(&mut self, name: &str, element: DataType, dims: Option<&[Dim]>) -> String {
        self.graph.input.push(port(name, element, dims));
        name.to_owned()
    }

    /// An f32 image.
    pub(crate) fn image(&mut self, dims: [i64; 4]) -> String {
        self.input("image", DataType::Float, Some(&dims.map(Dim::Is)))
    }

    pub(crate) fn output(&mut self, tensor: &str, element: DataType) {
        self.graph.output.push(port(tensor, element, None));
    }

    pub(crate) fn store(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        self.graph.initializer.push(tensor);
        name
    }

    pub(crate) fn node(&mut self, kind: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = format!("{}{}", kind.to_lowercase(), self.graph.node.len());
        self.graph.node.push(NodeProto {
            name: name.clone(),
            op_type: kind.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes,
            ..NodeProto::default()
        });
        name
    }

    /// QuantizeLinear; `zero` is of u8, or of i8 if `signed`.
    pub(crate) fn quantize(&mut self, tensor: &str, scale: f32, zero: i32, signed: bool) -> String {
        let at = self.graph.node.len();
        let scale = self.store(f32s(&format!("scale{at}"), &[], &[scale]));
        let element = if signed { DataType::Int8 } else { DataType::Uint8 };
        let zero = self.store(integers(&format!("zero{at}"), element, &[], &[zero]));
        self.node("QuantizeLinear", &[tensor, &scale, &zero], vec![])
    }

    /// The DequantizeLinear for a [`Self::quantize`].
    pub(crate) fn dequantize(&mut self, tensor: &str) -> String {
        let quantize = self.graph.node.iter().find(|node| node.name == tensor).unwrap();
        let [_, scale, zero] = <[String; 3]>::try_from(quantize.input.clone()).unwrap();
        self.node("DequantizeLinear", &[tensor, &scale, &zero], vec![])
    }

    pub(crate) fn pair(&mut self, tensor: &str, scale: f32, zero: i32) -> String {
        let bytes = self.quantize(tensor, scale, zero, false);
        self.dequantize(&bytes)
    }

    /// Stored weights behind a DequantizeLinear.
    pub(crate) fn weights(&mut self, dims: &[i64], values: &[i32], scale: f32) -> String {
        let at = self.graph.node.len();
        let values = self.store(integers(&format!("weights{at}"), DataType::Int8, dims, values));
        let scale = self.store(f32s(&format!("weights_scale{at}"), &[], &[scale]));
        let zero = self.store(integers(&format!("weights_zero{at}"), DataType::Int8, &[], &[0]));
        self.node("DequantizeLinear", &[&values, &scale, &zero], vec![])
    }

    /// A 3 × 3 convolution of `inputs` to `outputs` channels, without quantization of what it makes.
    pub(crate) fn conv(&mut self, tensor: &str, outputs: i64, inputs: i64) -> String {
        let values: Vec<i32> =
            (0..i32::try_from(outputs * inputs * 9).unwrap()).map(|i| i * 37 % 101 - 50).collect();
        let weights = self.weights(&[outputs, inputs, 3, 3], &values, 0.004);
        self.node("Conv", &[tensor, &weights], vec![ints("pads", &[1; 4]), ints("kernel_shape", &[3, 3])])
    }

    pub(crate) fn model(self) -> ModelProto {
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            graph: Some(self.graph),
            ..ModelProto::default()
        }
    }
}

pub(crate) fn port(name: &str, element: DataType, dims: Option<&[Dim]>) -> ValueInfoProto {
    let dim = |dim: &Dim| {
        let value = match *dim {
            Dim::Is(size) => dimension::Value::DimValue(size),
            Dim::Named(name) => dimension::Value::DimParam(name.to_owned()),
        };
        Dimension { value: Some(value), ..Dimension::default() }
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let value = Value::TensorType(Tensor { elem_type: element as i32, shape });
    let kind = TypeProto { value: Some(value), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }
}

pub(crate) fn f32s(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: dims.to_vec(),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn integers(name: &str, element: DataType, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: element as i32,
        dims: dims.to_vec(),
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    let r#type = AttributeType::Int as i32;
    AttributeProto { name: name.to_owned(), r#type, i: value, ..AttributeProto::default() }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    let r#type = AttributeType::String as i32;
    AttributeProto { name: name.to_owned(), r#type, s: value.into(), ..AttributeProto::default() }
}
