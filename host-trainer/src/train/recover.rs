//! A model file of a bundle whose checkpoint is lost.

use std::collections::BTreeMap;

use shared::bundle::{Bundle, BundleError};
use shared::manifest::{Manifest, TrainingRecord};
use tch::{Device, Kind, TchError, Tensor, no_grad};

use super::upload::upload_samples;
use super::{Misfit, ModelFile, ModelInfo};
use crate::config::{Config, Stage};
use crate::dataset::Sample;
use crate::net::{
    ChannelMoments, Conv2d, FoldError, Graph, NodeId, Op, Params, ParamsError, TorchNet, TorchNetError,
    fold_batch_norm, he_init, unfold_batch_norm,
};
use crate::onnx::{ReadError, read_convolutions};

/// Images a forward pass.
const CHUNK: usize = 4;

/// Why a model cannot be taken back out of a bundle.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its graph.
    #[error("the bundle's graph: {0}")]
    Read(#[from] ReadError),
    /// A bundle for something else.
    #[error("the bundle: {0}")]
    Misfit(#[from] Misfit),
    /// Weights of another network.
    #[error("the bundle's graph is of another network than the configuration's: {0}")]
    OtherNetwork(ParamsError),
    /// A network that cannot be folded and unfolded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// libtorch.
    #[error(transparent)]
    Net(#[from] TorchNetError),
    /// Nothing to measure on.
    #[error("there is no image to measure the normalizations on: the data set needs a split strong_train")]
    NoImages,
}

/// The model in a bundle as a model file of the configuration, with weights rounded as the bundle's are: to begin a
/// training with, to teach, or to export again. What batch normalization has to know is measured on `images`.
///
/// # Errors
/// If the bundle is damaged, of other classes, preprocessing or another network, or if there is no image.
pub fn recover(
    config: &Config,
    bundle: &Bundle,
    images: &[Sample],
    device: Device,
) -> Result<ModelFile, RecoverError> {
    let manifest = bundle.manifest();
    let graph = config.graph();
    let info = ModelInfo {
        graph: graph.clone(),
        labels: manifest.classes.iter().map(|class| class.label.clone()).collect(),
        preprocess: manifest.preprocess.clone(),
        stage: Stage::Train,
        step: manifest.training.steps,
        total_steps: manifest.training.steps,
        seed: manifest.training.seed,
        teachers: 0,
        pseudo_masks: false,
        share: None,
        record: Some(TrainingRecord { method: told(manifest), ..manifest.training.clone() }),
        validation: Vec::new(),
    };
    info.require(config, &[Stage::Train])?;
    let mut folded = read_convolutions(&bundle.read(&manifest.graph.file)?)?;
    let (folded_graph, _) = fold_batch_norm(&graph, &he_init(&graph, 0))?;
    pass_biases_on(&folded_graph, &mut folded);
    folded.check(&folded_graph).map_err(RecoverError::OtherNetwork)?;
    let net = TorchNet::from_params(&folded_graph, &folded, device)?;
    let normalization = [config.preprocess.mean, config.preprocess.std];
    let chunks = images.chunks(CHUNK).map(|chunk| Ok(upload_samples(chunk, normalization, device)?));
    let moments = moments(&net, chunks)?;
    let params = unfold_batch_norm(&graph, &folded, &moments)?;
    Ok(ModelFile { info, params })
}

/// How it was trained, and what became of the weights.
fn told(manifest: &Manifest) -> String {
    let Manifest { name, version, training, .. } = manifest;
    format!(
        "{} Taken back out of the bundle {name} {version}: weights as 8 bits keep them, normalizations measured anew.",
        training.method
    )
}

/// In 8 bits every convolution has a bias. That of one without in the network (0, or what bias correction made of it) goes
/// into the 1 × 1 convolution that alone reads it, which makes no difference.
fn pass_biases_on(graph: &Graph, params: &mut Params) {
    let consumers = graph.consumers();
    for (id, node) in graph.iter() {
        let (Op::Conv2d(Conv2d { bias: false, .. }), [reader]) = (&node.op, &consumers[id.0][..]) else {
            continue;
        };
        let (own, reader) = (format!("{}.bias", node.name), graph.node(*reader));
        let Op::Conv2d(Conv2d { kernel: [1, 1], padding: [0, 0], groups: 1, bias: true, .. }) = reader.op
        else {
            continue;
        };
        let Some(bias) = params.remove(&own) else { continue };
        let Some(weight) = params.get(&format!("{}.weight", reader.name)).cloned() else { continue };
        let Some(sums) = params.get_mut(&format!("{}.bias", reader.name)) else { continue };
        for (sum, row) in sums.data.iter_mut().zip(weight.data.chunks(bias.data.len().max(1))) {
            *sum += row.iter().zip(&bias.data).map(|(w, b)| w * b).sum::<f32>();
        }
    }
}

/// What a network's convolutions give over batches of images.
fn moments(
    net: &TorchNet,
    batches: impl IntoIterator<Item = Result<Tensor, TorchNetError>>,
) -> Result<BTreeMap<String, ChannelMoments>, RecoverError> {
    let graph = net.graph();
    let mut sums = BTreeMap::new();
    for batch in batches {
        let (batch, mut fault) = (batch?, None);
        let mut watch = |id: NodeId, value: &Tensor| {
            if matches!(graph.node(id).op, Op::Conv2d(_)) && fault.is_none() {
                fault = sums.entry(id).or_insert_with(Sums::default).add(value).err();
            }
        };
        drop(no_grad(|| net.forward_observed(&batch, &mut watch))?);
        if let Some(fault) = fault {
            return Err(TorchNetError::from(fault).into());
        }
    }
    if sums.is_empty() {
        return Err(RecoverError::NoImages);
    }
    Ok(named(graph, sums))
}

fn named(graph: &Graph, sums: BTreeMap<NodeId, Sums>) -> BTreeMap<String, ChannelMoments> {
    sums.into_iter().map(|(id, sums)| (graph.node(id).name.clone(), sums.moments())).collect()
}

/// Sums over images and pixels, by channel.
#[derive(Default)]
struct Sums {
    count: f64,
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn add(&mut self, value: &Tensor) -> Result<(), TchError> {
        let (n, channels, h, w) = value.size4()?;
        self.values.resize(channels as usize, 0.0);
        self.squares.resize(channels as usize, 0.0);
        // In f64: a variance is a small difference of large sums.
        let value = value.f_to_kind(Kind::Double)?;
        for (sums, part) in
            [(&mut self.values, value.shallow_clone()), (&mut self.squares, value.f_square()?)]
        {
            let part = part.f_sum_dim_intlist([0_i64, 2, 3].as_slice(), false, Kind::Double)?;
            let part = Vec::<f64>::try_from(part.f_to_device(Device::Cpu)?)?;
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        self.count += (n * h * w) as f64;
        Ok(())
    }

    fn moments(self) -> ChannelMoments {
        let mean: Vec<f64> = self.values.iter().map(|sum| sum / self.count).collect();
        let squares = self.squares.iter().zip(&mean);
        let variance = squares.map(|(sum, mean)| (sum / self.count - mean * mean).max(0.0)).collect();
        ChannelMoments { mean, variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::export::{QuantizeChoice, Request, export};
    use crate::net::{GraphBuilder, Mode, ParamTensor};
    use crate::train::validation_samples;

    fn forward(model: &ModelFile, image: &Tensor, mode: Mode) -> Tensor {
        let net = TorchNet::from_params(&model.info.graph, &model.params, Device::Cpu).unwrap();
        no_grad(|| net.forward(image, mode)).unwrap()
    }

    fn far(a: &Tensor, b: &Tensor) -> f64 {
        ((a - b).square().mean(Kind::Double).double_value(&[]) / b.var(false).double_value(&[]).max(1e-12))
            .sqrt()
    }

    /// A network whose normalizations have learned something.
    fn trained(config: &Config) -> ModelFile {
        let graph = config.graph();
        let mut params: Params = he_init(&graph, 5);
        for spec in graph.parameters() {
            let phase = spec.name.len() as f32;
            let shift = |i: usize| 0.3 * (i as f32 + phase).sin();
            let data = &mut params.get_mut(&spec.name).unwrap().data;
            if !spec.name.ends_with("conv1.weight") && spec.shape.len() == 1 {
                data.iter_mut().enumerate().for_each(|(i, v)| *v += shift(i));
            }
        }
        let info = ModelInfo {
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: Stage::Train,
            step: 4,
            total_steps: 9,
            seed: 5,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: Vec::new(),
            graph,
        };
        ModelFile { info, params }
    }

    fn shipped(config: &Config, quantize: QuantizeChoice) -> (ModelFile, Bundle, tempfile::TempDir) {
        let (model, dir) = (trained(config), tempfile::tempdir().unwrap());
        let out = dir.path().join("bundle");
        export(&Request {
            config,
            model: &model,
            index: None,
            quantize,
            device: Device::Cpu,
            agent: None,
            teachers: &[],
            examination: None,
            out: &out,
        })
        .unwrap();
        let bundle = Bundle::open(&out).unwrap();
        (model, bundle, dir)
    }

    #[test]
    fn a_bundle_gives_its_network_back_and_it_can_be_trained() {
        let config = tiny("[phantom]\nsize = 128\n[export]\ngolden = 1\n");
        let (images, _) = validation_samples(&config, None).unwrap();
        let image =
            upload_samples(&images[..4], [config.preprocess.mean, config.preprocess.std], Device::Cpu);
        let image = image.unwrap();
        for (quantize, limit) in [(QuantizeChoice::None, 1e-3), (QuantizeChoice::Int8, 0.1)] {
            let (model, bundle, _dir) = shipped(&config, quantize);
            let back = recover(&config, &bundle, &images, Device::Cpu).unwrap();
            assert_eq!((back.info.step, back.info.seed, &back.info.labels), (9, 5, &config.labels()));
            let record = back.info.record.as_ref().unwrap();
            assert!(record.method.contains("the bundle tiny "), "{}", record.method);
            assert_eq!(record.sources, bundle.manifest().training.sources);
            let (was, is) = (forward(&model, &image, Mode::Eval), forward(&back, &image, Mode::Eval));
            assert!(far(&is, &was) < limit, "{quantize:?}: {}", far(&is, &was));
            // The running statistics are those of these images, so that training begins where evaluation ends.
            let all = upload_samples(&images, [config.preprocess.mean, config.preprocess.std], Device::Cpu);
            let net = |params: &Params| TorchNet::from_params(&config.graph(), params, Device::Cpu).unwrap();
            let statistics = net(&back.params);
            let last = "encoder.layer4.1.bn2.running_mean";
            let before = back.params.get(last).unwrap().clone();
            let _ = no_grad(|| statistics.forward(&all.unwrap(), Mode::Train)).unwrap();
            let after = statistics.to_params();
            let after = after.get(last).unwrap();
            for (a, b) in before.data.iter().zip(&after.data) {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_bias_that_the_network_lacks_goes_into_the_next_convolution() {
        let (mut g, x) = GraphBuilder::new("pair", 1);
        let a = g.conv("depth", x, 2, 3, |_| ());
        let b = g.conv("point", a, 2, 1, |c| c.bias = true);
        let graph = g.finish(&[b]);
        let mut params = he_init(&graph, 1);
        params.insert("point.weight", ParamTensor::new(vec![2, 2, 1, 1], vec![1.0, 2.0, 3.0, 4.0]));
        params.insert("point.bias", ParamTensor::new(vec![2], vec![0.5, 0.25]));
        params.insert("depth.bias", ParamTensor::new(vec![2], vec![10.0, 100.0]));
        pass_biases_on(&graph, &mut params);
        params.check(&graph).unwrap();
        assert_eq!(params.get("point.bias").unwrap().data, [210.5, 430.25]);
    }

    #[test]
    fn bundles_of_something_else_are_refused() {
        let config = tiny("[phantom]\nsize = 128\n[export]\ngolden = 1\n");
        let (_, bundle, _dir) = shipped(&config, QuantizeChoice::None);
        let (images, _) = validation_samples(&config, None).unwrap();
        let refused =
            |config: &Config, images: &[Sample]| recover(config, &bundle, images, Device::Cpu).unwrap_err();
        assert!(matches!(refused(&config, &[]), RecoverError::NoImages));
        let mut other = config.clone();
        other.preprocess.mean = 0.4;
        assert!(refused(&other, &images).to_string().contains("preprocessing"));
        let mut other = config.clone();
        other.classes.reverse();
        assert!(refused(&other, &images).to_string().contains("list of labels"));
        let mut other = config;
        other.network.separable = !other.network.separable;
        let fault = refused(&other, &images).to_string();
        assert!(fault.contains("another network"), "{fault}");
    }
}
