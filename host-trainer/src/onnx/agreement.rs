//! The exported files, read and run by tract, against libtorch.

use std::collections::BTreeSet;

use prost::Message as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor, no_grad};
use tract_onnx::pb::ModelProto as TractModelProto;
use tract_onnx::prelude::*;

use super::{INPUT, ModelInfo, OUTPUT, OnnxError, write_f32, write_qdq};
use crate::net::{
    DeepLabConfig, Graph, GraphBuilder, Mode, Op, ParameterRole, Params, ResizeTarget, TorchNet, Width,
    deeplab_v3_plus, fold_batch_norm, he_init,
};
use crate::quantize::{
    Affine, Calibration, Method, QuantPlan, QuantizedGraph, QuantizedNet, Unit, calibrate, correct_bias,
    equalize, forward_quantized, quantize,
};

const SIZE: usize = 64;

/// Weights as after some training: random normalizations, running statistics that follow the images.
fn trained(graph: &Graph) -> Params {
    let mut params = he_init(graph, 3);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for spec in graph.parameters() {
        let range = match spec.role {
            ParameterRole::Gamma => 0.6..1.4,
            ParameterRole::Beta => -0.3..0.3,
            _ => continue,
        };
        let tensor = params.get_mut(&spec.name).unwrap();
        tensor.data.iter_mut().for_each(|v| *v = rng.random_range(range.clone()));
    }
    let net = TorchNet::from_params(graph, &params, Device::Cpu).unwrap();
    for seed in 0..3 {
        drop(no_grad(|| net.forward(&images(2, seed), Mode::Train)).unwrap());
    }
    net.to_params()
}

/// Smooth structure with noise on it.
fn images(count: usize, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut data = Vec::with_capacity(count * SIZE * SIZE);
    for _ in 0..count {
        let [a, b, c] = [(); 3].map(|()| rng.random_range(0.05f32..0.3));
        for i in 0..SIZE * SIZE {
            let (y, x) = ((i / SIZE) as f32, (i % SIZE) as f32);
            data.push((x * a).sin() + (y * b).cos() + (c * (x + y)).sin() + rng.random_range(-0.2..0.2));
        }
    }
    Tensor::from_slice(&data).view([count as i64, 1, SIZE as i64, SIZE as i64])
}

fn run_tract(file: &[u8], image: &Tensor) -> Vec<f32> {
    let model = tract_onnx::onnx().model_for_read(&mut &*file).unwrap();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let input = tract_onnx::prelude::Tensor::from_shape(&[1, 1, SIZE, SIZE], &values(image)).unwrap();
    let output = model.run(tvec!(input.into())).unwrap().remove(0);
    output.to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten(0, -1).try_into().unwrap()
}

fn variant(width: Width, separable: bool) -> (Graph, Params) {
    let graph = deeplab_v3_plus(&DeepLabConfig { classes: 3, width, separable, ..DeepLabConfig::default() });
    let params = trained(&graph);
    (graph, params)
}

const VARIANTS: [(Width, bool); 6] = [
    (Width::Full, true),
    (Width::Full, false),
    (Width::Half, true),
    (Width::Half, false),
    (Width::Quarter, true),
    (Width::Quarter, false),
];

