use std::sync::Arc;

/// A lowered operator. The quantizations of its inputs and its output stand at the values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// Real numbers to bytes.
    Quantize,
    /// Bytes to real numbers.
    Dequantize,
    /// Bytes to bytes or real numbers.
    Convolution(Convolution),
    /// Bytes to real numbers with weights that are real numbers.
    RealConvolution(RealConvolution),
    /// Sum or product of two values that broadcast.
    Binary(Binary),
    MaxPool(Window),
    AveragePool {
        window: Window,
        /// Whether padding counts in the divisor.
        count_pads: bool,
    },
    /// Mean over all rows and columns.
    GlobalAveragePool,
    /// Bytes to bytes, bytes to real numbers, or real numbers to real numbers.
    Resize(Resize),
    /// Parts one after the other along an axis; every part has a table where its quantization is not the output's.
    Concat {
        axis: i64,
        tables: Vec<Option<Box<[u8; 256]>>>,
    },
    /// Any function of one value.
    Table(Box<[u8; 256]>),
    Transpose(Vec<usize>),
    Reshape(Reshape),
}

/// What a window sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows and columns.
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    pub(crate) pads: Pads,
    /// Whether a window may begin in the image and end outside of it (pools).
    pub(crate) ceil: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pads {
    /// Top, left, bottom, right.
    Explicit([usize; 4]),
    /// As many outputs as strides fit; what is odd goes to the end.
    SameUpper,
    /// The same; what is odd goes to the beginning.
    SameLower,
}

/// A convolution or, with one pixel, a matrix product.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Convolution {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    pub(crate) outputs: usize,
    /// Inputs of a group.
    pub(crate) inputs: usize,
    /// `[outputs][inputs][kernel rows][kernel columns]`, shared by an island and what it is fused to.
    pub(crate) weights: Arc<Vec<i8>>,
    /// In steps of input scale × weight scale.
    pub(crate) bias: Vec<i32>,
    /// Of each output: what the sum of products is multiplied by, to steps of the output or to real numbers.
    pub(crate) scale: Vec<f32>,
    /// The least and the greatest byte that an activation behind it leaves.
    pub(crate) clamp: (u8, u8),
    /// A matrix product: the channels stand last whatever the rank.
    pub(crate) matrix: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RealConvolution {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Multiply,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) clamp: (u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    Nearest(Rounding),
    Linear,
}

/// Which source pixel is the nearest one (ONNX Resize, `nearest_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Where a pixel of the output lies in the input (ONNX Resize, `coordinate_transformation_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resize {
    pub(crate) interpolation: Interpolation,
    pub(crate) coordinates: Coordinates,
    pub(crate) to: ResizeTo,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ResizeTo {
    /// Of rows and columns; output = floor(input × scale).
    Scales([f32; 2]),
    /// Rows and columns.
    Sizes([usize; 2]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reshape {
    /// ONNX Reshape: 0 keeps a dimension, −1 takes what is left.
    To(Vec<i64>),
    /// ONNX Flatten: two dimensions, parted before this axis.
    Flatten(i64),
    /// ONNX Squeeze: without these axes of size 1.
    Squeeze(Vec<i64>),
    /// ONNX Unsqueeze.
    Unsqueeze(Vec<i64>),
}

/// What the products of weights with a byte of 1 or −1 sum up to at most.
pub(crate) fn magnitude(weights: &[i8]) -> i64 {
    // In parts whose sums fit 32 bits, which vectors add faster.
    let part = |part: &[i8]| -> u32 { part.iter().map(|weight| u32::from(weight.unsigned_abs())).sum() };
    weights.chunks(1 << 16).map(|weights| i64::from(part(weights))).sum()
}

impl Op {
    /// For profiles: convolutions with their window.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Convolution(Convolution { window, groups, outputs, inputs, matrix: false, .. }) => {
                let depthwise = *groups > 1 && groups == outputs && *inputs == 1;
                let name = if depthwise { "depthwise" } else { "conv" };
                format!("{name}{}x{}", window.kernel[0], window.kernel[1])
            }
            other => other.name().to_owned(),
        }
    }

    /// Multiplications of an output of this shape.
    pub(crate) fn macs(&self, output: &[usize]) -> u64 {
        let values: u64 = output.iter().map(|dim| *dim as u64).product();
        match self {
            Self::Convolution(Convolution { window, inputs, .. })
            | Self::RealConvolution(RealConvolution { window, inputs, .. }) => {
                values * (inputs * window.kernel[0] * window.kernel[1]) as u64
            }
            _ => 0,
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Quantize => "Quantize",
            Self::Dequantize => "Dequantize",
            Self::Convolution(c) if c.matrix => "MatMul",
            Self::Convolution(c) if c.groups > 1 => "GroupedConv",
            Self::Convolution(_) => "Conv",
            Self::RealConvolution(_) => "ConvF32",
            Self::Binary(Binary { arithmetic: Arithmetic::Add, .. }) => "Add",
            Self::Binary(_) => "Mul",
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Resize(_) => "Resize",
            Self::Concat { .. } => "Concat",
            Self::Table(_) => "Table",
            Self::Transpose(_) => "Transpose",
            Self::Reshape(_) => "Reshape",
        }
    }
}
