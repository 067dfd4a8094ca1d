use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::OpState;

use super::Runner;
use super::shapes::output_shapes;
use crate::graph::Shape;
use crate::port::{Sink, Source};
use crate::program::{Program, Workspace};

/// An island in a graph of tract whose types are known.
#[derive(Clone)]
pub(crate) struct Fused {
    pub(super) runner: Runner,
    operators: usize,
    /// The program, if all shapes are numbers; it has the weights packed, and the island is one without weights then.
    ready: Option<Arc<Ready>>,
    /// Dimensions of the outputs that are no function of the inputs' that tract could write down.
    open: Arc<HashMap<(usize, usize), Symbol>>,
}

/// A program and the inputs' shapes that it is for.
struct Ready {
    inputs: Vec<Shape>,
    program: Program,
}

impl std::fmt::Debug for Fused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an island of {} operators", self.operators)
    }
}

impl PartialEq for Fused {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.runner.island, &other.runner.island)
    }
}

impl Eq for Fused {}

impl Fused {
    pub(super) fn new(runner: &Runner, inputs: &[&TypedFact], symbols: &SymbolScope) -> TractResult<Self> {
        let numbers: Option<Vec<Shape>> =
            inputs.iter().map(|fact| Some(fact.shape.as_concrete()?.to_vec())).collect();
        let mut fused = Self {
            runner: runner.clone(),
            operators: runner.island.nodes.len(),
            ready: None,
            open: Arc::default(),
        };
        if let Some(shapes) = numbers {
            fused.ready = Some(Arc::new(runner.prepare(shapes)?));
            fused.runner.island = Arc::new(runner.island.ends());
        } else {
            let shapes: Vec<&[TDim]> = inputs.iter().map(|fact| fact.shape.dims()).collect();
            let mut open = HashMap::new();
            for (output, shape) in output_shapes(&runner.island, &shapes)?.iter().enumerate() {
                for (axis, _) in shape.iter().enumerate().filter(|(_, dim)| dim.is_none()) {
                    open.insert((output, axis), symbols.new_with_prefix("qdq"));
                }
            }
            fused.open = Arc::new(open);
        }
        Ok(fused)
    }

    fn shapes(&self, inputs: &[&TypedFact]) -> TractResult<Vec<TVec<TDim>>> {
        if let Some(ready) = &self.ready {
            let same = inputs.iter().zip(&ready.inputs);
            if !same.into_iter().all(|(fact, shape)| fact.shape.as_concrete() == Some(&shape[..])) {
                bail!("an island was prepared for inputs of {:?}", ready.inputs);
            }
            let shapes = ready.program.output_shapes().iter();
            return Ok(shapes.map(|shape| shape.iter().map(ToDim::to_dim).collect()).collect());
        }
        let shapes: Vec<&[TDim]> = inputs.iter().map(|fact| fact.shape.dims()).collect();
        let shapes = output_shapes(&self.runner.island, &shapes)?.into_iter().enumerate();
        let known = |(output, shape): (usize, TVec<Option<TDim>>)| {
            let dims = shape.into_iter().enumerate().map(|(axis, dim)| {
                let open = || self.open.get(&(output, axis)).map(Symbol::to_dim);
                dim.or_else(open).context("a dimension is open")
            });
            dims.collect()
        };
        shapes.map(known).collect()
    }
}

impl Runner {
    fn prepare(&self, inputs: Vec<Shape>) -> TractResult<Ready> {
        let program = Program::new(&self.island, &inputs, self.isa).map_err(TractError::msg)?;
        Ok(Ready { inputs, program })
    }
}

impl Op for Fused {
    fn name(&self) -> StaticName {
        "QdqIsland".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} operators for {}", self.operators, self.runner.isa)])
    }

    fn mints_runtime_symbols(&self) -> bool {
        !self.open.is_empty()
    }

    op_as_typed_op!();
}

impl EvalOp for Fused {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State::default())))
    }
}

