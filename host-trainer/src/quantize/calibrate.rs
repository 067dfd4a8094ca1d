//! Watches a folded network over images.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, TchError, Tensor, no_grad};

use super::bias::ChannelMeans;
use super::error::QuantizeError;
use super::histogram::{Histogram, Method};
use super::plan::{GroupId, QuantPlan, Ranges};
use crate::net::{Graph, NodeId, Op, TorchNet};

/// What each group's values looked like. Collected once, it gives ranges by any method.
#[derive(Debug)]
pub struct Calibration {
    plan: QuantPlan,
    histograms: BTreeMap<GroupId, Histogram>,
    means: ChannelMeans,
}

impl Calibration {
    /// Runs a folded network over batches `[N, C, H, W]` of normalized images. The order does not matter.
    ///
    /// # Errors
    /// If the network is not folded, cannot be run, or gives a NaN or infinity.
    pub fn collect(net: &TorchNet, images: impl IntoIterator<Item = Tensor>) -> Result<Self, QuantizeError> {
        let graph = net.graph();
        let plan = QuantPlan::new(graph)?;
        let mut histograms: BTreeMap<_, _> = plan.groups().map(|(g, _)| (g, Histogram::default())).collect();
        let mut sums = ChannelSums::new(graph);
        for batch in images {
            let mut fault = None;
            let mut watch = |id, value: &Tensor| {
                if fault.is_none() {
                    fault = sums.add(id, value).err().map(QuantizeError::from);
                }
                let Some(group) = plan.decides(id) else { return };
                if fault.is_none() {
                    let histogram = histograms.get_mut(&group).expect("one for each group");
                    let name = || graph.node(id).name.clone();
                    fault = match extremes(value) {
                        Err(e) => Some(QuantizeError::from(e)),
                        Ok(pair) => match pair.into_iter().find(|v| !v.is_finite()) {
                            Some(value) => Some(QuantizeError::NotFinite { node: name(), value }),
                            None => count(histogram, value, pair).err().map(Into::into),
                        },
                    };
                }
            };
            drop(no_grad(|| net.forward_observed(&batch, &mut watch))?);
            if let Some(fault) = fault {
                return Err(fault);
            }
        }
        Ok(Self { plan, histograms, means: sums.means() })
    }

    /// The mean of each channel that a convolution reads.
    pub fn means(&self) -> &ChannelMeans {
        &self.means
    }

    /// The ranges by this method.
    ///
    /// # Errors
    /// [`QuantizeError::NoData`] if no image was shown.
    pub fn ranges(&self, method: Method) -> Result<Ranges, QuantizeError> {
        self.plan
            .groups()
            .map(|(group, name)| match self.histograms[&group].range(method) {
                Some(range) => Ok((group, range)),
                None => Err(QuantizeError::NoData { node: name.into() }),
            })
            .collect()
    }
}

/// Sums over images and pixels of each channel that a convolution reads.
struct ChannelSums {
    read: BTreeSet<NodeId>,
    sums: BTreeMap<NodeId, (Vec<f64>, u64)>,
}

impl ChannelSums {
    fn new(graph: &Graph) -> Self {
        let convolutions = graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv2d(_)));
        Self { read: convolutions.map(|node| node.inputs[0]).collect(), sums: BTreeMap::new() }
    }

    fn add(&mut self, id: NodeId, value: &Tensor) -> Result<(), TchError> {
        if !self.read.contains(&id) {
            return Ok(());
        }
        let (n, c, h, w) = value.size4()?;
        let sums = value.f_sum_dim_intlist([0_i64, 2, 3].as_slice(), false, Kind::Double)?;
        let sums = Vec::<f64>::try_from(sums.f_to_device(tch::Device::Cpu)?)?;
        let (all, count) = self.sums.entry(id).or_insert_with(|| (vec![0.0; c as usize], 0));
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        *count += (n * h * w) as u64;
        Ok(())
    }

    fn means(self) -> ChannelMeans {
        let mean = |(sums, count): (Vec<f64>, u64)| sums.into_iter().map(|sum| sum / count as f64).collect();
        self.sums.into_iter().map(|(id, sums)| (id, mean(sums))).collect()
    }
}

/// [`Calibration::collect`] and [`Calibration::ranges`] in one, for a single method.
///
/// # Errors
/// As both.
pub fn calibrate(
    net: &TorchNet,
    images: impl IntoIterator<Item = Tensor>,
    method: Method,
) -> Result<Ranges, QuantizeError> {
    Calibration::collect(net, images)?.ranges(method)
}

/// Least and greatest value; NaN if there is one.
fn extremes(value: &Tensor) -> Result<[f32; 2], TchError> {
    Ok([value.f_min()?.double_value(&[]) as f32, value.f_max()?.double_value(&[]) as f32])
}

fn count(histogram: &mut Histogram, value: &Tensor, [min, max]: [f32; 2]) -> Result<(), TchError> {
    histogram.make_room(min, max);
    let half = Histogram::BINS as f64 / 2.0;
    // The factor is a power of two: the bins are exact.
    let bins = value
        .f_flatten(0, -1)?
        .f_mul_scalar(half / f64::from(histogram.limit()))?
        .f_floor()?
        .f_add_scalar(half)?
        .f_clamp(0.0, 2.0 * half - 1.0)?
        .f_to_kind(Kind::Int64)?;
    let counts = bins.f_bincount(None::<Tensor>, Histogram::BINS as i64)?;
    let counts: Vec<i64> = Vec::try_from(counts.f_to_device(tch::Device::Cpu)?)?;
    histogram.add_counts(counts.into_iter().map(|c| c as u64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::net::{DeepLabConfig, Width, deeplab_v3_plus, fold_batch_norm, he_init};

    fn folded() -> TorchNet {
        let graph = deeplab_v3_plus(&DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() });
        let (graph, params) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        TorchNet::from_params(&graph, &params, Device::Cpu).unwrap()
    }

    fn batch(phase: f64) -> Tensor {
        (Tensor::arange(64 * 64, (Kind::Float, Device::Cpu)) * 0.37 + phase).sin().view([1, 1, 64, 64])
    }

    #[test]
    fn counting_with_libtorch_equals_counting_by_hand() {
        let value = batch(0.1) * 3.0;
        let mut by_torch = Histogram::default();
        count(&mut by_torch, &value, extremes(&value).unwrap()).unwrap();
        let mut by_hand = Histogram::default();
        by_hand.add(&Vec::<f32>::try_from(value.flatten(0, -1)).unwrap());
        assert_eq!(by_torch, by_hand);
    }

    #[test]
    fn every_group_gets_a_range_whatever_the_order() {
        let net = folded();
        let forth = calibrate(&net, [batch(0.0), batch(1.0)], Method::Percentile(0.9999)).unwrap();
        let back = calibrate(&net, [batch(1.0), batch(0.0)], Method::Percentile(0.9999)).unwrap();
        assert_eq!(forth, back);
        assert_eq!(forth.len(), QuantPlan::new(net.graph()).unwrap().groups().count());
    }

    #[test]
    fn no_images_and_an_image_with_a_nan_are_explained() {
        let net = folded();
        let none = calibrate(&net, [], Method::MinMax).unwrap_err().to_string();
        assert!(none.contains("at least one image"), "{none}");
        let nan = calibrate(&net, [batch(0.0) * f64::NAN], Method::MinMax).unwrap_err().to_string();
        assert!(nan.contains("`image` gave NaN"), "{nan}");
    }
}
