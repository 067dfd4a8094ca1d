use std::sync::Arc;

use crate::graph::{
    Arithmetic, Binary, Convolution, Coordinates, Interpolation, Island, Kind, Node, Op, Pads, Quant,
    RealConvolution, Reshape, Resize, ResizeTo, Rounding, Shape, Value, Window,
};
use crate::reference::{Data, Tensor};

/// A small random generator: proptest shrinks its seed and its length of island, which is all that helps to read a failure.
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele et al. 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn byte(&mut self) -> u8 {
        match self.below(8) {
            0 => 0,
            1 => 255,
            _ => self.next() as u8,
        }
    }

    fn quant(&mut self) -> Quant {
        Quant { scale: 0.01 + self.below(100) as f32 / 1000.0, zero: self.byte() }
    }

    fn clamp(&mut self) -> (u8, u8) {
        if self.chance(60) {
            return (0, 255);
        }
        let (a, b) = (self.byte(), self.byte());
        (a.min(b), a.max(b))
    }

    fn table(&mut self) -> Box<[u8; 256]> {
        Box::new(std::array::from_fn(|_| self.byte()))
    }
}

/// An island that grows.
pub(super) struct Net {
    pub(super) island: Island,
    pub(super) shapes: Vec<Shape>,
    pub(super) dice: Dice,
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let shape = vec![
            dice.pick(&[1, 1, 2]),
            dice.pick(&[1, 1, 3, 4, 5, 16, 20, 32]),
            1 + dice.below(14),
            1 + dice.below(30),
        ];
        let mut net = Self { island: Island::default(), shapes: Vec::new(), dice };
        let kind = match net.dice.below(3) {
            0 => Kind::Real,
            signed => Kind::Bytes { quant: net.dice.quant(), signed: signed == 1 },
        };
        let input = net.value(kind, shape, None);
        net.island.inputs.push(input);
        if kind == Kind::Real {
            net.bytes(Op::Quantize, &[input]);
        }
        net
    }

    fn value(&mut self, kind: Kind, shape: Shape, constant: Option<(Shape, Vec<u8>)>) -> usize {
        let name = format!("v{}", self.shapes.len());
        self.island.values.push(Value { name, kind, constant });
        self.shapes.push(shape);
        self.shapes.len() - 1
    }

    fn push(&mut self, op: Op, inputs: &[usize], kind: Kind) -> usize {
        let read: Vec<&Shape> = inputs.iter().map(|value| &self.shapes[*value]).collect();
        let Ok(shape) = op.output_shape(&read) else { return inputs[0] };
        if shape.iter().product::<usize>() > 60_000 {
            return inputs[0];
        }
        let output = self.value(kind, shape, None);
        let name = format!("n{output}");
        self.island.nodes.push(Node { name, op, inputs: inputs.to_vec(), output });
        output
    }

    fn bytes(&mut self, op: Op, inputs: &[usize]) -> usize {
        let quant = self.dice.quant();
        self.push(op, inputs, Kind::Bytes { quant, signed: false })
    }

    /// An operator that moves bytes keeps their quantization.
    fn moved(&mut self, op: Op, inputs: &[usize]) -> usize {
        let kind = self.island.values[inputs[0]].kind;
        self.push(op, inputs, kind)
    }

    /// Some tensor of bytes that is no constant; the last one, mostly.
    fn some(&mut self, fits: impl Fn(&Shape) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.shapes.len())
            .filter(|value| {
                let info = &self.island.values[*value];
                matches!(info.kind, Kind::Bytes { .. })
                    && info.constant.is_none()
                    && fits(&self.shapes[*value])
            })
            .collect();
        let last = *fit.last()?;
        Some(if self.dice.chance(70) { last } else { self.dice.pick(&fit) })
    }

    fn window(&mut self, pools: bool) -> Window {
        let d = &mut self.dice;
        let kernel = [d.pick(&[1, 2, 3, 3, 5]), d.pick(&[1, 2, 3, 3, 7])];
        let dilation = d.pick(&[1, 1, 1, 2, 6]);
        let half = |side: usize| kernel[side] / 2 * if pools { 1 } else { dilation };
        let pads = match d.below(5) {
            0 => Pads::Explicit([0; 4]),
            1 => Pads::SameUpper,
            2 => Pads::SameLower,
            3 => Pads::Explicit([half(0), half(1), half(0), half(1)]),
            _ => {
                // Convolutions may see nothing of the image at all.
                let more = if pools { 1 } else { 1 + d.pick(&[0, 0, 2, 8]) };
                let sides = [half(0), half(1), half(0), half(1)];
                Pads::Explicit(sides.map(|half| d.below(half + more)))
            }
        };
        let dilations = if pools { [1; 2] } else { [dilation, d.pick(&[1, dilation])] };
        Window {
            kernel,
            strides: [d.pick(&[1, 1, 2, 3]), d.pick(&[1, 1, 2])],
            dilations,
            pads,
            ceil: pools && d.chance(30),
        }
    }

    fn convolution(
        &mut self,
        groups: usize,
        inputs: usize,
        outputs: usize,
        window: Window,
        matrix: bool,
    ) -> Convolution {
        let d = &mut self.dice;
        let count = outputs * inputs * window.kernel[0] * window.kernel[1];
        let weight = |d: &mut Dice| match d.below(9) {
            0 => -128,
            1 => 127,
            _ => d.next() as i8,
        };
        let size = (count / outputs) as f32;
        Convolution {
            window,
            groups,
            outputs,
            inputs,
            weights: Arc::new((0..count).map(|_| weight(d)).collect()),
            bias: (0..outputs).map(|_| d.below(20_000) as i32 - 10_000).collect(),
            scale: (0..outputs).map(|_| (1.0 + d.below(100) as f32) * 1e-4 / size.sqrt()).collect(),
            clamp: d.clamp(),
            matrix,
        }
    }

    /// One operator more, on some of the values that there are.
    pub(super) fn grow(&mut self) {
        let image = |shape: &Shape| shape.len() == 4;
        match self.dice.below(16) {
            0..=3 => {
                let Some(x) = self.some(image) else { return };
                let channels = self.shapes[x][1];
                let groups = self.dice.pick(&[1, 1, 1, 2, 3, 4, channels]);
                if !channels.is_multiple_of(groups) {
                    return;
                }
                let outputs = groups * self.dice.pick(&[1, 1, 2, 3, 5, 16, 33]);
                if outputs > 80 {
                    return;
                }
                let window = self.window(false);
                let op = self.convolution(groups, channels / groups, outputs, window, false);
                match self.dice.chance(10) {
                    true => self.push(Op::Convolution(op), &[x], Kind::Real),
                    false => self.bytes(Op::Convolution(op), &[x]),
                };
            }
            4 | 5 => {
                let Some(a) = self.some(|_| true) else { return };
                let shape = self.shapes[a].clone();
                let b = if self.dice.chance(60) {
                    self.some(|other| *other == shape).unwrap_or(a)
                } else {
                    let one = |d: &mut Dice, dim: usize| if d.chance(50) { 1 } else { dim };
                    let mut own: Shape = shape.iter().map(|dim| one(&mut self.dice, *dim)).collect();
                    let gone = self.dice.below(own.len() + 1);
                    own.drain(..gone);
                    let bytes = (0..own.iter().product()).map(|_| self.dice.byte()).collect();
                    let quant = self.dice.quant();
                    self.value(Kind::Bytes { quant, signed: false }, own.clone(), Some((own, bytes)))
                };
                let arithmetic = self.dice.pick(&[Arithmetic::Add, Arithmetic::Multiply]);
                let clamp = self.dice.clamp();
                let inputs = if self.dice.chance(50) { [a, b] } else { [b, a] };
                self.bytes(Op::Binary(Binary { arithmetic, clamp }), &inputs);
            }
            6 => {
                let Some(x) = self.some(image) else { return };
                let window = self.window(true);
                self.moved(Op::MaxPool(window), &[x]);
            }
            7 => {
                let Some(x) = self.some(image) else { return };
                let (window, count_pads) = (self.window(true), self.dice.chance(50));
                self.bytes(Op::AveragePool { window, count_pads }, &[x]);
            }
            8 => {
                let Some(x) = self.some(image) else { return };
                self.bytes(Op::GlobalAveragePool, &[x]);
            }
            9 | 10 => {
                let Some(x) = self.some(image) else { return };
                let resize = self.resize();
                match resize.interpolation {
                    _ if self.dice.chance(15) => self.push(Op::Resize(resize), &[x], Kind::Real),
                    Interpolation::Linear => self.bytes(Op::Resize(resize), &[x]),
                    Interpolation::Nearest(_) => self.moved(Op::Resize(resize), &[x]),
                };
            }
            11 | 12 => self.concat(),
            13 => {
                let Some(x) = self.some(|_| true) else { return };
                let table = self.dice.table();
                self.bytes(Op::Table(table), &[x]);
            }
            14 => {
                let Some(x) = self.some(|_| true) else { return };
                let rank = self.shapes[x].len();
                if self.dice.chance(50) {
                    let mut order: Vec<usize> = (0..rank).collect();
                    (1..rank).for_each(|i| order.swap(i, self.dice.below(i + 1)));
                    self.moved(Op::Transpose(order), &[x]);
                } else if rank < 4 || self.dice.chance(40) {
                    let axis = self.dice.below(rank) as i64;
                    self.moved(Op::Reshape(Reshape::Flatten(axis)), &[x]);
                } else {
                    let [n, c, h, w] = self.shapes[x][..] else { return };
                    self.moved(Op::Reshape(Reshape::To(vec![n as i64, (c * h) as i64, 1, w as i64])), &[x]);
                }
            }
            _ => {
                let Some(x) = self.some(|shape| shape.len() != 4 && !shape.is_empty()) else { return };
                let inputs = *self.shapes[x].last().expect("it has dimensions");
                let outputs = self.dice.pick(&[1, 7, 16, 40]);
                if inputs * outputs > 100_000 {
                    return;
                }
                let window = Window {
                    kernel: [1; 2],
                    strides: [1; 2],
                    dilations: [1; 2],
                    pads: Pads::Explicit([0; 4]),
                    ceil: false,
                };
                let op = self.convolution(1, inputs, outputs, window, true);
                match self.dice.chance(30) {
                    true => self.push(Op::Convolution(op), &[x], Kind::Real),
                    false => self.bytes(Op::Convolution(op), &[x]),
                };
            }
        }
    }

    fn resize(&mut self) -> Resize {
        let d = &mut self.dice;
        let roundings =
            [Rounding::RoundPreferFloor, Rounding::RoundPreferCeil, Rounding::Floor, Rounding::Ceil];
        let places = [
            Coordinates::HalfPixel,
            Coordinates::PytorchHalfPixel,
            Coordinates::AlignCorners,
            Coordinates::Asymmetric,
        ];
        Resize {
            interpolation: if d.chance(60) {
                Interpolation::Linear
            } else {
                Interpolation::Nearest(d.pick(&roundings))
            },
            coordinates: d.pick(&places),
            to: match d.chance(50) {
                true => ResizeTo::Sizes([1 + d.below(25), 1 + d.below(40)]),
                false => {
                    ResizeTo::Scales([d.pick(&[1.0, 2.0, 1.7, 4.0, 0.5]), d.pick(&[1.0, 2.0, 3.3, 0.6])])
                }
            },
        }
    }

    fn concat(&mut self) {
        let Some(first) = self.some(|_| true) else { return };
        let shape = self.shapes[first].clone();
        let axis = if self.dice.chance(60) { 1 % shape.len() } else { self.dice.below(shape.len()) };
        let others = |own: &Shape| {
            own.len() == shape.len()
                && own.iter().zip(&shape).enumerate().all(|(i, (a, b))| i == axis || a == b)
        };
        let mut parts = vec![first];
        for _ in 0..1 + self.dice.below(3) {
            parts.extend(self.some(others));
        }
        // Parts whose bytes stay are of one quantization.
        let quant = self.dice.quant();
        let tables = parts.iter().map(|part| {
            let stays = self.dice.chance(70);
            if stays && let Kind::Bytes { quant: own, .. } = &mut self.island.values[*part].kind {
                *own = quant;
            }
            (!stays).then(|| self.dice.table())
        });
        let tables = tables.collect();
        let counted = if self.dice.chance(50) { axis as i64 } else { axis as i64 - shape.len() as i64 };
        self.push(Op::Concat { axis: counted, tables }, &parts, Kind::Bytes { quant, signed: false });
    }

    /// A head of real numbers, and its resize.
    pub(super) fn head(&mut self) {
        let Some(x) = self.some(|shape| shape.len() == 4) else { return };
        let channels = self.shapes[x][1];
        let (outputs, window) = (1 + self.dice.below(6), self.window(false));
        let taps = window.kernel[0] * window.kernel[1];
        let number = |d: &mut Dice| d.below(1000) as f32 / 1000.0 - 0.5;
        let op = RealConvolution {
            window,
            groups: 1,
            outputs,
            inputs: channels,
            weights: (0..outputs * channels * taps).map(|_| number(&mut self.dice)).collect(),
            bias: (0..outputs).map(|_| number(&mut self.dice)).collect(),
        };
        let logits = self.push(Op::RealConvolution(op), &[x], Kind::Real);
        if logits != x {
            let resize = self.resize();
            self.push(Op::Resize(resize), &[logits], Kind::Real);
        }
        if self.dice.chance(50) {
            self.push(Op::Dequantize, &[x], Kind::Real);
        }
    }

    pub(super) fn input(&mut self) -> Tensor {
        let shape = self.shapes[0].clone();
        let count = shape.iter().product();
        let data = match self.island.values[0].kind {
            Kind::Real => {
                Data::Real((0..count).map(|_| self.dice.below(4000) as f32 / 100.0 - 20.0).collect())
            }
            Kind::Bytes { .. } => Data::Bytes((0..count).map(|_| self.dice.byte()).collect()),
        };
        Tensor { shape, data }
    }
}
