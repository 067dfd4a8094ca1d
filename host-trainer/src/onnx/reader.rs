//! Takes the weights back out of a file that the writer wrote: what is left of a training whose checkpoint is lost.

use std::collections::HashMap;

use prost::Message;

use super::proto::{DataType, ModelProto, NodeProto, TensorProto};
use crate::net::{ParamTensor, Params};

/// Why a file's weights cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not protobuf, or cut off.
    #[error("not a whole ONNX file: {0}")]
    Format(#[from] prost::DecodeError),
    /// A file without a graph.
    #[error("the ONNX file holds no graph")]
    NoGraph,
    /// A convolution whose constants have a form that the writer does not give them.
    #[error("`{node}` reads `{value}`, which {reason}: give a graph that host-trainer exported")]
    Constant {
        /// The convolution.
        node: String,
        /// What it reads.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Weights and biases of a file's convolutions in f32, named as those of the folded network that it was written from;
/// integers are put back on their scales.
///
/// # Errors
/// If the file is damaged or another program's.
pub fn read_convolutions(file: &[u8]) -> Result<Params, ReadError> {
    let graph = ModelProto::decode(file)?.graph.ok_or(ReadError::NoGraph)?;
    let constants: Constants<'_> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let dequantized = graph.node.iter().filter(|node| node.op_type == "DequantizeLinear");
    let dequantized: HashMap<&str, &NodeProto> =
        dequantized.filter_map(|node| Some((node.output.first()?.as_str(), node))).collect();
    let mut params = Params::new();
    for conv in graph.node.iter().filter(|node| node.op_type == "Conv") {
        for value in conv.input.iter().skip(1) {
            let tensor = match (constants.get(value.as_str()), dequantized.get(value.as_str())) {
                (Some(tensor), _) => floats(tensor),
                (None, Some(node)) => on_scale(node, &constants),
                (None, None) => Err("is no constant"),
            };
            let fault =
                |reason| ReadError::Constant { node: conv.name.clone(), value: value.clone(), reason };
            params.insert(value.clone(), tensor.map_err(fault)?);
        }
    }
    Ok(params)
}

type Constants<'a> = HashMap<&'a str, &'a TensorProto>;

fn floats(tensor: &TensorProto) -> Result<ParamTensor, &'static str> {
    if tensor.data_type != i32::from(DataType::Float) {
        return Err("is not of type float");
    }
    let values = tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    shaped(tensor, values.collect())
}

/// Symmetric integers by output channel: value = stored × scale.
fn on_scale(node: &NodeProto, constants: &Constants<'_>) -> Result<ParamTensor, &'static str> {
    let constant = |i: usize| node.input.get(i).and_then(|name| constants.get(name.as_str())).copied();
    let (Some(stored), Some(scale)) = (constant(0), constant(1)) else {
        return Err("is not dequantized from constants");
    };
    if constant(2).is_some_and(|zero| zero.raw_data.iter().any(|&byte| byte != 0)) {
        return Err("has zero points");
    }
    let scale = floats(scale)?.data;
    let integers: Vec<f32> = match DataType::try_from(stored.data_type) {
        Ok(DataType::Int8) => stored.raw_data.iter().map(|&byte| f32::from(byte.cast_signed())).collect(),
        Ok(DataType::Int32) => {
            stored.raw_data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b) as f32).collect()
        }
        _ => return Err("is neither s8 nor s32"),
    };
    if scale.is_empty() || !integers.len().is_multiple_of(scale.len()) {
        return Err("has another number of scales than of channels");
    }
    let taps = (integers.len() / scale.len()).max(1);
    let channels = integers.chunks(taps).zip(&scale);
    shaped(stored, channels.flat_map(|(values, scale)| values.iter().map(move |v| v * scale)).collect())
}

fn shaped(tensor: &TensorProto, data: Vec<f32>) -> Result<ParamTensor, &'static str> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = dims.ok_or("has a negative dimension")?;
    let values = shape.iter().try_fold(1_usize, |all, &d| all.checked_mul(d));
    if values == Some(data.len()) {
        Ok(ParamTensor::new(shape, data))
    } else {
        Err("holds another number of values than its dimensions say")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::net::{DeepLabConfig, Width, deeplab_v3_plus, fold_batch_norm, he_init};
    use crate::onnx::{ModelInfo, write_f32, write_qdq};
    use crate::quantize::{QuantPlan, Range, quantize};

    fn written() -> (Params, Vec<u8>, Vec<u8>) {
        let graph = deeplab_v3_plus(&DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() });
        let (graph, params) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        let groups: Vec<_> = QuantPlan::new(&graph).unwrap().groups().map(|(group, _)| group).collect();
        let ranges = groups.into_iter().map(|group| (group, Range { min: 0.0, max: 4.0 })).collect();
        let quantized = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
        let info = ModelInfo::default();
        let f32 = write_f32(&graph, &params, [64, 64], &info).unwrap();
        (params, f32, write_qdq(&quantized, [64, 64], &info).unwrap())
    }

    #[test]
    fn floats_come_back_as_they_were_and_integers_within_half_a_level() {
        let (params, f32, int8) = written();
        assert_eq!(read_convolutions(&f32).unwrap(), params);
        let back = read_convolutions(&int8).unwrap();
        // In 8 bits every convolution has a bias.
        assert!(back.len() >= params.len());
        for (name, tensor) in params.iter().filter(|(name, _)| name.ends_with(".weight")) {
            let found = back.get(name).unwrap();
            assert_eq!(found.shape, tensor.shape, "{name}");
            let taps = tensor.data.len() / tensor.shape[0];
            for (was, is) in tensor.data.chunks(taps).zip(found.data.chunks(taps)) {
                let level = was.iter().fold(0f32, |a, w| a.max(w.abs())) / 127.0;
                assert!(was.iter().zip(is).all(|(a, b)| (a - b).abs() <= 0.501 * level), "{name}");
            }
        }
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let (_, f32, int8) = written();
        assert!(matches!(read_convolutions(&f32[..f32.len() / 2]), Err(ReadError::Format(_))));
        assert!(matches!(read_convolutions(&[]), Err(ReadError::NoGraph)));
        let changed = |change: fn(&mut TensorProto)| {
            let mut model = ModelProto::decode(int8.as_slice()).unwrap();
            let tensors = &mut model.graph.as_mut().unwrap().initializer;
            change(tensors.iter_mut().find(|t| t.name == "encoder.conv1.weight_s8").unwrap());
            read_convolutions(&model.encode_to_vec()).unwrap_err().to_string()
        };
        let fault = changed(|tensor| tensor.raw_data.truncate(70));
        assert!(fault.contains("`encoder.conv1`") && fault.contains("scales"), "{fault}");
        let fault = changed(|tensor| tensor.data_type = DataType::Int64.into());
        assert!(fault.contains("neither s8 nor s32"), "{fault}");
        let fault = changed(|tensor| tensor.name.clear());
        assert!(fault.contains("not dequantized from constants"), "{fault}");
    }
}
