use std::sync::Arc;

use tch::{Kind, TchError, Tensor};

use super::{Path, search_paths};
use crate::dataset::{Batch, BatchPlan};
use crate::net::{EDGE_STRIDE, Mode, TorchNet};
use crate::train::upload::upload;
use crate::train::{Nets, Scores, Task, TrainError};

/// Added inside logarithms.
const EPSILON: f64 = 1e-5;

/// Learning where edges between classes are, from pairs of confident pixels: two of the same class want no edge on
/// the path between them, two of different classes want one (paper, eq. 6–8).
#[derive(Debug)]
pub struct EdgeLearning {
    plan: Arc<BatchPlan>,
    paths: Vec<Path>,
}

impl EdgeLearning {
    /// Learns from a plan over seeded images, pairs nearer than `radius` cells of the edge map.
    pub fn new(plan: BatchPlan, radius: usize) -> Self {
        Self { plan: Arc::new(plan), paths: search_paths(radius) }
    }
}

impl Task for EdgeLearning {
    type Source = BatchPlan;

    fn source(&self) -> &Arc<BatchPlan> {
        &self.plan
    }

    fn loss(&self, nets: Nets<'_>, batch: &Batch) -> Result<Tensor, TrainError> {
        let device = nets.student.device();
        let (n, c, s) = (batch.len as i64, batch.classes as i64, batch.size as i64);
        let tensor = |values: &[f32], shape: &[i64]| upload(values, shape, device);
        let images = tensor(&batch.images, &[n, 1, s, s])?;
        // The encoder is frozen and the head has neither dropout nor batch statistics.
        let edges = nets.student.forward(&images, Mode::Eval)?.f_sigmoid()?;
        let stride = EDGE_STRIDE as i64;
        let planes = tensor(&batch.targets, &[n, c, s, s])?;
        let pooled =
            planes.f_avg_pool2d([stride, stride], [stride, stride], [0, 0], false, true, None::<i64>)?;
        let sure = pooled.f_gt(0.5)?.f_to_kind(Kind::Float)?;
        Ok(affinity_loss(&edges, &sure, &self.paths)?)
    }

    fn validate(&self, _: &TorchNet) -> Result<Option<Scores>, TrainError> {
        Ok(None)
    }
}

