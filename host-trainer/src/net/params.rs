//! The numbers of a network, on the CPU and without libtorch: what a checkpoint holds and an export reads.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};

use super::graph::Graph;

/// One tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamTensor {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// As many values as the product of the dimensions.
    pub data: Vec<f32>,
}

impl ParamTensor {
    /// A tensor of these dimensions.
    ///
    /// # Panics
    /// If `data` does not hold as many values as the dimensions say.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "a tensor of {shape:?} needs as many values");
        Self { shape, data }
    }

    /// A tensor of one value throughout.
    pub fn full(shape: &[usize], value: f32) -> Self {
        Self { shape: shape.to_vec(), data: vec![value; shape.iter().product()] }
    }
}

/// Tensors by name. Names are `<node>.<suffix>` ([`Graph::parameters`]) for those of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(BTreeMap<String, ParamTensor>);

/// Why parameters cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// Not a safetensors file, or a truncated one.
    #[error("not a whole safetensors file")]
    Format(#[from] SafeTensorError),
    /// Another element type.
    #[error("tensor `{name}` holds {dtype:?}: convert it to F32 first")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its elements.
        dtype: Dtype,
    },
    /// The tensors are not those of the graph.
    #[error("parameters do not belong to `{graph}`: {}", list(.faults))]
    Mismatch {
        /// The graph.
        graph: String,
        /// Each missing, unexpected or differently shaped tensor.
        faults: Vec<String>,
    },
    /// A NaN or infinity.
    #[error(
        "tensor `{name}` holds {value} at position {position}: the training diverged or the file is damaged"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Index of the first such value.
        position: usize,
        /// The value.
        value: f32,
    },
}

/// Shortens a long list: the first few faults tell what went wrong.
fn list(faults: &[String]) -> String {
    const SHOWN: usize = 6;
    let rest = faults.len().saturating_sub(SHOWN);
    let shown = faults[..faults.len() - rest].join("; ");
    if rest == 0 { shown } else { format!("{shown}; and {rest} more") }
}

impl Params {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&ParamTensor> {
        self.0.get(name)
    }

    /// The tensor of this name, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut ParamTensor> {
        self.0.get_mut(name)
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: ParamTensor) {
        self.0.insert(name.into(), tensor);
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<ParamTensor> {
        self.0.remove(name)
    }

    /// All tensors by name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParamTensor)> {
        self.0.iter().map(|(n, t)| (n.as_str(), t))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that these are exactly the tensors of `graph`, all finite.
    ///
    /// # Errors
    /// [`ParamsError::Mismatch`] names every tensor that is missing, unexpected or of another shape;
    /// [`ParamsError::NotFinite`] the first with a NaN or infinity.
    pub fn check(&self, graph: &Graph) -> Result<(), ParamsError> {
        let wanted: BTreeMap<_, _> = graph.parameter_shapes().into_iter().collect();
        let mut faults = Vec::new();
        for (name, shape) in &wanted {
            match self.0.get(name) {
                None => faults.push(format!("`{name}` {shape:?} is missing")),
                Some(t) if t.shape != *shape => {
                    faults.push(format!("`{name}` is {:?} where {shape:?} is needed", t.shape));
                }
                Some(_) => (),
            }
        }
        faults.extend(
            self.0.keys().filter(|n| !wanted.contains_key(*n)).map(|n| format!("`{n}` is unexpected")),
        );
        if !faults.is_empty() {
            return Err(ParamsError::Mismatch { graph: graph.name.clone(), faults });
        }
        for (name, tensor) in &self.0 {
            if let Some(position) = tensor.data.iter().position(|v| !v.is_finite()) {
                let value = tensor.data[position];
                return Err(ParamsError::NotFinite { name: name.clone(), position, value });
            }
        }
        Ok(())
    }

    /// As a safetensors file; the same tensors give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let raw: Vec<(&str, &[usize], Vec<u8>)> = self
            .0
            .iter()
            .map(|(n, t)| {
                (n.as_str(), t.shape.as_slice(), t.data.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect();
        let views = raw.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
            (*name, view.expect("four bytes a value by construction"))
        });
        serialize(views, None::<HashMap<String, String>>).expect("tensors of known size always serialize")
    }

    /// From a safetensors file of F32 tensors. PyTorch's `num_batches_tracked` counters are left out: nothing here
    /// uses them.
    ///
    /// # Errors
    /// [`ParamsError::Format`] or [`ParamsError::Dtype`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParamsError> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut params = Self::new();
        for (name, view) in file.iter().filter(|(n, _)| !n.ends_with(".num_batches_tracked")) {
            if view.dtype() != Dtype::F32 {
                return Err(ParamsError::Dtype { name: name.into(), dtype: view.dtype() });
            }
            let (values, _) = view.data().as_chunks::<4>();
            let data = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
            params.insert(name, ParamTensor::new(view.shape().to_vec(), data));
        }
        Ok(params)
    }
}

impl FromIterator<(String, ParamTensor)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, ParamTensor)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{GraphBuilder, he_init};

    fn net() -> (Graph, Params) {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let x = g.conv("conv", x, 2, 3, |_| ());
        let x = g.batch_norm("bn", x);
        let graph = g.finish(&[x]);
        let params = he_init(&graph, 1);
        (graph, params)
    }

    #[test]
    fn a_file_keeps_every_bit_and_equal_tensors_give_equal_bytes() {
        let (_, mut params) = net();
        params.insert("odd", ParamTensor::new(vec![3], vec![-0.0, f32::MIN_POSITIVE / 2.0, f32::MAX]));
        let back = Params::from_bytes(&params.to_bytes()).unwrap();
        assert_eq!(back.to_bytes(), params.to_bytes());
        assert_eq!(back.get("odd").unwrap().data[0].to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn every_difference_from_the_graph_is_named() {
        let (graph, mut params) = net();
        params.check(&graph).unwrap();
        params.0.remove("bn.bias");
        params.insert("stray", ParamTensor::full(&[1], 0.0));
        params.insert("conv.weight", ParamTensor::full(&[2, 1, 1, 1], 0.0));
        let fault = params.check(&graph).unwrap_err().to_string();
        for part in
            ["`bn.bias` [2] is missing", "`stray` is unexpected", "is [2, 1, 1, 1] where [2, 1, 3, 3]"]
        {
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn a_nan_is_named_with_its_place() {
        let (graph, mut params) = net();
        params.get_mut("conv.weight").unwrap().data[5] = f32::NAN;
        let fault = params.check(&graph).unwrap_err().to_string();
        assert!(fault.contains("`conv.weight` holds NaN at position 5"), "{fault}");
    }

    #[test]
    fn other_element_types_and_broken_files_are_refused_and_pytorch_counters_skipped() {
        let one = [0u8; 8];
        let view = |n: &'static str| [(n, TensorView::new(Dtype::I64, vec![1], &one).unwrap())];
        let counter = serialize(view("bn.num_batches_tracked"), None).unwrap();
        assert!(Params::from_bytes(&counter).unwrap().is_empty());
        let other = serialize(view("ids"), None).unwrap();
        assert!(matches!(Params::from_bytes(&other), Err(ParamsError::Dtype { .. })));
        let (_, params) = net();
        let bytes = params.to_bytes();
        assert!(matches!(Params::from_bytes(&bytes[..bytes.len() - 1]), Err(ParamsError::Format(_))));
    }
}
