//! What can go wrong on the way to 8 bits.

use crate::net::{GraphError, ParamsError};

/// Why a network cannot be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The description is no network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The parameters are not the network's, or not finite.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A node that only training has.
    #[error("`{node}` ({op}) is still in the graph: fold batch normalization before quantizing")]
    NotFolded {
        /// The node.
        node: String,
        /// Its operation.
        op: String,
    },
    /// An activation that is not a number.
    #[error("`{node}` gave {value} during calibration: the weights or an image are damaged")]
    NotFinite {
        /// The node.
        node: String,
        /// The value.
        value: f32,
    },
    /// No image was shown.
    #[error("`{node}` was never seen: calibrate with at least one image")]
    NoData {
        /// The first node without a range.
        node: String,
    },
    /// The network could not be run.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Net(#[from] crate::net::TorchNetError),
    /// libtorch refused.
    #[cfg(feature = "torch")]
    #[error("libtorch failed while calibrating")]
    Torch(#[from] tch::TchError),
}
