//! Where in a radiograph a classifier sees a finding (design §5.2).
//!
//! With A the features (`[channels, h, w]`), s a finding's logit and g = ∂s/∂A, each method is a map `[h, w]` ≥ 0:
//!
//! - Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, eq. 1–2): ReLU(Σ_k mean(g_k)·A_k)
//! - HiResCAM (Draelos & Carin 2020, arXiv:2011.08891, eq. 3): ReLU(Σ_k g_k ⊙ A_k)
//! - Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063, eq. 10–19): ReLU(Σ_k w_k·A_k) with
//!   w_k = Σ_ij α_kij·ReLU(g_kij) and α = g² / (2g² + g³·Σ_ij A), 0 where the denominator is

mod maps;

use tch::{Kind, TchError, Tensor};

pub use maps::{SALIENCY_CHUNK, SaliencyError, SaliencyMaps};

use crate::config::Saliency;
use crate::net::{FEATURES, Mode, TorchNet, TorchNetError};

/// The maps of every finding of every image (`[N, 1, H, W]`, normalised): N × F × h × w, not negative.
///
/// # Errors
/// If the network has no node `features`, or libtorch fails.
pub fn saliency(net: &TorchNet, images: &Tensor, method: Saliency) -> Result<Tensor, TorchNetError> {
    let node = net
        .graph()
        .find(FEATURES)
        .ok_or_else(|| TorchNetError::NoFeatures { graph: net.graph().name.clone(), node: FEATURES })?;
    let mut features = None;
    // Gradients are needed from the features on only: what comes before is cut off.
    let logits = net.forward_mapped(images, Mode::Eval, &mut |id, value| {
        if id != node {
            return Ok(value);
        }
        let cut = value.f_detach()?.f_set_requires_grad(true)?;
        features = Some(cut.shallow_clone());
        Ok(cut)
    })?;
    let features = features.expect("every node is shown once");
    let logits = logits.f_flatten(1, -1)?;
    let mut maps = Vec::new();
    for finding in 0..logits.size()[1] {
        // Images do not share anything in evaluation, so the sum's gradient is each image's own.
        let score = logits.f_select(1, finding)?.f_sum(Kind::Float)?;
        let gradient = Tensor::f_run_backward(&[score], &[&features], true, false)?.swap_remove(0);
        maps.push(weigh(&features.detach(), &gradient, method)?);
    }
    Ok(Tensor::f_stack(&maps, 1)?)
}

/// One finding's map: features and gradient are N × C × h × w, the map N × h × w.
fn weigh(features: &Tensor, gradient: &Tensor, method: Saliency) -> Result<Tensor, TchError> {
    let over_image = [2_i64, 3];
    let weighted = match method {
        Saliency::GradCam => features.f_mul(&gradient.f_mean_dim(over_image.as_slice(), true, None)?)?,
        Saliency::HiresCam => features.f_mul(gradient)?,
        Saliency::GradCamPlusPlus => {
            let square = gradient.f_square()?;
            let total = features.f_sum_dim_intlist(over_image.as_slice(), true, None)?;
            let whole = square.f_mul_scalar(2.0)?.f_add(&square.f_mul(gradient)?.f_mul(&total)?)?;
            let empty = whole.f_eq(0.0)?;
            let share = square.f_div(&whole.f_masked_fill(&empty, 1.0)?)?.f_masked_fill(&empty, 0.0)?;
            let weights = share.f_mul(&gradient.f_relu()?)?;
            features.f_mul(&weights.f_sum_dim_intlist(over_image.as_slice(), true, None)?)?
        }
    };
    weighted.f_sum_dim_intlist([1_i64].as_slice(), false, None)?.f_relu()
}

#[cfg(test)]
mod tests {
    use tch::{Device, no_grad};

    use super::*;
    use crate::net::{GraphBuilder, ParamTensor, Params};

    /// Two feature channels: the image and its negative plus one; two findings with weights (3, −1) and (−2, 5).
    fn analytic() -> TorchNet {
        let (mut g, image) = GraphBuilder::new("analytic", 1);
        let x = g.conv("c", image, 2, 1, |c| c.bias = true);
        let features = g.relu(FEATURES, x);
        let x = g.global_average_pool("pool", features);
        let y = g.conv("head", x, 2, 1, |c| c.bias = true);
        let graph = g.finish(&[y]);
        let tensor = |shape: &[usize], data: &[f32]| ParamTensor::new(shape.to_vec(), data.to_vec());
        let params: Params = [
            ("c.weight".to_owned(), tensor(&[2, 1, 1, 1], &[1.0, -1.0])),
            ("c.bias".to_owned(), tensor(&[2], &[0.0, 1.0])),
            ("head.weight".to_owned(), tensor(&[2, 2, 1, 1], &[3.0, -1.0, -2.0, 5.0])),
            ("head.bias".to_owned(), tensor(&[2], &[0.5, -0.5])),
        ]
        .into_iter()
        .collect();
        TorchNet::from_params(&graph, &params, Device::Cpu).unwrap()
    }

