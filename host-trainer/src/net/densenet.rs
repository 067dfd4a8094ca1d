//! DenseNet121 (Huang et al. 2017, arXiv:1608.06993) as a feature extractor. Node names are torchvision's under a
//! prefix, so its weights load by name.

use super::builder::GraphBuilder;
use super::graph::NodeId;

/// Layers of the four dense blocks.
const BLOCKS: [usize; 4] = [6, 12, 24, 16];
/// A bottleneck's 1 × 1 convolution has this many times the growth rate in channels.
const BOTTLENECK: usize = 4;

/// Adds the features; `growth` is the channels that each layer adds (32 in the paper). Ends after the last normalization
/// and ReLU at a 32nd of the image's size, or at a 16th: without the last transition's pooling, which has no weights.
/// Also gives the features of each resolution on the way, from a quarter of the image on.
pub(super) fn densenet121(
    g: &mut GraphBuilder,
    prefix: &str,
    image: NodeId,
    growth: usize,
    pools_last: bool,
) -> (Vec<NodeId>, NodeId) {
    let name = |part: String| format!("{prefix}.features.{part}");
    let x = g.conv(name("conv0".into()), image, 2 * growth, 7, |c| c.stride = [2, 2]);
    let x = g.batch_norm_relu(&name("norm0".into()), x);
    let mut x = g.max_pool(name("pool0".into()), x, 3, 2, 1);
    let mut taps = vec![x];
    for (block, layers) in BLOCKS.into_iter().enumerate() {
        for layer in 0..layers {
            let part = format!("denseblock{}.denselayer{}", block + 1, layer + 1);
            x = dense_layer(g, &name(part), x, growth);
        }
        if block + 1 < BLOCKS.len() {
            let part = format!("transition{}", block + 1);
            let y = g.batch_norm_relu(&name(format!("{part}.norm")), x);
            let half = g.channels(y) / 2;
            let y = g.conv(name(format!("{part}.conv")), y, half, 1, |_| ());
            taps.push(y);
            let pools = pools_last || block + 2 < BLOCKS.len();
            x = if pools { g.avg_pool(name(format!("{part}.pool")), y, 2) } else { y };
        }
    }
    let last = g.batch_norm_relu(&name("norm5".into()), x);
    taps.push(last);
    (taps, last)
}

/// Normalization, ReLU, 1 × 1; normalization, ReLU, 3 × 3; its output joins its input.
fn dense_layer(g: &mut GraphBuilder, name: &str, input: NodeId, growth: usize) -> NodeId {
    let x = g.batch_norm_relu(&format!("{name}.norm1"), input);
    let x = g.conv(format!("{name}.conv1"), x, BOTTLENECK * growth, 1, |_| ());
    let x = g.batch_norm_relu(&format!("{name}.norm2"), x);
    let x = g.conv(format!("{name}.conv2"), x, growth, 3, |_| ());
    g.concat(format!("{name}.concat"), &[input, x])
}
