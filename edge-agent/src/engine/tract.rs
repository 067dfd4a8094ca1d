//! tract runs the graph; what is quantized of it runs in kernels of qdq's, as operators of tract.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qdq::{LowerError, Options};
use shared::bundle::Bundle;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::multithread::Executor;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::framework::Framework;
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::infer::{DimFact, Factoid, InferenceModel};
use tract_onnx::tract_hir::internal::DimLike;

use super::{Engine, EngineError, EngineOutput, Lowering};

/// Any ONNX graph with its open dimensions set to 1, ready to run.
pub struct OnnxGraph {
    path: PathBuf,
    plan: Arc<TypedRunnableModel>,
    // Kept from run to run with the plan's scratch memory.
    state: SimpleState<TypedFact, Box<dyn TypedOp>>,
    lowering: Lowering,
    threads: usize,
}

/// A bundle's graph: one input `[1, 1, S, S]`, one output `[1, C, h, w]`, both f32.
pub struct TractEngine {
    graph: OnnxGraph,
    input_size: usize,
}

impl OnnxGraph {
    /// Parses and optimizes a graph for `threads` threads.
    ///
    /// # Errors
    /// [`EngineError`] names the file, unless `CXR_ISA` is at fault.
    pub fn load(path: &Path, threads: usize) -> Result<Self, EngineError> {
        Self::load_with(path, &Options::new(threads)?)
    }

    /// The same with given instructions and threads.
    ///
    /// # Errors
    /// [`EngineError`] names the file.
    pub fn load_with(path: &Path, options: &Options) -> Result<Self, EngineError> {
        let bytes = fs::read(path).map_err(|source| EngineError::Read { path: path.to_owned(), source })?;
        Self::prepare(path, bytes, options, None)
    }

    /// `ends` are the names of the input and the output to keep; otherwise all are kept. `path` is for errors.
    fn prepare(
        path: &Path,
        bytes: Vec<u8>,
        options: &Options,
        ends: Option<&Ends<'_>>,
    ) -> Result<Self, EngineError> {
        let failed = |e: TractError| broken(path, &e);
        // tract asserts here and there on what a damaged graph says of itself.
        catch_unwind(AssertUnwindSafe(|| {
            // From memory, so that a graph cannot name files of the device as its external data.
            let proto = tract_onnx::onnx().proto_model_for_read(&mut &bytes[..]).map_err(failed)?;
            // Weights stand in few copies at a time: the file, the proto, the islands', the kernels'.
            drop(bytes);
            if let Some(ends) = ends {
                ends.check_classes(&proto, path)?;
            }
            let lowered = qdq::lower(&proto, options).map_err(|e| refused(path, &e))?;
            drop(proto);
            let lowering = Lowering { isa: options.isa, report: lowered.report().clone() };
            let mut model = lowered.into_model();
            if let Some(ends) = ends {
                ends.apply(&mut model, path)?;
            }
            close_dimensions(&mut model).map_err(failed)?;
            let threads = options.pool.threads();
            let executor = executor(if lowering.is_whole() { 1 } else { threads });
            let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
            let plan = model
                .into_optimized()
                .and_then(|model| model.into_runnable_with_options(&options))
                .map_err(failed)?;
            let state = plan.spawn().map_err(failed)?;
            lowering.log();
            Ok(Self { path: path.to_owned(), plan, state, lowering, threads })
        }))
        .unwrap_or_else(|_| Err(failed(TractError::msg("the parser gave up on it"))))
    }

    /// Name, element type and shape of every input.
    pub fn inputs(&self) -> Result<Vec<(String, DatumType, Vec<usize>)>, EngineError> {
        let model = self.plan.model();
        let ports = model.inputs.iter().enumerate().map(|(i, outlet)| {
            let fact = model.input_fact(i)?;
            let shape = fact.shape.eval_to_usize(&SymbolValues::default())?.to_vec();
            Ok((model.node(outlet.node).name.clone(), fact.datum_type, shape))
        });
        ports.collect::<TractResult<_>>().map_err(|e| broken(&self.path, &e))
    }

