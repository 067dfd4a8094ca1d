//! What each operation becomes in ONNX, in f32 and with quantize–dequantize pairs.
//!
//! In the quantized form every stored value is followed by `QuantizeLinear` → `DequantizeLinear`, and every integer
//! constant by a `DequantizeLinear`: the form from which ONNX Runtime, OpenVINO and our engine fuse
//! integer operations. Image-level features are brought back to the map's size by `Resize` from 1 × 1 (exact, and
//! unlike `Expand` understood by tract's optimizer).

use std::collections::BTreeSet;

use prost::Message;

use super::builder::{OnnxBuilder, float, int, ints, string};
use super::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::net::{Conv2d, Graph, GraphError, Node, NodeId, Op, ParameterRole, Params, ParamsError, Shape};
use crate::quantize::{Affine, QuantConv, QuantScheme, QuantizedGraph};

/// Name of the graph's input: f32 `[1, channels, rows, cols]`, normalized.
pub const INPUT: &str = "image";
/// Name of the graph's output: f32 `[1, classes, rows, cols]`.
pub const OUTPUT: &str = "logits";

const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// What a file says about itself.
#[derive(Clone, Debug, Default)]
pub struct ModelInfo {
    /// For people.
    pub doc: String,
    /// Facts by key, written in this order; keys must differ.
    pub metadata: Vec<(String, String)>,
}

/// Why a network cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The description is no network or does not fit the image.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The parameters are not the network's.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// More outputs than the form has.
    #[error("`{graph}` has {outputs} outputs: an exported network has one, the logits")]
    Outputs {
        /// The network.
        graph: String,
        /// How many it has.
        outputs: usize,
    },
    /// The output is the input or a dropout, which a file does not hold, or a value that another node reads too.
    #[error(
        "`{node}` cannot be the output: export a graph that ends in an operation of its own, read by nothing"
    )]
    Output {
        /// The node.
        node: String,
    },
    /// An operation that opset 17 lacks.
    #[error("node `{node}` ({op}) cannot be written in ONNX opset 17: export a segmenter")]
    Unsupported {
        /// The node.
        node: String,
        /// Its operation.
        op: String,
    },
    /// Two facts under one key, which ONNX forbids.
    #[error("metadata key `{0}` appears twice")]
    Metadata(String),
}

/// Writes a network in f32 for one image of `size` (rows, cols). Batch normalization may be folded or not; dropout
/// is left out. Equal arguments give equal bytes.
///
/// # Errors
/// If the graph, its parameters, the size or the metadata are faulty.
pub fn write_f32(
    graph: &Graph,
    params: &Params,
    size: [usize; 2],
    info: &ModelInfo,
) -> Result<Vec<u8>, OnnxError> {
    write(graph, params, None, size, info)
}

/// Writes a quantized network, as [`write_f32`] otherwise.
///
/// # Errors
/// As [`write_f32`].
pub fn write_qdq(
    quantized: &QuantizedGraph,
    size: [usize; 2],
    info: &ModelInfo,
) -> Result<Vec<u8>, OnnxError> {
    write(&quantized.graph, &quantized.params, Some(&quantized.scheme), size, info)
}

