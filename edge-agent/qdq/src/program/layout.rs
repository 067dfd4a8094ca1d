//! Where every tensor of an island lies: which parts of a concatenation are written in place, how wide the margins of zero
//! points are, and which memory is used again.

use super::memory::{Need, arrange};
use super::place::{Grid, Image, Place, RealSpace, Reals, Space};
use super::steps;
use crate::graph::{Island, Kind, Op, Shape, ValueId, Window};

/// Bytes behind every tensor that may be read, and are of no account.
const SLACK: usize = 64;
/// The widest margin; padding beyond it is left out of the sums instead.
pub(crate) const WIDEST_MARGIN: usize = 4;
/// Channels up to this number lie without gaps, so that the columns of a window are one run of bytes.
const FEW_CHANNELS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Of every value.
    pub(crate) places: Vec<Place>,
    /// Of every node, where the memory begins that it needs for itself.
    pub(crate) scratch: Vec<usize>,
    pub(crate) constants: Vec<u8>,
    pub(crate) arena_bytes: usize,
}

impl Layout {
    pub(crate) fn new(island: &Island, shapes: &[Shape]) -> Result<Self, String> {
        let lives = lives(island);
        let parents = parents(island, shapes);
        let margins = margins(island, shapes, &parents)?;
        let mut needs = Vec::new();
        let mut need_of = vec![None; island.values.len()];
        let root = |value: ValueId| root(&parents, value).0;
        for (value, info) in island.values.iter().enumerate() {
            let bytes = match info.kind {
                Kind::Bytes { .. } if info.constant.is_some() => continue,
                Kind::Bytes { .. } if root(value) != value => continue,
                Kind::Bytes { .. } => Extent::new(&shapes[value], margins[value]).bytes + SLACK,
                Kind::Real if caller(island, value).is_some() => continue,
                Kind::Real => 4 * shapes[value].iter().product::<usize>(),
            };
            let parts = (0..island.values.len()).filter(|part| root(*part) == value);
            let (first, last) = parts
                .map(|part| lives[part])
                .fold((usize::MAX, 0), |(first, last), life| (first.min(life.0), last.max(life.1)));
            need_of[value] = Some(needs.len());
            needs.push(Need { bytes, steps: first.min(last)..=last });
        }
        let entered = entered(island).count();
        let first_scratch = needs.len();
        for (index, node) in island.nodes.iter().enumerate() {
            let bytes = steps::SCRATCH_BANDS * steps::scratch_bytes(&node.op, &shapes[node.output]);
            needs.push(Need { bytes, steps: entered + index..=entered + index });
        }
        let (starts, arena_bytes) = arrange(&needs);
        let mut constants = Vec::new();
        let mut places = Vec::with_capacity(island.values.len());
        for (value, info) in island.values.iter().enumerate() {
            let shape = &shapes[value];
            places.push(match (info.kind, &info.constant) {
                (Kind::Real, _) => Place::Reals(Reals {
                    space: match (caller(island, value), need_of[value]) {
                        (Some(space), _) => space,
                        (None, Some(need)) => RealSpace::Arena(starts[need]),
                        (None, None) => return Err(format!("'{}' has no place", info.name)),
                    },
                    shape: shape.clone(),
                }),
                (Kind::Bytes { quant, .. }, Some((_, bytes))) => {
                    Place::Bytes(constant(&mut constants, shape, bytes, quant.zero))
                }
                (Kind::Bytes { quant, .. }, None) => {
                    let (root, channel) = self::root(&parents, value);
                    let extent = Extent::new(&shapes[root], margins[root]);
                    let need = need_of[root].ok_or_else(|| format!("'{}' has no place", info.name))?;
                    Place::Bytes(extent.image(shape, starts[need], channel, margins[root], quant.zero))
                }
            });
        }
        Ok(Self { places, scratch: starts[first_scratch..].to_vec(), constants, arena_bytes })
    }
}

/// Sizes of a tensor of bytes in memory.
struct Extent {
    grid: Grid,
    pixel: usize,
    row: usize,
    image: usize,
    /// From the beginning to the first pixel.
    first: usize,
    bytes: usize,
}

impl Extent {
    fn new(shape: &Shape, [top, left, bottom, right]: [usize; 4]) -> Self {
        let grid = Grid::of(shape);
        let pixel = if grid.c <= FEW_CHANNELS { grid.c } else { grid.c.next_multiple_of(16) };
        let row = (left + grid.w + right) * pixel;
        let image = (top + grid.h + bottom) * row;
        Self { grid, pixel, row, image, first: top * row + left * pixel, bytes: grid.n * image }
    }

    /// A tensor of this shape from a channel of it on.
    fn image(&self, shape: &Shape, start: usize, channel: usize, margins: [usize; 4], zero: u8) -> Image {
        let grid = Grid::of(shape);
        Image {
            space: Space::Arena,
            span: start..start + self.bytes + SLACK,
            start: start + self.first + channel,
            image: self.image,
            row: self.row,
            pixel: self.pixel,
            grid,
            shape: shape.clone(),
            margins,
            zero,
            alone: grid.c == self.grid.c,
        }
    }
}

/// A constant with its channels last.
fn constant(constants: &mut Vec<u8>, shape: &Shape, bytes: &[u8], zero: u8) -> Image {
    let extent = Extent::new(shape, [0; 4]);
    let start = constants.len().next_multiple_of(super::memory::ALIGN);
    constants.resize(start + extent.bytes + SLACK, 0);
    let image = Image { space: Space::Constants, ..extent.image(shape, start, 0, [0; 4], zero) };
    let strides = image.strides();
    for (at, byte) in bytes.iter().enumerate() {
        let mut rest = at;
        let mut place = image.start;
        for (axis, dim) in shape.iter().enumerate().rev() {
            place += rest % dim * strides[axis];
            rest /= dim;
        }
        constants[place] = *byte;
    }
    image
}

