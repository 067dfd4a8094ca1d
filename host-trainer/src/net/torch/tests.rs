use tch::Kind;

use super::*;
use crate::net::{DeepLabConfig, GraphBuilder, ResizeTarget, Width, deeplab_v3_plus};

fn tiny(dropout: f32) -> Graph {
    let (mut g, image) = GraphBuilder::new("tiny", 1);
    let x = g.conv("a", image, 8, 3, |c| c.stride = [2, 2]);
    let x = g.batch_norm_relu("a_bn", x);
    let y = g.dropout("drop", x, dropout);
    let y = g.conv("head", y, 2, 1, |c| c.bias = true);
    let y = g.resize("up", y, ResizeTarget::Like(image));
    g.finish(&[y])
}

fn images(n: i64, size: i64) -> Tensor {
    Tensor::arange(n * size * size, (Kind::Float, Device::Cpu)).sin().view([n, 1, size, size])
}

#[test]
fn logits_cover_the_image() {
    let config = DeepLabConfig { classes: 3, width: Width::Quarter, ..DeepLabConfig::default() };
    let net = TorchNet::new(&deeplab_v3_plus(&config), Device::Cpu, 1).unwrap();
    let logits = no_grad(|| net.forward(&images(2, 70), Mode::Eval)).unwrap();
    assert_eq!(logits.size(), [2, 3, 70, 70]);
}

#[test]
fn values_seen_have_the_shapes_that_the_graph_foretells() {
    let config = DeepLabConfig { width: Width::Quarter, separable: false, ..DeepLabConfig::default() };
    let graph = deeplab_v3_plus(&config);
    let net = TorchNet::new(&graph, Device::Cpu, 1).unwrap();
    let mut seen = Vec::new();
    let mut note = |id: NodeId, t: &Tensor| seen.push((id, t.size()));
    drop(no_grad(|| net.forward_observed(&images(1, 65), &mut note)).unwrap());
    let shapes = graph.shapes(65, 65).unwrap();
    assert_eq!(seen.len(), graph.nodes.len());
    for (id, size) in seen {
        assert_eq!(size, [&[1], &shapes[id.0].map(|n| n as i64)[..]].concat(), "{}", graph.node(id).name);
    }
}

#[test]
fn observing_and_running_in_place_give_the_same_logits_and_leave_the_image_alone() {
    let (mut g, image) = GraphBuilder::new("relu first", 1);
    let x = g.relu("r", image);
    let a = g.conv("a", x, 4, 3, |_| ());
    let r = g.relu("ra", a);
    let s = g.add("s", a, r);
    let out = g.relu("rs", s);
    let net = TorchNet::new(&g.finish(&[out]), Device::Cpu, 3).unwrap();
    let x = images(1, 16);
    let before = x.copy();
    let in_place = no_grad(|| net.forward(&x, Mode::Eval)).unwrap();
    let observed = no_grad(|| net.forward_observed(&x, &mut |_, _| ())).unwrap();
    assert_eq!(in_place, observed);
    assert_eq!(x, before);
}

#[test]
fn dropout_repeats_with_the_step_seed_and_differs_between_seeds_and_passes() {
    let net = TorchNet::new(&tiny(0.5), Device::Cpu, 1).unwrap();
    let run = || no_grad(|| net.forward(&images(2, 16), Mode::Train)).unwrap();
    net.set_step_seed(5);
    let (first, second) = (run(), run());
    net.set_step_seed(5);
    assert_eq!(run(), first);
    assert_ne!(first, second);
    net.set_step_seed(6);
    assert_ne!(run(), first);
}

#[test]
fn dropout_keeps_the_mean_and_zeroes_its_share() {
    let (mut g, x) = GraphBuilder::new("only dropout", 1);
    let y = g.dropout("d", x, 0.25);
    let net = TorchNet::new(&g.finish(&[y]), Device::Cpu, 1).unwrap();
    let ones = Tensor::ones([4, 1, 100, 100], (Kind::Float, Device::Cpu));
    let out = net.forward(&ones, Mode::Train).unwrap();
    let zeroed = out.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((zeroed - 0.25).abs() < 0.01, "{zeroed}");
    assert!((out.mean(Kind::Double).double_value(&[]) - 1.0).abs() < 0.02);
}

