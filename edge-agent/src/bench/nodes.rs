use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::engine::Lowering;

/// Names that a line of text has room for.
const NAMED: usize = 4;

/// Which instructions run a graph, and what became of its nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Nodes {
    /// The instructions of qdq's kernels.
    pub isa: String,
    /// Operators that run in these kernels.
    pub lowered: Vec<Lowered>,
    /// Nodes that tract runs.
    pub left: Vec<Left>,
}

/// An operator of qdq's. It may do the work of several nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Lowered {
    /// Type and name of the ONNX node that it is called by.
    pub name: String,
    /// What it became.
    pub operator: String,
    /// The operator of tract that it is part of, from 0.
    pub island: usize,
}

/// A node that is left to tract.
#[derive(Clone, Debug, Serialize)]
pub struct Left {
    /// Type and name of the ONNX node.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl From<&Lowering> for Nodes {
    fn from(lowering: &Lowering) -> Self {
        let report = &lowering.report;
        let lowered = report.lowered.iter().map(|node| Lowered {
            name: node.name.clone(),
            operator: node.operator.to_owned(),
            island: node.island,
        });
        let left =
            report.left.iter().map(|node| Left { name: node.name.clone(), reason: node.reason.clone() });
        Self { isa: lowering.isa.to_string(), lowered: lowered.collect(), left: left.collect() }
    }
}

impl fmt::Display for Nodes {
    /// A line for each island, and one for each reason why nodes are left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let islands = self.lowered.iter().map(|node| node.island + 1).max().unwrap_or(0);
        for island in 0..islands {
            let operators = self.lowered.iter().filter(|node| node.island == island);
            let (count, kinds) = counted(operators.map(|node| node.operator.as_str()));
            writeln!(f, "lowered to {}: {count} operators ({kinds})", self.isa)?;
        }
        if islands == 0 {
            writeln!(f, "lowered to {}: nothing", self.isa)?;
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in &self.left {
            reasons.entry(&node.reason).or_default().push(&node.name);
        }
        for (reason, names) in &reasons {
            let more = names.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = names[..names.len().min(NAMED)].join(", ");
            writeln!(f, "left to tract: {named}{more}: {reason}")?;
        }
        if self.left.is_empty() {
            writeln!(f, "left to tract: nothing")?;
        }
        Ok(())
    }
}

/// How many there are, and how many of each.
fn counted<'a>(kinds: impl Iterator<Item = &'a str>) -> (usize, String) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    kinds.for_each(|kind| *counts.entry(kind).or_default() += 1);
    let each: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    (counts.values().sum(), each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_in_few_lines() {
        let lowered = |island| Lowered { name: "Conv 'a'".into(), operator: "Conv".into(), island };
        let left =
            |name: usize| Left { name: format!("Cos '{name}'"), reason: "it has no 8-bit form".into() };
        let mut nodes = Nodes {
            isa: "scalar".into(),
            lowered: vec![lowered(0), lowered(0), lowered(1)],
            left: (0..6).map(left).collect(),
        };
        assert_eq!(
            nodes.to_string(),
            "lowered to scalar: 2 operators (2 Conv)\nlowered to scalar: 1 operators (1 Conv)\n\
             left to tract: Cos '0', Cos '1', Cos '2', Cos '3' and 2 more: it has no 8-bit form\n"
        );
        nodes.lowered.clear();
        nodes.left.clear();
        assert_eq!(nodes.to_string(), "lowered to scalar: nothing\nleft to tract: nothing\n");
    }
}
