//! DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611) on ResNet18, laid out and named as segmentation_models_pytorch's
//! `DeepLabV3Plus("resnet18")`, so that checkpoints of that library load by name.
//!
//! Two deliberate differences from that library: every interpolation uses half-pixel centres (there the decoder's
//! uses `align_corners=True`, which moves features against the image grid and has no efficient integer form), and
//! `separable = false` makes the decoder's own convolutions dense too, not only those of the ASPP.

use serde::{Deserialize, Serialize};

use super::builder::GraphBuilder;
use super::graph::{Graph, NodeId};
use super::op::ResizeTarget;
use super::resnet::{Stages, resnet18};

/// Factor on every channel count, rounded up to a multiple of 16 (one vector of the device's int8 kernels).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Width {
    /// × 1: the published network.
    #[default]
    Full,
    /// × 0.5.
    Half,
    /// × 0.25.
    Quarter,
}

impl Width {
    /// `channels` of the published network at this width.
    pub fn scale(self, channels: usize) -> usize {
        let divisor = match self {
            Self::Full => return channels,
            Self::Half => 2,
            Self::Quarter => 4,
        };
        channels.div_ceil(divisor).next_multiple_of(16)
    }

    fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Half => "half",
            Self::Quarter => "quarter",
        }
    }
}

/// How often the encoder's last feature map is smaller than the image, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub enum OutputStride {
    /// 8: the last two stages dilated by 2 and 4.
    S8,
    /// 16: the last stage dilated by 2.
    #[default]
    S16,
    /// 32: nothing dilated.
    S32,
}

impl TryFrom<usize> for OutputStride {
    type Error = String;
    fn try_from(stride: usize) -> Result<Self, String> {
        match stride {
            8 => Ok(Self::S8),
            16 => Ok(Self::S16),
            32 => Ok(Self::S32),
            other => Err(format!("output stride {other} is not supported: choose 8, 16 or 32")),
        }
    }
}

impl From<OutputStride> for usize {
    fn from(stride: OutputStride) -> usize {
        match stride {
            OutputStride::S8 => 8,
            OutputStride::S16 => 16,
            OutputStride::S32 => 32,
        }
    }
}

/// Everything that distinguishes one DeepLabV3+ from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, default)]
pub struct DeepLabConfig {
    /// Logit planes.
    pub classes: usize,
    /// Channels against the published network.
    pub width: Width,
    /// Resolution of the encoder's last feature map.
    pub output_stride: OutputStride,
    /// Whether 3 × 3 convolutions of ASPP and decoder are split into depthwise and pointwise.
    pub separable: bool,
    /// Dilations of the three atrous branches.
    pub aspp_rates: [usize; 3],
    /// Dropout after the ASPP, 0 ≤ p < 1.
    pub dropout: f32,
    /// Channels of the image.
    pub input_channels: usize,
    /// A second output: one logit a class that says whether the class is in the image at all, from the mean of the
    /// encoder's last feature map (segmentation_models_pytorch's `aux_params`).
    pub auxiliary: bool,
    /// Networks side by side, trained one by one, whose features one head reads. What the head's weights make of them is
    /// the ensemble's to say ([`crate::net::ensemble`]); 1: a single network.
    #[serde(skip_serializing_if = "is_one")]
    pub members: usize,
}

fn is_one(members: &usize) -> bool {
    *members == 1
}

/// The head: a 1 × 1 convolution with a bias, over the features of every member.
pub(super) const HEAD: &str = "segmentation_head.0";

/// What the names of a member's nodes begin with.
pub(super) fn member_prefix(member: usize) -> String {
    format!("members.{member}.")
}

/// Names of the decoder's nodes begin so.
pub const DECODER: &str = "decoder.";

/// The two feature maps that the decoder reads: where consistency training perturbs features.
pub const DECODER_READS: [&str; 2] = ["encoder.layer1.1.relu", "encoder.layer4.1.relu"];