/// Values that are brought in as bytes, in the order in which they are.
pub(crate) fn entered(island: &Island) -> impl Iterator<Item = (usize, ValueId)> + '_ {
    let bytes = |value: &ValueId| matches!(island.values[*value].kind, Kind::Bytes { .. });
    island.inputs.iter().copied().enumerate().filter(move |(_, value)| bytes(value))
}

/// The caller's tensor that a value of real numbers is.
fn caller(island: &Island, value: ValueId) -> Option<RealSpace> {
    let of = |list: &[ValueId]| list.iter().position(|other| *other == value);
    of(&island.inputs).map(RealSpace::Input).or_else(|| of(&island.outputs).map(RealSpace::Output))
}

/// The first and the last step of every value.
fn lives(island: &Island) -> Vec<(usize, usize)> {
    let mut lives = vec![(usize::MAX, 0); island.values.len()];
    let mut touch = |value: ValueId, step: usize| {
        let life = &mut lives[value];
        *life = (life.0.min(step), life.1.max(step));
    };
    let mut step = 0;
    for (_, value) in entered(island) {
        touch(value, step);
        step += 1;
    }
    for node in &island.nodes {
        node.inputs.iter().for_each(|value| touch(*value, step));
        touch(node.output, step);
        step += 1;
    }
    island.outputs.iter().for_each(|value| touch(*value, step));
    lives
}

/// Of a part that is written in place, its concatenation and its first channel there.
type Parents = Vec<Option<(ValueId, usize)>>;

/// What a value is part of in the end, and its first channel there.
fn root(parents: &Parents, value: ValueId) -> (ValueId, usize) {
    let (mut value, mut channel) = (value, 0);
    while let Some((parent, first)) = parents[value] {
        (value, channel) = (parent, channel + first);
    }
    (value, channel)
}

fn parents(island: &Island, shapes: &[Shape]) -> Parents {
    let mut parents: Parents = vec![None; island.values.len()];
    let made = |value: ValueId| island.nodes.iter().any(|node| node.output == value);
    for node in island.nodes.iter().rev() {
        let Op::Concat { axis, tables } = &node.op else { continue };
        let shape = &shapes[node.output];
        let channels = if shape.len() == 4 { 1 } else { shape.len().saturating_sub(1) };
        let axis = if *axis < 0 { axis + shape.len() as i64 } else { *axis };
        if axis != channels as i64 {
            continue;
        }
        let mut first = 0;
        for (part, table) in node.inputs.iter().zip(tables) {
            // Margins are of one zero point.
            let same = island.values[*part].kind.zero() == island.values[node.output].kind.zero();
            let once = node.inputs.iter().filter(|other| *other == part).count() == 1;
            if table.is_none() && same && once && parents[*part].is_none() && made(*part) {
                parents[*part] = Some((node.output, first));
            }
            first += shapes[*part][channels];
        }
    }
    // A step may not write between the pixels that it reads.
    while let Some(node) = island.nodes.iter().find(|node| {
        let own = root(&parents, node.output).0;
        let reads = |value: &ValueId| root(&parents, *value).0 == own;
        // What a concatenation reads in place it does not write.
        let moves = |value: &ValueId| parents[*value].is_none_or(|(parent, _)| parent != node.output);
        node.inputs
            .iter()
            .any(|value| reads(value) && (!matches!(node.op, Op::Concat { .. }) || moves(value)))
    }) {
        match parents[node.output].take() {
            Some(_) => {}
            // A concatenation of something that lies in it already: nothing of it is in place.
            None => node.inputs.iter().for_each(|part| parents[*part] = None),
        }
    }
    parents
}

/// The margins of every root: the widest that a convolution of it or of a part asks for.
fn margins(island: &Island, shapes: &[Shape], parents: &Parents) -> Result<Vec<[usize; 4]>, String> {
    let mut margins = vec![[0; 4]; island.values.len()];
    for node in &island.nodes {
        let Op::Convolution(convolution) = &node.op else { continue };
        let input = node.inputs[0];
        let to_bytes = matches!(island.values[node.output].kind, Kind::Bytes { .. });
        if convolution.matrix || steps::is_depthwise(convolution, to_bytes) {
            continue;
        }
        let (from, to) = (Grid::of(&shapes[input]), Grid::of(&shapes[node.output]));
        if let Some(own) = margin(&convolution.window, from, to) {
            if island.values[input].constant.is_some() {
                return Err(format!("{} '{}' reads a constant", node.op.name(), node.name));
            }
            let all = &mut margins[root(parents, input).0];
            all.iter_mut().zip(own).for_each(|(all, own)| *all = (*all).max(own));
        }
    }
    Ok(margins)
}

/// What a window sees above, left, below and right of the image; none if that is too much to keep.
pub(crate) fn margin(window: &Window, from: Grid, to: Grid) -> Option<[usize; 4]> {
    let [top, left] = window.begin([from.h, from.w]);
    let end = |side: usize, from: usize, to: usize, begin: usize| {
        ((to - 1) * window.strides[side] + window.extent(side)).saturating_sub(from + begin)
    };
    let margins = [top, left, end(0, from.h, to.h, top), end(1, from.w, to.w, left)];
    margins.iter().all(|margin| *margin <= WIDEST_MARGIN).then_some(margins)
}
