//! Runs one graph by a session of qdq, by tract with the graph lowered, or by tract alone, told on stdin what to do.
//! compare.py starts it; README.md tells the protocol.
//!
//! Usage: `worker session|lowered|tract THREADS`

use std::fs;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use prost::Message;
use qdq::{LoweredModel, Options, Report, Session, Sink, Source};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::multithread::Executor;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::framework::Framework;
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::infer::InferenceModel;

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, threads] = &words[..] else {
        return Err("usage: worker session|lowered|tract THREADS".into());
    };
    let threads = threads.parse().map_err(|e| format!("{threads}: {e}"))?;
    let mut loaded = None;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        if line.trim() == "quit" {
            break;
        }
        let answer = answer(&line, kind, threads, &mut loaded)
            .unwrap_or_else(|error| format!("error {error:#}").replace('\n', " "));
        println!("{answer}");
        io::stdout().flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn answer(line: &str, kind: &str, threads: usize, loaded: &mut Option<Loaded>) -> TractResult<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match (&words[..], loaded.as_mut()) {
        (["load", graph, picture], _) => {
            let picture = floats(picture)?;
            let start = Instant::now();
            let (mut engine, about) = Engine::load(graph, kind, threads)?;
            let took = milliseconds(start);
            engine.take(&picture)?;
            *loaded = Some(Loaded { engine, about });
            Ok(format!("loaded {took:.3}"))
        }
        (["run", count], Some(Loaded { engine, .. })) => {
            let times = (0..count.parse()?).map(|_| {
                let start = Instant::now();
                engine.run()?;
                Ok(format!("{:.4}", milliseconds(start)))
            });
            Ok(times.collect::<TractResult<Vec<_>>>()?.join(" "))
        }
        (["save", path], Some(Loaded { engine, .. })) => {
            let bytes: Vec<u8> = engine.output()?.iter().flat_map(|value| value.to_le_bytes()).collect();
            fs::write(path, bytes)?;
            Ok("saved".into())
        }
        (["about"], Some(Loaded { about, .. })) => Ok(about.clone()),
        (["rss"], _) => Ok(format!("rss {} {} 0", memory("VmRSS:")?, memory("VmHWM:")?)),
        _ => Err(TractError::msg(format!("no command '{line}', or no graph is loaded"))),
    }
}

struct Loaded {
    engine: Engine,
    about: String,
}

/// A graph that is ready to run, with its input and the output of its last run.
enum Engine {
    Session { session: Session, input: Vec<f32>, output: Vec<f32> },
    Tract { state: SimpleState<TypedFact, Box<dyn TypedOp>>, input: TValue, output: Option<TValue> },
}

impl Engine {
    /// From the file to what can run; what it is, for people.
    fn load(path: &str, kind: &str, threads: usize) -> TractResult<(Self, String)> {
        let bytes = fs::read(path)?;
        let proto = ModelProto::decode(&bytes[..])?;
        drop(bytes);
        let plural = if threads > 1 { "s" } else { "" };
        let told = |name: String| format!("{name}, {threads} thread{plural}");
        if kind == "tract" {
            let model = tract_onnx::onnx().model_for_proto_model(&proto)?;
            return Ok((Self::in_tract(model, threads)?, told("tract alone".into())));
        }
        let options = Options::new(threads)?;
        let isa = options.isa;
        let lowered = qdq::lower(&proto, &options)?;
        drop(proto);
        let counted = counted(lowered.report());
        match kind {
            "session" => Ok((Self::alone(lowered)?, told(format!("qdq alone on {isa}, {counted}")))),
            "lowered" => {
                let engine = Self::in_tract(lowered.into_model(), 1)?;
                Ok((engine, told(format!("qdq in tract on {isa}, {counted}"))))
            }
            _ => Err(TractError::msg(format!("no kind '{kind}'"))),
        }
    }

    fn alone(lowered: LoweredModel) -> TractResult<Self> {
        let session = lowered.session();
        let left = lowered.report().left.first().map(|node| format!("{}: {}", node.name, node.reason));
        drop(lowered);
        let session = session.ok_or_else(|| {
            let left = left.unwrap_or_else(|| "its shapes are open, or it has more than one part".into());
            TractError::msg(format!("not lowered as a whole: {left}"))
        })?;
        let output = vec![0.0; session.outputs()[0].len()];
        Ok(Self::Session { session, input: Vec::new(), output })
    }

    fn in_tract(model: InferenceModel, threads: usize) -> TractResult<Self> {
        let executor = match threads {
            1 => Executor::SingleThread,
            _ => Executor::multithread_with_name(threads, "tract"),
        };
        let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
        let state = model.into_optimized()?.into_runnable_with_options(&options)?.spawn()?;
        Ok(Self::Tract { state, input: Tensor::zero::<f32>(&[0])?.into_tvalue(), output: None })
    }

    /// Takes the picture in the shape of the graph's input.
    fn take(&mut self, picture: &[f32]) -> TractResult<()> {
        match self {
            Self::Session { input, .. } => *input = picture.to_vec(),
            Self::Tract { state, input, .. } => {
                let shape = state.model().input_fact(0)?.shape.eval_to_usize(&SymbolValues::default())?;
                *input = Tensor::from_shape(&shape, picture)?.into_tvalue();
            }
        }
        Ok(())
    }

    fn run(&mut self) -> TractResult<()> {
        match self {
            Self::Session { session, input, output } => {
                session.run(&[Source::Real(input)], &mut [Sink::Real(output)])?;
            }
            Self::Tract { state, input, output } => {
                *output = Some(state.run(tvec!(input.clone()))?.swap_remove(0));
            }
        }
        Ok(())
    }

    fn output(&self) -> TractResult<Vec<f32>> {
        match self {
            Self::Session { output, .. } => Ok(output.clone()),
            Self::Tract { output, .. } => {
                let output = output.as_ref().ok_or_else(|| TractError::msg("it has not run"))?;
                Ok(output.to_plain_array_view::<f32>()?.iter().copied().collect())
            }
        }
    }
}

fn counted(report: &Report) -> String {
    format!("{} operators lowered, {} nodes left", report.lowered.len(), report.left.len())
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// KiB that the kernel counts for this process under `key`.
fn memory(key: &str) -> TractResult<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value =
        status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| TractError::msg(format!("no {key} in /proc/self/status")))
}

/// The values of a file of little-endian f32.
fn floats(path: &str) -> TractResult<Vec<f32>> {
    let bytes = fs::read(path)?;
    let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(values.collect())
}
