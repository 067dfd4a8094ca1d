//! Networks, each described once as a [`Graph`].
//!
//! Everything that runs or writes a network reads the same description: [`torch`] interprets it for training,
//! [`fold`](mod@fold) rewrites it for inference, `quantize` attaches ranges to its nodes and `onnx` writes it out.
//! [`deeplab`] and [`resnet`] are the only places where an architecture is spelled.

mod builder;
pub mod deeplab;
pub mod fold;
mod graph;
mod init;
mod op;
mod params;
pub mod resnet;
#[cfg(feature = "torch")]
pub mod torch;

pub use builder::GraphBuilder;
pub use deeplab::{DeepLabConfig, OutputStride, Width, deeplab_v3_plus};
pub use fold::{FoldError, fold_batch_norm};
pub use graph::{Graph, GraphError, Node, NodeId};
pub use init::he_init;
pub use op::{BatchNorm2d, Conv2d, MaxPool2d, Op, ParameterRole, ParameterSpec, ResizeTarget, Shape};
pub use params::{ParamTensor, Params, ParamsError};
#[cfg(feature = "torch")]
pub use torch::{Mode, TorchNet, TorchNetError};
