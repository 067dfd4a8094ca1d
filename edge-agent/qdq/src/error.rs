/// Why a graph cannot be lowered: it is no sound ONNX graph. A sound one always can, if only with nothing in it lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The file has no graph in it.
    #[error("the model has no graph; is it whole?")]
    NoGraph,
    /// A node or output reads what nothing makes.
    #[error("{reader} reads '{tensor}', which is no input, no initializer and no node's output")]
    Dangling {
        /// The node, or `the graph's output`.
        reader: String,
        /// The tensor.
        tensor: String,
    },
    /// Two nodes make one tensor.
    #[error("'{tensor}' is made twice, the second time by {node}")]
    MadeTwice {
        /// The tensor.
        tensor: String,
        /// The second maker.
        node: String,
    },
    /// Nodes wait for each other.
    #[error("{node} waits for its own output")]
    Cycle {
        /// One of them.
        node: String,
    },
    /// An initializer's data do not fill its shape.
    #[error("the initializer '{tensor}' is broken: {reason}")]
    Initializer {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A quantization that no arithmetic gives a meaning.
    #[error("{node}: {reason}")]
    Quantization {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// Shapes that do not fit together, or beyond any memory.
    #[error("{node}: {reason}")]
    Shape {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// tract does not take what is left of the graph.
    #[error("tract does not load the graph: {0}")]
    Tract(String),
}
