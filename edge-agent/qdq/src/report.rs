use std::collections::BTreeMap;
use std::fmt;

/// What became of a graph's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lowered operators, in order. An operator may do the work of several nodes.
    pub lowered: Vec<LoweredNode>,
    /// Nodes that are tract's, in order.
    pub left: Vec<LeftNode>,
}

/// An operator that is lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoweredNode {
    /// Type and name of the ONNX node that it is called by.
    pub name: String,
    /// What it became.
    pub operator: &'static str,
    /// The island that it is part of, from 0.
    pub island: usize,
}

/// A node that is left to tract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftNode {
    /// Type and name of the ONNX node.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Report {
    /// How many islands there are.
    pub fn islands(&self) -> usize {
        self.lowered.iter().map(|node| node.island + 1).max().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    /// A line for each island and each node that is left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for island in 0..self.islands() {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for node in self.lowered.iter().filter(|node| node.island == island) {
                *counts.entry(node.operator).or_default() += 1;
            }
            let counted: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            writeln!(f, "island {island}: {}", counted.join(", "))?;
        }
        for node in &self.left {
            writeln!(f, "left to tract: {}: {}", node.name, node.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_for_each_island_and_node() {
        let node = |name: &str, operator, island| LoweredNode { name: name.into(), operator, island };
        let report = Report {
            lowered: vec![
                node("Conv 'a'", "Conv", 0),
                node("Add 'b'", "Add", 1),
                node("Conv 'c'", "Conv", 0),
            ],
            left: vec![LeftNode { name: "Softmax 'd'".into(), reason: "it has no 8-bit form".into() }],
        };
        let lines = "island 0: 2 Conv\nisland 1: 1 Add\nleft to tract: Softmax 'd': it has no 8-bit form\n";
        assert_eq!(report.to_string(), lines);
    }
}