fn write(
    graph: &Graph,
    params: &Params,
    scheme: Option<&QuantScheme>,
    size: [usize; 2],
    info: &ModelInfo,
) -> Result<Vec<u8>, OnnxError> {
    let shapes = graph.shapes(size[0], size[1])?;
    params.check(graph)?;
    let [output] = graph.outputs[..] else {
        return Err(OnnxError::Outputs { graph: graph.name.clone(), outputs: graph.outputs.len() });
    };
    let writes_nothing = matches!(graph.node(output).op, Op::Input { .. } | Op::Dropout { .. });
    if let Some(node) = graph.nodes.iter().find(|node| matches!(node.op, Op::GroupNorm(_))) {
        return Err(OnnxError::Unsupported { node: node.name.clone(), op: node.op.to_string() });
    }
    if writes_nothing || !graph.consumers()[output.0].is_empty() {
        return Err(OnnxError::Output { node: graph.node(output).name.clone() });
    }
    let mut keys = BTreeSet::new();
    if let Some((key, _)) = info.metadata.iter().find(|(key, _)| !keys.insert(key)) {
        return Err(OnnxError::Metadata(key.clone()));
    }

    let mut writer =
        Writer { graph, params, scheme, shapes, onnx: OnnxBuilder::default(), values: Vec::new() };
    for (id, node) in graph.iter() {
        let value = writer.operation(id, node);
        let value = writer.store(id, node, value);
        writer.values.push(value);
    }
    let dims = |id: NodeId| [&[1], &writer.shapes[id.0][..]].concat();
    let (input, output) = ((INPUT, dims(NodeId(0))), (OUTPUT, dims(output)));
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: info.doc.clone(),
        graph: Some(writer.onnx.finish(&graph.name, (input.0, &input.1), (output.0, &output.1))),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: info
            .metadata
            .iter()
            .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() })
            .collect(),
    };
    Ok(model.encode_to_vec())
}

struct Writer<'a> {
    graph: &'a Graph,
    params: &'a Params,
    scheme: Option<&'a QuantScheme>,
    shapes: Vec<Shape>,
    onnx: OnnxBuilder,
    /// The ONNX value that holds each node's output so far, as its readers see it.
    values: Vec<String>,
}

