use tch::{TchError, Tensor, no_grad};

use crate::net::{TorchNet, TorchNetError};

/// An exponential moving average of weights and running statistics: steadier than the weights themselves,
/// so it is what is validated and exported (Tarvainen & Valpola 2017, Mean Teacher).
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    net: TorchNet,
    /// (average, source), sharing storage with the two networks.
    pairs: Vec<(Tensor, Tensor)>,
}

impl Ema {
    /// An average that begins as a copy of `source`.
    pub fn new(source: &TorchNet, decay: f64) -> Result<Self, TorchNetError> {
        let net = TorchNet::from_params(source.graph(), &source.to_params(), source.device())?;
        // Frozen parameters too: they are in the model as all others are.
        let tensors = |net: &TorchNet| net.tensors().into_iter().map(|(_, tensor)| tensor);
        let pairs = tensors(&net).zip(tensors(source)).collect();
        Ok(Self { decay, net, pairs })
    }

    /// The averaged network.
    pub fn net(&self) -> &TorchNet {
        &self.net
    }

    /// The averaged network, to load a checkpoint into.
    pub fn net_mut(&mut self) -> &mut TorchNet {
        &mut self.net
    }

    /// Takes in the source's weights after step `step` (from 0). Early steps weigh more, so that the average
    /// forgets its beginning: decay = min(decay, (1 + step) / (10 + step)).
    pub fn update(&mut self, step: u64) -> Result<(), TchError> {
        let early = (1 + step) as f64 / (10 + step) as f64;
        let weight = 1.0 - self.decay.min(early);
        no_grad(|| {
            for (average, source) in &mut self.pairs {
                let _ = average.f_lerp_(source, weight)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::net::{GraphBuilder, he_init};

    #[test]
    fn the_average_follows_its_source_by_the_decay() {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let y = g.conv("c", x, 1, 1, |_| ());
        let graph = g.finish(&[y]);
        let mut params = he_init(&graph, 1);
        params.get_mut("c.weight").unwrap().data[0] = 1.0;
        let mut net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let mut ema = Ema::new(&net, 0.9).unwrap();
        params.get_mut("c.weight").unwrap().data[0] = 2.0;
        net.load_params(&params).unwrap();
        let value = |ema: &Ema| ema.net().to_params().get("c.weight").unwrap().data[0];
        // Step 0: decay 0.1.
        ema.update(0).unwrap();
        assert!((value(&ema) - 1.9).abs() < 1e-6);
        // Late: decay 0.9.
        ema.update(1000).unwrap();
        assert!((value(&ema) - 1.91).abs() < 1e-6);
    }

    #[test]
    fn a_partly_frozen_network_is_averaged_name_by_name() {
        use crate::net::{DeepLabConfig, Width, deeplab_v3_plus};
        let config = DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() };
        let mut net = TorchNet::new(&deeplab_v3_plus(&config), tch::Device::Cpu, 1).unwrap();
        net.freeze("encoder.");
        let mut ema = Ema::new(&net, 0.5).unwrap();
        ema.update(0).unwrap();
        for ((name, average), (source, value)) in ema.net().tensors().iter().zip(net.tensors()) {
            assert_eq!(*name, source);
            assert!(average.equal(&value), "{name}");
        }
    }
}