impl TypedOp for Fused {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes = self.shapes(inputs)?;
        Ok(self.runner.outputs().zip(shapes).map(|(datum_type, shape)| datum_type.fact(shape)).collect())
    }

    fn set_symbols(
        &self,
        _source: &TypedModel,
        node: &TypedNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
        _values: &HashMap<Symbol, TDim>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs = node.inputs.iter().map(|input| mapping[input]).collect::<TVec<_>>();
        let fused = if self.ready.is_some() {
            self.clone()
        } else {
            let facts = inputs.iter().map(|input| target.outlet_fact(*input));
            Self::new(&self.runner, &facts.collect::<TractResult<Vec<_>>>()?, &target.symbols)?
        };
        target.wire_node(&node.name, fused, &inputs)
    }

    as_op!();
}

/// What an island keeps from run to run.
#[derive(Default)]
struct State {
    ready: Option<(Arc<Ready>, Workspace)>,
    /// The last run's outputs. They are written on again once nothing else holds them.
    outputs: Vec<Arc<Tensor>>,
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an island's memory")
    }
}

impl State {
    /// The program for inputs of these shapes.
    fn prepare(&mut self, fused: &Fused, inputs: &[TValue]) -> TractResult<&mut (Arc<Ready>, Workspace)> {
        let fits =
            |ready: &Ready| ready.inputs.iter().zip(inputs).all(|(shape, input)| shape == input.shape());
        if !self.ready.as_ref().is_some_and(|(ready, _)| fits(ready)) {
            self.outputs.clear();
            let ready = match &fused.ready {
                Some(ready) if fits(ready) => Arc::clone(ready),
                Some(ready) => bail!("an island was prepared for inputs of {:?}", ready.inputs),
                None => {
                    let shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
                    Arc::new(fused.runner.prepare(shapes)?)
                }
            };
            let workspace = ready.program.workspace();
            self.ready = Some((ready, workspace));
        }
        self.ready.as_mut().context("an island was not prepared")
    }
}

impl OpState for State {
    fn eval(
        &mut self,
        _context: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let fused = op.downcast_ref::<Fused>().context("an island's memory belongs to an island")?;
        if inputs.len() != fused.runner.island.inputs.len() {
            bail!("an island of {} inputs got {}", fused.runner.island.inputs.len(), inputs.len());
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        let (ready, workspace) = self.prepare(fused, &inputs)?;
        for (index, (datum_type, shape)) in
            fused.runner.outputs().zip(ready.program.output_shapes()).enumerate()
        {
            match outputs.get_mut(index) {
                Some(kept) if kept.shape() == &shape[..] && Arc::strong_count(kept) == 1 => {}
                Some(kept) => *kept = Arc::new(Tensor::zero_dt(datum_type, shape)?),
                None => outputs.push(Arc::new(Tensor::zero_dt(datum_type, shape)?)),
            }
        }
        let sources = inputs.iter().zip(fused.runner.inputs());
        let sources: TVec<Source<'_>> =
            sources.map(|(input, datum_type)| source(input, datum_type)).collect::<TractResult<_>>()?;
        let mut sinks: TVec<Sink<'_>> = outputs.iter_mut().map(sink).collect::<TractResult<_>>()?;
        ready.program.run(workspace, &fused.runner.pool, &sources, &mut sinks);
        drop(sinks);
        let made = outputs.iter().map(|output| Arc::clone(output).into_tvalue()).collect();
        self.outputs = outputs;
        Ok(made)
    }

    // Nothing of a run is seen by the next.
    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

fn source(tensor: &Tensor, datum_type: DatumType) -> TractResult<Source<'_>> {
    if tensor.datum_type() != datum_type {
        bail!("an island's input is of {datum_type:?}, not {:?}", tensor.datum_type());
    }
    let view = tensor.try_as_plain_ram()?;
    Ok(match datum_type {
        DatumType::F32 => Source::Real(view.as_slice()?),
        _ => Source::Bytes(view.as_bytes()),
    })
}

fn sink(tensor: &mut Arc<Tensor>) -> TractResult<Sink<'_>> {
    let tensor = Arc::get_mut(tensor).context("an island's output is held elsewhere")?;
    Ok(match tensor.datum_type() {
        DatumType::F32 => {
            let view = tensor.to_plain_array_view_mut::<f32>()?;
            Sink::Real(view.into_slice().context("an island's output is not row-major")?)
        }
        _ => Sink::Bytes(tensor.as_bytes_mut()),
    })
}