    /// Shape of the first output.
    fn output_shape(&self) -> Result<Vec<usize>, EngineError> {
        let shape = |graph: &Self| -> TractResult<Vec<usize>> {
            let fact = graph.plan.model().output_fact(0)?;
            Ok(fact.shape.eval_to_usize(&SymbolValues::default())?.to_vec())
        };
        shape(self).map_err(|e| broken(&self.path, &e))
    }

    /// Runs the graph once.
    ///
    /// # Errors
    /// [`EngineError::Run`].
    pub fn run(&mut self, inputs: TVec<TValue>) -> Result<TVec<TValue>, EngineError> {
        self.state.run(inputs).map_err(|e| {
            // A run that broke off leaves values behind.
            if let Ok(fresh) = self.plan.spawn() {
                self.state = fresh;
            }
            EngineError::Run(one_line(&e))
        })
    }

    /// What became of its nodes.
    pub fn lowering(&self) -> &Lowering {
        &self.lowering
    }

    /// Name and settings, for people.
    pub fn describe(&self) -> String {
        let plural = if self.threads == 1 { "" } else { "s" };
        format!("{}, {} thread{plural}", self.lowering.engine(), self.threads)
    }
}

impl TractEngine {
    /// The bundle's graph on `threads` threads, its ends checked against the manifest.
    ///
    /// # Errors
    /// [`EngineError`] names the file and what does not fit, unless `CXR_ISA` is at fault.
    pub fn load(bundle: &Bundle, threads: usize) -> Result<Self, EngineError> {
        Self::load_with(bundle, &Options::new(threads)?)
    }

    /// The same with given instructions and threads.
    ///
    /// # Errors
    /// [`EngineError`] names the file and what does not fit.
    pub fn load_with(bundle: &Bundle, options: &Options) -> Result<Self, EngineError> {
        let manifest = bundle.manifest();
        let path = bundle.model_path();
        let size = manifest.preprocess.input_size;
        let labels: Vec<&str> = manifest.classes.iter().map(|class| class.label.as_str()).collect();
        let classes = labels.join(",");
        let ends =
            Ends { input: &manifest.graph.input, output: &manifest.graph.output, classes: &classes, size };
        let bytes =
            bundle.read(&manifest.graph.file).map_err(|error| EngineError::Bundle(Box::new(error)))?;
        let graph = OnnxGraph::prepare(&path, bytes, options, Some(&ends))?;
        let shape = graph.output_shape()?;
        let classes = manifest.classes.len();
        if !matches!(shape[..], [1, c, h, w] if c == classes && h > 0 && w > 0) {
            return Err(EngineError::Mismatch {
                path,
                what: format!("output '{}'", manifest.graph.output),
                found: format!("{shape:?}"),
                expected: format!("[1, {classes}, h, w]: a plane for each of its classes"),
            });
        }
        Ok(Self { graph, input_size: size })
    }
}

impl Engine for TractEngine {
    fn run(&mut self, input: &[f32]) -> Result<EngineOutput, EngineError> {
        let size = self.input_size;
        if input.len() != size * size {
            return Err(EngineError::Input { expected: size * size, found: input.len() });
        }
        let failed = |e: &TractError| EngineError::Run(one_line(e));
        let tensor = Tensor::from_shape(&[1, 1, size, size], input).map_err(|e| failed(&e))?;
        let outputs = self.graph.run(tvec!(tensor.into_tvalue()))?;
        let output = outputs.first().ok_or_else(|| EngineError::Run("it has no output".into()))?;
        let &[_, classes, rows, cols] = output.shape() else {
            return Err(EngineError::Run(format!("its output has shape {:?}", output.shape())));
        };
        let view = output.to_plain_array_view::<f32>().map_err(|e| failed(&e))?;
        Ok(EngineOutput { classes, rows, cols, data: view.iter().copied().collect() })
    }

    fn describe(&self) -> String {
        self.graph.describe()
    }

    fn lowering(&self) -> Option<&Lowering> {
        Some(self.graph.lowering())
    }
}

/// Key of the metadata under which the trainer's export names a graph's planes.
const CLASSES: &str = "classes";

/// The ends of a bundle's graph.
struct Ends<'a> {
    input: &'a str,
    output: &'a str,
    /// Labels of the output's planes, joined by commas.
    classes: &'a str,
    size: usize,
}

