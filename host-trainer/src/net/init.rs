//! The weights that a training starts from.

use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::graph::Graph;
use super::op::ParameterRole;
use super::params::{ParamTensor, Params};

/// He initialization (He et al. 2015, arXiv:1502.01852, eq. 10; fan-in, normal): weights have the variance
/// 2 / fan-in, biases are 0, normalizations start as the identity.
///
/// A tensor's values depend on `seed` and its name only, so that changing one layer leaves the others as they were.
pub fn he_init(graph: &Graph, seed: u64) -> Params {
    let tensor = |name: &str, shape: &[usize], role| match role {
        ParameterRole::Weight => {
            let fan_in: usize = shape[1..].iter().product();
            let deviation = (2.0 / fan_in as f64).sqrt();
            let data =
                normal(stream(seed, name)).take(shape.iter().product()).map(|v| (v * deviation) as f32);
            ParamTensor::new(shape.to_vec(), data.collect())
        }
        ParameterRole::Bias | ParameterRole::Beta | ParameterRole::RunningMean => {
            ParamTensor::full(shape, 0.0)
        }
        ParameterRole::Gamma | ParameterRole::RunningVar => ParamTensor::full(shape, 1.0),
    };
    graph.parameters().into_iter().map(|p| (p.name.clone(), tensor(&p.name, &p.shape, p.role))).collect()
}

/// A generator of its own for each (seed, name).
pub(super) fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Standard normal values (Box & Muller 1958).
fn normal(mut rng: ChaCha8Rng) -> impl Iterator<Item = f64> {
    std::iter::repeat_with(move || {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        [radius * cos, radius * sin]
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::GraphBuilder;

    fn graph(classes: usize) -> Graph {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("body", x, 64, 5, |_| ());
        let x = g.conv("head", x, classes, 3, |c| c.bias = true);
        g.finish(&[x])
    }

    #[test]
    fn weights_have_the_deviation_of_he_and_mean_zero() {
        let params = he_init(&graph(64), 7);
        let data = &params.get("head.weight").unwrap().data;
        let n = data.len() as f64;
        let mean = data.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = data.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((variance * 576.0 / 2.0 - 1.0).abs() < 0.05, "{variance}");
        assert!(params.get("head.bias").unwrap().data.iter().all(|&b| b == 0.0));
    }

    #[test]
    fn the_seed_decides_and_one_layer_does_not_move_another() {
        let (a, b, c) = (he_init(&graph(3), 7), he_init(&graph(5), 7), he_init(&graph(3), 8));
        assert_eq!(a.get("body.weight"), b.get("body.weight"));
        assert_ne!(a.get("body.weight"), c.get("body.weight"));
    }
}