fn quantized(graph: &Graph, params: &Params) -> QuantizedGraph {
    let (graph, params) = fold_batch_norm(graph, params).unwrap();
    let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
    let ranges = calibrate(&net, (10..14).map(|seed| images(1, seed)), Method::MinMax).unwrap();
    quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn folding_leaves_the_logits_within_1e_4_and_tract_agrees_within_1e_3_for_every_variant() {
    for (width, separable) in VARIANTS {
        let (graph, params) = variant(width, separable);
        let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let image = images(1, 9);
        let expected = values(&no_grad(|| net.forward(&image, Mode::Eval)).unwrap());

        let (folded, folded_params) = fold_batch_norm(&graph, &params).unwrap();
        let folded_net = TorchNet::from_params(&folded, &folded_params, Device::Cpu).unwrap();
        let after = values(&no_grad(|| folded_net.forward(&image, Mode::Eval)).unwrap());
        let difference = largest_difference(&expected, &after);
        assert!(difference <= 1e-4, "{}: folding moves logits by {difference}", graph.name);

        let file = write_f32(&folded, &folded_params, [SIZE, SIZE], &ModelInfo::default()).unwrap();
        let difference = largest_difference(&expected, &run_tract(&file, &image));
        assert!(difference <= 1e-3, "{}: tract differs by {difference}", graph.name);
        let spread = expected.iter().fold(0f32, |a, v| a.max(v.abs()));
        assert!(spread > 0.1, "{}: logits of {spread} prove nothing", graph.name);
    }
}

#[test]
fn an_unfolded_file_agrees_too() {
    let (graph, params) = variant(Width::Quarter, true);
    let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
    let image = images(1, 9);
    let expected = values(&no_grad(|| net.forward(&image, Mode::Eval)).unwrap());
    let file = write_f32(&graph, &params, [SIZE, SIZE], &ModelInfo::default()).unwrap();
    assert!(largest_difference(&expected, &run_tract(&file, &image)) <= 1e-3);
}

/// A small network with every operation, and integers whose sums are exact in f32 (all scales powers of two): then no
/// runtime on any processor has a reason to round differently.
fn exact() -> QuantizedGraph {
    let (mut g, image) = GraphBuilder::new("exact", 1);
    let x = g.conv("stem", image, 16, 3, |c| (c.stride, c.bias) = ([2, 2], true));
    let x = g.relu("stem.relu", x);
    let pooled = g.max_pool("pool", x, 3, 2, 1);
    let y = g.conv("depthwise", pooled, 16, 3, |c| (c.groups, c.bias) = (16, true));
    let y = g.conv("dilated", y, 16, 3, |c| (c.dilation, c.bias) = ([3, 3], true));
    let sum = g.add("sum", y, pooled);
    let sum = g.relu("sum.relu", sum);
    let mean = g.global_average_pool("mean", sum);
    let mean = g.conv("context", mean, 16, 1, |c| c.bias = true);
    let mean = g.relu("context.relu", mean);
    let mean = g.resize("spread", mean, ResizeTarget::Like(sum));
    let joined = g.concat("join", &[sum, mean]);
    let up = g.resize("up", joined, ResizeTarget::Like(x));
    let head = g.conv("head", up, 2, 1, |c| c.bias = true);
    let graph = {
        let logits = g.resize("logits", head, ResizeTarget::Like(image));
        g.finish(&[logits])
    };
    let mut params = he_init(&graph, 5);
    let grid = |v: f32, step: f32| (v / step).round() * step;
    params.get_mut("head.weight").unwrap().data.iter_mut().for_each(|w| *w = grid(*w, 1.0 / 64.0));
    let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
    let ranges = calibrate(&net, [images(1, 1)], Method::MinMax).unwrap();
    let mut quantized = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
    for affine in quantized.scheme.activations.values_mut() {
        *affine = Affine { scale: 1.0 / 32.0, zero_point: if affine.zero_point == 0 { 0 } else { 128 } };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for conv in quantized.scheme.convolutions.values_mut() {
        conv.weight_scale.fill(1.0 / 256.0);
        conv.bias_scale.fill(1.0 / 8192.0);
        conv.bias.iter_mut().for_each(|b| *b = rng.random_range(-8192..8192));
    }
    quantized
}

#[test]
fn where_sums_are_exact_tract_and_the_simulation_give_the_same_bits() {
    let quantized = exact();
    let file = write_qdq(&quantized, [SIZE, SIZE], &ModelInfo::default()).unwrap();
    let net = QuantizedNet::new(&quantized, Device::Cpu).unwrap();
    let image = images(1, 9);
    let (expected, found) = (values(&net.forward(&image).unwrap()), run_tract(&file, &image));
    assert_eq!(expected, found);
    let (least, most) = expected.iter().fold((0f32, 0f32), |(a, b), v| (a.min(*v), b.max(*v)));
    assert!(most - least > 0.5, "logits from {least} to {most} prove nothing");
}

/// Root mean square of the difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32).sqrt()
}

#[test]
fn tract_and_the_simulation_of_a_deep_network_are_as_near_as_both_are_to_f32() {
    // Where a sum falls on the edge between two levels, two processors may store either; through twenty layers of
    // random weights that spreads until both runs carry quantization noise of their own.
    for (width, separable) in [(Width::Full, true), (Width::Half, false), (Width::Quarter, true)] {
        let (graph, params) = variant(width, separable);
        let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let quantized = quantized(&graph, &params);
        let file = write_qdq(&quantized, [SIZE, SIZE], &ModelInfo::default()).unwrap();
        let image = images(1, 9);
        let exact = values(&no_grad(|| net.forward(&image, Mode::Eval)).unwrap());
        let simulated = values(&forward_quantized(&quantized, &image).unwrap());
        let found = run_tract(&file, &image);
        let noise = distance(&simulated, &exact);
        let spread = distance(&exact, &vec![0.0; exact.len()]);
        assert!(noise <= 0.15 * spread, "{}: quantization noise {noise} on logits of {spread}", graph.name);
        let apart = distance(&simulated, &found);
        assert!(apart <= 1.5 * noise, "{}: {apart} apart with a noise of {noise}", graph.name);
    }
}

/// Reads a file with tract's own full schema.
fn parse(file: &[u8]) -> TractModelProto {
    TractModelProto::decode(file).unwrap()
}

#[test]
fn the_quantized_file_has_the_form_that_runtimes_fuse() {
    let (graph, params) = variant(Width::Quarter, true);
    let quantized = quantized(&graph, &params);
    let model = parse(&write_qdq(&quantized, [SIZE, SIZE], &ModelInfo::default()).unwrap());
    let onnx = model.graph.unwrap();
    let count = |op: &str| onnx.node.iter().filter(|n| n.op_type == op).count();
    assert_eq!(count("Relu"), 0);
    assert_eq!(count("BatchNormalization"), 0);
    assert_eq!(count("QuantizeLinear"), quantized.scheme.activations.len());
    let convolutions = quantized.graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv2d(_))).count();
    assert_eq!(quantized.scheme.convolutions.len(), convolutions - 1, "all but the head");
    let pairs = quantized.scheme.activations.len() + 2 * quantized.scheme.convolutions.len();
    assert_eq!(count("DequantizeLinear"), pairs);
    // Joined values and their union have one scale: the concatenation is a copy.
    let constant = |name: &str| &onnx.initializer.iter().find(|t| t.name == name).unwrap().raw_data;
    let joined = constant("decoder.aspp.0.concat.scale");
    assert_eq!(constant("decoder.aspp.0.convs.4.up.scale"), joined);
    assert_eq!(constant("decoder.aspp.0.convs.0.1.relu.scale"), joined);
}

