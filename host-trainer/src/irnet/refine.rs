use shared::mask::Mask;
use tch::{Kind, Tensor, no_grad};

use super::propagate;
use crate::config::IrnetSpec;
use crate::dataset::Sample;
use crate::net::{EDGE_STRIDE, Mode, TorchNet, TorchNetError};
use crate::pseudo::{ClassMap, Decision, bilinear, shrink};
use crate::train::upload::upload_samples;

/// Images whose edges are computed at once.
pub const EDGES_CHUNK: usize = 8;

/// The edge maps of images (`[N, 1, S, S]`, normalised): (S / 4)² values in 0..1 each.
fn edges(net: &TorchNet, images: &Tensor) -> Result<Vec<Vec<f32>>, TorchNetError> {
    let edges = no_grad(|| net.forward(images, Mode::Eval))?.f_sigmoid()?.f_to_kind(Kind::Float)?;
    Ok(Vec::<Vec<f32>>::try_from(&edges.f_flatten(1, -1)?)?)
}

/// Masks of each image's classes on the model's grid: each used map walks until it meets edges and is cut at
/// `threshold` of its maximum. A class that is known to be absent gets an empty mask, one that is skipped none.
pub fn refine(
    net: &TorchNet,
    samples: &[(&Sample, Vec<ClassMap>)],
    mean_std: [f32; 2],
    spec: &IrnetSpec,
) -> Result<Vec<Vec<Option<Mask>>>, TorchNetError> {
    let Some((first, _)) = samples.first() else { return Ok(Vec::new()) };
    let size = first.size();
    let images = upload_samples(samples.iter().map(|(sample, _)| *sample), mean_std, net.device())?;
    let edges = edges(net, &images)?;
    let masks = samples.iter().zip(&edges).map(|((sample, maps), edges)| {
        maps.iter()
            .map(|map| match map.decision {
                Decision::Use => Some(walked(sample, map, edges, spec)),
                Decision::Empty => Some(Mask::empty(size, size)),
                Decision::Skip => None,
            })
            .collect()
    });
    Ok(masks.collect())
}

fn walked(sample: &Sample, map: &ClassMap, edges: &[f32], spec: &IrnetSpec) -> Mask {
    let size = sample.size();
    let grid = size / EDGE_STRIDE;
    let small = shrink(&map.values, size, EDGE_STRIDE);
    let spread = propagate(&small, edges, grid, grid, &spec.walk);
    let full = bilinear(&spread, grid, grid, size);
    let most = full.iter().copied().fold(0.0_f32, f32::max);
    let inside = sample.inside();
    let kept = |p: usize| inside[p] && most > 0.0 && full[p] > spec.threshold * most;
    Mask::from_fn(size, size, |r, c| kept(r * size + c))
}
