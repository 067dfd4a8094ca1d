//! The image classifier whose saliency maps become pseudo-masks: a backbone, a mean over the image, one logit a
//! finding (design §5.1).

use serde::{Deserialize, Serialize};

use super::builder::GraphBuilder;
use super::deeplab::{OutputStride, Width};
use super::densenet::densenet121;
use super::graph::{Graph, NodeId};
use super::resnet::{Stages, resnet18};

/// The feature extractor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// DenseNet121, the paper's.
    #[serde(rename = "densenet121")]
    DenseNet121,
    /// ResNet18.
    #[default]
    #[serde(rename = "resnet18")]
    ResNet18,
}

/// Everything that distinguishes one classifier from another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierConfig {
    /// The feature extractor.
    pub backbone: Backbone,
    /// Channels against the published network.
    pub width: Width,
    /// Resolution of the last feature map, which is that of the saliency maps. DenseNet121 has 16 and 32.
    pub output_stride: OutputStride,
    /// Dropout before the logits, 0 ≤ p < 1.
    pub dropout: f32,
}

/// Name of the node whose activations Grad-CAM weighs: the backbone's last feature map.
pub const FEATURES: &str = "features";

impl ClassifierConfig {
    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let dense = self.backbone == Backbone::DenseNet121;
        if dense && self.output_stride == OutputStride::S8 {
            return Some("densenet121 needs output_stride = 16 or 32");
        }
        if !(0.0..1.0).contains(&self.dropout) { Some("dropout must lie in 0..1") } else { None }
    }
}

/// The network: image `[1, H, W]` → logits `[findings, 1, 1]`.
pub fn classifier(config: &ClassifierConfig, findings: usize) -> Graph {
    let name = match config.backbone {
        Backbone::DenseNet121 => "densenet121",
        Backbone::ResNet18 => "resnet18",
    };
    let (mut g, image) = GraphBuilder::new(format!("classifier-{name}"), 1);
    let (_, last) = backbone(&mut g, config, image);
    // A name of its own, whichever the backbone: saliency finds it there.
    let features = g.relu(FEATURES, last);
    let x = g.global_average_pool("pool", features);
    let x = g.dropout("dropout", x, config.dropout);
    let logits = g.conv("classifier", x, findings, 1, |c| c.bias = true);
    g.finish(&[logits])
}

/// The backbone under the prefix `encoder`, the prefix of the segmenter's encoder: its weights load there by name.
/// Gives five feature maps from high to low resolution, and the last one.
pub(super) fn backbone(
    g: &mut GraphBuilder,
    config: &ClassifierConfig,
    image: NodeId,
) -> (Vec<NodeId>, NodeId) {
    match config.backbone {
        Backbone::DenseNet121 => {
            let pools_last = config.output_stride == OutputStride::S32;
            densenet121(g, "encoder", image, config.width.scale(32), pools_last)
        }
        Backbone::ResNet18 => {
            let stages = Stages::of(config.output_stride);
            let features = resnet18(g, "encoder", image, config.width.scale(64), &stages);
            (features.taps.to_vec(), features.high_level())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densenet_has_the_parameters_of_torchvision() {
        let config = ClassifierConfig {
            backbone: Backbone::DenseNet121,
            output_stride: OutputStride::S32,
            ..ClassifierConfig::default()
        };
        let graph = classifier(&config, 14);
        let shapes = graph.shapes(320, 320).unwrap();
        assert_eq!(shapes[graph.find(FEATURES).unwrap().0], [1024, 10, 10]);
        // torchvision's densenet121: 7_978_856 parameters, 1_025_000 of them in its classifier; ours reads one
        // channel instead of three: 2 × 64 × 49 fewer.
        let encoder: usize = graph
            .parameters()
            .iter()
            .filter(|p| p.role.is_trainable() && p.name.starts_with("encoder."))
            .map(|p| p.shape.iter().product::<usize>())
            .sum();
        assert_eq!(encoder, 7_978_856 - 1_025_000 - 2 * 64 * 49);
    }

    #[test]
    fn resnet_gives_a_logit_a_finding_at_every_stride() {
        for output_stride in [OutputStride::S8, OutputStride::S16, OutputStride::S32] {
            let config =
                ClassifierConfig { width: Width::Quarter, output_stride, ..ClassifierConfig::default() };
            let graph = classifier(&config, 3);
            let shapes = graph.shapes(256, 256).unwrap();
            assert_eq!(shapes[graph.outputs[0].0], [3, 1, 1]);
            assert_eq!(shapes[graph.find(FEATURES).unwrap().0][1], 256 / usize::from(output_stride));
        }
    }

    #[test]
    fn its_encoder_is_named_as_the_segmenters() {
        let graph = classifier(&ClassifierConfig::default(), 1);
        let segmenter = super::super::deeplab_v3_plus(&super::super::DeepLabConfig::default());
        let names: Vec<_> = segmenter.parameter_shapes();
        let encoder = graph.parameter_shapes().into_iter().filter(|(name, _)| name.starts_with("encoder."));
        for parameter in encoder {
            assert!(names.contains(&parameter), "{}", parameter.0);
        }
    }
}