impl Default for DeepLabConfig {
    fn default() -> Self {
        Self {
            classes: 1,
            width: Width::default(),
            output_stride: OutputStride::default(),
            separable: true,
            aspp_rates: [12, 24, 36],
            dropout: 0.5,
            input_channels: 1,
            auxiliary: false,
            members: 1,
        }
    }
}

/// Channels of ASPP and decoder at full width.
const DECODER_CHANNELS: usize = 256;
/// Channels that low-level features are reduced to at full width.
const LOW_LEVEL_CHANNELS: usize = 48;

/// The network: image `[input_channels, H, W]` → logits `[classes, H, W]`.
pub fn deeplab_v3_plus(config: &DeepLabConfig) -> Graph {
    let name = format!(
        "deeplabv3plus-resnet18-{}-os{}{}{}",
        config.width.label(),
        usize::from(config.output_stride),
        if config.separable { "-separable" } else { "" },
        if config.members > 1 { format!("-x{}", config.members) } else { String::new() }
    );
    let (mut graph, image) = GraphBuilder::new(name, config.input_channels);
    let g = &mut graph;
    let (x, high_level) = match config.members {
        1 => member(g, config, "", image),
        members => {
            let all: Vec<_> = (0..members).map(|i| member(g, config, &member_prefix(i), image)).collect();
            let features: Vec<NodeId> = all.iter().map(|(features, _)| *features).collect();
            (g.concat("members.concat", &features), all[0].1)
        }
    };
    let x = g.conv(HEAD, x, config.classes, 1, |c| c.bias = true);
    let logits = g.resize("segmentation_head.1", x, ResizeTarget::Like(image));
    let mut outputs = vec![logits];
    if config.auxiliary {
        let x = g.global_average_pool("classification_head.0", high_level);
        outputs.push(g.conv("classification_head.3", x, config.classes, 1, |c| c.bias = true));
    }
    graph.finish(&outputs)
}

/// Encoder and decoder; gives what the head reads, and the encoder's last feature map.
fn member(g: &mut GraphBuilder, config: &DeepLabConfig, prefix: &str, image: NodeId) -> (NodeId, NodeId) {
    let stages = Stages::of(config.output_stride);
    let channels = config.width.scale(DECODER_CHANNELS);
    let features = resnet18(g, &format!("{prefix}encoder"), image, config.width.scale(64), &stages);
    let decoder = format!("{prefix}{DECODER}");

    let x = aspp(g, config, &decoder, features.high_level(), channels);
    let x = conv3x3(g, config.separable, &format!("{decoder}aspp.1"), x, channels, 1);
    let x = g.batch_norm_relu(&format!("{decoder}aspp.2"), x);
    let x = g.resize(format!("{decoder}up"), x, ResizeTarget::Like(features.low_level()));

    let low = config.width.scale(LOW_LEVEL_CHANNELS);
    let low = g.conv(format!("{decoder}block1.0"), features.low_level(), low, 1, |_| ());
    let low = g.batch_norm_relu(&format!("{decoder}block1.1"), low);
    let x = g.concat(format!("{decoder}concat"), &[x, low]);
    let x = conv3x3(g, config.separable, &format!("{decoder}block2.0"), x, channels, 1);
    (g.batch_norm_relu(&format!("{decoder}block2.1"), x), features.high_level())
}

/// Atrous spatial pyramid pooling: one 1 × 1, three dilated 3 × 3 and one image-level branch, joined and projected.
fn aspp(
    g: &mut GraphBuilder,
    config: &DeepLabConfig,
    decoder: &str,
    input: NodeId,
    channels: usize,
) -> NodeId {
    let p = format!("{decoder}aspp.0");
    let x = g.conv(format!("{p}.convs.0.0"), input, channels, 1, |_| ());
    let mut branches = vec![g.batch_norm_relu(&format!("{p}.convs.0.1"), x)];
    for (i, &rate) in config.aspp_rates.iter().enumerate() {
        let name = format!("{p}.convs.{}", i + 1);
        let x = conv3x3(g, config.separable, &format!("{name}.0"), input, channels, rate);
        branches.push(g.batch_norm_relu(&format!("{name}.1"), x));
    }
    let x = g.global_average_pool(format!("{p}.convs.4.0"), input);
    let x = g.conv(format!("{p}.convs.4.1"), x, channels, 1, |_| ());
    let x = g.batch_norm_relu(&format!("{p}.convs.4.2"), x);
    branches.push(g.resize(format!("{p}.convs.4.up"), x, ResizeTarget::Like(input)));

    let x = g.concat(format!("{p}.concat"), &branches);
    let x = g.conv(format!("{p}.project.0"), x, channels, 1, |_| ());
    let x = g.batch_norm_relu(&format!("{p}.project.1"), x);
    g.dropout(format!("{p}.project.3"), x, config.dropout)
}

