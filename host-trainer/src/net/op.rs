//! The operations a network is made of: what each one computes, its output shape, parameters and cost.
//!
//! Semantics are those of PyTorch's operators of the same name on NCHW tensors and, equally, of ONNX opset 17, so
//! that training and export cannot differ.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::graph::NodeId;

/// `[channels, rows, cols]` of one image's activation; the batch dimension is left out.
pub type Shape = [usize; 3];

/// A two-dimensional convolution. Pairs are (vertical, horizontal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Conv2d {
    /// Channels read.
    pub in_channels: usize,
    /// Channels written.
    pub out_channels: usize,
    /// Taps.
    pub kernel: [usize; 2],
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Groups of channels convolved apart; equal to `in_channels` for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// `[out, in / groups, kernel rows, kernel cols]`, as PyTorch and ONNX lay the weight out.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups, self.kernel[0], self.kernel[1]]
    }

    fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let axis = |i: usize| {
            window_output(
                size[i],
                self.dilation[i] * (self.kernel[i] - 1) + 1,
                self.stride[i],
                self.padding[i],
            )
        };
        Some([axis(0)?, axis(1)?])
    }
}

/// Batch normalization over channels (Ioffe & Szegedy 2015).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BatchNorm2d {
    /// Channels normalized.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics (PyTorch's sense).
    pub momentum: f64,
}

/// Maximum over windows; padding never wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MaxPool2d {
    /// Window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Margin on each side; at most half the window.
    pub padding: [usize; 2],
}

/// Mean over windows without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AvgPool2d {
    /// Window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
}

/// Group normalization (Wu & He 2018, arXiv:1803.08494): each image's channels are normalized in groups, over
/// channels and pixels, so that no statistics of a batch are needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupNorm {
    /// Channels normalized.
    pub channels: usize,
    /// Groups that they form.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

/// How large a [`Op::Resize`] makes its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeTarget {
    /// Rows and columns times this.
    Scale(u32),
    /// Rows and columns of this node's output.
    Like(NodeId),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// The normalized image.
    Input {
        /// Its channels.
        channels: usize,
    },
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalization.
    BatchNorm2d(BatchNorm2d),
    /// max(x, 0).
    Relu,
    /// Maximum over windows.
    MaxPool2d(MaxPool2d),
    /// Mean over windows.
    AvgPool2d(AvgPool2d),
    /// Group normalization.
    GroupNorm(GroupNorm),
    /// Mean over rows and columns; leaves 1 × 1.
    GlobalAveragePool,
    /// Sum of two activations of equal shape.
    Add,
    /// Channels of all inputs, in order.
    Concat,
    /// Bilinear interpolation with half-pixel centres (PyTorch's `align_corners=False`, not anti-aliased).
    Resize(ResizeTarget),
    /// Zeroes elements with probability `p` in training and scales the rest by 1 / (1 − p); nothing otherwise.
    Dropout {
        /// Share of the elements zeroed, 0 ≤ p < 1.
        p: f32,
    },
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterRole {
    /// Convolution weight.
    Weight,
    /// Convolution bias.
    Bias,
    /// A normalization's factor.
    Gamma,
    /// A normalization's offset.
    Beta,
    /// Batch normalization's running mean: a buffer, never trained.
    RunningMean,
    /// Batch normalization's running variance: a buffer, never trained.
    RunningVar,
}

impl ParameterRole {
    /// The last part of the parameter's name, as PyTorch writes it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Weight | Self::Gamma => "weight",
            Self::Bias | Self::Beta => "bias",
            Self::RunningMean => "running_mean",
            Self::RunningVar => "running_var",
        }
    }

    /// Whether the optimizer changes it.
    pub fn is_trainable(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// One tensor that a graph needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// `<node>.<suffix>`.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: ParameterRole,
}

impl Op {
    /// How many activations it reads; `None` for any number from one on.
    pub fn arity(&self) -> Option<usize> {
        match self {
            Self::Input { .. } => Some(0),
            Self::Add => Some(2),
            Self::Concat => None,
            _ => Some(1),
        }
    }

