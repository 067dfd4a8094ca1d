//! ResNet18 as an encoder (He et al. 2016, arXiv:1512.03385), optionally dilated (Chen et al. 2017,
//! arXiv:1706.05587). Node names are torchvision's under a prefix, so its weights load by name.

use super::builder::GraphBuilder;
use super::deeplab::OutputStride;
use super::graph::NodeId;

/// How far the encoder shrinks the image at its end.
pub(super) struct Stages {
    /// Stride of each of the four stages' first block.
    pub(super) strides: [usize; 4],
    /// Dilation of every 3 × 3 convolution in each stage.
    pub(super) dilations: [usize; 4],
}

impl Stages {
    /// Strides and dilations that end at an output stride.
    pub(super) fn of(stride: OutputStride) -> Self {
        match stride {
            OutputStride::S8 => Self { strides: [1, 2, 1, 1], dilations: [1, 1, 2, 4] },
            OutputStride::S16 => Self { strides: [1, 2, 2, 1], dilations: [1, 1, 1, 2] },
            OutputStride::S32 => Self { strides: [1, 2, 2, 2], dilations: [1; 4] },
        }
    }
}

/// What others read.
pub(super) struct Features {
    /// Outputs of the pooled stem and of `layer1` to `layer4`. The first two have a quarter of the image's size, the
    /// last one the output stride.
    pub(super) taps: [NodeId; 5],
}

impl Features {
    /// Output of `layer1`.
    pub(super) fn low_level(&self) -> NodeId {
        self.taps[1]
    }

    /// Output of `layer4`.
    pub(super) fn high_level(&self) -> NodeId {
        self.taps[4]
    }
}

/// Adds the encoder. `stem` is the channels of the first stage (64 in the paper); each later stage doubles them.
pub(super) fn resnet18(
    g: &mut GraphBuilder,
    prefix: &str,
    image: NodeId,
    stem: usize,
    stages: &Stages,
) -> Features {
    let x = g.conv(format!("{prefix}.conv1"), image, stem, 7, |c| c.stride = [2, 2]);
    let x = g.batch_norm_relu(&format!("{prefix}.bn1"), x);
    let mut x = g.max_pool(format!("{prefix}.maxpool"), x, 3, 2, 1);
    let mut taps = [x; 5];
    for stage in 0..4 {
        let channels = stem << stage;
        for block in 0..2 {
            let name = format!("{prefix}.layer{}.{block}", stage + 1);
            let stride = if block == 0 { stages.strides[stage] } else { 1 };
            x = basic_block(g, &name, x, channels, stride, stages.dilations[stage]);
        }
        taps[stage + 1] = x;
    }
    Features { taps }
}

/// Two 3 × 3 convolutions beside a shortcut, which is projected (1 × 1) where channels or size change.
fn basic_block(
    g: &mut GraphBuilder,
    name: &str,
    input: NodeId,
    channels: usize,
    stride: usize,
    dilation: usize,
) -> NodeId {
    let x = g.conv(format!("{name}.conv1"), input, channels, 3, |c| {
        c.stride = [stride; 2];
        c.dilation = [dilation; 2];
    });
    let x = g.batch_norm_relu(&format!("{name}.bn1"), x);
    let x = g.conv(format!("{name}.conv2"), x, channels, 3, |c| c.dilation = [dilation; 2]);
    let x = g.batch_norm(format!("{name}.bn2"), x);
    // torchvision projects where either changes; a dilated stage's stride is 1, but its channels still double.
    let shortcut = if stride != 1 || g.channels(input) != channels {
        let s = g.conv(format!("{name}.downsample.0"), input, channels, 1, |c| c.stride = [stride; 2]);
        g.batch_norm(format!("{name}.downsample.1"), s)
    } else {
        input
    };
    let sum = g.add(format!("{name}.add"), x, shortcut);
    g.relu(format!("{name}.relu"), sum)
}