/// ½[(bg⁺ + fg⁺)/2 + neg]: the mean of −log affinity over pairs of background and over pairs of one foreground class,
/// and of −log(1 − affinity) over pairs of different classes. `edges` is N × 1 × h × w in 0..1; `sure` N × (1 + C) ×
/// h × w has a 1 in the plane of a confident pixel's class, background first.
fn affinity_loss(edges: &Tensor, sure: &Tensor, paths: &[Path]) -> Result<Tensor, TchError> {
    let size = edges.size();
    let (rows, cols) = (size[2], size[3]);
    // By kind of pair (background, foreground, different): loss and number.
    let mut sums: [Vec<Tensor>; 3] = Default::default();
    let mut counts: [Vec<Tensor>; 3] = Default::default();
    for Path { to: (dy, dx), cells } in paths {
        let (dy, dx) = (i64::from(*dy), i64::from(*dx));
        let (height, width, first) = (rows - dy, cols - dx.abs(), (-dx).max(0));
        if height <= 0 || width <= 0 {
            continue;
        }
        // What lies at an offset from every origin whose path stays inside.
        let at = |t: &Tensor, y: i64, x: i64| t.f_narrow(2, y, height)?.f_narrow(3, first + x, width);
        let on_path: Vec<Tensor> =
            cells.iter().map(|&(y, x)| at(edges, i64::from(y), i64::from(x))).collect::<Result<_, _>>()?;
        let strongest = Tensor::f_stack(&on_path, 0)?.f_amax([0_i64].as_slice(), false)?;
        let affinity = strongest.f_neg()?.f_add_scalar(1.0)?;

        let (a, b) = (at(sure, 0, 0)?, at(sure, dy, dx)?);
        let total = |t: &Tensor| t.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
        let both = a.f_mul(&b)?;
        let background = both.f_narrow(1, 0, 1)?;
        let same = total(&both)?;
        let foreground = same.f_sub(&background)?;
        let different = total(&a)?.f_mul(&total(&b)?)?.f_sub(&same)?;
        let together = affinity.f_add_scalar(EPSILON)?.f_log()?.f_neg()?;
        let apart = strongest.f_add_scalar(EPSILON)?.f_log()?.f_neg()?;
        let kinds = [(background, &together), (foreground, &together), (different, &apart)];
        for (i, (pairs, loss)) in kinds.into_iter().enumerate() {
            sums[i].push(pairs.f_mul(loss)?.f_sum(Kind::Float)?);
            counts[i].push(pairs.f_sum(Kind::Float)?);
        }
    }
    let mean = |i: usize| -> Result<Tensor, TchError> {
        let sum = |parts: &[Tensor]| Tensor::f_stack(parts, 0)?.f_sum(Kind::Float);
        sum(&sums[i])?.f_div(&sum(&counts[i])?.f_add_scalar(EPSILON)?)
    };
    let same = mean(0)?.f_add(&mean(1)?)?.f_mul_scalar(0.5)?;
    same.f_add(&mean(2)?)?.f_mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map with a wall of `strength` in column 4, foreground right of it, background left of it.
    fn loss(strength: f32) -> f64 {
        let edges: Vec<f32> = (0..64).map(|p| if p % 8 == 4 { strength } else { 0.01 }).collect();
        let mut sure = vec![0.0_f32; 128];
        for p in 0..64 {
            match p % 8 {
                0..=3 => sure[p] = 1.0,
                5.. => sure[64 + p] = 1.0,
                _ => (),
            }
        }
        let tensor = |v: &[f32], shape: &[i64]| Tensor::from_slice(v).view(shape);
        affinity_loss(&tensor(&edges, &[1, 1, 8, 8]), &tensor(&sure, &[1, 2, 8, 8]), &search_paths(4))
            .unwrap()
            .double_value(&[])
    }

    #[test]
    fn a_wall_between_the_classes_lowers_the_loss() {
        assert!(loss(0.99) < 0.5 * loss(0.5), "{} {}", loss(0.99), loss(0.5));
        assert!(loss(0.5) < loss(0.01));
    }

    #[test]
    fn the_loss_agrees_with_a_sum_over_all_pairs() {
        let (rows, cols) = (5_i32, 6_i32);
        let edges: Vec<f32> = (0..30).map(|p| ((p * 7) % 11) as f32 / 12.0 + 0.02).collect();
        // Unsure, background, class 1, class 2.
        let class = |p: i32| (p * 5 + p / 3) % 4;
        let mut sure = vec![0.0_f32; 90];
        (0..30).filter(|&p| class(p) > 0).for_each(|p| sure[((class(p) - 1) * 30 + p) as usize] = 1.0);
        let tensor = |v: &[f32], shape: &[i64]| Tensor::from_slice(v).view(shape);
        let paths = search_paths(3);
        let found = affinity_loss(&tensor(&edges, &[1, 1, 5, 6]), &tensor(&sure, &[1, 3, 5, 6]), &paths);
        let (mut sums, mut counts) = ([0.0_f64; 3], [0.0_f64; 3]);
        for y in 0..rows {
            for x in 0..cols {
                for path in &paths {
                    let (ty, tx) = (y + path.to.0, x + path.to.1);
                    if !(0..rows).contains(&ty) || !(0..cols).contains(&tx) {
                        continue;
                    }
                    let edge = |&(cy, cx): &(i32, i32)| f64::from(edges[((y + cy) * cols + x + cx) as usize]);
                    let strongest = path.cells.iter().map(edge).fold(0.0, f64::max);
                    let (a, b) = (class(y * cols + x), class(ty * cols + tx));
                    if a == 0 || b == 0 {
                        continue;
                    }
                    let kind = if a != b { 2 } else { usize::from(a > 1) };
                    counts[kind] += 1.0;
                    sums[kind] -=
                        if kind == 2 { (strongest + 1e-5).ln() } else { (1.0 - strongest + 1e-5).ln() };
                }
            }
        }
        let mean = |i: usize| sums[i] / (counts[i] + 1e-5);
        let by_hand = 0.5 * ((mean(0) + mean(1)) / 2.0 + mean(2));
        assert!((found.unwrap().double_value(&[]) - by_hand).abs() < 1e-4);
    }
}