impl Ends<'_> {
    /// A graph that names its planes must name them in the manifest's order; others cannot be checked.
    fn check_classes(&self, proto: &ModelProto, path: &Path) -> Result<(), EngineError> {
        let named = proto.metadata_props.iter().find(|property| property.key == CLASSES);
        match named {
            Some(property) if property.value != self.classes => Err(EngineError::Mismatch {
                path: path.to_owned(),
                what: "the order of the classes".into(),
                found: property.value.clone(),
                expected: self.classes.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks the names and fixes the input's shape.
    fn apply(&self, model: &mut InferenceModel, path: &Path) -> Result<(), EngineError> {
        let mismatch = |what: &str, found: Vec<String>, expected: &str| EngineError::Mismatch {
            path: path.to_owned(),
            what: what.to_owned(),
            found: format!("'{}'", found.join("', '")),
            expected: format!("'{expected}'"),
        };
        let inputs: Vec<String> = model.inputs.iter().map(|o| model.node(o.node).name.clone()).collect();
        if inputs != [self.input] {
            return Err(mismatch("the list of inputs", inputs, self.input));
        }
        let outlets = model.outputs.clone();
        let label = |outlet: &OutletId| {
            model.outlet_label(*outlet).unwrap_or(&model.node(outlet.node).name).to_owned()
        };
        let labels: Vec<String> = outlets.iter().map(label).collect();
        let Some(kept) = labels.iter().position(|l| l == self.output) else {
            return Err(mismatch("the list of outputs", labels, self.output));
        };
        model.select_output_outlets(&outlets[kept..=kept]).map_err(|e| broken(path, &e))?;
        let fact = model.input_fact(0).map_err(|e| broken(path, &e))?;
        let wanted = [1, 1, self.size, self.size];
        let float = fact.datum_type.concretize().is_none_or(|kind| kind == f32::datum_type());
        let fits = fact.shape.is_open()
            || fact.shape.dims().count() == wanted.len()
                && fact.shape.dims().zip(wanted).all(|(dim, side)| closed(dim).is_none_or(|d| d == side));
        if !(float && fits) {
            return Err(EngineError::Mismatch {
                path: path.to_owned(),
                what: format!("input '{}'", self.input),
                found: format!("{fact:?}"),
                expected: format!("f32 of {wanted:?}"),
            });
        }
        let fact = InferenceFact::dt_shape(f32::datum_type(), wanted);
        model.set_input_fact(0, fact).map_err(|e| broken(path, &e))
    }
}

/// Open dimensions (a batch, mostly) become 1.
fn close_dimensions(model: &mut InferenceModel) -> TractResult<()> {
    for i in 0..model.inputs.len() {
        let mut fact = model.input_fact(i)?.clone();
        if fact.shape.is_open() {
            return Err(TractError::msg(format!("input {i} has no shape")));
        }
        let dims: Vec<TDim> = fact.shape.dims().map(|dim| closed(dim).unwrap_or(1).to_dim()).collect();
        fact.shape = dims.into();
        model.set_input_fact(i, fact)?;
    }
    Ok(())
}

/// The number, if the dimension is one and not a symbol.
fn closed(dim: &DimFact) -> Option<usize> {
    dim.concretize()?.to_usize().ok()
}

fn broken(path: &Path, error: &TractError) -> EngineError {
    EngineError::Graph { path: path.to_owned(), reason: one_line(error) }
}

fn refused(path: &Path, error: &LowerError) -> EngineError {
    EngineError::Graph { path: path.to_owned(), reason: short(error.to_string()) }
}

/// Threads for tract's own operators. They wait for qdq's and qdq's for them, and whoever waits for longer than some
/// microseconds sleeps, so that both may have as many as there are to be. They have none where all is qdq's.
fn executor(threads: usize) -> Executor {
    if threads > 1 { Executor::multithread_with_name(threads, "tract") } else { Executor::SingleThread }
}

/// The chain of causes on one line, at a length that people read.
fn one_line(error: &TractError) -> String {
    short(format!("{error:#}").replace('\n', " "))
}

fn short(text: String) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
