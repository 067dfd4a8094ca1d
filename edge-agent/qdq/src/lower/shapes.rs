//! Shapes that are known before any input is, to leave to tract what we have no form of.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{ModelProto, TypeProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceModelExt};

use super::candidates::Candidates;
use super::operator::Operand;
use crate::LowerError;
use crate::graph::{Convolution, Op, Resize, ResizeTo, Shape};
use crate::onnx::OnnxGraph;

/// Stands for rows and columns that are not known, small enough for any memory and large enough for any network.
const SIDE: usize = 512;

#[derive(Clone, Debug)]
struct Known {
    shape: Shape,
    /// Whether no dimension of it is made up.
    exact: bool,
}

/// Shapes that are known apart from what is lowered.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    known: HashMap<String, Known>,
    /// Whether tract was asked.
    inferred: bool,
}

impl Outside {
    /// Shapes that the file tells.
    pub(crate) fn declared(graph: &OnnxGraph<'_>) -> Self {
        let infos = graph.proto.value_info.iter().chain(&graph.proto.input);
        let known = infos.filter_map(|info| Some((info.name.clone(), known(info)?))).collect();
        Self { known, inferred: false }
    }

    /// Asks tract for those that the file does not tell, which takes as long as loading the graph.
    fn infer(&mut self, model: &ModelProto) {
        self.inferred = true;
        // tract asserts here and there on what a damaged graph says of itself.
        let inferred = catch_unwind(AssertUnwindSafe(|| inferred(model))).ok().and_then(Result::ok);
        for (name, known) in inferred.into_iter().flatten() {
            self.known.entry(name).or_insert(known);
        }
    }
}

fn inferred(model: &ModelProto) -> TractResult<Vec<(String, Known)>> {
    let mut model = tract_onnx::onnx().model_for_proto_model(model)?;
    // What it finds out before it gives up is known too.
    let _ = model.analyse(true);
    let mut found = Vec::new();
    for (outlet, label) in &model.outlet_labels {
        let Some(dims) = model.outlet_fact(*outlet)?.shape.concretize() else { continue };
        let sizes: Vec<Option<usize>> =
            dims.iter().map(|dim| dim.to_i64().ok().and_then(|size| usize::try_from(size).ok())).collect();
        let exact = sizes.iter().all(Option::is_some);
        let size = |(axis, size): (usize, Option<usize>)| size.unwrap_or(if axis == 0 { 1 } else { SIDE });
        let shape = sizes.into_iter().enumerate().map(size).collect();
        found.push((label.clone(), Known { shape, exact }));
    }
    Ok(found)
}

fn known(info: &ValueInfoProto) -> Option<Known> {
    let Some(TypeProto { value: Some(Type::TensorType(tensor)), .. }) = &info.r#type else { return None };
    let mut known = Known { shape: Vec::new(), exact: true };
    for (axis, dim) in tensor.shape.as_ref()?.dim.iter().enumerate() {
        known.shape.push(match &dim.value {
            Some(Dim::DimValue(value)) => usize::try_from(*value).ok()?,
            _ => {
                known.exact = false;
                if axis == 0 { 1 } else { SIDE }
            }
        });
    }
    Some(known)
}

/// Candidates that have no lowered form in the shapes that are known, with the reason.
///
/// # Errors
/// [`LowerError::Shape`] if shapes do not fit together in any implementation.
pub(crate) fn check(
    graph: &OnnxGraph<'_>,
    candidates: &Candidates<'_>,
    (model, outside): (&ModelProto, &mut Outside),
) -> Result<BTreeMap<usize, String>, LowerError> {
    let mut made: HashMap<&str, Known> = HashMap::new();
    let mut refused = BTreeMap::new();
    for index in graph.order.iter().copied() {
        let Some(lowered) = candidates.lowered.get(&index) else { continue };
        if !outside.inferred
            && lowered.tensors().any(|name| {
                !outside.known.contains_key(name)
                    && !candidates.makes(graph, name)
                    && graph.maker(name).is_some()
            })
        {
            outside.infer(model);
        }
        let inputs = lowered.form.inputs.iter().map(|input| match input {
            Operand::Constant { shape, .. } => Some(Known { shape: shape.clone(), exact: true }),
            Operand::Tensor { name, .. } => made.get(name).or_else(|| outside.known.get(*name)).cloned(),
        });
        let Some(inputs) = inputs.collect::<Option<Vec<Known>>>() else { continue };
        let exact = inputs.iter().all(|input| input.exact);
        let shapes: Vec<&Shape> = inputs.iter().map(|input| &input.shape).collect();
        let op = &lowered.form.op;
        if let Some(reason) = op.has_no_form_of(&shapes) {
            refused.insert(index, reason);
            continue;
        }
        if let Op::Resize(Resize { to: ResizeTo::Sizes(_), .. }) = op
            && !keeps_channels(graph, &lowered.covers, &inputs[0])
        {
            refused.insert(index, "it may resize more than rows and columns".to_owned());
            continue;
        }
        match op.output_shape(&shapes) {
            Ok(shape) => drop(made.insert(lowered.output, Known { shape, exact })),
            // A constant for each channel of which there is but one.
            Err(reason) if exact && stands_for_a_sum(graph, op, &lowered.covers) => {
                refused.insert(index, reason);
            }
            Err(reason) if exact => {
                return Err(LowerError::Shape { node: lowered.name.clone(), reason });
            }
            // With other numbers for what is open it may fit.
            Err(_) => {}
        }
    }
    Ok(refused)
}

/// Whether an operator that is none in the graph was made for an Add or Mul.
fn stands_for_a_sum(graph: &OnnxGraph<'_>, op: &Op, covers: &[usize]) -> bool {
    let products = ["Conv", "Gemm", "MatMul"];
    let is_product = |index: &usize| products.contains(&graph.node(*index).op_type.as_str());
    matches!(op, Op::Convolution(_)) && !covers.iter().any(is_product)
}

impl Op {
    /// Why there is no lowered form for inputs of these shapes, if there is none.
    fn has_no_form_of(&self, inputs: &[&Shape]) -> Option<String> {
        let rank = inputs.first()?.len();
        let fits = match self {
            // Four dimensions lie as images, whose last one is no row of values.
            Self::Convolution(Convolution { matrix: true, .. }) => rank >= 2 && rank != 4,
            Self::Convolution(_)
            | Self::RealConvolution(_)
            | Self::MaxPool(_)
            | Self::AveragePool { .. }
            | Self::GlobalAveragePool
            | Self::Resize(_) => rank == 4,
            _ => true,
        };
        (!fits).then(|| format!("its input has the shape {:?}", inputs[0]))
    }
}

/// Whether the Resize among these nodes has its input's batch and channels as sizes.
fn keeps_channels(graph: &OnnxGraph<'_>, covers: &[usize], input: &Known) -> bool {
    let resize = covers.iter().map(|index| graph.node(*index)).find(|node| node.op_type == "Resize");
    let sizes = resize.and_then(|node| graph.constant(node.input.get(3)?)?.integers());
    let sizes: Vec<usize> = sizes.unwrap_or_default().iter().map(|size| *size as usize).collect();
    input.exact && sizes.get(..2) == input.shape.get(..2)
}
