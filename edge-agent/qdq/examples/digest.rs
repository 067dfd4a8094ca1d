//! Runs a graph with every instruction set of this processor and prints a SHA-256 of what each puts out. All are the same, on
//! every processor.
//!
//! ```text
//! cargo run --release -p qdq --example digest -- MODEL.onnx [INPUT.f32]
//! ```
//!
//! The input is a file of little-endian numbers for all of the graph's inputs, one after the other. Without one, they are
//! made up.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use qdq::{Element, End, Isa, Options, Pool, Sink, Source};
use sha2::{Digest, Sha256};
use tract_onnx::prelude::Framework;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().ok_or("which ONNX file?")?;
    let proto = tract_onnx::onnx().proto_model_for_path(Path::new(&path))?;
    let numbers = args.next().map(|file| std::fs::read(Path::new(&file))).transpose()?;

    let mut digests = Vec::new();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let lowered = qdq::lower(&proto, &Options { isa, pool: Arc::new(Pool::new(1)) })?;
        let mut session =
            lowered.session().ok_or_else(|| format!("not lowered as a whole:\n{}", lowered.report()))?;
        let reals = inputs(session.inputs(), numbers.as_deref())?;
        let sources: Vec<Source<'_>> = reals.iter().map(|real| Source::Real(real)).collect();
        let mut outputs: Vec<Output> = session.outputs().iter().map(Output::new).collect();
        let mut sinks: Vec<Sink<'_>> = outputs.iter_mut().map(Output::sink).collect();
        let clock = Instant::now();
        session.run(&sources, &mut sinks)?;
        let elapsed = clock.elapsed();
        let digest = hex(outputs.iter().map(Output::bytes));
        println!("{digest} {isa} input {}", hex(reals.iter().map(|real| real_bytes(real))));
        eprintln!("{isa}: {elapsed:?}");
        digests.push(digest);
    }
    digests.dedup();
    if digests.len() == 1 { Ok(()) } else { Err("instruction sets differ".into()) }
}

/// What the file says, or made-up numbers from -2 to 2 of which every one is exact.
fn inputs(ends: &[End], file: Option<&[u8]>) -> Result<Vec<Vec<f32>>, String> {
    if let Some(end) = ends.iter().find(|end| end.element != Element::F32) {
        return Err(format!("input '{}' is {:?}", end.name, end.element));
    }
    let count: usize = ends.iter().map(End::len).sum();
    let all: Vec<f32> = match file {
        Some(file) if file.len() == 4 * count => {
            file.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        Some(file) => {
            return Err(format!("the graph takes {count} numbers, the file has {} bytes", file.len()));
        }
        None => (0..count as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0)
            .collect(),
    };
    let mut rest = all.as_slice();
    Ok(ends.iter().map(|end| rest.split_off(..end.len()).unwrap_or_default().to_vec()).collect())
}

/// An output and its element.
enum Output {
    Real(Vec<f32>),
    Bytes(Vec<u8>),
}

impl Output {
    fn new(end: &End) -> Self {
        match end.element {
            Element::F32 => Self::Real(vec![0.0; end.len()]),
            Element::U8 | Element::I8 => Self::Bytes(vec![0; end.len()]),
        }
    }

    fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::Real(real) => Sink::Real(real),
            Self::Bytes(bytes) => Sink::Bytes(bytes),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Real(real) => real_bytes(real),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

fn real_bytes(real: &[f32]) -> Vec<u8> {
    real.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn hex(parts: impl Iterator<Item = Vec<u8>>) -> String {
    let mut hasher = Sha256::new();
    parts.for_each(|part| hasher.update(part));
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
