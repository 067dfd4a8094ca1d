//! An island ready to run on tensors of known shapes: weights packed for the processor, every tensor's place known.

mod frame;
mod fuse;
mod layout;
mod memory;
mod place;
mod steps;
#[cfg(test)]
mod tests;

use layout::Layout;

use std::time::Instant;

use crate::graph::{Island, Kind, Shape};
use crate::pool::Pool;
use crate::port::{Sink, Source};
use crate::profile::LayerTime;
use crate::{Isa, graph};

pub(crate) use frame::Frame;

/// The most bands for each thread: several, so that one that is kept off its core leaves its share to others.
const BANDS_A_THREAD: usize = 8;
/// Work of less, in about cycles, is not worth waking a thread.
const LEAST_WORK: usize = 20_000;

/// A program. Many workspaces may run it at once.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Named>,
    constants: Vec<u8>,
    arena_bytes: usize,
    outputs: Vec<Shape>,
}

#[derive(Debug)]
struct Named {
    name: String,
    /// For profiles: what it is, and its multiplications.
    kind: String,
    macs: u64,
    step: Box<dyn steps::Step>,
}

/// The memory of a run.
#[derive(Debug)]
pub(crate) struct Workspace {
    arena: Vec<Line>,
    /// Where the outputs of the last run are; kept for its memory.
    outputs: Vec<frame::Out>,
}

/// A line of the cache, for its alignment.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; memory::ALIGN]);

impl Program {
    /// Prepares an island for inputs of these shapes.
    ///
    /// # Errors
    /// If the shapes do not fit the island, naming the node, or the processor lacks the instructions.
    pub(crate) fn new(island: &Island, inputs: &[Shape], isa: Isa) -> Result<Self, String> {
        if !isa.is_here() {
            return Err(format!("this processor has no {isa}"));
        }
        let shapes = island.shapes(inputs)?;
        let (island, residuals) = fuse::fuse(island, &shapes);
        let island = &island;
        let layout = Layout::new(island, &shapes)?;
        let mut all = Vec::with_capacity(island.nodes.len() + 2);
        for (input, value) in layout::entered(island) {
            let image = layout.places[value].image()?.clone();
            let signed = matches!(island.values[value].kind, Kind::Bytes { signed: true, .. });
            let name = island.values[value].name.clone();
            all.push(Named { name, kind: "Enter".into(), macs: 0, step: steps::enter(image, input, signed) });
        }
        for ((node, scratch), residual) in island.nodes.iter().zip(&layout.scratch).zip(residuals) {
            let titled = |reason| format!("{} '{}': {reason}", node.op.name(), node.name);
            let build = steps::Build {
                isa,
                op: &node.op,
                inputs: node.inputs.iter().map(|value| &layout.places[*value]).collect(),
                from: node.inputs.iter().map(|value| quant(island, *value)).collect(),
                output: &layout.places[node.output],
                to: quant(island, node.output),
                scratch: *scratch,
                residual,
            };
            let (kind, macs) = (node.op.kind(), node.op.macs(&shapes[node.output]));
            all.push(Named {
                name: node.name.clone(),
                kind,
                macs,
                step: steps::build(&build).map_err(titled)?,
            });
        }
        for (output, value) in island.outputs.iter().enumerate() {
            let place = &layout.places[*value];
            let signed = matches!(island.values[*value].kind, Kind::Bytes { signed: true, .. });
            if let Some(step) = steps::leave(place, output, signed) {
                all.push(Named {
                    name: island.values[*value].name.clone(),
                    kind: "Leave".into(),
                    macs: 0,
                    step,
                });
            }
        }
        let outputs = island.outputs.iter().map(|value| shapes[*value].clone()).collect();
        Ok(Self { steps: all, constants: layout.constants, arena_bytes: layout.arena_bytes, outputs })
    }

    pub(crate) fn output_shapes(&self) -> &[Shape] {
        &self.outputs
    }

    pub(crate) fn workspace(&self) -> Workspace {
        Workspace {
            arena: vec![Line([0; memory::ALIGN]); self.arena_bytes.div_ceil(memory::ALIGN)],
            outputs: Vec::with_capacity(self.outputs.len()),
        }
    }

    /// Runs on tensors of the shapes that the program was made for. Allocates nothing.
    pub(crate) fn run(
        &self,
        workspace: &mut Workspace,
        pool: &Pool,
        inputs: &[Source<'_>],
        outputs: &mut [Sink<'_>],
    ) {
        self.each(workspace, inputs, outputs, |named, frame| named.run(frame, pool));
    }

    /// Runs, and tells the time of every step.
    pub(crate) fn times(
        &self,
        workspace: &mut Workspace,
        pool: &Pool,
        inputs: &[Source<'_>],
        outputs: &mut [Sink<'_>],
    ) -> Vec<LayerTime> {
        let mut times = Vec::with_capacity(self.steps.len());
        self.each(workspace, inputs, outputs, |named, frame| {
            let start = Instant::now();
            named.run(frame, pool);
            let seconds = start.elapsed().as_secs_f64();
            times.push(LayerTime {
                name: named.name.clone(),
                kind: named.kind.clone(),
                macs: named.macs,
                seconds,
            });
        });
        times
    }

    fn each(
        &self,
        workspace: &mut Workspace,
        inputs: &[Source<'_>],
        outputs: &mut [Sink<'_>],
        mut run: impl FnMut(&Named, &Frame<'_>),
    ) {
        // SAFETY: lines are bytes without gaps.
        let (_, arena, _) = unsafe { workspace.arena.align_to_mut::<u8>() };
        let frame = Frame::new(arena, &self.constants, inputs, outputs, &mut workspace.outputs);
        for named in &self.steps {
            run(named, &frame);
        }
    }
}

impl Named {
    fn run(&self, frame: &Frame<'_>, pool: &Pool) {
        let lines = self.step.lines();
        let threads = if self.step.work() < LEAST_WORK { 1 } else { pool.threads() };
        let bands = bands(lines, threads, self.step.most_bands());
        pool.run(bands, &|band| {
            self.step.run(frame, lines * band / bands..lines * (band + 1) / bands, band);
        });
    }
}

/// Into how many bands lines are cut: as many as may be of those numbers that leave the fewest lines to the thread that has
/// most. (Eight bands of 20 lines on two threads are 11 lines for one of them.)
fn bands(lines: usize, threads: usize, most: usize) -> usize {
    let most = most.min(lines);
    if threads == 1 {
        return most.min(1);
    }
    let longest = |bands: &usize| bands.div_ceil(threads) * lines.div_ceil(*bands);
    (1..=most.min(BANDS_A_THREAD * threads)).rev().min_by_key(longest).unwrap_or(0)
}

fn quant(island: &Island, value: graph::ValueId) -> Option<graph::Quant> {
    match island.values[value].kind {
        Kind::Bytes { quant, .. } => Some(quant),
        Kind::Real => None,
    }
}
