//! Sums that are computed where a convolution has just made one of their terms: a residual is added to a row while it is in
//! the first-level cache, and the convolution's own output is never kept.

use crate::graph::{Arithmetic, Binary, Island, Kind, Node, Op, Quant, Shape, ValueId};

/// What is added to a convolution's rows. The node that carries it reads the residual as its second input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Residual {
    /// How the convolution's own output is quantized.
    pub(crate) own: Quant,
    pub(crate) clamp: (u8, u8),
}

/// An island in which some convolutions add, and of every node what it adds.
pub(crate) fn fuse(island: &Island, shapes: &[Shape]) -> (Island, Vec<Option<Residual>>) {
    let mut island = island.clone();
    let mut residuals = vec![None; island.nodes.len()];
    let mut gone = vec![false; island.nodes.len()];
    for sum in 0..island.nodes.len() {
        if let Some((convolution, residual, own, clamp)) = addition(&island, shapes, sum, &gone) {
            let output = island.nodes[sum].output;
            let node = &mut island.nodes[convolution];
            node.inputs.push(residual);
            node.output = output;
            residuals[convolution] = Some(Residual { own, clamp });
            gone[sum] = true;
        }
    }
    let keep = |index: &usize| !gone[*index];
    let residuals = (0..gone.len()).filter(keep).map(|index| residuals[index]).collect();
    let mut index = 0..;
    island.nodes.retain(|_| index.next().is_some_and(|index| !gone[index]));
    (island, residuals)
}

/// The convolution that may do a sum, the other term, the convolution's own quantization and the sum's bounds.
fn addition(
    island: &Island,
    shapes: &[Shape],
    sum: usize,
    gone: &[bool],
) -> Option<(usize, ValueId, Quant, (u8, u8))> {
    let node = &island.nodes[sum];
    let Op::Binary(Binary { arithmetic: Arithmetic::Add, clamp }) = node.op else { return None };
    let [a, b] = node.inputs[..] else { return None };
    let maker = |value: ValueId| (0..sum).find(|index| !gone[*index] && island.nodes[*index].output == value);
    // The later one, so that the other is there.
    let (term, residual) = if maker(a) > maker(b) { (a, b) } else { (b, a) };
    let maker = maker(term)?;
    let Node { op: Op::Convolution(convolution), inputs, .. } = &island.nodes[maker] else { return None };
    let Kind::Bytes { quant, .. } = island.values[term].kind else { return None };
    let readers = island.nodes.iter().flat_map(|node| &node.inputs).filter(|value| **value == term).count();
    let free = readers == 1 && !island.outputs.contains(&term) && term != residual;
    let dense = convolution.groups == 1 && inputs.len() == 1 && shapes[term] == shapes[residual];
    (free && dense && island.values[residual].constant.is_none()).then_some((maker, residual, quant, clamp))
}
