//! Which operators become one island.

use std::collections::{BTreeMap, HashMap};

use super::candidates::Candidates;
use crate::onnx::{OnnxGraph, reads};

/// Islands in an order in which they and the nodes that are kept can run.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// The candidates' keys of each island, each after those that it reads from.
    pub(crate) islands: Vec<Vec<usize>>,
    /// What runs, in order.
    pub(crate) order: Vec<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// An ONNX node.
    Node(usize),
    /// An island's index.
    Island(usize),
}

impl Partition {
    /// Parts the graph into levels: what is lowered has the level of what is lowered before it, or one more than any node
    /// before it that is kept; a node that is kept has that of what stands before it. So no way from an island over kept
    /// nodes leads back into its level, and whatever of a level hangs together may be one island.
    pub(crate) fn new(graph: &OnnxGraph<'_>, candidates: &Candidates<'_>) -> Self {
        let mut levels: HashMap<usize, i64> = HashMap::new();
        let mut groups = Groups::default();
        let mut readers: HashMap<(i64, &str), usize> = HashMap::new();
        for index in graph.order.iter().copied() {
            if let Some(lowered) = candidates.lowered.get(&index) {
                let mut level = 0;
                for tensor in lowered.tensors() {
                    let before = match candidates.maker(graph, tensor) {
                        Some(maker) => levels[&maker],
                        None => graph.maker(tensor).and_then(|maker| levels.get(&maker)).map_or(0, |l| l + 1),
                    };
                    level = level.max(before);
                }
                levels.insert(index, level);
                groups.add(index);
                for tensor in lowered.tensors() {
                    let made = candidates.maker(graph, tensor).filter(|maker| levels[maker] == level);
                    let beside = *readers.entry((level, tensor)).or_insert(index);
                    groups.join(index, made.unwrap_or(beside));
                }
            } else if candidates.kept.contains(&index) {
                let before = reads(graph.node(index)).into_iter().filter_map(|tensor| {
                    let maker = graph.maker(tensor)?;
                    levels.get(&maker)
                });
                levels.insert(index, before.copied().max().unwrap_or(-1));
            }
        }
        Self::ordered(graph, candidates, &levels, &mut groups)
    }

    fn ordered(
        graph: &OnnxGraph<'_>,
        candidates: &Candidates<'_>,
        levels: &HashMap<usize, i64>,
        groups: &mut Groups,
    ) -> Self {
        let mut islands: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut first: Vec<usize> = Vec::new();
        for index in graph.order.iter().copied().filter(|index| candidates.lowered.contains_key(index)) {
            let root = groups.root(index);
            if !islands.contains_key(&root) {
                first.push(root);
            }
            islands.entry(root).or_default().push(index);
        }
        // Kept nodes of a level run after its islands.
        let mut stages: Vec<(i64, bool, Stage)> = Vec::new();
        let mut parts = Vec::new();
        for root in first {
            let nodes = islands.remove(&root).unwrap_or_default();
            stages.push((levels[&root], false, Stage::Island(parts.len())));
            parts.push(nodes);
        }
        for index in graph.order.iter().copied().filter(|index| candidates.kept.contains(index)) {
            stages.push((levels[&index], true, Stage::Node(index)));
        }
        stages.sort_by_key(|(level, kept, _)| (*level, *kept));
        Self { islands: parts, order: stages.into_iter().map(|(_, _, stage)| stage).collect() }
    }
}

/// Disjoint sets.
#[derive(Debug, Default)]
struct Groups(HashMap<usize, usize>);

impl Groups {
    fn add(&mut self, item: usize) {
        self.0.insert(item, item);
    }

    fn root(&mut self, item: usize) -> usize {
        // Halving the way keeps it short without recursion.
        let mut at = item;
        while self.0[&at] != at {
            let above = self.0[&self.0[&at]];
            self.0.insert(at, above);
            at = above;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0.insert(a.max(b), a.min(b));
    }
}
