use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::prelude::Framework;
use tract_onnx::tract_hir::internal::TractError;
use tract_onnx::tract_hir::ops::expandable::expand;
use tract_onnx::tract_hir::prelude::InferenceModel;

use crate::graph::{Island, Kind, Shape};
use crate::lower::{Lowering, Stage};
use crate::onnx::OnnxGraph;
use crate::program::Program;
use crate::rewrite::rewrite;
use crate::session::{Element, End};
use crate::tract::{Expand, Runner};
use crate::{Isa, IsaError, LowerError, Pool, Report, Session};

/// What lowered graphs are run with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The instructions of the kernels.
    pub isa: Isa,
    /// The threads.
    pub pool: Arc<Pool>,
}

impl Default for Options {
    /// The fastest instructions of this processor, on the calling thread alone.
    fn default() -> Self {
        Self { isa: Isa::best(), pool: Arc::new(Pool::new(1)) }
    }
}

impl Options {
    /// As many threads, and the instructions that the environment names or else the fastest.
    ///
    /// # Errors
    /// If the environment names instructions that there are not.
    pub fn new(threads: usize) -> Result<Self, IsaError> {
        Ok(Self { isa: Isa::choose()?, pool: Arc::new(Pool::new(threads)) })
    }
}

/// A graph of which parts are lowered.
#[derive(Debug)]
pub struct LoweredModel {
    model: InferenceModel,
    report: Report,
    whole: Option<Whole>,
    options: Options,
}

/// The island that is the whole graph, and the shapes that its inputs are fixed to.
#[derive(Debug)]
struct Whole {
    island: Arc<Island>,
    inputs: Vec<Shape>,
}

/// Lowers what can be of a graph. What cannot stays tract's, and the [report](LoweredModel::report) names it.
///
/// # Errors
/// If the graph is broken. The error names the node.
pub fn lower(model: &ModelProto, options: &Options) -> Result<LoweredModel, LowerError> {
    let graph = OnnxGraph::new(model.graph.as_ref().ok_or(LowerError::NoGraph)?)?;
    let mut lowering = Lowering::new(model, &graph)?;
    let (rewritten, names) = rewrite(model, &graph, &lowering);
    let mut parsed = parse(&rewritten)?;
    drop(rewritten);
    let islands: Vec<Arc<Island>> = std::mem::take(&mut lowering.islands).into_iter().map(Arc::new).collect();
    for node in parsed.nodes_mut() {
        let Some(index) = names.iter().position(|name| *name == node.name) else { continue };
        let (island, pool) = (Arc::clone(&islands[index]), Arc::clone(&options.pool));
        node.op = expand(Expand(Runner { island, isa: options.isa, pool }));
    }
    let whole = whole(&graph, &lowering.order, &islands);
    Ok(LoweredModel { model: parsed, report: lowering.report, whole, options: options.clone() })
}

fn parse(model: &ModelProto) -> Result<InferenceModel, LowerError> {
    let failed = |error: &TractError| LowerError::Tract(format!("{error:#}").replace('\n', " "));
    // tract asserts here and there on what a damaged graph says of itself.
    catch_unwind(AssertUnwindSafe(|| tract_onnx::onnx().model_for_proto_model(model)))
        .map_err(|_| LowerError::Tract("its parser gave up on it".to_owned()))?
        .map_err(|error| failed(&error))
}

/// The island that is all that runs, if its ends are those of the graph and have fixed shapes.
fn whole(graph: &OnnxGraph<'_>, order: &[Stage], islands: &[Arc<Island>]) -> Option<Whole> {
    let ([Stage::Island(0)], [island]) = (order, islands) else { return None };
    let name = |value: &usize| island.values[*value].name.as_str();
    let inputs = graph.proto.input.iter().filter(|input| !graph.is_initialized(&input.name));
    let shapes: Option<Vec<(&str, Shape)>> = inputs
        .map(|input| {
            let Type::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
            let dims = tensor.shape.as_ref()?.dim.iter().map(|dim| match dim.value {
                Some(Dim::DimValue(value)) => usize::try_from(value).ok(),
                _ => None,
            });
            Some((input.name.as_str(), dims.collect::<Option<Shape>>()?))
        })
        .collect();
    let shapes = shapes?;
    let same_inputs = island.inputs.iter().map(name).eq(shapes.iter().map(|(name, _)| *name));
    let outputs = graph.proto.output.iter().map(|output| output.name.as_str());
    (same_inputs && island.outputs.iter().map(name).eq(outputs)).then(|| Whole {
        island: Arc::clone(island),
        inputs: shapes.into_iter().map(|(_, shape)| shape).collect(),
    })
}

impl LoweredModel {
    /// What became of the nodes.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many values all tensors of a run have together, which is about its memory in bytes: none if something was left
    /// to tract, or shapes are not fixed.
    pub fn values(&self) -> Option<usize> {
        let Whole { island, inputs } = self.whole.as_ref()?;
        let shapes = island.shapes(inputs).ok()?;
        let sizes = shapes.iter().map(|shape| shape.iter().product::<usize>());
        Some(sizes.fold(0, usize::saturating_add))
    }

    /// The graph for tract, which loads and runs it as any other.
    pub fn into_model(self) -> InferenceModel {
        self.model
    }

    /// The graph to run without tract: none if something of it was left to tract, or its shapes are not fixed.
    pub fn session(&self) -> Option<Session> {
        let Whole { island, inputs } = self.whole.as_ref()?;
        let program = Program::new(island, inputs, self.options.isa).ok()?;
        let end = |(value, shape): (&usize, &Shape)| End {
            name: island.values[*value].name.clone(),
            element: match island.values[*value].kind {
                Kind::Real => Element::F32,
                Kind::Bytes { signed: false, .. } => Element::U8,
                Kind::Bytes { signed: true, .. } => Element::I8,
            },
            shape: shape.clone(),
        };
        Some(Session {
            inputs: island.inputs.iter().zip(inputs).map(end).collect(),
            outputs: island.outputs.iter().zip(program.output_shapes()).map(end).collect(),
            workspace: program.workspace(),
            program,
            pool: Arc::clone(&self.options.pool),
        })
    }
}