impl Writer<'_> {
    /// Writes a node's operation and gives its value's name.
    fn operation(&mut self, id: NodeId, node: &Node) -> String {
        let name = match id {
            NodeId(0) => INPUT.into(),
            id if self.graph.outputs[0] == id => OUTPUT.into(),
            _ => node.name.clone(),
        };
        let inputs: Vec<String> = node.inputs.iter().map(|i| self.values[i.0].clone()).collect();
        let reads: Vec<&str> = inputs.iter().map(String::as_str).collect();
        match &node.op {
            Op::Input { .. } => name,
            Op::Conv2d(conv) => {
                let mut reads = vec![inputs[0].clone()];
                match self.scheme.and_then(|s| s.convolutions.get(&id)) {
                    Some(integers) => reads.extend(self.integer_weights(node, conv, integers)),
                    None => {
                        reads.push(self.parameter(node, ParameterRole::Weight));
                        if conv.bias {
                            reads.push(self.parameter(node, ParameterRole::Bias));
                        }
                    }
                }
                let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
                self.onnx.node("Conv", name, &reads, conv_attributes(conv))
            }
            Op::BatchNorm2d(norm) => {
                use ParameterRole::{Beta, Gamma, RunningMean, RunningVar};
                let [scale, offset, mean, var] =
                    [Gamma, Beta, RunningMean, RunningVar].map(|role| self.parameter(node, role));
                let reads = [reads[0], &scale, &offset, &mean, &var];
                self.onnx.node("BatchNormalization", name, &reads, vec![float("epsilon", norm.eps as f32)])
            }
            Op::Relu if self.scheme.is_some_and(|s| s.absorbs(self.graph, id)) => inputs[0].clone(),
            Op::Relu => self.onnx.node("Relu", name, &reads, Vec::new()),
            Op::MaxPool2d(pool) => {
                let attributes = vec![
                    ints("kernel_shape", &pool.kernel),
                    ints("strides", &pool.stride),
                    ints("pads", &[pool.padding, pool.padding].concat()),
                ];
                self.onnx.node("MaxPool", name, &reads, attributes)
            }
            Op::AvgPool2d(pool) => {
                let attributes = vec![ints("kernel_shape", &pool.kernel), ints("strides", &pool.stride)];
                self.onnx.node("AveragePool", name, &reads, attributes)
            }
            Op::GroupNorm(_) => unreachable!("refused before anything is written"),
            Op::GlobalAveragePool => self.onnx.node("GlobalAveragePool", name, &reads, Vec::new()),
            Op::Add => self.onnx.node("Add", name, &reads, Vec::new()),
            Op::Concat => self.onnx.node("Concat", name, &reads, vec![int("axis", 1)]),
            Op::Resize(_) => self.resize(id, node, name, reads[0]),
            Op::Dropout { .. } => inputs[0].clone(),
        }
    }

    /// Follows a stored value by its quantize–dequantize pair; gives the value that readers see.
    fn store(&mut self, id: NodeId, node: &Node, value: String) -> String {
        let Some(Affine { scale, zero_point }) = self.scheme.and_then(|s| s.activations.get(&id)).copied()
        else {
            return value;
        };
        let name = &node.name;
        let scale = self.onnx.floats(format!("{name}.scale"), &[], &[scale]);
        let zero = self.onnx.unsigned_bytes(format!("{name}.zero_point"), &[], &[zero_point]);
        let stored = self.onnx.node(
            "QuantizeLinear",
            format!("{name}.quantized"),
            &[&value, &scale, &zero],
            Vec::new(),
        );
        let back = format!("{name}.dequantized");
        self.onnx.node("DequantizeLinear", back, &[&stored, &scale, &zero], Vec::new())
    }

    /// Writes a convolution's integers; gives its weight and bias as f32 values.
    fn integer_weights(&mut self, node: &Node, conv: &Conv2d, integers: &QuantConv) -> [String; 2] {
        let name = &node.name;
        let channels = [conv.out_channels];
        let weight = {
            let stored = self.onnx.bytes(format!("{name}.weight_s8"), &conv.weight_shape(), &integers.weight);
            let scale = self.onnx.floats(format!("{name}.weight_scale"), &channels, &integers.weight_scale);
            let zeros = vec![0; conv.out_channels];
            let zero = self.onnx.bytes(format!("{name}.weight_zero_point"), &channels, &zeros);
            let output = format!("{name}.weight");
            self.onnx.node("DequantizeLinear", output, &[&stored, &scale, &zero], vec![int("axis", 0)])
        };
        let stored = self.onnx.ints(format!("{name}.bias_s32"), &channels, &integers.bias);
        let scale = self.onnx.floats(format!("{name}.bias_scale"), &channels, &integers.bias_scale);
        let zero = self.onnx.ints(format!("{name}.bias_zero_point"), &channels, &vec![0; conv.out_channels]);
        let output = format!("{name}.bias");
        let bias =
            self.onnx.node("DequantizeLinear", output, &[&stored, &scale, &zero], vec![int("axis", 0)]);
        [weight, bias]
    }

    fn parameter(&mut self, node: &Node, role: ParameterRole) -> String {
        let name = format!("{}.{}", node.name, role.suffix());
        let tensor = self.params.get(&name).expect("checked against the graph");
        self.onnx.floats(name, &tensor.shape, &tensor.data)
    }

    /// Bilinear with half-pixel centres: by whole factors where they are whole, else to a size.
    fn resize(&mut self, id: NodeId, node: &Node, name: String, input: &str) -> String {
        let [_, from_rows, from_cols] = self.shapes[node.inputs[0].0];
        let [channels, rows, cols] = self.shapes[id.0];
        let attributes =
            vec![string("mode", "linear"), string("coordinate_transformation_mode", "half_pixel")];
        // The second input, the region of interest, is for another mode.
        if rows % from_rows == 0 && cols % from_cols == 0 {
            let scales = [1.0, 1.0, (rows / from_rows) as f32, (cols / from_cols) as f32];
            let scales = self.onnx.floats(format!("{}.scales", node.name), &[4], &scales);
            self.onnx.node("Resize", name, &[input, "", &scales], attributes)
        } else {
            let sizes = [1, channels as i64, rows as i64, cols as i64];
            let sizes = self.onnx.longs(format!("{}.sizes", node.name), &[4], &sizes);
            self.onnx.node("Resize", name, &[input, "", "", &sizes], attributes)
        }
    }
}

fn conv_attributes(conv: &Conv2d) -> Vec<super::proto::AttributeProto> {
    vec![
        ints("kernel_shape", &conv.kernel),
        ints("strides", &conv.stride),
        ints("pads", &[conv.padding, conv.padding].concat()),
        ints("dilations", &conv.dilation),
        int("group", conv.groups),
    ]
}
