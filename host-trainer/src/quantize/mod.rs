//! Post-training quantization: which activations become 8-bit, with which ranges, and what the weights become.
//!
//! The form is the one that ONNX Runtime, OpenVINO and our own engine fuse (see `onnx`): activations u8, one scale
//! and zero point a tensor; convolution weights s8, one scale an output channel, symmetric; biases s32 at
//! (input scale × weight scale). Data flows one way: [`QuantPlan`] reads the folded graph and says what shares a
//! range, [`Calibration`] watches the network over images, [`Ranges`] come out of it by a [`Method`], [`quantize()`]
//! turns them into integers (of weights that [`equalize()`] has evened out, with biases by [`correct_bias`], but for
//! what [`sensitivity()`] says had better stay f32), and [`QuantizedNet`] runs those with libtorch as an ONNX runtime would.

mod bias;
#[cfg(feature = "torch")]
mod calibrate;
mod equalize;
mod error;
mod histogram;
mod plan;
mod scheme;
#[cfg(feature = "torch")]
mod sensitivity;
#[cfg(feature = "torch")]
mod simulate;

pub use bias::{ChannelMeans, correct_bias};
#[cfg(feature = "torch")]
pub use calibrate::{Calibration, calibrate};
pub use equalize::equalize;
pub use error::QuantizeError;
pub use histogram::{Histogram, Method, Range};
pub use plan::{GroupId, QuantPlan, Ranges, Unit};
pub use scheme::{Affine, QuantConv, QuantScheme, QuantizedGraph, quantize};
#[cfg(feature = "torch")]
pub use sensitivity::sensitivity;
#[cfg(feature = "torch")]
pub use simulate::{QuantizedNet, forward_quantized};
