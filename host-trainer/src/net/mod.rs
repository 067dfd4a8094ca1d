//! Networks, each described once as a [`Graph`].
//!
//! Everything that runs or writes a network reads the same description: [`torch`] interprets it for training,
//! [`fold`](mod@fold) rewrites it for inference, `quantize` attaches ranges to its nodes and `onnx` writes it out.
//! [`deeplab`] and [`resnet`] are the only places where an architecture is spelled.

mod builder;
mod classifier;
pub mod deeplab;
mod densenet;
mod edges;
mod ensemble;
pub mod fold;
mod graph;
mod init;
mod op;
mod params;
mod prune;
pub mod resnet;
#[cfg(feature = "torch")]
pub mod torch;
mod unfold;

pub use builder::GraphBuilder;
pub use classifier::{Backbone, ClassifierConfig, FEATURES, classifier};
pub use deeplab::{DECODER, DECODER_READS, DeepLabConfig, OutputStride, Width, deeplab_v3_plus};
pub use edges::{EDGE_STRIDE, edge_net};
pub use ensemble::{Member, ensemble};
pub use fold::{FoldError, fold_batch_norm};
pub use graph::{Graph, GraphError, Node, NodeId};
pub use init::he_init;
pub use op::{
    AvgPool2d, BatchNorm2d, Conv2d, GroupNorm, MaxPool2d, Op, ParameterRole, ParameterSpec, ResizeTarget,
    Shape,
};
pub use params::{ParamTensor, Params, ParamsError};
pub use prune::first_output_only;
#[cfg(feature = "torch")]
pub use torch::{Mode, Rounding, TorchNet, TorchNetError};
pub use unfold::{ChannelMoments, unfold_batch_norm};
