use qdq::{Isa, Report};

/// What became of a graph's nodes: qdq's operators, or tract's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowering {
    /// The instructions of qdq's kernels.
    pub isa: Isa,
    /// Which nodes were lowered, and which were left to tract and why.
    pub report: Report,
}

impl Lowering {
    /// Whether nothing was left to tract.
    pub fn is_whole(&self) -> bool {
        self.report.left.is_empty()
    }

    /// Whether everything was left to tract, as of a graph without quantizations.
    pub fn is_none(&self) -> bool {
        self.report.lowered.is_empty()
    }

    /// What runs the graph, for people.
    pub(super) fn engine(&self) -> String {
        if self.is_none() { "tract".to_owned() } else { format!("qdq on {} in tract", self.isa) }
    }

    /// Names in the log what slows a quantized graph down.
    pub(super) fn log(&self) {
        if self.is_none() {
            return tracing::info!("nothing of the graph is quantized so that qdq runs it");
        }
        for node in &self.report.left {
            tracing::info!(node = node.name, reason = node.reason, "left to tract");
        }
    }
}