/// A 3 × 3 convolution, dense or as depthwise (`.0`) and pointwise (`.1`).
fn conv3x3(
    g: &mut GraphBuilder,
    separable: bool,
    name: &str,
    input: NodeId,
    channels: usize,
    dilation: usize,
) -> NodeId {
    if !separable {
        return g.conv(name, input, channels, 3, |c| c.dilation = [dilation; 2]);
    }
    let depth = g.channels(input);
    let x = g.conv(format!("{name}.0"), input, depth, 3, |c| {
        c.dilation = [dilation; 2];
        c.groups = depth;
    });
    g.conv(format!("{name}.1"), x, channels, 1, |_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(width: Width, separable: bool) -> Graph {
        deeplab_v3_plus(&DeepLabConfig { classes: 3, width, separable, ..DeepLabConfig::default() })
    }

    #[test]
    fn logits_have_the_size_of_the_image_at_every_width_stride_and_odd_size() {
        for width in [Width::Full, Width::Half, Width::Quarter] {
            for output_stride in [OutputStride::S8, OutputStride::S16, OutputStride::S32] {
                let config = DeepLabConfig { classes: 3, width, output_stride, ..DeepLabConfig::default() };
                let graph = deeplab_v3_plus(&config);
                for (rows, cols) in [(96, 96), (101, 77)] {
                    let shapes = graph.shapes(rows, cols).unwrap();
                    assert_eq!(shapes[graph.outputs[0].0], [3, rows, cols]);
                    let last = graph.find("encoder.layer4.1.relu").unwrap();
                    assert_eq!(shapes[last.0][1], rows.div_ceil(usize::from(output_stride)));
                }
            }
        }
    }

    #[test]
    fn the_full_width_encoder_has_the_parameters_of_torchvision() {
        let graph = deeplab_v3_plus(&DeepLabConfig { input_channels: 3, ..DeepLabConfig::default() });
        let encoder: usize = graph
            .parameters()
            .iter()
            .filter(|p| p.role.is_trainable() && p.name.starts_with("encoder."))
            .map(|p| p.shape.iter().product::<usize>())
            .sum();
        // torchvision's resnet18: 11_689_512 parameters, 513_000 of them in its classifier.
        assert_eq!(encoder, 11_689_512 - 513_000);
    }

    #[test]
    fn channels_are_multiples_of_sixteen() {
        for width in [Width::Full, Width::Half, Width::Quarter] {
            let graph = variant(width, false);
            let shapes = graph.shapes(96, 96).unwrap();
            for (id, node) in graph.iter() {
                if !node.name.starts_with("segmentation_head") && node.name != "image" {
                    assert_eq!(shapes[id.0][0] % 16, 0, "{}", node.name);
                }
            }
        }
    }

    #[test]
    fn an_output_stride_outside_the_three_is_refused_with_the_choice() {
        let fault = serde_json::from_str::<DeepLabConfig>(r#"{"output_stride": 4}"#).unwrap_err().to_string();
        assert!(fault.contains("choose 8, 16 or 32"), "{fault}");
    }

    #[test]
    fn dropout_zero_adds_no_node() {
        let graph = deeplab_v3_plus(&DeepLabConfig { dropout: 0.0, ..DeepLabConfig::default() });
        assert!(graph.find("decoder.aspp.0.project.3").is_none());
    }
}