    fn image() -> Tensor {
        Tensor::from_slice(&[0.1_f32, 0.9, 0.4, 0.6]).view([1, 1, 2, 2])
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.contiguous().view(-1)).unwrap()
    }

    #[test]
    fn behind_a_mean_and_a_linear_layer_maps_are_the_weighted_features() {
        // ∂s/∂A is w / 4 everywhere, so Grad-CAM and HiResCAM are both ReLU(Σ w·A) / 4.
        let by_hand =
            |w: [f32; 2]| [0.1, 0.9, 0.4, 0.6].map(|v: f32| ((w[0] * v + w[1] * (1.0 - v)) / 4.0).max(0.0));
        for method in [Saliency::GradCam, Saliency::HiresCam] {
            let maps = saliency(&analytic(), &image(), method).unwrap();
            let expected = [by_hand([3.0, -1.0]), by_hand([-2.0, 5.0])].concat();
            for (a, b) in values(&maps).iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{method:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn grad_cam_plus_plus_agrees_with_its_equations() {
        let maps = saliency(&analytic(), &image(), Saliency::GradCamPlusPlus).unwrap();
        let features = [[0.1, 0.9, 0.4, 0.6], [0.9, 0.1, 0.6, 0.4]];
        let gradients = [[0.75_f64, -0.25], [-0.5, 1.25]];
        for (finding, g) in gradients.iter().enumerate() {
            let mut map = [0.0_f64; 4];
            for (k, g) in g.iter().enumerate() {
                let total: f64 = features[k].iter().sum();
                let alpha = g * g / (2.0 * g * g + g * g * g * total);
                // Four equal places.
                let weight = 4.0 * alpha * g.max(0.0);
                map.iter_mut().zip(features[k]).for_each(|(m, a)| *m += weight * a);
            }
            for (a, b) in values(&maps)[4 * finding..].iter().zip(map) {
                assert!((f64::from(*a) - b.max(0.0)).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        // A network whose head is not linear in the features.
        let (mut g, image) = GraphBuilder::new("bent", 1);
        let x = g.conv("c", image, 3, 3, |_| ());
        let features = g.relu(FEATURES, x);
        let x = g.conv("d", features, 4, 3, |_| ());
        let x = g.relu("dr", x);
        let x = g.global_average_pool("pool", x);
        let y = g.conv("head", x, 1, 1, |c| c.bias = true);
        let net = TorchNet::new(&g.finish(&[y]), Device::Cpu, 3).unwrap();
        let picture = Tensor::arange(36, (Kind::Float, Device::Cpu)).sin().view([1, 1, 6, 6]);
        let node = net.graph().find(FEATURES).unwrap();
        let mut features = None;
        let logit = |shift: Option<(usize, f32)>, keep: &mut Option<Tensor>| {
            no_grad(|| {
                net.forward_mapped(&picture, Mode::Eval, &mut |id, value| {
                    if id != node {
                        return Ok(value);
                    }
                    *keep = Some(value.copy());
                    let Some((at, by)) = shift else { return Ok(value) };
                    let mut flat = values(&value);
                    flat[at] += by;
                    Tensor::f_from_slice(&flat)?.f_view(value.size().as_slice())
                })
            })
            .unwrap()
            .double_value(&[0, 0, 0, 0])
        };
        logit(None, &mut features);
        let features = features.unwrap();
        // HiResCAM = ReLU(Σ g ⊙ A) with g by central differences.
        let mut map = [0.0_f64; 36];
        let a = values(&features);
        for at in 0..a.len() {
            let mut unused = None;
            let g = (logit(Some((at, 1e-2)), &mut unused) - logit(Some((at, -1e-2)), &mut unused)) / 2e-2;
            map[at % 36] += g * f64::from(a[at]);
        }
        let seen = values(&saliency(&net, &picture, Saliency::HiresCam).unwrap());
        for (a, b) in seen.iter().zip(map) {
            assert!((f64::from(*a) - b.max(0.0)).abs() < 2e-3, "{a} {b}");
        }
    }

    #[test]
    fn images_of_a_batch_do_not_see_each_other() {
        let net = analytic();
        let other = Tensor::from_slice(&[0.7_f32, 0.2, 0.3, 0.8]).view([1, 1, 2, 2]);
        let both = Tensor::cat(&[image(), other], 0);
        for method in [Saliency::GradCam, Saliency::GradCamPlusPlus] {
            let alone = saliency(&net, &image(), method).unwrap();
            let first = saliency(&net, &both, method).unwrap().narrow(0, 0, 1);
            assert_eq!(values(&alone), values(&first));
        }
    }
}