#[test]
fn the_header_says_what_it_is_and_equal_networks_give_equal_bytes() {
    let (graph, params) = variant(Width::Quarter, true);
    let info =
        ModelInfo { doc: "lungs".into(), metadata: vec![("b".into(), "1".into()), ("a".into(), "2".into())] };
    let file = write_f32(&graph, &params, [SIZE, 96], &info).unwrap();
    assert_eq!(file, write_f32(&graph, &params, [SIZE, 96], &info).unwrap());
    let model = parse(&file);
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    assert_eq!(model.doc_string, "lungs");
    assert_eq!(model.metadata_props.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let onnx = model.graph.unwrap();
    assert_eq!((onnx.input[0].name.as_str(), onnx.output[0].name.as_str()), (INPUT, OUTPUT));
}

#[test]
fn what_has_no_place_in_a_file_is_refused() {
    let (graph, params) = variant(Width::Quarter, true);
    let write =
        |graph: &Graph, params: &Params, info: &ModelInfo| write_f32(graph, params, [SIZE, SIZE], info);
    let info = ModelInfo::default();
    let twice =
        ModelInfo { metadata: vec![("k".into(), "1".into()), ("k".into(), "2".into())], ..info.clone() };
    assert!(matches!(write(&graph, &params, &twice), Err(OnnxError::Metadata(_))));
    assert!(matches!(write(&graph, &Params::new(), &info), Err(OnnxError::Params(_))));
    let mut two = graph.clone();
    two.outputs.push(two.find("encoder.bn1.relu").unwrap());
    assert!(matches!(write(&two, &params, &info), Err(OnnxError::Outputs { .. })));
    let (g, x) = GraphBuilder::new("identity", 1);
    assert!(matches!(write(&g.finish(&[x]), &Params::new(), &info), Err(OnnxError::Output { .. })));
    // An operation that the file's operator set lacks.
    let (mut g, x) = GraphBuilder::new("grouped", 1);
    let x = g.conv("c", x, 4, 1, |_| ());
    let x = g.group_norm("norm", x, 2);
    let grouped = g.finish(&[x]);
    let fault = write(&grouped, &he_init(&grouped, 1), &info).unwrap_err();
    assert!(matches!(&fault, OnnxError::Unsupported { node, .. } if node == "norm"), "{fault}");
    assert!(fault.to_string().contains("cannot be written in ONNX opset 17"), "{fault}");
}

#[test]
fn parts_that_stay_f32_agree_between_libtorch_and_tract() {
    let (graph, params) = variant(Width::Quarter, true);
    let (graph, params) = fold_batch_norm(&graph, &params).unwrap();
    let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
    let ranges = calibrate(&net, (10..14).map(|seed| images(1, seed)), Method::MinMax).unwrap();
    let plan = QuantPlan::new(&graph).unwrap();
    let find = |name: &str| graph.find(name).unwrap();
    let stored = |name: &str| Unit::Values(plan.group(find(name)).unwrap());
    let image = images(1, 9);
    let exact = no_grad(|| net.forward(&image, Mode::Eval)).unwrap();
    let spread = exact.std(false).double_value(&[]) as f32;
    // A weight, a plain value, a value that a concatenation shares, and a residual sum.
    let units = [
        Unit::Weights(find("encoder.layer2.0.conv1")),
        stored("encoder.layer3.0.bn1.relu"),
        stored("decoder.aspp.0.concat"),
        stored("encoder.layer1.0.relu"),
    ];
    for unit in units {
        let quantized = quantize(&graph, &params, &ranges, &BTreeSet::from([unit])).unwrap();
        let expected = values(&forward_quantized(&quantized, &image).unwrap());
        let file = write_qdq(&quantized, [SIZE, SIZE], &ModelInfo::default()).unwrap();
        let found = run_tract(&file, &image);
        let off = (expected.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
            / found.len() as f32)
            .sqrt();
        assert!(off < 0.05 * spread, "{}: {off} of {spread}", plan.name(&graph, unit));
    }
}

#[test]
fn dead_constant_and_empty_channels_are_quantized_and_run() {
    let (mut g, x) = GraphBuilder::new("g", 1);
    let x = g.conv("body", x, 4, 3, |c| c.bias = true);
    let x = g.relu("relu", x);
    let y = g.conv("next", x, 2, 1, |c| c.bias = true);
    let x = g.relu("dead", y);
    let x = g.conv("head", x, 1, 1, |c| c.bias = true);
    let graph = g.finish(&[x]);
    let mut params = he_init(&graph, 1);
    let mut fill = |name: &str, range: std::ops::Range<usize>, value: f32| {
        params.get_mut(name).unwrap().data[range].fill(value);
    };
    // Channel 0 is constant, channel 1 is never above 0, channel 2 is nothing; the second ReLU is dead throughout.
    fill("body.weight", 0..9, 0.0);
    fill("body.bias", 0..1, 3.0);
    fill("body.bias", 1..2, -1e6);
    fill("body.weight", 18..27, 0.0);
    fill("body.bias", 2..3, 0.0);
    fill("next.weight", 0..8, 0.0);
    fill("next.bias", 0..2, -5.0);
    fill("head.bias", 0..1, 0.25);
    let (even, pairs) = equalize(&graph, &params);
    assert_eq!(pairs, 2);
    let net = TorchNet::from_params(&graph, &even, Device::Cpu).unwrap();
    for method in [Method::MinMax, Method::Percentile(0.9999), Method::Mse, Method::Entropy] {
        let calibration = Calibration::collect(&net, [images(1, 1)]).unwrap();
        let ranges = calibration.ranges(method).unwrap();
        assert!(ranges.values().any(|range| range.min == range.max), "a range without width is in it");
        let mut quantized = quantize(&graph, &even, &ranges, &BTreeSet::new()).unwrap();
        correct_bias(&mut quantized, calibration.means());
        let file = write_qdq(&quantized, [SIZE, SIZE], &ModelInfo::default()).unwrap();
        let found = run_tract(&file, &images(1, 2));
        assert!(found.iter().all(|v| (v - 0.25).abs() < 1e-5), "{method}: {:?}", &found[..4]);
    }
}