    /// The shape it writes, or what is wrong with the shapes it reads. `like` is the shape that
    /// [`ResizeTarget::Like`] refers to; `image` is the size of the input image.
    pub(super) fn output_shape(
        &self,
        inputs: &[Shape],
        like: Option<Shape>,
        image: [usize; 2],
    ) -> Result<Shape, String> {
        let expect_channels = |wanted: usize| match inputs[0][0] {
            found if found == wanted => Ok(()),
            found => Err(format!("expects {wanted} channels and gets {found}")),
        };
        let too_small = || format!("its window does not fit into {} × {}", inputs[0][1], inputs[0][2]);
        match self {
            Self::Input { channels } => Ok([*channels, image[0], image[1]]),
            Self::Conv2d(conv) => {
                expect_channels(conv.in_channels)?;
                let [rows, cols] = conv.output_size([inputs[0][1], inputs[0][2]]).ok_or_else(too_small)?;
                Ok([conv.out_channels, rows, cols])
            }
            Self::BatchNorm2d(norm) => expect_channels(norm.channels).map(|()| inputs[0]),
            Self::GroupNorm(norm) => expect_channels(norm.channels).map(|()| inputs[0]),
            Self::Relu | Self::Dropout { .. } => Ok(inputs[0]),
            Self::AvgPool2d(pool) => {
                let [channels, rows, cols] = inputs[0];
                let axis = |size, i: usize| window_output(size, pool.kernel[i], pool.stride[i], 0);
                match (axis(rows, 0), axis(cols, 1)) {
                    (Some(rows), Some(cols)) => Ok([channels, rows, cols]),
                    _ => Err(too_small()),
                }
            }
            Self::MaxPool2d(pool) => {
                let [channels, rows, cols] = inputs[0];
                let axis =
                    |size, i: usize| window_output(size, pool.kernel[i], pool.stride[i], pool.padding[i]);
                match (axis(rows, 0), axis(cols, 1)) {
                    (Some(rows), Some(cols)) => Ok([channels, rows, cols]),
                    _ => Err(too_small()),
                }
            }
            Self::GlobalAveragePool => Ok([inputs[0][0], 1, 1]),
            Self::Add if inputs[0] == inputs[1] => Ok(inputs[0]),
            Self::Add => Err(format!("adds {:?} and {:?}", inputs[0], inputs[1])),
            Self::Concat => {
                let [_, rows, cols] = inputs[0];
                match inputs.iter().find(|s| s[1..] != [rows, cols]) {
                    Some(odd) => Err(format!("joins {rows} × {cols} and {} × {}", odd[1], odd[2])),
                    None => Ok([inputs.iter().map(|s| s[0]).sum(), rows, cols]),
                }
            }
            Self::Resize(target) => {
                let [channels, rows, cols] = inputs[0];
                match (target, like) {
                    (ResizeTarget::Scale(s), _) => Ok([channels, rows * *s as usize, cols * *s as usize]),
                    (ResizeTarget::Like(_), Some([_, rows, cols])) => Ok([channels, rows, cols]),
                    (ResizeTarget::Like(_), None) => Err("has no node to take its size from".into()),
                }
            }
        }
    }

    /// Multiply-accumulates for one image whose output shape is `output`. Convolutions only: the rest is memory
    /// traffic beside them.
    pub fn macs(&self, output: Shape) -> u64 {
        match self {
            Self::Conv2d(conv) => {
                let per_output = conv.in_channels / conv.groups * conv.kernel[0] * conv.kernel[1];
                output.iter().map(|&n| n as u64).product::<u64>() * per_output as u64
            }
            _ => 0,
        }
    }

    /// The tensors it needs, with their shapes.
    pub fn parameters(&self) -> Vec<(ParameterRole, Vec<usize>)> {
        use ParameterRole::{Beta, Bias, Gamma, RunningMean, RunningVar, Weight};
        match self {
            Self::Conv2d(conv) => {
                let mut all = vec![(Weight, conv.weight_shape().to_vec())];
                if conv.bias {
                    all.push((Bias, vec![conv.out_channels]));
                }
                all
            }
            Self::BatchNorm2d(norm) => {
                [Gamma, Beta, RunningMean, RunningVar].map(|role| (role, vec![norm.channels])).to_vec()
            }
            Self::GroupNorm(norm) => [Gamma, Beta].map(|role| (role, vec![norm.channels])).to_vec(),
            _ => Vec::new(),
        }
    }