#[test]
fn training_moves_running_statistics_and_evaluation_does_not() {
    let net = TorchNet::new(&tiny(0.0), Device::Cpu, 1).unwrap();
    let start = net.to_params();
    drop(no_grad(|| net.forward(&images(2, 16), Mode::Eval)).unwrap());
    assert_eq!(net.to_params(), start);
    drop(no_grad(|| net.forward(&images(2, 16), Mode::Train)).unwrap());
    assert_ne!(net.to_params().get("a_bn.running_var"), start.get("a_bn.running_var"));
    assert_eq!(net.buffers().len(), 2);
}

#[test]
fn gradients_reach_every_trainable_tensor_of_the_whole_network() {
    let config = DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() };
    let net = TorchNet::new(&deeplab_v3_plus(&config), Device::Cpu, 1).unwrap();
    let loss = net.forward(&images(2, 64), Mode::Train).unwrap().square().mean(Kind::Float);
    loss.backward();
    for (name, tensor) in net.trainable() {
        assert!(tensor.grad().defined(), "{name} has no gradient");
        let norm = tensor.grad().norm().double_value(&[]);
        assert!(norm.is_finite(), "{name}: {norm}");
    }
}

#[test]
fn frozen_parameters_stay_as_they_are_and_out_of_the_optimizer() {
    let mut net = TorchNet::new(&tiny(0.0), Device::Cpu, 1).unwrap();
    let all = net.trainable().len();
    net.freeze("a.");
    assert_eq!(net.trainable().len(), all - 1);
    assert_eq!(net.tensors().len(), all + 2);
    net.forward(&images(2, 16), Mode::Train).unwrap().sum(Kind::Float).backward();
    assert!(!net.tensors.get("a.weight").unwrap().grad().defined());
    assert!(net.tensors.get("head.weight").unwrap().grad().defined());
}

#[test]
fn parameters_make_the_round_trip_and_shared_tensors_see_loaded_values() {
    let graph = tiny(0.0);
    let source = TorchNet::new(&graph, Device::Cpu, 1).unwrap().to_params();
    let mut net = TorchNet::new(&graph, Device::Cpu, 2).unwrap();
    let (name, shared) = net.trainable().remove(0);
    net.load_params(&source).unwrap();
    assert_eq!(net.to_params(), source);
    assert_eq!(&from_tensor(&shared), source.get(&name).unwrap());
}

#[test]
fn a_partial_load_keeps_a_head_for_other_classes_and_says_so() {
    let config = |classes| DeepLabConfig { classes, width: Width::Quarter, ..DeepLabConfig::default() };
    let source = TorchNet::new(&deeplab_v3_plus(&config(5)), Device::Cpu, 1).unwrap().to_params();
    let mut net = TorchNet::new(&deeplab_v3_plus(&config(3)), Device::Cpu, 2).unwrap();
    let skipped = net.load_params_partial(&source).unwrap();
    assert_eq!(skipped, ["segmentation_head.0.weight", "segmentation_head.0.bias"]);
    assert_eq!(net.to_params().get("encoder.conv1.weight"), source.get("encoder.conv1.weight"));
}

#[test]
fn wrong_images_and_a_batch_of_one_are_explained() {
    let (mut g, x) = GraphBuilder::new("pool", 1);
    let x = g.global_average_pool("p", x);
    let x = g.batch_norm("bn", x);
    let net = TorchNet::new(&g.finish(&[x]), Device::Cpu, 1).unwrap();
    let fault = net.forward(&images(1, 8), Mode::Train).unwrap_err().to_string();
    assert!(fault.contains("`bn`") && fault.contains("at least 2"), "{fault}");
    let fault = net.forward(&images(1, 8).squeeze_dim(0), Mode::Eval).unwrap_err().to_string();
    assert!(fault.contains("[1, 8, 8]"), "{fault}");
}
