//! Where the time of a graph goes: each layer's multiplications a second against the peak of the core.
//!
//! `cargo bench -p qdq --bench layers -- [GRAPH.onnx] [--runs N]`, the shipped model unless told; `CXR_ISA` forces an
//! instruction set. On one thread.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use qdq::Options;
use qdq::profile::{self, LayerTime};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::Framework;

/// Issue 5's mark for the dense 3 × 3 layers.
const MARK: f64 = 0.85;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { graph: path, runs } = Arguments::read()?;
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let proto = tract_onnx::onnx().proto_model_for_read(&mut &bytes[..])?;
    let options = Options::new(1)?;
    let lowered = qdq::lower(&proto, &options)?;
    let left = lowered.report().left.len();
    let mut session =
        lowered.session().ok_or_else(|| format!("not lowered as a whole: {left} nodes are left to tract"))?;
    let peak =
        profile::peak(options.isa).ok_or_else(|| format!("the peak of {} is not measured", options.isa))?;
    println!("{}, {}, {runs} runs; peak of the core {:.1} GMAC/s", path.display(), options.isa, peak / 1e9);
    let windows = proto.graph.as_ref().map(windows).unwrap_or_default();
    let layers = session.profile(runs).into_iter().map(|time| Layer::new(time, &windows));
    report(&layers.collect::<Vec<_>>(), peak);
    Ok(())
}

struct Arguments {
    graph: PathBuf,
    runs: usize,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/chexseg-edge/model.onnx");
        let mut arguments = Self { graph: shipped, runs: 50 };
        // cargo adds `--bench`.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            match word.as_str() {
                "--runs" => {
                    let count = words.next().ok_or("--runs wants a number")?;
                    arguments.runs = count.parse().map_err(|e| format!("--runs {count}: {e}"))?;
                }
                flag if flag.starts_with('-') => return Err(format!("no option {flag}")),
                path => arguments.graph = path.into(),
            }
        }
        Ok(arguments)
    }
}

/// What the ONNX graph says of a convolution.
#[derive(Clone)]
struct Window {
    /// Output channels, input channels of a group, rows, columns.
    weight: [i64; 4],
    stride: i64,
    dilation: i64,
    group: i64,
}

/// The convolutions by the names that they may be called by: their own, and that of their output.
fn windows(graph: &GraphProto) -> HashMap<String, Window> {
    let made: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
        .collect();
    let dims: HashMap<&str, &[i64]> =
        graph.initializer.iter().map(|t| (t.name.as_str(), &t.dims[..])).collect();
    let mut windows = HashMap::new();
    for node in graph.node.iter().filter(|node| node.op_type == "Conv") {
        let mut weight = node.input[1].as_str();
        // Quantized weights lie behind a DequantizeLinear, in PyTorch's files behind a QuantizeLinear too.
        while let Some(maker) = made.get(weight) {
            weight = &maker.input[0];
        }
        let Some(&weight) = dims.get(weight) else { continue };
        let Ok(weight) = <[i64; 4]>::try_from(weight) else { continue };
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let first = |name: &str| attribute(name).and_then(|a| a.ints.first().copied()).unwrap_or(1);
        let group = attribute("group").map_or(1, |a| a.i);
        let window = Window { weight, stride: first("strides"), dilation: first("dilations"), group };
        windows.insert(node.name.clone(), window.clone());
        windows.insert(node.output[0].clone(), window);
    }
    windows
}

struct Layer {
    time: LayerTime,
    window: Option<Window>,
}

impl Layer {
    /// Layers are called `Conv 'name'`.
    fn new(time: LayerTime, windows: &HashMap<String, Window>) -> Self {
        let name = time.name.split('\'').nth(1).unwrap_or(&time.name);
        let window = windows.get(name).filter(|_| time.macs as f64 > 0.0).cloned();
        Self { time, window }
    }

    /// Layers of one kind are summed.
    fn kind(&self) -> String {
        match &self.window {
            None => self.time.kind.to_string(),
            Some(Window { weight: [_, _, rows, columns], group, .. }) => {
                let form = match group {
                    1 => "dense",
                    _ if self.is_depthwise() => "depthwise",
                    _ => "grouped",
                };
                format!("{form} {rows}x{columns}")
            }
        }
    }

    fn is_depthwise(&self) -> bool {
        self.window.as_ref().is_some_and(|w| w.group > 1 && w.weight[1] == 1)
    }

    fn shape(&self) -> String {
        let Some(Window { weight, stride, dilation, group }) = &self.window else { return String::new() };
        let [out, of_group, rows, columns] = weight;
        let pixels = self.time.macs as i64 / (out * of_group * rows * columns).max(1);
        let input = of_group * group;
        format!("{rows}x{columns} {input}→{out}, stride {stride}, dilation {dilation}, {pixels} pixels")
    }
}

fn report(layers: &[Layer], peak: f64) {
    let total: f64 = layers.iter().map(|layer| layer.time.seconds).sum();
    let row = |layers: &[&Layer]| Row::of(layers, total, peak);
    println!("{:>9} {:>8} {:>6} {:>8} {:>6}", "MMAC", "ms", "time", "GMAC/s", "peak");
    for layer in layers {
        println!("{}  {} ({}) {}", row(&[layer]), layer.time.name, layer.kind(), layer.shape());
    }
    let mut kinds: BTreeMap<String, Vec<&Layer>> = BTreeMap::new();
    for layer in layers {
        kinds.entry(layer.kind()).or_default().push(layer);
    }
    println!();
    for (kind, layers) in &kinds {
        println!("{}  {} × {kind}", row(layers), layers.len());
    }
    let (convolutions, others): (Vec<_>, Vec<_>) = layers.iter().partition(|layer| layer.window.is_some());
    println!("{}  all convolutions", row(&convolutions));
    println!("{}  all that is no convolution", row(&others));
    println!("{}  everything", row(&layers.iter().collect::<Vec<_>>()));
    if let Some(dense) = kinds.get("dense 3x3") {
        let share = row(dense).rate() / peak;
        let verdict = if share >= MARK { "met" } else { "MISSED" };
        let slowest = dense.iter().map(|layer| row(&[layer]).rate() / peak).fold(f64::INFINITY, f64::min);
        println!("mark: dense 3x3 layers at ≥ {:.0}% of the peak: {verdict}", MARK * 100.0);
        println!("      all of them together {:.1}%, the slowest {:.1}%", share * 100.0, slowest * 100.0);
    }
}

/// The sum of some layers.
struct Row {
    macs: f64,
    seconds: f64,
    total: f64,
    peak: f64,
}

impl Row {
    fn of(layers: &[&Layer], total: f64, peak: f64) -> Self {
        let macs = layers.iter().map(|layer| layer.time.macs as f64).sum();
        let seconds = layers.iter().map(|layer| layer.time.seconds).sum();
        Self { macs, seconds, total, peak }
    }

    /// MAC/s.
    fn rate(&self) -> f64 {
        self.macs / self.seconds.max(1e-12)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.seconds / self.total * 100.0;
        write!(f, "{:9.2} {:8.3} {time:5.1}%", self.macs / 1e6, self.seconds * 1e3)?;
        if self.macs > 0.0 {
            write!(f, " {:8.1} {:5.1}%", self.rate() / 1e9, self.rate() / self.peak * 100.0)
        } else {
            write!(f, " {:>8} {:>6}", "", "")
        }
    }
}