    /// What makes the operation impossible whatever it reads, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Input { channels: 0 } => Some("has no channels"),
            Self::Conv2d(c) => {
                let zero = [c.in_channels, c.out_channels, c.groups].contains(&0)
                    || [c.kernel, c.stride, c.dilation].as_flattened().contains(&0);
                if zero {
                    Some("has a zero among channels, groups, kernel, stride or dilation")
                } else if c.in_channels % c.groups != 0 || c.out_channels % c.groups != 0 {
                    Some("has channels that its groups do not divide")
                } else {
                    None
                }
            }
            Self::BatchNorm2d(n) if n.channels == 0 => Some("has no channels"),
            Self::BatchNorm2d(n) if !(n.eps > 0.0 && n.eps.is_finite()) => Some("needs eps above zero"),
            Self::BatchNorm2d(n) if !(0.0..=1.0).contains(&n.momentum) => Some("needs a momentum in 0..=1"),
            Self::MaxPool2d(p) if [p.kernel, p.stride].as_flattened().contains(&0) => {
                Some("has a zero in kernel or stride")
            }
            Self::MaxPool2d(p) if (0..2).any(|i| 2 * p.padding[i] > p.kernel[i]) => {
                Some("pads more than half its window")
            }
            Self::AvgPool2d(p) if [p.kernel, p.stride].as_flattened().contains(&0) => {
                Some("has a zero in kernel or stride")
            }
            Self::GroupNorm(n) if n.channels == 0 || n.groups == 0 || n.channels % n.groups != 0 => {
                Some("has channels that its groups do not divide")
            }
            Self::GroupNorm(n) if !(n.eps > 0.0 && n.eps.is_finite()) => Some("needs eps above zero"),
            Self::Resize(ResizeTarget::Scale(0)) => Some("scales by zero"),
            Self::Dropout { p } if !(0.0..1.0).contains(p) => Some("needs 0 <= p < 1"),
            _ => None,
        }
    }
}

/// Short and for people: `conv 3×3 64→128 /2`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { channels } => write!(f, "input {channels}"),
            Self::Conv2d(c) => {
                write!(f, "conv {}×{} {}→{}", c.kernel[0], c.kernel[1], c.in_channels, c.out_channels)?;
                if c.stride != [1, 1] {
                    write!(f, " /{}", c.stride[0])?;
                }
                if c.dilation != [1, 1] {
                    write!(f, " dilated {}", c.dilation[0])?;
                }
                match c.groups {
                    1 => Ok(()),
                    g if g == c.in_channels => write!(f, " depthwise"),
                    g => write!(f, " in {g} groups"),
                }
            }
            Self::BatchNorm2d(_) => write!(f, "batch norm"),
            Self::Relu => write!(f, "relu"),
            Self::MaxPool2d(p) => write!(f, "max pool {}×{} /{}", p.kernel[0], p.kernel[1], p.stride[0]),
            Self::AvgPool2d(p) => write!(f, "average pool {}×{} /{}", p.kernel[0], p.kernel[1], p.stride[0]),
            Self::GroupNorm(n) => write!(f, "group norm in {}", n.groups),
            Self::GlobalAveragePool => write!(f, "global average pool"),
            Self::Add => write!(f, "add"),
            Self::Concat => write!(f, "concat"),
            Self::Resize(ResizeTarget::Scale(s)) => write!(f, "bilinear ×{s}"),
            Self::Resize(ResizeTarget::Like(_)) => write!(f, "bilinear to size"),
            Self::Dropout { p } => write!(f, "dropout {p}"),
        }
    }
}

/// Positions of a window of `extent` (dilation included) along an axis; `None` if not even one fits.
fn window_output(size: usize, extent: usize, stride: usize, padding: usize) -> Option<usize> {
    (size + 2 * padding).checked_sub(extent).map(|room| room / stride + 1)
}
