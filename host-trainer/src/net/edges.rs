//! IRNet's boundary branch (Ahn, Cho & Kwak 2019, arXiv:1904.05044, §4.1): where one class ends and another begins,
//! read off the frozen features of the classifier.

use super::builder::GraphBuilder;
use super::classifier::{ClassifierConfig, backbone};
use super::deeplab::OutputStride;
use super::graph::Graph;
use super::op::ResizeTarget;

/// The edge map is this many times smaller than the image.
pub const EDGE_STRIDE: usize = 4;
/// Channels that every feature map is reduced to.
const CHANNELS: usize = 32;
/// Groups of the group normalization.
const GROUPS: usize = 4;

/// The network: image `[1, H, W]` → logit of a class boundary `[1, H / 4, W / 4]`. Everything below the prefix
/// `encoder` comes from the classifier and stays frozen; its last features stay at a 16th of the image (strides 2, 2, 2
/// and 1 after the first pooling, design §5.3), however coarse the classifier's own are.
pub fn edge_net(config: &ClassifierConfig) -> Graph {
    let output_stride = match config.output_stride {
        OutputStride::S32 => OutputStride::S16,
        finer => finer,
    };
    let (mut g, image) = GraphBuilder::new("irnet-edges", 1);
    let (taps, _) = backbone(&mut g, &ClassifierConfig { output_stride, ..config.clone() }, image);
    // The first tap after pooling has the edge map's own size.
    let size = taps[0];
    let branches: Vec<_> = taps
        .iter()
        .enumerate()
        .map(|(i, &tap)| {
            let name = format!("edges.{}", i + 1);
            let x = g.conv(format!("{name}.conv"), tap, CHANNELS, 1, |_| ());
            let x = g.group_norm(format!("{name}.norm"), x, GROUPS);
            let x = g.resize(format!("{name}.up"), x, ResizeTarget::Like(size));
            g.relu(format!("{name}.relu"), x)
        })
        .collect();
    let x = g.concat("edges.concat", &branches);
    let edges = g.conv("edges.head", x, 1, 1, |c| c.bias = true);
    g.finish(&[edges])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Backbone, Width};

    #[test]
    fn edges_lie_on_a_quarter_of_the_images_grid() {
        for config in [
            ClassifierConfig { width: Width::Quarter, ..ClassifierConfig::default() },
            ClassifierConfig {
                backbone: Backbone::DenseNet121,
                width: Width::Half,
                output_stride: OutputStride::S32,
                dropout: 0.0,
            },
        ] {
            let graph = edge_net(&config);
            let shapes = graph.shapes(256, 256).unwrap();
            assert_eq!(shapes[graph.outputs[0].0], [1, 256 / EDGE_STRIDE, 256 / EDGE_STRIDE]);
            assert_eq!(shapes[graph.find("edges.concat").unwrap().0][0], 160);
            assert_eq!(shapes[graph.find("edges.5.conv").unwrap().0], [32, 256 / 16, 256 / 16]);
        }
    }
}
