//! Operators on places: each does some of its lines at a time, so that threads share them.

mod binary;
mod convert;
mod dense;
mod depthwise;
mod movement;
mod pool;
mod real;
mod resize;

use std::fmt::Debug;
use std::ops::Range;

pub(super) use convert::{enter, leave};

use super::frame::Frame;
use super::place::{Grid, Place};
use crate::Isa;
use crate::graph::{Convolution, Op, Quant, Shape};
use crate::kernels::depthwise::MOST_TAPS;

/// The most bands of a step that needs memory for each.
pub(super) const SCRATCH_BANDS: usize = 8;

/// An operator on places.
pub(super) trait Step: Debug + Send + Sync {
    /// Into how many parts it can be cut: rows, mostly.
    fn lines(&self) -> usize;

    /// About how many cycles it takes.
    fn work(&self) -> usize;

    /// Into how many bands it may be cut at once.
    fn most_bands(&self) -> usize {
        usize::MAX
    }

    /// Does some lines; at one time, every band has a number of its own.
    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, band: usize);
}

/// What a step is made of.
pub(super) struct Build<'a> {
    pub(super) isa: Isa,
    pub(super) op: &'a Op,
    pub(super) inputs: Vec<&'a Place>,
    /// Quantizations of the inputs; none for real numbers.
    pub(super) from: Vec<Option<Quant>>,
    pub(super) output: &'a Place,
    pub(super) to: Option<Quant>,
    /// Where the memory begins that it has for itself.
    pub(super) scratch: usize,
}

impl Build<'_> {
    fn input(&self) -> Result<&Place, String> {
        self.inputs.first().copied().ok_or_else(|| "it has no input".into())
    }

    fn from(&self) -> Result<Quant, String> {
        self.from.first().copied().flatten().ok_or_else(|| "its input is not quantized".into())
    }

    fn to(&self) -> Result<Quant, String> {
        self.to.ok_or_else(|| "its output is not quantized".into())
    }
}

/// The step of an operator.
pub(super) fn build(build: &Build<'_>) -> Result<Box<dyn Step>, String> {
    match build.op {
        Op::Quantize => convert::quantize(build),
        Op::Dequantize => convert::dequantize(build),
        Op::Convolution(convolution) if is_depthwise(convolution, build.to.is_some()) => {
            depthwise::build(build, convolution)
        }
        Op::Convolution(convolution) => dense::build(build, convolution),
        Op::RealConvolution(convolution) => real::build(build, convolution),
        Op::Binary(binary) => binary::build(build, binary),
        Op::MaxPool(window) => pool::maximum(build, window),
        Op::AveragePool { window, count_pads } => pool::average(build, window, *count_pads),
        Op::GlobalAveragePool => pool::global(build),
        Op::Resize(resize) => resize::build(build, resize),
        Op::Concat { axis, tables } => movement::concat(build, *axis, tables),
        Op::Table(table) => movement::table(build, table),
        Op::Transpose(order) => movement::transpose(build, order),
        Op::Reshape(_) => movement::reshape(build),
    }
}

/// Memory that an operator needs for each band, in bytes.
pub(super) fn scratch_bytes(op: &Op, output: &Shape) -> usize {
    let output = Grid::of(output);
    band_bytes(match op {
        Op::Convolution(convolution) => dense::scratch_bytes(convolution, output),
        Op::RealConvolution(convolution) => real::scratch_bytes(convolution),
        Op::Resize(_) => resize::scratch_bytes(output),
        _ => 0,
    })
}

/// Bands' memory begins at lines of the cache.
fn band_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(super::memory::ALIGN)
}

/// Whether every channel is convolved by itself, in a window and to bytes as the kernels for that do.
pub(super) fn is_depthwise(convolution: &Convolution, to_bytes: bool) -> bool {
    let Convolution { window, groups, outputs, inputs, .. } = convolution;
    to_bytes && *groups > 1 && groups == outputs && *inputs == 1 && window.kernel[0] * window.kernel[1] <= MOST_TAPS
}
