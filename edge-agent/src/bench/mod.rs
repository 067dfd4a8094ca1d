//! Speed and memory of a bundle or of any ONNX graph on this machine.

mod memory;
mod nodes;
mod random;
mod statistics;

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use shared::bundle::{Bundle, Signature, Trust};
use shared::message::LatencyMs;
use shared::phantom::{PhantomParams, render};
use shared::pixel::PixelFrame;
use shared::uid::Uid;

pub use memory::Memory;
pub use nodes::{Left, Lowered, Nodes};
pub use statistics::Latency;

use crate::engine::{EngineError, OnnxGraph};
use crate::infer::{AnalyzeError, Analyzer, AnalyzerOptions};
use crate::specimen::dicom_file;

/// Size of the synthetic radiograph: a 35 × 43 cm detector at 140 µm.
pub const SPECIMEN: (usize, usize) = (3000, 2500);
/// Runs before counting, for caches and the allocator.
const WARM_UP: usize = 2;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The bundle's name and version, or the graph's file.
    pub subject: String,
    /// Who answers for the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Engine and threads.
    pub engine: String,
    /// Its instructions, and what became of the graph's nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// From the folder or file to a graph that is ready to run, digests included.
    pub load_ms: f64,
    /// The network alone.
    pub infer: Latency,
    /// Stages around the network, for bundles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
    /// Of this process, after everything.
    pub memory: Option<Memory>,
}

/// Stages around the network on an uncompressed 16-bit DICOM file of [`SPECIMEN`] pixels.
#[derive(Clone, Debug, Serialize)]
pub struct Stages {
    /// Rows and columns of the image.
    pub image: (usize, usize),
    /// File to pixels.
    pub decode: Latency,
    /// Pixels to tensor.
    pub preprocess: Latency,
    /// Logits to masks.
    pub postprocess: Latency,
    /// The three together.
    pub around: Latency,
    /// With the network.
    pub total: Latency,
}

/// Measures a bundle: the whole analysis of one file, `iterations` times.
///
/// # Errors
/// If the bundle is not trusted, the graph does not load or the analysis fails.
pub fn bundle(
    dir: &Path,
    trust: &Trust,
    threads: usize,
    iterations: usize,
) -> Result<Measurement, BenchError> {
    let clock = Instant::now();
    let bundle = Bundle::open_trusted(dir, trust)?;
    let mut analyzer = Analyzer::with_tract(&bundle, threads, AnalyzerOptions::default())?;
    let load_ms = milliseconds(clock);
    let file = specimen();
    let mut runs: Vec<LatencyMs> = Vec::with_capacity(iterations);
    for _ in 0..WARM_UP + iterations {
        runs.push(analyzer.analyze(&file)?.latency);
    }
    runs.drain(..WARM_UP);
    let of = |pick: fn(&LatencyMs) -> f64| Latency::of(runs.iter().map(pick).collect());
    let stages = Stages {
        image: SPECIMEN,
        decode: of(|l| l.decode),
        preprocess: of(|l| l.preprocess),
        postprocess: of(|l| l.postprocess),
        around: of(|l| l.decode + l.preprocess + l.postprocess),
        total: of(LatencyMs::total),
    };
    Ok(Measurement {
        subject: format!("{} {}", bundle.manifest().name, bundle.manifest().version),
        signature: bundle.signature().cloned(),
        engine: analyzer.engine(),
        nodes: analyzer.lowering().map(Nodes::from),
        load_ms,
        infer: of(|l| l.infer),
        stages: Some(stages),
        memory: Memory::now(),
    })
}

/// Measures any ONNX graph on random input; open dimensions are 1.
///
/// # Errors
/// If the graph does not load or run.
pub fn onnx(path: &Path, threads: usize, iterations: usize) -> Result<Measurement, BenchError> {
    let clock = Instant::now();
    let mut graph = OnnxGraph::load(path, threads)?;
    let load_ms = milliseconds(clock);
    let inputs = random::inputs(&graph)?;
    let mut runs = Vec::with_capacity(iterations);
    for run in 0..WARM_UP + iterations {
        let clock = Instant::now();
        graph.run(inputs.clone())?;
        if run >= WARM_UP {
            runs.push(milliseconds(clock));
        }
    }
    Ok(Measurement {
        subject: path.display().to_string(),
        signature: None,
        engine: graph.describe(),
        nodes: Some(graph.lowering().into()),
        load_ms,
        infer: Latency::of(runs),
        stages: None,
        memory: Memory::now(),
    })
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] shared::bundle::BundleError),
    /// The graph.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The analysis of the synthetic image.
    #[error("the synthetic radiograph cannot be analysed: {0}")]
    Analyze(#[from] AnalyzeError),
}

/// A phantom, drawn at a quarter of the size and enlarged: its content does not matter for speed, its noise
/// would cost seconds.
fn specimen() -> Vec<u8> {
    let (rows, cols) = SPECIMEN;
    let small =
        render(&PhantomParams::random(1, rows / 4, cols / 4)).expect("a size within the phantom's bounds");
    let source = small.frame.samples();
    let samples = (0..rows * cols).map(|i| source[i / cols / 4 * (cols / 4) + i % cols / 4]).collect();
    let frame = PixelFrame::new(rows, cols, samples).expect("rows × cols samples");
    dicom_file(&frame, &Uid::from_content(&[0; 32]))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prost::Message;

    use super::*;

    #[test]
    fn any_graph_with_open_dimensions_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graph.onnx");
        fs::write(&path, crate::testing::onnx(3, 8).encode_to_vec()).unwrap();
        let measured = onnx(&path, 2, 3).unwrap();
        assert_eq!(measured.infer.runs, 3);
        assert!(measured.engine.contains("2 threads"));
        let json = serde_json::to_value(&measured).unwrap();
        assert!(json["infer"]["p99_ms"].is_number() && json.get("stages").is_none());
        let nodes = &json["nodes"];
        assert!(nodes["isa"].is_string() && nodes["lowered"] == serde_json::json!([]), "{nodes}");
        assert_eq!(nodes["left"][0]["name"], "Conv 'head'");
    }

    #[test]
    fn the_specimen_is_a_radiograph_of_the_size_that_is_promised() {
        let decoded = crate::decode::decode_bytes(&specimen(), &Default::default()).unwrap();
        assert_eq!((decoded.frame.rows(), decoded.frame.cols()), SPECIMEN);
    }
}
